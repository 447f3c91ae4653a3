package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/thumpmq/thump"
)

// How publishing behaves: back-pressure, Flush and Close, what is refused
// before it is sent.
func publishCases() []conformanceCase {
	return []conformanceCase{
		{"publish/window", 0, testWindow},
		{"publish/window-of-one", 0, testWindowOfOne},
		{"publish/flush", 0, testFlush},
		{"publish/close", 0, testPublisherClose},
		{"publish/outcomes-exactly-once", 0, testOutcomesOnce},
		{"publish/eight-goroutines", 0, testEightGoroutines},
		{"publish/refused-before-sending", 0, testRefusedBeforeSending},
		{"publish/body-over-the-limit-of-the-broker", splits, testOverBrokerLimit},
		{"publish/no-confirms", trusts, testNoConfirms},
		{"publish/no-confirms-returned", trusts | routes, testNoConfirmsReturned},
	}
}

// ledger collects outcomes and finds what is wrong with them.
type ledger struct {
	mu       sync.Mutex
	outcomes map[uint64][]thump.Outcome
}

func newLedger() *ledger { return &ledger{outcomes: make(map[uint64][]thump.Outcome)} }

// note is an OnOutcomes.
func (l *ledger) note(outcomes []thump.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range outcomes {
		l.outcomes[o.Ref] = append(l.outcomes[o.Ref], o)
	}
}

// check expects one outcome for each Ref from 1 to n, which has the status that
// want says, and a code and text where that is Returned alone.
func (l *ledger) check(r *rig, n int, want func(ref uint64) thump.Status) {
	r.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.outcomes) != n {
		r.Errorf("outcomes for %d messages, expected %d", len(l.outcomes), n)
	}
	for ref := uint64(1); ref <= uint64(n); ref++ {
		got := l.outcomes[ref]
		if len(got) != 1 {
			r.Fatalf("message %d has %d outcomes, expected one: %v", ref, len(got), got)
		}
		if got[0].Status != want(ref) {
			r.Fatalf("message %d was %v, expected %v", ref, got[0].Status, want(ref))
		}
		right := got[0].Code == 0
		switch got[0].Status {
		case thump.Returned:
			right = got[0].Code == 312 && got[0].Text == "NO_ROUTE"
		case thump.Unknown: // and why
			right = right && got[0].Text != ""
		default:
			right = right && got[0].Text == ""
		}
		if !right {
			r.Fatalf("message %d has the outcome %+v", ref, got[0])
		}
	}
}

// maxMessageBytes is what the broker takes where nobody has configured it.
func (r *rig) maxMessageBytes() int {
	switch {
	case r.engine.streams():
		return 1 << 20 // the largest frame
	case r.rabbitMQ3():
		return 128 << 20
	default:
		return 16 << 20
	}
}

func always(s thump.Status) func(uint64) thump.Status { return func(uint64) thump.Status { return s } }

// testWindow fills the window: Publish waits while the outcomes of as many
// messages have not been handled.
func testWindow(r *rig) {
	const window, n = 10, 100
	release := make(chan struct{})
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{To: r.to(r.place()), Window: window, OnOutcomes: func(o []thump.Outcome) {
		<-release
		l.note(o)
	}})
	ctx, cancel := context.WithCancel(r.Context())
	accepted := make(chan int)
	go func() {
		got, err := p.Publish(ctx, numbered(n)...)
		if !errors.Is(err, context.Canceled) {
			r.Errorf("Publish ended with %v, expected the end of its context", err)
		}
		accepted <- got
	}()
	// Outcomes that are being handled free the window, once: that many more go.
	var held uint64
	for start := time.Now(); time.Since(start) < 500*time.Millisecond; time.Sleep(10 * time.Millisecond) {
		held = max(held, p.Counts().Published)
	}
	if held < window || held > 2*window {
		r.Errorf("%d messages accepted with a window of %d and nobody to take outcomes", held, window)
	}
	cancel()
	got := <-accepted
	if uint64(got) != p.Counts().Published {
		r.Errorf("Publish says that it accepted %d messages, Counts says %d", got, p.Counts().Published)
	}
	close(release)
	r.publish(p, numbered(n)[got:]...) // goes on where it was
	r.noError(p.Close(r.Context()))
	l.check(r, n, always(thump.Confirmed))
}

