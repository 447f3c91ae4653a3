package conformance

import (
	"context"
	"errors"
	"time"

	"github.com/thumpmq/thump"
)

// What becomes of messages that are not just confirmed.
func outcomeCases() []conformanceCase {
	return []conformanceCase{
		{"outcome/unroutable-in-a-batch", routes, testUnroutable},
		{"outcome/told-apart-by-headers", routes, testToldApart},
		{"outcome/drop-unroutable", routes, testDropUnroutable},
		{"outcome/rejected-by-a-full-queue", refuses, testRejected},
		{"outcome/confirmed-and-dropped-by-a-full-queue", refuses, testDropHead},
		{"outcome/rejected-by-one-of-two-queues", refuses | routes, testRejectedByOne},
		{"outcome/missing-exchange", routes, testMissingExchange},
		{"outcome/queue-deleted-between", deletes | routes, testQueueDeletedBetween},
		{"outcome/queue-deleted-while-publishing", deletes | routes, testQueueDeletedWhile},
		{"outcome/connection-lost", 0, testConnectionLost},
	}
}

// outcomeError expects err to be an *OutcomeError.
func (r *rig) outcomeError(err error) *thump.OutcomeError {
	r.Helper()
	var e *thump.OutcomeError
	if !errors.As(err, &e) {
		r.Fatalf("got error %v, expected an *OutcomeError", err)
	}
	return e
}

// notSent expects the error of a message of which nothing left.
func (r *rig) notSent(err error) {
	r.Helper()
	if !errors.Is(err, thump.ErrNotSent) {
		r.Fatalf("got error %v, expected one that says that a message was not sent", err)
	}
}

// testUnroutable mixes messages that have a queue with some that have none, the
// latter partly equal to one another and to the former.
func testUnroutable(r *rig) {
	const n = 300
	queue, exchange := r.queue(), r.exchange(thump.ExchangeSpec{})
	r.bind(thump.Binding{Source: exchange, Queue: queue, RoutingKey: "here"})
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{To: thump.Exchange(exchange, "here"), OnOutcomes: l.note})
	status := func(ref uint64) thump.Status {
		if ref%3 == 0 || ref%7 == 0 {
			return thump.Returned
		}
		return thump.Confirmed
	}
	msgs := numbered(n)
	returned := 0
	for i := range msgs {
		if status(msgs[i].Ref) == thump.Returned {
			msgs[i].RoutingKey = "nowhere"
			returned++
		}
		switch i % 5 {
		case 0:
			msgs[i].Body = []byte("all the same")
		case 1:
			msgs[i].Body = nil
		case 2:
			msgs[i].Body = everyByte(200_000) // a return of several frames
			msgs[i].Properties = new(everyProperty())
		}
	}
	r.publish(p, msgs...)
	e := r.outcomeError(p.Flush(r.Context()))
	if e.Returned != uint64(returned) || e.Published != n || e.Rejected != 0 || e.Unknown != 0 || e.Err != nil {
		r.Errorf("got %+v, expected %d of %d returned", e, returned, n)
	}
	if want := (thump.Outcome{Ref: 3, Status: thump.Returned, Code: 312, Text: "NO_ROUTE"}); e.First != want {
		r.Errorf("the first that was not confirmed is %+v, expected %+v", e.First, want)
	}
	r.says(e, "312", "NO_ROUTE")
	l.check(r, n, status)
	if got := p.Counts(); got.Returned != uint64(returned) || got.Confirmed != uint64(n-returned) {
		r.Errorf("got %+v, expected %d returned", got, returned)
	}
	r.flush(p) // told once
	r.noError(p.Close(r.Context()))
	r.eventually(queue, n-returned)
}

// testToldApart: where headers decide where a message goes, those decide too whose return
// it is.
func testToldApart(r *rig) {
	const n = 400
	queue, exchange := r.queue(), r.exchange(thump.ExchangeSpec{Kind: "headers"})
	r.bind(thump.Binding{Source: exchange, Queue: queue, Arguments: thump.Table{{Key: "want", Value: "yes"}, {Key: "x-match", Value: "all"}}})
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{To: thump.Exchange(exchange, ""), OnOutcomes: l.note})
	wanted := func(ref uint64) bool { return ref%3 == 0 || ref%7 == 0 }
	msgs := numbered(n)
	stored := 0
	for i := range msgs {
		want := "no"
		if wanted(msgs[i].Ref) {
			want = "yes"
			stored++
		}
		msgs[i].Body = []byte("all the same")
		msgs[i].Properties = &thump.Properties{Headers: thump.Table{{Key: "z", Value: 1}, {Key: "want", Value: want}, {Key: "a", Value: "b"}}}
	}
	r.publish(p, msgs...)
	if e := r.outcomeError(p.Close(r.Context())); e.Returned != uint64(n-stored) {
		r.Errorf("%v", e)
	}
	l.check(r, n, func(ref uint64) thump.Status {
		if wanted(ref) {
			return thump.Confirmed
		}
		return thump.Returned
	})
	r.eventually(queue, stored)
}

