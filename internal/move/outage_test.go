package move

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// breakable is the connections of one client, which a test can cut.
type breakable struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (b *breakable) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		b.mu.Lock()
		b.conns = append(b.conns, conn)
		b.mu.Unlock()
	}
	return conn, err
}

func (b *breakable) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, conn := range b.conns {
		_ = conn.Close()
	}
	b.conns = nil
}

// TestOutages cuts the connections of the source, and those of the target, at random
// instants. Nothing is lost. What comes again from the source is recognised, though it was
// confirmed when it could not be acked; what was sent again to the target is named.
func TestOutages(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for _, cut := range []string{"source", "target"} {
			for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum} {
				if cut == "target" && kind == thump.Quorum {
					continue // the source's kind is all the same to it
				}
				t.Run(fmt.Sprintf("%s %s", cut, kind), func(t *testing.T) { testOutages(t, b, cut, kind) })
			}
		}
	})
}

func testOutages(t *testing.T, b brokertest.Broker, cut string, kind thump.QueueKind) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	const n = 10_000
	client := dial(t, b)
	var breaks breakable
	broken, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL}, DialContext: breaks.dial, Recovery: thump.Recovery{Off: cut == "source"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broken.Close(context.Background()) })
	job := Job{
		Source: client, From: queue(t, client, thump.QueueSpec{Kind: kind}), Progress: new(Progress),
		Target: client, To: queue(t, client, thump.QueueSpec{Kind: thump.Classic}), Message: Copy(), Limit: n,
	}
	if cut == "source" {
		job.Source = broken
	} else {
		job.Target = broken
	}
	fill(t, client, job.From, n)
	receipt := runAndCut(t, job, random, &breaks)
	if kind == thump.Classic { // a quorum queue may forget the last acks of a channel that ends
		awaitMessages(t, client, job.From, 0)
	}
	info := inspect(t, client, job.To)
	ids := make(map[string]int)
	for _, d := range receive(t, client, job.To, info.Messages) {
		ids[d.MessageID()]++
	}
	t.Logf("%d different of %d messages: taken %d, confirmed %d, acked %d, %d may be twice", len(ids), info.Messages, receipt.Taken, receipt.Confirmed, receipt.Acked, receipt.MayBeTwice)
	if len(ids) != n {
		t.Errorf("%d messages are lost", n-len(ids))
	}
	named := make(map[string]bool)
	for _, double := range receipt.Doubled {
		var id string
		if _, err := fmt.Sscanf(double.Message, "message id %q", &id); err != nil {
			t.Fatalf("%q names no message", double.Message)
		}
		named[id] = true
	}
	for id, times := range ids { // a message may be sent again more than once
		if times > 1 && !named[id] {
			t.Errorf("message %s is there %d times, and was not named", id, times)
			break
		}
	}
	if doubled := info.Messages - n; cut == "source" && doubled > 0 {
		t.Errorf("%d messages are there twice", doubled)
	}
}

// runAndCut runs a move, and cuts the connections three times meanwhile.
func runAndCut(t *testing.T, job Job, random *rand.Rand, breaks *breakable) Receipt {
	t.Helper()
	over := make(chan struct{})
	var cuts sync.WaitGroup
	cuts.Go(func() {
		for range 3 {
			after := job.Progress.Confirmed() + 1 + random.Uint64N(job.Limit/4)
			for job.Progress.Confirmed() < after {
				select {
				case <-over:
					return
				case <-time.After(time.Millisecond):
				}
			}
			breaks.cut()
		}
	})
	receipt, err := Run(t.Context(), job)
	close(over)
	cuts.Wait()
	if err != nil {
		t.Fatalf("%v: %+v", err, receipt)
	}
	return receipt
}

func inspect(t *testing.T, client *thump.Client, queue Place) thump.QueueInfo {
	t.Helper()
	info, err := client.InspectQueue(t.Context(), queue.Name)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// TestAlikeMessagesBehind moves a part of a queue whose messages are all alike, and cuts the
// connections of the source: none of those behind the part is acked for one that was moved.
// Some that were moved may stay: which ones can't be known.
func TestAlikeMessagesBehind(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		client := dial(t, b)
		var breaks breakable
		source, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL}, DialContext: breaks.dial, Recovery: thump.Recovery{Off: true}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = source.Close(context.Background()) })
		const n = 6000
		job := Job{
			Source: source, From: queue(t, client, thump.QueueSpec{Kind: thump.Classic}), Progress: new(Progress),
			Target: client, To: queue(t, client, thump.QueueSpec{Kind: thump.Classic}), Message: Copy(), Limit: n / 2,
		}
		p, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue(job.From.Name)})
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			if _, err := p.Publish(t.Context(), thump.Message{Body: []byte("alike")}); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		receipt := runAndCut(t, job, random, &breaks)
		there, all := inspect(t, client, job.To).Messages, 0
		for begin := time.Now(); all < n && time.Since(begin) < 20*time.Second; time.Sleep(20 * time.Millisecond) {
			all = there + inspect(t, client, job.From).Messages
		}
		t.Logf("%d are there, %d in all, %d may be twice", there, all, receipt.MayBeTwice)
		if all < n {
			t.Errorf("%d of %d messages are in one place or the other: %+v", all, n, receipt)
		}
	})
}