func testFlush(r *rig) {
	p := r.publisher(thump.PublisherConfig{To: r.to(r.place())})
	r.flush(p) // nothing published
	for range 3 {
		r.publish(p, numbered(500)...)
		before := p.Counts().Published
		r.flush(p)
		if got := p.Counts(); got.Confirmed < before || got.InFlight != 0 || got.Bad() != 0 || got.Sent != 0 {
			r.Errorf("after Flush: %+v, expected %d confirmed", got, before)
		}
	}
	ended, cancel := context.WithCancel(r.Context())
	cancel()
	r.publish(p, numbered(500)...)
	if err := p.Flush(ended); err != nil && !errors.Is(err, context.Canceled) {
		r.Errorf("Flush with an ended context: %v", err)
	}
	r.flush(p)
	r.noError(p.Close(r.Context()))
}

func testPublisherClose(r *rig) {
	place := r.place()
	p := r.publisher(thump.PublisherConfig{To: r.to(place)})
	if p.Err() != nil || p.Blocked() != "" {
		r.Errorf("a new publisher has the error %v and is blocked by %q", p.Err(), p.Blocked())
	}
	r.publish(p, numbered(1000)...)
	r.noError(p.Close(r.Context())) // flushes
	if got := p.Counts(); got.Confirmed != 1000 {
		r.Errorf("after Close: %+v, expected 1000 confirmed", got)
	}
	select {
	case <-p.Done():
	default:
		r.Error("Done is open after Close")
	}
	if !errors.Is(p.Err(), thump.ErrClosed) {
		r.Errorf("after Close Err is %v, expected ErrClosed", p.Err())
	}
	if n, err := p.Publish(r.Context(), numbered(2)...); n != 0 || !errors.Is(err, thump.ErrClosed) {
		r.Errorf("Publish after Close accepted %d, error %v, expected ErrClosed", n, err)
	}
	if err := p.Flush(r.Context()); !errors.Is(err, thump.ErrClosed) {
		r.Errorf("Flush after Close: %v, expected ErrClosed", err)
	}
	r.noError(p.Close(r.Context()))
	r.published(place, 1000)
}

func testOutcomesOnce(r *rig) {
	const n = 20_000
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{To: r.to(r.place()), Window: 700, OnOutcomes: l.note})
	msgs := numbered(n)
	for chunk := range slices.Chunk(msgs[:n-1], 333) {
		r.publish(p, chunk...)
	}
	r.flush(p)
	l.check(r, n-1, always(thump.Confirmed)) // Flush waits for OnOutcomes
	r.publish(p, msgs[n-1])
	r.noError(p.Close(r.Context()))
	l.check(r, n, always(thump.Confirmed)) // and so does Close
}

// testWindowOfOne has one message in flight at a time, on which nothing may wait
// for company.
func testWindowOfOne(r *rig) {
	place := r.place()
	p := r.publisher(thump.PublisherConfig{To: r.to(place), Window: 1})
	r.publish(p, numbered(100)...)
	r.noError(p.Close(r.Context()))
	r.inOrder(r.take(place, 100), 1)
}

// testEightGoroutines shares a publisher: the messages of each goroutine stay
// in order.
func testEightGoroutines(r *rig) {
	list := []thump.StreamPublishing{{}}
	if r.engine.streams() {
		list = append(list, thump.StreamPublishing{SubEntry: 500}, thump.StreamPublishing{SubEntry: 7},
			thump.StreamPublishing{Compression: thump.LZ4}, thump.StreamPublishing{Name: "publisher"})
	}
	for _, way := range list {
		r.eightGoroutines(way)
	}
}

