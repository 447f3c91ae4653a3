package faulttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// queueModel is a broker's queue of numbered messages, which serves one consumer at a
// time.
type queueModel struct {
	mu    sync.Mutex
	ready []int
	gone  map[int]int // acked or rejected, how many times
	out   int         // sent, and not settled yet
	held  int         // unsettled when the last connection ended
	wrong string      // a settlement of what was not out
}

// channelModel is what one connection has out.
type channelModel struct {
	queue     *queueModel
	s         *fakebroker.Session
	prefetch  int
	consuming bool
	tag       uint64
	out       map[uint64]int
}

// serve is a script: a connection with one consumer, which breaks after that many
// bytes in either direction. A client that is closed while it comes back leaves in the middle
// of its login.
func (q *queueModel) serve(written, read int) func(*fakebroker.Session) {
	return func(s *fakebroker.Session) {
		c := &channelModel{queue: q, s: s, out: map[uint64]int{}}
		defer c.end()
		s.MayLeave()
		s.Login()
		s.BreakAfter(written, read)
		s.Serve(c.handle)
	}
}

// end gives back what is out.
func (c *channelModel) end() {
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	c.queue.held = len(c.out)
	c.queue.out -= len(c.out)
	for _, n := range c.out {
		c.queue.ready = append(c.queue.ready, n)
	}
}

func (c *channelModel) handle(r *fakebroker.Received) bool {
	switch m := r.Method.(type) {
	case *amqpproto.BasicQos:
		c.prefetch = int(m.PrefetchCount)
		return false
	case *amqpproto.BasicConsume:
		c.s.Send(1, &amqpproto.BasicConsumeOk{ConsumerTag: m.ConsumerTag})
		c.consuming = true
	case *amqpproto.BasicCancel:
		c.consuming = false
		return false
	case *amqpproto.BasicAck:
		c.settle(m.DeliveryTag, m.Multiple, false)
	case *amqpproto.BasicNack:
		c.settle(m.DeliveryTag, m.Multiple, m.Requeue)
	case *amqpproto.BasicReject:
		c.settle(m.DeliveryTag, false, m.Requeue)
	default:
		return false
	}
	c.deliver()
	return true
}

func (c *channelModel) settle(tag uint64, multiple, requeue bool) {
	q := c.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	everything := tag == 0 && multiple
	if _, ok := c.out[tag]; !ok && !everything {
		q.wrong = fmt.Sprintf("tag %d was settled and is not out", tag)
	}
	for t, n := range c.out {
		if t != tag && (!multiple || t > tag) && !everything {
			continue
		}
		delete(c.out, t)
		q.out--
		if requeue {
			q.ready = append(q.ready, n)
		} else {
			q.gone[n]++
		}
	}
}

func (c *channelModel) deliver() {
	q := c.queue
	q.mu.Lock()
	var frames []byte
	for c.consuming && len(q.ready) > 0 && len(c.out) < c.prefetch {
		c.tag++
		c.out[c.tag] = q.ready[0]
		q.out++
		frames = append(frames, fakebroker.Content(1, 131072,
			&amqpproto.BasicDeliver{ConsumerTag: "thump", DeliveryTag: c.tag, RoutingKey: "q"}, nil, fmt.Append(nil, q.ready[0]))...)
		q.ready = q.ready[1:]
	}
	q.mu.Unlock()
	c.s.Offer(frames)
}

// program is one random use of a consumer.
type program struct {
	*testing.T
	seed   uint64
	random *rand.Rand
	con    *thump.Consumer
	work   sync.WaitGroup

	again    bool        // it comes back: what was lost on the way to the broker is done again
	released atomic.Bool // ReleaseAll was called

	mu   sync.Mutex
	done map[int]int // messages whose ack or reject returned nil, by number
}

// TestConsumerRandom runs random programs of receiving, settling in other goroutines,
// Stop, Close, contexts that end, and connections that break. Every message is
// settled once or back in the queue, nothing is handed out after Close, and Close
// says whether anything was left.
func TestConsumerRandom(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) { randomConsumer(t, seed, noRecovery) })
		if t.Failed() {
			t.Fatal("seed", seed)
		}
	}
}

// TestConsumerRandomComesBack is TestConsumerRandom for a consumer that comes back: no tag
// of one connection reaches another, and what the broker was told the program did, if
// perhaps more than once.
func TestConsumerRandomComesBack(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) { randomConsumer(t, seed, thump.Recovery{}) })
		if t.Failed() {
			t.Fatal("seed", seed)
		}
	}
}