func testDropUnroutable(r *rig) {
	exchange := r.exchange(thump.ExchangeSpec{Kind: "fanout"})
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{To: thump.Exchange(exchange, ""), DropUnroutable: true, OnOutcomes: l.note})
	r.publish(p, numbered(50)...)
	r.noError(p.Close(r.Context()))
	l.check(r, 50, always(thump.Confirmed))
}

func testRejected(r *rig) {
	const n, room = 3000, 10
	queue := r.queue(thump.Field{Key: "x-max-length", Value: room}, thump.Field{Key: "x-overflow", Value: "reject-publish"})
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{To: thump.Queue(queue), OnOutcomes: l.note})
	r.publish(p, numbered(n)...)
	e := r.outcomeError(p.Flush(r.Context()))
	got := p.Counts()
	if got.Rejected != e.Rejected || got.Rejected == 0 || got.Confirmed < room || got.Confirmed+got.Rejected != n {
		r.Errorf("got %+v and %+v, expected about %d confirmed and the rest rejected", got, e, room)
	}
	if r.engine.kind == thump.Classic && got.Confirmed != room { // a quorum queue sees that it is full a little late
		r.Errorf("%d messages confirmed, the queue takes %d", got.Confirmed, room)
	}
	if e.First.Status != thump.Rejected || p.Err() != nil {
		r.Errorf("the first that was not confirmed is %+v; the publisher's error is %v", e.First, p.Err())
	}
	r.eventually(queue, int(got.Confirmed))
	// What was confirmed is what is there, by number.
	there := make(map[string]bool)
	for _, d := range r.take(queue, int(got.Confirmed)) {
		there[string(d.Body)] = true
	}
	msgs := numbered(n)
	l.check(r, n, func(ref uint64) thump.Status {
		if there[string(msgs[ref-1].Body)] {
			return thump.Confirmed
		}
		return thump.Rejected
	})
	r.publish(p, numbered(1)...) // room again
	r.noError(p.Close(r.Context()))
}

// testDropHead shows what a confirm is worth with RabbitMQ's default overflow:
// all are confirmed, and the oldest are gone.
func testDropHead(r *rig) {
	const n, room = 1000, 10
	queue := r.queue(thump.Field{Key: "x-max-length", Value: room})
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{To: thump.Queue(queue), OnOutcomes: l.note})
	r.publish(p, numbered(n)...)
	r.noError(p.Close(r.Context()))
	l.check(r, n, always(thump.Confirmed))
	r.eventually(queue, room)
	r.inOrder(r.take(queue, room), n-room+1)
}

// testRejectedByOne has two queues, of which one is full: the message is
// rejected. That the other has it nevertheless is sure of classic queues; a
// quorum queue of 3.10 was seen without it, and Rejected promises nothing.
func testRejectedByOne(r *rig) {
	full := r.queue(thump.Field{Key: "x-max-length", Value: 1}, thump.Field{Key: "x-overflow", Value: "reject-publish"})
	open, exchange := r.queue(), r.exchange(thump.ExchangeSpec{Kind: "fanout"})
	r.bind(thump.Binding{Source: exchange, Queue: full})
	r.bind(thump.Binding{Source: exchange, Queue: open})
	p := r.publisher(thump.PublisherConfig{To: thump.Exchange(exchange, "")})
	published := 0
	for p.Counts().Rejected == 0 && published < 2000 {
		r.publish(p, numbered(1)...)
		published++
		if err := p.Flush(r.Context()); err != nil && r.outcomeError(err).Rejected != 1 {
			r.Fatal(err)
		}
	}
	if p.Counts().Rejected != 1 {
		r.Errorf("%d messages to a queue for 1, none rejected", published)
	}
	r.noError(p.Close(r.Context()))
	if r.engine.kind == thump.Classic {
		r.eventually(open, published)
	} else {
		r.eventually(open, published-1, published)
	}
}

func testMissingExchange(r *rig) {
	const n = 100
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{To: thump.Exchange(unique("missing"), "key"), OnOutcomes: l.note})
	r.publish(p, numbered(n)...)
	err := p.Flush(r.Context())
	e := r.outcomeError(err)
	r.brokerError(err, 404)
	r.says(err, "NOT_FOUND", "100 unknown")
	if e.Unknown != n || e.Published != n || !thump.IsNotFound(err) {
		r.Errorf("got %+v, expected %d unknown", e, n)
	}
	l.check(r, n, always(thump.Unknown))
	<-p.Done()
	r.brokerError(p.Err(), 404)
	accepted, err := p.Publish(r.Context(), numbered(1)...)
	if accepted != 0 {
		r.Errorf("a publisher that has ended accepted a message")
	}
	r.brokerError(err, 404)
	if got := p.Counts(); got.Unknown != n || got.InFlight != 0 {
		r.Errorf("got %+v, expected %d unknown", got, n)
	}
	r.brokerError(p.Close(r.Context()), 404)
}