func (r *rig) eightGoroutines(way thump.StreamPublishing) {
	r.Helper()
	const goroutines, each = 8, 1000
	place := r.place()
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{To: r.to(place), Window: 50, OnOutcomes: l.note, Stream: way})
	var group sync.WaitGroup
	for g := range goroutines {
		group.Go(func() {
			var msgs []thump.Message
			for i := range each {
				m := thump.Message{Ref: uint64(g*each + i + 1), Body: fmt.Appendf(nil, "%d %d", g, i)}
				if i%50 == 49 {
					m.Properties = &thump.Properties{MessageID: "one with properties"}
				}
				msgs = append(msgs, m)
			}
			for chunk := range slices.Chunk(msgs, g+1) {
				if _, err := p.Publish(r.Context(), chunk...); err != nil {
					r.Error(err)
					return
				}
			}
			if g%2 == 0 {
				if err := p.Flush(r.Context()); err != nil {
					r.Error(err)
				}
			}
		})
	}
	group.Wait()
	r.noError(p.Close(r.Context()))
	l.check(r, goroutines*each, always(thump.Confirmed))
	next := make([]int, goroutines)
	for _, d := range r.take(place, goroutines*each) {
		var g, i int
		if _, err := fmt.Sscanf(string(d.Body), "%d %d", &g, &i); err != nil || i != next[g] {
			r.Fatalf("message %q came when %d was next (%v)", d.Body, next[g], err)
		}
		next[g]++
	}
}

// unsendable is a message that can't be sent, and what the error says of it.
type unsendable struct {
	name  string
	bad   thump.Message
	words []string
}

// unsendables are messages that the engine can't send, where bodies have limit
// bytes at most.
func (r *rig) unsendables(limit int) []unsendable {
	long := strings.Repeat("x", 256)
	header := func(v any) thump.Message {
		return thump.Message{Properties: &thump.Properties{Headers: thump.Table{{Key: "h", Value: v}}}}
	}
	deep := thump.Table{{Key: "self", Value: nil}}
	deep[0].Value = deep // contains itself
	both := []unsendable{
		{"body over MaxMessageBytes", thump.Message{Body: make([]byte, limit+1)}, []string{fmt.Sprint(limit + 1), fmt.Sprint(limit)}},
		{"header of no AMQP type", header(struct{}{}), []string{"struct {}"}},
		{"headers that contain themselves", header(deep), []string{`"h.self.self`, "nested more than 32 deep"}},
	}
	if r.engine.streams() {
		return append(both,
			unsendable{"an exchange", thump.Message{Exchange: "amq.direct"}, []string{"amq.direct"}},
			unsendable{"headers over a frame", header(strings.Repeat("h", 1<<20)), []string{"10486", "1048576"}},
			unsendable{"a table", header(thump.Table{{Key: "in", Value: 1}}), []string{`"h"`, "stream"}},
			unsendable{"an array", header([]any{1}), []string{`"h"`, "stream"}},
			unsendable{"a decimal", header(thump.Decimal{Value: 1}), []string{`"h"`, "stream"}},
			unsendable{"a PublishingID without a name", thump.Message{PublishingID: 7}, []string{"PublishingID", "Stream.Name"}},
			unsendable{"a FilterValue without filtering", thump.Message{FilterValue: "red"}, []string{"FilterValue", "Stream.Filtered"}},
		)
	}
	return append(both,
		unsendable{"headers over a frame", header(strings.Repeat("h", 200_000)), []string{"2000", "131072"}},
		unsendable{"routing key over 255 bytes", thump.Message{RoutingKey: long}, []string{"256", "255"}},
		unsendable{"exchange over 255 bytes", thump.Message{Exchange: long}, []string{"256", "255"}},
		unsendable{"message id over 255 bytes", thump.Message{Properties: &thump.Properties{MessageID: long}}, []string{"MessageID", "256"}},
		unsendable{"header key over 255 bytes", thump.Message{Properties: &thump.Properties{Headers: thump.Table{{Key: long}}}}, []string{"256"}},
	)
}