func randomConsumer(t *testing.T, seed uint64, recovery thump.Recovery) {
	random := rand.New(rand.NewPCG(seed, 8))
	const n = 200
	q := &queueModel{gone: map[int]int{}}
	for i := range n {
		q.ready = append(q.ready, i)
	}
	breaks, first := false, true
	var scripts []func(*fakebroker.Session)
	for left := 1; left > 0; left-- {
		written, read := -1, -1
		switch random.IntN(4) {
		case 0:
			written = 500 + random.IntN(15_000)
		case 1:
			read = 500 + random.IntN(4000)
		}
		if first {
			breaks, first = written >= 0 || read >= 0, false
			if !recovery.Off {
				left += random.IntN(8)
			}
		}
		scripts = append(scripts, q.serve(written, read))
	}
	for range 10 { // for those who come back to be told to go
		scripts = append(scripts, q.serve(-1, -1))
	}
	client := faultClient(t, recovery, scripts...)
	p := &program{T: t, seed: seed, random: random, done: map[int]int{}, again: !recovery.Off}
	cfg := thump.ConsumerConfig{From: thump.Queue("q"), Prefetch: 1 + random.IntN(50), MaxBatch: 1 + random.IntN(20)}
	var err error
	p.con, err = client.Consumer(t.Context(), cfg)
	if err != nil {
		if !breaks {
			t.Fatalf("seed %d: %v", seed, err)
		}
		return
	}
	loopCtx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // nothing else ends what comes back
	defer cancel()
	after, end := time.Duration(random.IntN(200))*time.Millisecond, p.ending(q, cancel)
	p.work.Go(func() {
		time.Sleep(after)
		end()
	})
	p.receive(loopCtx)
	closing, give := context.WithTimeout(t.Context(), time.Duration(random.IntN(300))*time.Millisecond)
	defer give()
	for range random.IntN(3) {
		p.work.Go(func() { _ = p.con.Close(closing) })
	}
	begin := time.Now()
	err = p.con.Close(closing)
	if took := time.Since(begin); took > 300*time.Millisecond {
		t.Errorf("seed %d: Close took %v", seed, took)
	}
	if batch, err := p.con.Receive(t.Context()); err == nil {
		t.Errorf("seed %d: received %d after Close", seed, len(batch.Deliveries))
	}
	<-p.con.Done()
	p.work.Wait()
	synctest.Wait()
	p.check(q, err)

	last, err := faultClient(t, noRecovery, q.serve(-1, -1)).Consumer(t.Context(), thump.ConsumerConfig{From: thump.Queue("q")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, over := context.WithTimeout(t.Context(), time.Second)
	defer over()
	for batch, err := range last.Batches(ctx) {
		if err != nil {
			break
		}
		if err := batch.Ack(); err != nil {
			t.Error(err)
		}
	}
	if err := last.Close(t.Context()); err != nil {
		t.Error(err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range n {
		if q.gone[i] != 1 {
			t.Errorf("seed %d: message %d was settled %d times", seed, i, q.gone[i])
		}
	}
}

// ending is one of the ways in which receiving ends from outside.
func (p *program) ending(q *queueModel, cancel func()) func() {
	within := time.Duration(p.random.IntN(100)) * time.Millisecond
	switch p.random.IntN(8) {
	case 0:
		return cancel
	case 1:
		return p.con.Stop
	case 2:
		return func() {
			ctx, over := context.WithTimeout(p.Context(), within)
			defer over()
			_ = p.con.Close(ctx)
		}
	case 4:
		return p.releaseAll(q, within)
	case 5:
		release := p.releaseAll(q, within)
		return func() {
			p.con.Stop()
			release()
		}
	case 6:
		one, other := p.releaseAll(q, within), p.releaseAll(q, within)
		return func() {
			p.work.Go(one)
			other()
		}
	}
	return func() {}
}

// releaseAll gives everything back. One time of so many its context has ended before: that cuts
// the waiting short, and not the giving back. Once ReleaseAll has returned nil, nothing is
// unsettled; once a Flush after it has, the broker has nothing out.
func (p *program) releaseAll(q *queueModel, within time.Duration) func() {
	if p.random.IntN(4) == 0 {
		within = 0
	}
	return func() {
		ctx, over := context.WithTimeout(p.Context(), within)
		defer over()
		p.released.Store(true)
		err := p.con.ReleaseAll(ctx)
		if n := p.con.Stats().Unsettled; err == nil && n > 0 {
			p.Errorf("seed %d: ReleaseAll returned nil, and %d are unsettled", p.seed, n)
		}
		flushing, enough := context.WithTimeout(p.Context(), time.Second)
		defer enough()
		if p.con.Flush(flushing) != nil {
			return
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		if n := p.con.Stats().Unsettled; n > 0 || q.out > 0 {
			p.Errorf("seed %d: ReleaseAll returned %v, Flush nil, %d are unsettled, and the broker has %d out", p.seed, err, n, q.out)
		}
	}
}

// receive hands batches to workers, until that ends or enough came.
func (p *program) receive(ctx context.Context) {
	most := 1 + p.random.IntN(60)
	if p.random.IntN(2) == 0 {
		for range most {
			batch, err := p.con.Receive(ctx)
			if err != nil {
				return
			}
			p.handOver(batch)
		}
		return
	}
	for batch, err := range p.con.Batches(ctx) {
		if err != nil {
			return
		}
		p.handOver(batch)
		if most--; most == 0 {
			if p.random.IntN(2) == 0 {
				return
			}
			p.con.Stop() // the loop goes on to its end
		}
		if most < 0 {
			p.Errorf("seed %d: a batch after Stop in the loop", p.seed)
		}
	}
}

// handOver lets a worker settle a batch in its own time and way.
func (p *program) handOver(b *thump.Batch) {
	numbers := make([]int, len(b.Deliveries))
	for i := range b.Deliveries {
		numbers[i], _ = strconv.Atoi(string(b.Deliveries[i].Body))
	}
	deliveries := slices.Clone(b.Deliveries)
	how, one, pause := p.random.IntN(9), p.random.IntN(len(numbers)), time.Duration(p.random.IntN(20))*time.Millisecond
	settle := func() {
		ok := func(err error, numbers ...int) {
			if err != nil {
				if !errors.Is(err, thump.ErrStale) && (!errors.Is(err, thump.ErrSettled) || !p.released.Load()) {
					p.Errorf("seed %d: settling: %v", p.seed, err)
				}
				return
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, n := range numbers {
				p.done[n]++
			}
		}
		switch how {
		case 0, 1, 2:
			ok(b.Ack(), numbers...)
		case 3:
			ok(b.Reject(), numbers...)
		case 4:
			ok(b.Requeue())
		case 5:
			ok(b.Release())
		case 6:
			ok(deliveries[one].Requeue())
			ok(b.Ack(), slices.Delete(slices.Clone(numbers), one, one+1)...)
		case 7:
			for i := range deliveries {
				ok(deliveries[i].Ack(), numbers[i])
			}
		case 8: // it forgets
			if p.seed%3 != 0 {
				ok(b.Ack(), numbers...)
			}
		}
	}
	if p.random.IntN(3) == 0 {
		settle()
		return
	}
	p.work.Go(func() {
		time.Sleep(pause)
		settle()
	})
}

func (p *program) check(q *queueModel, closed error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if q.wrong != "" {
		p.Errorf("seed %d: %s", p.seed, q.wrong)
	}
	for n, times := range q.gone {
		if times != 1 || p.done[n] == 0 || p.done[n] > 1 && !p.again {
			p.Errorf("seed %d: message %d: the broker was told %d times, the program did it %d times", p.seed, n, times, p.done[n])
		}
	}
	if closed == nil && p.con.Err() != nil && errors.Is(p.con.Err(), thump.ErrClosed) {
		if q.held > 0 {
			p.Errorf("seed %d: Close returned nil, and %d were unsettled", p.seed, q.held)
		}
		if len(q.gone) != len(p.done) && !p.again {
			p.Errorf("seed %d: Close returned nil, and of %d settled the broker has %d", p.seed, len(p.done), len(q.gone))
		}
	}
}

// TestGivesBackWithOneFrame: what was sent and not taken goes back with one frame, where all that
// was taken is settled or goes back as well; else with one for each.
func TestGivesBackWithOneFrame(t *testing.T) {
	for _, test := range []struct {
		name   string
		settle bool
		end    func(ctx context.Context, c *thump.Consumer) error
		want   []amqpproto.BasicNack
	}{
		{"Stop, all is settled", true, stopped, []amqpproto.BasicNack{{Multiple: true, Requeue: true}}},
		{"Stop, some is not settled", false, stopped, []amqpproto.BasicNack{{DeliveryTag: 4, Requeue: true}, {DeliveryTag: 5, Requeue: true}}},
		{"ReleaseAll", false, releasedAll, []amqpproto.BasicNack{{Multiple: true, Requeue: true}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := faultClient(t, noRecovery, func(s *fakebroker.Session) {
					s.Login()
					s.OpenConsumer()
					faultDeliver(s, 1, 5)
					if test.settle {
						fakebroker.Expect[*amqpproto.BasicAck](s)
					}
					cancel, _ := fakebroker.Expect[*amqpproto.BasicCancel](s)
					s.Send(1, &amqpproto.BasicCancelOk{ConsumerTag: cancel.ConsumerTag})
					for _, want := range test.want {
						if got, _ := fakebroker.Expect[*amqpproto.BasicNack](s); *got != want {
							t.Errorf("it sent %+v, want %+v", *got, want)
						}
					}
					s.Discard()
				})
				con, err := client.Consumer(t.Context(), thump.ConsumerConfig{From: thump.Queue("q"), MaxBatch: 3})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second) // everything has come
				batch, err := con.Receive(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if test.settle {
					err = batch.Ack()
				}
				if err := errors.Join(err, test.end(t.Context(), con)); err != nil {
					t.Error(err)
				}
				synctest.Wait()
			})
		})
	}
}

func stopped(_ context.Context, c *thump.Consumer) error {
	c.Stop()
	return nil
}

func releasedAll(ctx context.Context, c *thump.Consumer) error { return c.ReleaseAll(ctx) }

// TestZeroConsumer: what was not made by a client answers with an error, and neither
// panics nor waits.
func TestZeroConsumer(t *testing.T) {
	var con thump.Consumer
	synctest.Test(t, func(t *testing.T) {
		check := func(what string, err error) {
			if err == nil {
				t.Errorf("%s of a zero value: nil", what)
			}
		}
		_, err := con.Receive(t.Context())
		check("Receive", err)
		for _, err := range con.Batches(t.Context()) {
			check("Batches", err)
		}
		con.Stop()
		check("ReleaseAll", con.ReleaseAll(t.Context()))
		check("Flush", con.Flush(t.Context()))
		check("StoreOffset", con.StoreOffset(t.Context()))
		check("Close", con.Close(t.Context()))
		check("Err", con.Err())
		<-con.Done()
		for _, settle := range []func() error{
			new(thump.Batch).Ack, new(thump.Batch).Reject, new(thump.Batch).Requeue, new(thump.Batch).Release,
			new(thump.Delivery).Ack, new(thump.Delivery).Reject, new(thump.Delivery).Requeue, new(thump.Delivery).Release,
		} {
			if err := settle(); !errors.Is(err, thump.ErrSettled) {
				t.Errorf("settling a zero value: %v", err)
			}
		}
	})
}

// TestKeepBlocks: Close, of the consumer and of its client, keeps to its context while
// Keep does not return, and while it closes.
func TestKeepBlocks(t *testing.T) {
	for _, way := range []string{"consumer", "client", "in Keep"} {
		synctest.Test(t, func(t *testing.T) {
			k := &offsetKeeper{}
			client := faultStreamClient(t, k.serve(fakebroker.Numbered(0, 4, 3)...))
			leave := make(chan struct{})
			var con atomic.Pointer[thump.Consumer]
			var once sync.Once
			within := func(close func(context.Context) error) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				begin := time.Now()
				if err := close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
					t.Errorf("%s: closing took %v: %v", way, time.Since(begin), err)
				}
			}
			con.Store(streamConsumer(t, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{
				Name: "me", Filters: []string{"a"},
				Keep: func(*thump.Delivery) bool {
					if way == "in Keep" {
						once.Do(func() { within(con.Load().Close) })
						return true
					}
					<-leave
					return true
				},
			}}))
			var receiving sync.WaitGroup
			receiving.Go(func() {
				for batch, err := range con.Load().Batches(t.Context()) {
					t.Errorf("received %v after Close: %v", batch, err)
				}
			})
			synctest.Wait()
			switch way {
			case "consumer":
				within(con.Load().Close)
			case "client":
				within(client.Close)
			}
			if way != "in Keep" {
				select {
				case <-con.Load().Done():
					t.Error("Done is closed while Keep runs")
				default:
				}
			}
			close(leave)
			receiving.Wait()
			<-con.Load().Done()
		})
	}
}
