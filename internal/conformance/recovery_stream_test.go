package conformance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/thumpmq/thump"
)

// What consumers of streams do when they lose their connections.
func streamRecoveryCases() []conformanceCase {
	return []conformanceCase{
		{"recovery/stream-consumer", offsets, testStreamRecovers},
		{"recovery/super-stream-consumer", partitions, testStreamRecovers},
		{"recovery/stream-declared-again", offsets, testStreamDeclaredAgain},
		{"recovery/group", offsets, testStreamGroupRecovers},
	}
}

// killer dials connections, and closes those that live at any time.
type killer struct {
	mu    sync.Mutex
	conns []net.Conn
	n     int  // closed
	down  bool // none can be dialled
}

// DialContext is for Config.DialContext.
func (k *killer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	k.mu.Lock()
	down := k.down
	k.mu.Unlock()
	if down {
		return nil, syscall.ECONNREFUSED
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.conns = append(k.conns, conn)
	}
	return conn, err
}

// kill closes some of the connections, at random.
func (k *killer) kill(random *rand.Rand) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var rest []net.Conn
	for _, conn := range k.conns {
		if random.IntN(2) == 0 {
			rest = append(rest, conn)
			continue
		}
		_ = conn.Close()
		k.n++
	}
	k.conns = rest
}

// outage closes all connections, and lets nobody dial while f runs.
func (k *killer) outage(f func()) {
	set := func(down bool) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.down = down
		for _, conn := range k.conns {
			_ = conn.Close()
			k.n++
		}
		k.conns = nil
	}
	set(true)
	f()
	set(false)
}

// dialKilled makes a client whose connections can be killed.
func (r *rig) dialKilled() (*thump.Client, *killer) {
	r.Helper()
	k := &killer{}
	cfg := r.config()
	cfg.DialContext = k.DialContext
	return r.dial(cfg), k
}

// testStreamRecovers consumes while connections are closed at random. Every message comes, in
// the order of its stream; without a name once, and with one again only if it was not acked.
func testStreamRecovers(r *rig) {
	const messages = 3000
	place := r.place()
	var all []thump.Message
	for i := range messages {
		all = append(all, thump.Message{Body: fmt.Appendf(nil, "%d", i), RoutingKey: fmt.Sprint(i)})
	}
	go func() { // some come later than others
		p, err := r.client.Publisher(r.Context(), thump.PublisherConfig{To: r.to(place)})
		if err != nil {
			r.Error(err)
			return
		}
		for first := 0; first < messages && err == nil; first += 100 {
			if _, err = p.Publish(r.Context(), all[first:first+100]...); err == nil {
				err = p.Flush(r.Context())
			}
			time.Sleep(5 * time.Millisecond)
		}
		if err := errors.Join(err, p.Close(r.Context())); err != nil {
			r.Error(err)
		}
	}()
	for _, name := range []string{"", "reader"} {
		seed := rand.Uint64()
		r.Logf("name %q, seed %d", name, seed)
		random := rand.New(rand.NewPCG(seed, 33))
		client, k := r.dialKilled()
		c, err := client.Consumer(r.Context(), thump.ConsumerConfig{
			From: r.to(place), MaxBatch: 20, Stream: thump.StreamConsuming{Name: name, StoreEvery: 100, Credit: 3},
		})
		r.noError(err)
		acked, got, again, late := map[string]bool{}, map[string]bool{}, 0, 0
		ends := map[string]uint64{}
		for len(got) < messages {
			batch, err := c.Receive(r.Context())
			r.noError(err)
			for i := range batch.Deliveries {
				d := &batch.Deliveries[i]
				body := string(d.Body)
				if got[body] {
					again++
				}
				if acked[body] || name == "" && got[body] {
					r.Fatalf("message %s came again", body)
				}
				if end, ok := ends[batch.Stream]; ok && d.Offset <= end && !got[body] {
					r.Fatalf("message %s at offset %d of %s comes after %d", body, d.Offset, batch.Stream, end)
				}
				got[body] = true
				ends[batch.Stream] = max(ends[batch.Stream], d.Offset)
			}
			if random.IntN(15) == 0 {
				k.kill(random)
			}
			err = batch.Ack()
			if err != nil && (name == "" || !errors.Is(err, thump.ErrStale)) {
				r.Fatal(err)
			}
			if err != nil {
				late++
				continue
			}
			for i := range batch.Deliveries {
				acked[string(batch.Deliveries[i].Body)] = true
			}
		}
		if name != "" {
			r.noError(c.Flush(r.Context())) // which waits for a connection
			r.noError(c.Close(r.Context()))
		} else {
			_ = c.Close(r.Context()) // it may have none just now
		}
		r.Logf("%d connections closed, %d messages came again, %d acks were too late", k.n, again, late)
		if k.n == 0 {
			r.Error("no connection was closed")
		}
	}
}

// testStreamDeclaredAgain: a stream that was deleted and declared again ends its consumer,
// whether it is empty, shorter or longer than before.
func testStreamDeclaredAgain(r *rig) {
	for _, n := range []int{0, 1, 100} {
		stream := r.stream(thump.StreamSpec{})
		r.chunks(stream, 1, 10, 10)
		client, k := r.dialKilled()
		c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Stream(stream)})
		r.noError(err)
		r.receive(c, 20, nil)
		k.outage(func() {
			r.noError(r.client.DeleteStream(r.Context(), stream))
			r.noError(r.client.DeclareStream(r.Context(), thump.StreamSpec{Name: stream}))
			if n > 0 {
				r.chunks(stream, 1, n)
			}
		})
		if _, err = c.Receive(r.Context()); !errors.Is(err, thump.ErrDeclaredAgain) {
			r.Errorf("%d messages: %v", n, err)
		}
		_ = c.Close(r.Context()) // it has ended
	}
}

// testStreamGroupRecovers: a single active consumer that has lost its connection is given
// its turn again, and goes on after what it acked.
func testStreamGroupRecovers(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	r.chunks(stream, 1, 10, 10, 10)
	client, k := r.dialKilled()
	heard := make(chan bool, 100)
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Stream(stream), MaxBatch: 10, Stream: thump.StreamConsuming{
		Name: "reader", SingleActive: true, StoreInterval: time.Hour,
		OnActive: func(_ string, active bool) { heard <- active },
	}})
	if r.lacks("3.11", err) {
		return
	}
	r.inOrder(r.receive(c, 10, (*thump.Batch).Ack), 1)
	k.outage(func() {})
	for i, want := range []bool{true, false, true} {
		select {
		case active := <-heard:
			if active != want {
				r.Errorf("turn %d: active is %t", i, active)
			}
		case <-r.Context().Done():
			r.Fatal("it is not told of its turn")
		}
	}
	r.inOrder(r.receive(c, 20, (*thump.Batch).Ack), 11)
	r.noError(c.Close(r.Context()))
}
