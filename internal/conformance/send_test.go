package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thumpmq/thump"
)

// Publishing messages and knowing the outcome of each, and how a publisher ends.
func sendCases() []conformanceCase {
	return []conformanceCase{
		{"send/confirmed", 0, testSendConfirmed},
		{"send/each-its-own-outcome", routes, testSendOwnOutcome},
		{"send/rejected", refuses, testSendRejected},
		{"send/partly", 0, testSendPartly},
		{"send/context-ended", 0, testSendContextEnded},
		{"send/many-goroutines", 0, testSendMany},
		{"send/without-confirms", trusts, testSendWithoutConfirms},
		{"done/each-message-once", 0, testDoneOnce},
		{"flush/possible-counts", routes, testFlushCounts},
		{"close/while-publishing", 0, testCloseWhilePublishing},
		{"close/while-publishing-without-confirms", trusts, testCloseWhileTrusting},
		{"close/callback-blocks", 0, testCloseCallbackBlocks},
		{"close/from-many-goroutines", 0, testCloseFromMany},
		{"close/dropped", 0, testCloseDropped},
	}
}

// spread gives messages routing keys, which a super stream wants.
func spread(msgs []thump.Message) []thump.Message {
	for i := range msgs {
		if msgs[i].RoutingKey == "" {
			msgs[i].RoutingKey = fmt.Sprint("key ", i)
		}
	}
	return msgs
}

// placed makes messages for the engine's place: a queue is addressed by its name
// alone.
func (r *rig) placed(msgs []thump.Message) []thump.Message {
	if r.engine.can&partitions != 0 {
		return spread(msgs)
	}
	return msgs
}

func testSendConfirmed(r *rig) {
	p := r.publisher(thump.PublisherConfig{To: r.to(r.place())})
	r.noError(p.Send(r.Context()))
	for _, n := range []int{1, 2, 500} {
		r.noError(p.Send(r.Context(), r.placed(numbered(n))...))
	}
	if got := p.Counts(); got.Confirmed != 503 || got.Published != 503 {
		r.Errorf("counts %+v", got)
	}
	r.noError(p.Close(r.Context()))
	err := p.Send(r.Context(), r.placed(numbered(1))...)
	if !errors.Is(err, thump.ErrNotSent) || !errors.Is(err, thump.ErrClosed) {
		r.Errorf("after Close: %v", err)
	}
}

// testSendOwnOutcome sends messages that have a queue and messages that have none
// from many goroutines at once: each is told of its own.
func testSendOwnOutcome(r *rig) {
	queue, exchange := r.queue(), r.exchange(thump.ExchangeSpec{})
	r.bind(thump.Binding{Source: exchange, Queue: queue, RoutingKey: "here"})
	p := r.publisher(thump.PublisherConfig{To: thump.Exchange(exchange, "here")})
	var senders sync.WaitGroup
	for i := range 200 {
		senders.Go(func() {
			for j := range 5 {
				m := thump.Message{Ref: uint64(i), Body: fmt.Append(nil, i, j)}
				if i%2 == 1 {
					m.RoutingKey = "nowhere"
				}
				err := p.Send(r.Context(), m)
				var bad *thump.OutcomeError
				switch {
				case i%2 == 0 && err != nil:
					r.Errorf("a message that has a queue: %v", err)
				case i%2 == 1 && (!errors.As(err, &bad) || bad.Returned != 1 || bad.Published != 1 || len(bad.Outcomes) != 1 ||
					bad.Outcomes[0] != thump.Outcome{Ref: uint64(i), Status: thump.Returned, Code: 312, Text: "NO_ROUTE"}):
					r.Errorf("a message that has none: %v", err)
				}
			}
		})
	}
	senders.Wait()
	r.eventually(queue, 500)
}