func testRefusedBeforeSending(r *rig) {
	const limit = 1000
	refused := r.unsendables(limit)
	place := r.place()
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{To: r.to(place), MaxMessageBytes: limit, OnOutcomes: l.note})
	good := numbered(3 * len(refused))
	for i, c := range refused {
		three := good[3*i : 3*i+3]
		n, err := p.Publish(r.Context(), three[0], three[1], c.bad, three[2])
		if n != 2 {
			r.Errorf("%s: %d messages accepted, expected the 2 before it", c.name, n)
		}
		r.says(err, c.words...)
		if p.Err() != nil {
			r.Fatalf("%s: the publisher ended: %v", c.name, p.Err())
		}
		r.publish(p, three[2])
	}
	r.noError(p.Close(r.Context()))
	l.check(r, len(good), always(thump.Confirmed))
	r.inOrder(r.take(place, len(good)), 1)

	// Without a limit of our own it is the broker's default.
	place = r.place()
	p = r.publisher(thump.PublisherConfig{To: r.to(place)})
	n, err := p.Publish(r.Context(), thump.Message{Body: make([]byte, r.maxMessageBytes()+1)})
	if n != 0 {
		r.Errorf("a body over the broker's limit was accepted")
	}
	r.says(err, fmt.Sprint(r.maxMessageBytes()+1), fmt.Sprint(r.maxMessageBytes()))
	r.publish(p, thump.Message{Body: []byte("still usable")})
	r.noError(p.Close(r.Context()))
	r.take(place, 1)
}

// testOverBrokerLimit lets a body through that the broker may not take: that
// ends the publisher, and it says so.
func testOverBrokerLimit(r *rig) {
	queue := r.queue()
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{To: thump.Queue(queue), MaxMessageBytes: 32 << 20, OnOutcomes: l.note})
	r.publish(p, thump.Message{Ref: 1, Body: everyByte(16<<20 + 1)})
	err := p.Flush(r.Context())
	if r.maxMessageBytes() > 16<<20 {
		r.noError(err)
		l.check(r, 1, always(thump.Confirmed))
		r.take(queue, 1)
		return
	}
	r.brokerError(err, 406)
	r.says(err, "PRECONDITION_FAILED", "the message is unknown")
	l.check(r, 1, always(thump.Unknown))
	<-p.Done()
	r.brokerError(p.Err(), 406)
	r.take(queue, 0)
}

func testNoConfirms(r *rig) {
	const n = 3000
	queue := r.queue()
	p := r.publisher(thump.PublisherConfig{To: thump.Queue(queue), NoConfirms: true})
	r.publish(p, numbered(n)...)
	if got := p.Counts(); got.Published != n || got.InFlight != n || got.Sent != 0 {
		r.Errorf("before Flush: %+v, expected %d in flight", got, n)
	}
	r.flush(p)
	if got := p.Counts(); got.Sent != n || got.Confirmed != 0 || got.InFlight != 0 || got.Bad() != 0 {
		r.Errorf("after Flush: %+v, expected %d sent", got, n)
	}
	r.eventually(queue, n) // without confirms a quorum queue may lose what a channel has just sent as it closes
	r.publish(p, numbered(1)...)
	r.noError(p.Close(r.Context()))
	if got := p.Counts(); got.Sent != n+1 || got.InFlight != 0 || got.Bad() != 0 {
		r.Errorf("after Close: %+v, expected %d sent", got, n+1)
	}
	r.inOrder(r.take(queue, n+1)[:n], 1)
}

func testNoConfirmsReturned(r *rig) {
	exchange := r.exchange(thump.ExchangeSpec{})
	p := r.publisher(thump.PublisherConfig{To: thump.Exchange(exchange, "nobody"), NoConfirms: true})
	r.publish(p, numbered(20)...)
	err := p.Flush(r.Context())
	var outcomes *thump.OutcomeError
	if !errors.As(err, &outcomes) || outcomes.Returned != 20 || outcomes.Published != 20 || outcomes.Err != nil {
		r.Errorf("got %v, expected an *OutcomeError with 20 returned", err)
	}
	if got := p.Counts(); got.Returned != 20 || got.Sent != 0 || got.InFlight != 0 {
		r.Errorf("after Flush: %+v, expected 20 returned", got)
	}
	r.flush(p) // told once
	r.noError(p.Close(r.Context()))
}