func testQueueDeletedBetween(r *rig) {
	spec := thump.QueueSpec{Name: unique("queue"), Kind: r.engine.kind}
	queue := r.declare(spec)
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{To: thump.Queue(queue), OnOutcomes: l.note})
	msgs := numbered(30)
	r.publish(p, msgs[:10]...)
	r.flush(p)
	if n, err := r.client.DeleteQueue(r.Context(), queue, thump.DeleteOptions{}); err != nil || n != 10 {
		r.Errorf("deleting: %d messages, %v, expected 10", n, err)
	}
	r.publish(p, msgs[10:20]...)
	if e := r.outcomeError(p.Flush(r.Context())); e.Returned != 10 || e.Published != 10 {
		r.Errorf("got %+v, expected 10 of 10 returned", e)
	}
	r.declare(spec)
	r.publish(p, msgs[20:]...)
	r.noError(p.Close(r.Context()))
	l.check(r, 30, func(ref uint64) thump.Status {
		if ref > 10 && ref <= 20 {
			return thump.Returned
		}
		return thump.Confirmed
	})
}

// testQueueDeletedWhile deletes the queue in the middle of a stream of
// messages: each has one outcome, and none is unknown as long as the broker
// answers. With a quorum queue RabbitMQ before 4.3 does not: 4.0 ends the
// connections that publish to it, with 541, and 3.10 does so or leaves them in
// flow control for ever; then the end of the context is the end.
func testQueueDeletedWhile(r *rig) {
	const n = 20_000
	queue := r.queue()
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{To: thump.Queue(queue), Window: 1000, OnOutcomes: l.note})
	ctx := r.Context()
	stuck := r.engine.kind == thump.Quorum && r.rabbitMQ3()
	if stuck {
		ctx = r.within(5 * time.Second)
	}
	published := make(chan error)
	go func() {
		_, err := p.Publish(ctx, numbered(n)...)
		published <- err
	}()
	for p.Counts().Confirmed == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := r.client.DeleteQueue(r.Context(), queue, thump.DeleteOptions{}); err != nil {
		r.Error(err)
	}
	ended := <-published
	err := p.Close(ctx)
	<-p.Done() // Close does not wait for the callback where ctx has ended
	got := p.Counts()
	if errors.Is(ended, context.DeadlineExceeded) && stuck {
		if e := r.outcomeError(err); e.Unknown == 0 || !errors.Is(e, context.DeadlineExceeded) {
			r.Errorf("got %+v, expected what is not confirmed to be unknown", e)
		}
	} else if ended != nil && r.engine.kind == thump.Quorum {
		r.brokerError(ended, 541)
		r.brokerError(err, 541)
	} else if r.noError(ended); got.Published != n || got.Unknown != 0 || got.Returned == 0 {
		r.Errorf("got %+v (%v), expected each of %d confirmed, returned or rejected", got, err, n)
	}
	if got.InFlight != 0 || got.Confirmed == 0 || got.Confirmed+got.Bad() != got.Published {
		r.Errorf("got %+v", got)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for ref := uint64(1); ref <= got.Published; ref++ {
		if len(l.outcomes[ref]) != 1 {
			r.Fatalf("message %d has the outcomes %v", ref, l.outcomes[ref])
		}
	}
}

// testConnectionLost cuts the connection with messages in flight.
func testConnectionLost(r *rig) {
	const window = 5000
	place := r.place()
	client, cut := r.dialCut()
	l := newLedger()
	p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: r.to(place), Window: window, OnOutcomes: l.note})
	r.noError(err)
	ctx := r.Context()
	ended := make(chan error)
	go func() {
		var n uint64
		for {
			n++
			if _, err := p.Publish(ctx, thump.Message{Ref: n, Body: everyByte(100)}); err != nil {
				ended <- err
				return
			}
		}
	}()
	for p.Counts().Confirmed < 100 {
		time.Sleep(time.Millisecond)
	}
	cut.whileInFlight(p)
	err = <-ended
	r.notSent(err)
	r.says(err, place)
	<-p.Done()
	if p.Err() == nil {
		r.Error("Err is nil after Done")
	}
	e, got := r.outcomeError(p.Close(ctx)), p.Counts()
	r.says(e, "unknown", place)
	if got.InFlight != 0 || got.Unknown == 0 || got.Unknown > window || got.Confirmed+got.Unknown != got.Published {
		r.Errorf("got %+v, expected the window to be unknown", got)
	}
	if e.Unknown != got.Unknown {
		r.Errorf("got %+v and %+v, expected the same to be unknown", got, e)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	unknown := 0
	for ref := uint64(1); ref <= got.Published; ref++ {
		if len(l.outcomes[ref]) != 1 {
			r.Fatalf("message %d has the outcomes %v", ref, l.outcomes[ref])
		}
		if l.outcomes[ref][0].Status == thump.Unknown {
			unknown++
		}
	}
	if uint64(unknown) != got.Unknown {
		r.Errorf("%d outcomes are unknown, Counts says %d", unknown, got.Unknown)
	}
}