func testSendRejected(r *rig) {
	queue := r.queue(thump.Field{Key: "x-max-length", Value: 1}, thump.Field{Key: "x-overflow", Value: "reject-publish"})
	p := r.publisher(thump.PublisherConfig{To: thump.Queue(queue)})
	for {
		err := p.Send(r.Context(), numbered(20)...)
		if err == nil { // a quorum queue takes a while to see that it is full
			continue
		}
		bad := r.outcomeError(err)
		if bad.Rejected == 0 || bad.Unknown+bad.Returned+bad.NotSent != 0 || len(bad.Outcomes) != 20 || bad.Published != 20 || bad.Err != nil {
			r.Errorf("%+v", bad)
		}
		counted := uint64(0)
		for i, o := range bad.Outcomes {
			if o.Ref != uint64(i)+1 {
				r.Errorf("outcome %d is of %d", i, o.Ref)
			}
			if o.Status == thump.Rejected {
				counted++
			}
		}
		if counted != bad.Rejected {
			r.Errorf("%d outcomes are Rejected, and the count is %d", counted, bad.Rejected)
		}
		return
	}
}

// testSendPartly: what is before a message that cannot be sent leaves.
func testSendPartly(r *rig) {
	p := r.publisher(thump.PublisherConfig{To: r.to(r.place()), MaxMessageBytes: 1000})
	msgs := r.placed(numbered(5))
	msgs[2].Body = make([]byte, 1001)
	err := p.Send(r.Context(), msgs...)
	bad := r.outcomeError(err)
	if errors.Is(err, thump.ErrNotSent) || bad.NotSent != 3 || bad.Unknown != 0 {
		r.Errorf("%v", err)
	}
	for i, want := range []thump.Status{thump.Confirmed, thump.Confirmed, thump.NotSent, thump.NotSent, thump.NotSent} {
		if bad.Outcomes[i].Status != want || bad.Outcomes[i].Ref != msgs[i].Ref {
			r.Errorf("message %d: %+v, want %v", i, bad.Outcomes[i], want)
		}
	}
	r.says(bad, "3 not sent", "1001 bytes")
	err = p.Send(r.Context(), msgs[2:]...)
	if !errors.Is(err, thump.ErrNotSent) {
		r.Errorf("none of them left: %v", err)
	}
	r.noError(p.Send(r.Context(), msgs[:2]...))
}

func testSendContextEnded(r *rig) {
	p := r.publisher(thump.PublisherConfig{To: r.to(r.place())})
	ended, cancel := context.WithCancel(r.Context())
	cancel()
	if n, err := p.Publish(ended, r.placed(numbered(1000))...); n != 0 || !errors.Is(err, thump.ErrNotSent) || !errors.Is(err, context.Canceled) {
		r.Errorf("Publish accepted %d: %v", n, err)
	}
	if err := p.Send(ended, r.placed(numbered(10))...); !errors.Is(err, thump.ErrNotSent) || !errors.Is(err, context.Canceled) {
		r.Errorf("Send: %v", err)
	}
	if got := p.Counts(); got.Published != 0 {
		r.Errorf("counts %+v", got)
	}
	if err := p.Flush(ended); !errors.Is(err, context.Canceled) {
		r.Errorf("Flush: %v", err)
	}
	for range 50 { // contexts that end at any moment
		ctx, cancel := context.WithTimeout(r.Context(), 300*time.Microsecond)
		err := p.Send(ctx, r.placed(numbered(3))...)
		cancel()
		var bad *thump.OutcomeError
		if err != nil && !errors.Is(err, thump.ErrNotSent) && (!errors.As(err, &bad) || bad.Unknown+bad.NotSent == 0 || bad.First.Text == "" && bad.Unknown > 0) {
			r.Errorf("%v", err)
		}
	}
	if err := p.Flush(r.Context()); err != nil {
		r.Errorf("on a healthy connection: %v", err)
	}
}

func testSendMany(r *rig) {
	p := r.publisher(thump.PublisherConfig{To: r.to(r.place()), Window: 100})
	var senders sync.WaitGroup
	for i := range 500 {
		senders.Go(func() {
			if err := p.Send(r.Context(), thump.Message{Body: fmt.Append(nil, i), RoutingKey: r.routingKey(i)}); err != nil {
				r.Error(err)
			}
		})
	}
	senders.Wait()
	if got := p.Counts(); got.Confirmed != 500 || got.InFlight != 0 {
		r.Errorf("counts %+v", got)
	}
}

// routingKey is one that leads to the engine's place.
func (r *rig) routingKey(i int) string {
	if r.engine.can&partitions != 0 {
		return fmt.Sprint("key ", i)
	}
	return ""
}

func testSendWithoutConfirms(r *rig) {
	p := r.publisher(thump.PublisherConfig{To: r.to(r.place()), NoConfirms: true})
	if err := p.Send(r.Context(), numbered(1)...); !errors.Is(err, thump.ErrNotSent) {
		r.Errorf("got %v", err)
	}
	if got := p.Counts(); got.Published != 0 {
		r.Errorf("counts %+v", got)
	}
}

// testDoneOnce: each message's Done is called once, with its own outcome, beside
// messages without and beside OnOutcomes.
func testDoneOnce(r *rig) {
	for _, collect := range []bool{false, true} {
		const n = 3000
		var told [n + 1]atomic.Int32
		cfg := thump.PublisherConfig{To: r.to(r.place()), Window: 700}
		var collected atomic.Int64
		if collect {
			cfg.OnOutcomes = func(list []thump.Outcome) { collected.Add(int64(len(list))) }
		}
		p := r.publisher(cfg)
		msgs := r.placed(numbered(n))
		for i := range msgs {
			if i%3 == 0 {
				continue
			}
			msgs[i].Done = func(o thump.Outcome) {
				if o.Ref != msgs[i].Ref || o.Status != thump.Confirmed {
					r.Errorf("message %d: %+v", msgs[i].Ref, o)
				}
				told[o.Ref].Add(1)
			}
		}
		r.publish(p, msgs[:n/2]...)
		r.noError(p.Send(r.Context(), msgs[n/2:]...))
		r.noError(p.Close(r.Context()))
		for i := range msgs {
			want := int32(1)
			if i%3 == 0 {
				want = 0
			}
			if got := told[msgs[i].Ref].Load(); got != want {
				r.Errorf("Done of message %d was called %d times, want %d", msgs[i].Ref, got, want)
			}
		}
		if got := collected.Load(); collect && got != n {
			r.Errorf("%d outcomes, want %d", got, n)
		}
	}
}

// testFlushCounts: what Flush says of messages is possible, whoever else publishes
// and flushes.
func testFlushCounts(r *rig) {
	queue, exchange := r.queue(), r.exchange(thump.ExchangeSpec{})
	r.bind(thump.Binding{Source: exchange, Queue: queue, RoutingKey: "here"})
	p := r.publisher(thump.PublisherConfig{To: thump.Exchange(exchange, "here")})
	var returned atomic.Uint64
	var publishers sync.WaitGroup
	for range 8 {
		publishers.Go(func() {
			for i := range 40 {
				msgs := numbered(20)
				if i%2 == 0 {
					for j := range msgs {
						msgs[j].RoutingKey = "nowhere"
					}
				}
				r.publish(p, msgs...)
				if err := p.Flush(r.Context()); err != nil {
					bad := r.outcomeError(err)
					if bad.Returned > bad.Published || bad.Returned == 0 {
						r.Errorf("impossible: %v", bad)
					}
					returned.Add(bad.Returned)
				}
			}
		})
	}
	publishers.Wait()
	if err := p.Close(r.Context()); err != nil {
		returned.Add(r.outcomeError(err).Returned)
	}
	if got := returned.Load(); got != 8*20*20 {
		r.Errorf("%d returned messages were told of, want %d", got, 8*20*20)
	}
}

// testCloseWhilePublishing: Close refuses new messages, and what was accepted ends
// confirmed.
func testCloseWhilePublishing(r *rig) {
	for _, through := range []string{"publisher", "client"} {
		place := r.place()
		client := r.dial(r.config())
		p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: r.to(place)})
		r.noError(err)
		accepted := r.publishUntilClosed(p)
		time.Sleep(50 * time.Millisecond)
		if through == "publisher" {
			r.noError(p.Close(r.Context()))
		} else {
			r.noError(client.Close(r.Context()))
		}
		n := accepted()
		if got := p.Counts(); got.Published != n || got.Confirmed != n || got.InFlight != 0 {
			r.Errorf("closed through the %s: %d accepted, counts %+v", through, n, got)
		}
	}
}

func testCloseWhileTrusting(r *rig) {
	place := r.place()
	p := r.publisher(thump.PublisherConfig{To: r.to(place), NoConfirms: true})
	accepted := r.publishUntilClosed(p)
	time.Sleep(50 * time.Millisecond)
	r.noError(p.Close(r.Context()))
	n := accepted()
	if got := p.Counts(); got.Published != n || got.Sent != n || got.Unknown != 0 {
		r.Errorf("%d accepted, counts %+v", n, got)
	}
	r.eventually(place, int(n))
}

// publishUntilClosed publishes from some goroutines until the publisher is closed.
// accepted waits for them and returns how many messages were accepted.
func (r *rig) publishUntilClosed(p *thump.Publisher) (accepted func() uint64) {
	var n atomic.Uint64
	var publishers sync.WaitGroup
	for range 4 {
		publishers.Go(func() {
			for {
				got, err := p.Publish(r.Context(), r.placed(numbered(50))...)
				n.Add(uint64(got))
				if err != nil {
					if !errors.Is(err, thump.ErrClosed) || !errors.Is(err, thump.ErrNotSent) {
						r.Errorf("publishing while it is closed: %v", err)
					}
					return
				}
			}
		})
	}
	return func() uint64 {
		publishers.Wait()
		return n.Load()
	}
}

// testCloseCallbackBlocks: a callback that does not return holds up no Close beyond
// its context.
func testCloseCallbackBlocks(r *rig) {
	release := make(chan struct{})
	defer close(release)
	client := r.dial(r.config())
	p, err := client.Publisher(r.Context(), thump.PublisherConfig{
		To: r.to(r.place()), OnOutcomes: func([]thump.Outcome) { <-release },
	})
	r.noError(err)
	r.publish(p, r.placed(numbered(100))...)
	begin := time.Now()
	for _, close := range []func(context.Context) error{p.Close, p.Close, client.Close} {
		_ = close(r.within(300 * time.Millisecond))
	}
	if took := time.Since(begin); took > 20*time.Second {
		r.Errorf("three times Close took %v", took)
	}
	select {
	case <-p.Done():
		r.Error("Done is closed, and a callback has not returned")
	default:
	}
}

func testCloseFromMany(r *rig) {
	p := r.publisher(thump.PublisherConfig{To: r.to(r.place())})
	r.publish(p, r.placed(numbered(1000))...)
	var closers sync.WaitGroup
	for range 20 {
		closers.Go(func() {
			if err := p.Close(r.Context()); err != nil {
				r.Error(err)
			}
		})
	}
	closers.Wait()
	<-p.Done()
	if got := p.Counts(); got.Confirmed != 1000 || !errors.Is(p.Err(), thump.ErrClosed) {
		r.Errorf("counts %+v, %v", got, p.Err())
	}
}

// testCloseDropped: a publisher that is dropped with messages in flight comes to its end,
// whether anybody collects outcomes or not, and its error counts what is unknown.
func testCloseDropped(r *rig) {
	place := r.place()
	for _, collect := range []bool{false, true} {
		cfg := thump.PublisherConfig{To: r.to(place)}
		if collect {
			cfg.OnOutcomes = func([]thump.Outcome) {}
		}
		p := r.publisher(cfg)
		r.publish(p, r.placed(numbered(2000))...)
		ended, cancel := context.WithCancel(r.Context())
		cancel()
		err := p.Close(ended)
		select {
		case <-p.Done():
		case <-r.Context().Done():
			r.Fatal("Done stays open")
		}
		got := p.Counts()
		if got.InFlight != 0 || got.Published != 2000 || got.Confirmed+got.Unknown != 2000 {
			r.Errorf("counts %+v", got)
		}
		if bad := r.outcomeError(err); bad.Unknown != got.Unknown {
			r.Errorf("%v, and the counts are %+v", bad, got)
		}
	}
}
