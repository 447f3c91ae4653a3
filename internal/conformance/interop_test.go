package conformance

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/thumpmq/thump"
)

// Interoperation with amqp091-go, RabbitMQ's own Go client, both ways: what one
// sends the other receives, on every engine.

func TestInterop(t *testing.T) {
	t.Parallel()
	eachRig(t, func(r *rig) {
		for _, e := range engines() {
			for _, c := range []struct {
				name  string
				needs ability
				run   func(*rig)
			}{
				{"bodies", splits | settles, testInteropBodies},
				{"properties", tables, testInteropProperties},
				{"returns", routes, testInteropReturns},
				{"confirms", settles, testInteropConfirms},
				{"acks", settles, testInteropAcks},
			} {
				if c.needs&^e.can == 0 {
					r.Run(e.name+"/"+c.name, func(t *testing.T) { c.run(newRig(t, r.broker, e)) })
				}
			}
		}
	})
}

// peer opens a channel of amqp091-go on a connection of its own. Closing the
// connection may happen more than once.
func (r *rig) peer() (*amqp091.Channel, func()) {
	r.Helper()
	conn, err := amqp091.Dial(r.broker.URL)
	r.noError(err)
	leave := func() { _ = conn.Close() }
	r.Cleanup(leave)
	ch, err := conn.Channel()
	r.noError(err)
	return ch, leave
}

// peerSend publishes to a queue with amqp091-go, and waits for the confirms.
func (r *rig) peerSend(queue string, msgs ...amqp091.Publishing) {
	r.Helper()
	ch, leave := r.peer()
	defer leave()
	r.noError(ch.Confirm(false))
	for _, m := range msgs {
		confirm, err := ch.PublishWithDeferredConfirmWithContext(r.Context(), "", queue, true, false, m)
		r.noError(err)
		if !confirm.Wait() {
			r.Fatal("the broker refused amqp091-go's message")
		}
	}
}

// peerReceive takes n messages off a queue with amqp091-go and acks them.
func (r *rig) peerReceive(queue string, n int) []amqp091.Delivery {
	r.Helper()
	ch, leave := r.peer()
	defer leave() // or its consumer would take what is sent next
	ctx := r.Context()
	deliveries, err := ch.ConsumeWithContext(ctx, queue, "", false, false, false, false, nil)
	r.noError(err)
	var got []amqp091.Delivery
	for len(got) < n {
		select {
		case d, open := <-deliveries:
			if !open {
				r.Fatal("amqp091-go's consumer ended")
			}
			r.noError(d.Ack(false))
			got = append(got, d)
		case <-ctx.Done():
			r.Fatalf("amqp091-go received %d of %d messages", len(got), n)
		}
	}
	return got
}

func testInteropBodies(r *rig) {
	sizes := []int{0, 1, 65535, 131072 - 8, 131072 - 8 + 1, 0, 2 * (131072 - 8), 1_000_000, 0}
	var ours []thump.Message
	var theirs []amqp091.Publishing
	for _, size := range sizes {
		ours = append(ours, thump.Message{Body: everyByte(size)})
		theirs = append(theirs, amqp091.Publishing{Body: everyByte(size)})
	}
	queue := r.queue()
	r.send(queue, ours...)
	for i, d := range r.peerReceive(queue, len(sizes)) {
		if !bytes.Equal(d.Body, everyByte(sizes[i])) {
			r.Errorf("thump to amqp091-go: a body of %d bytes came as %d bytes, or others", sizes[i], len(d.Body))
		}
	}
	r.peerSend(queue, theirs...)
	for i, d := range r.take(queue, len(sizes)) {
		if !bytes.Equal(d.Body, everyByte(sizes[i])) {
			r.Errorf("amqp091-go to thump: a body of %d bytes came as %d bytes, or others", sizes[i], len(d.Body))
		}
	}
}

// peerTable is a table as amqp091-go has it: without order, and without unsigned
// integers of 16 and 32 bits, which it can read but not always write.
func peerTable(t thump.Table) amqp091.Table {
	if t == nil {
		return nil
	}
	m := amqp091.Table{}
	for _, f := range t {
		m[f.Key] = peerValue(f.Value)
	}
	return m
}

func peerValue(v any) any {
	switch v := plain(v).(type) {
	case thump.Table:
		return peerTable(v)
	case []any:
		list := []any{}
		for _, item := range v {
			list = append(list, peerValue(item))
		}
		return list
	case thump.Decimal:
		return amqp091.Decimal{Scale: v.Scale, Value: v.Value}
	default:
		return v
	}
}

// normal makes equal what is equal: times of different zones, nothing and
// nil.
func normal(v any) any {
	switch v := v.(type) {
	case time.Time:
		return v.UTC()
	case []byte:
		return append([]byte{}, v...)
	case []any:
		list := []any{}
		for _, item := range v {
			list = append(list, normal(item))
		}
		return list
	case amqp091.Table:
		m := amqp091.Table{}
		for k, item := range v {
			m[k] = normal(item)
		}
		return m
	default:
		return v
	}
}

// interopHeaders are everyHeader's, each key once.
func interopHeaders() thump.Table {
	var t thump.Table
	for _, f := range everyHeader() {
		if _, there := t.Get(f.Key); !there {
			t = append(t, f)
		}
	}
	return t
}

func testInteropProperties(r *rig) {
	want := everyProperty()
	want.Headers = interopHeaders()
	theirs := amqp091.Publishing{
		Headers: peerTable(want.Headers), ContentType: want.ContentType, ContentEncoding: want.ContentEncoding,
		DeliveryMode: want.DeliveryMode, Priority: want.Priority, CorrelationId: want.CorrelationID,
		ReplyTo: want.ReplyTo, Expiration: fmt.Sprint(want.Expiration.Milliseconds()), MessageId: want.MessageID,
		Timestamp: want.Timestamp, Type: want.Type, AppId: want.AppID, Body: []byte("body"),
	}
	queue := r.queue()
	r.send(queue, thump.Message{Body: theirs.Body, Properties: &want})
	d := r.peerReceive(queue, 1)[0]
	got := amqp091.Publishing{
		Headers: d.Headers, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding,
		DeliveryMode: d.DeliveryMode, Priority: d.Priority, CorrelationId: d.CorrelationId,
		ReplyTo: d.ReplyTo, Expiration: d.Expiration, MessageId: d.MessageId,
		Timestamp: d.Timestamp.UTC(), Type: d.Type, AppId: d.AppId, Body: d.Body,
	}
	r.samePeer(got, theirs)

	r.peerSend(queue, theirs)
	properties, err := r.firstProperties(queue)
	r.noError(err)
	// amqp091-go writes a table in Go's random order.
	gotHeaders, wantHeaders := normal(peerTable(properties.Headers)), normal(peerTable(want.Headers))
	if !reflect.DeepEqual(gotHeaders, wantHeaders) {
		r.Errorf("amqp091-go to thump:\ngot  %#v\nwant %#v", gotHeaders, wantHeaders)
	}
	properties.Headers, want.Headers = nil, nil
	if !reflect.DeepEqual(properties, want) {
		r.Errorf("amqp091-go to thump:\ngot  %#v\nwant %#v", properties, want)
	}

	// And nothing set at all, which thump fills in with Persistent.
	r.send(queue, thump.Message{})
	if d := r.peerReceive(queue, 1)[0]; d.DeliveryMode != 2 || len(d.Headers) != 0 || d.ContentType != "" || len(d.Body) != 0 {
		r.Errorf("an empty message of thump's came as %+v", d)
	}
	r.peerSend(queue, amqp091.Publishing{})
	if properties, err = r.firstProperties(queue); err != nil || !reflect.DeepEqual(properties, thump.Properties{}) && !reflect.DeepEqual(properties, thump.Properties{DeliveryMode: 1}) {
		r.Errorf("an empty message of amqp091-go's came as %+v, %v", properties, err)
	}
}

func (r *rig) firstProperties(queue string) (thump.Properties, error) {
	r.Helper()
	return r.take(queue, 1)[0].Properties()
}

func (r *rig) samePeer(got, want amqp091.Publishing) {
	r.Helper()
	for key, value := range want.Headers {
		if !reflect.DeepEqual(normal(got.Headers[key]), normal(value)) {
			r.Errorf("thump to amqp091-go: header %.20q: got %#v, expected %#v", key, got.Headers[key], value)
		}
	}
	if len(got.Headers) != len(want.Headers) {
		r.Errorf("thump to amqp091-go: %d headers, expected %d", len(got.Headers), len(want.Headers))
	}
	got.Headers, want.Headers = nil, nil
	if !reflect.DeepEqual(got, want) {
		r.Errorf("thump to amqp091-go:\ngot  %#v\nwant %#v", got, want)
	}
}

// testInteropReturns compares what each client is told of an unroutable
// message.
func testInteropReturns(r *rig) {
	exchange := r.exchange(thump.ExchangeSpec{})
	ch, leave := r.peer()
	defer leave()
	returns := ch.NotifyReturn(make(chan amqp091.Return, 1))
	m := amqp091.Publishing{Body: everyByte(200_000), Headers: peerTable(interopHeaders())}
	r.noError(ch.PublishWithContext(r.Context(), exchange, "nowhere", true, false, m))
	theirs := <-returns

	var ours []thump.Outcome
	p := r.publisher(thump.PublisherConfig{To: thump.Exchange(exchange, "nowhere"), OnOutcomes: func(o []thump.Outcome) { ours = append(ours, o...) }})
	r.publish(p, thump.Message{Ref: 7, Body: m.Body, Properties: &thump.Properties{Headers: interopHeaders()}})
	_ = p.Close(r.Context()) // says that it was returned
	want := thump.Outcome{Ref: 7, Status: thump.Returned, Code: theirs.ReplyCode, Text: theirs.ReplyText}
	if len(ours) != 1 || ours[0] != want {
		r.Errorf("thump was told %+v, amqp091-go %+v", ours, want)
	}
}

// testInteropConfirms lets both publish to a queue that is soon full.
func testInteropConfirms(r *rig) {
	queue := r.queue(thump.Field{Key: "x-max-length", Value: 5}, thump.Field{Key: "x-overflow", Value: "reject-publish"})
	ch, leave := r.peer()
	defer leave()
	r.noError(ch.Confirm(false))
	acked := 0
	for range 10 {
		confirm, err := ch.PublishWithDeferredConfirmWithContext(r.Context(), "", queue, true, false, amqp091.Publishing{Body: []byte("theirs")})
		r.noError(err)
		if confirm.Wait() {
			acked++
		}
	}
	p := r.publisher(thump.PublisherConfig{To: thump.Queue(queue)})
	r.publish(p, numbered(10)...)
	_ = p.Close(r.Context()) // says that they were rejected
	got := p.Counts()
	if acked < 5 || acked == 10 || got.Rejected != 10 {
		r.Errorf("amqp091-go had %d of 10 confirmed, thump %+v; the queue takes 5", acked, got)
	}
	r.eventually(queue, acked)
}

// testInteropAcks shares a queue: what one acked the other does not see, and
// what one requeued the other gets, redelivered.
func testInteropAcks(r *rig) {
	queue := r.queue()
	ch, leave := r.peer()
	defer leave()
	r.send(queue, numbered(10)...)
	for i := range 10 {
		var d amqp091.Delivery
		for ok := false; !ok; { // Get may find the queue not ready yet
			var err error
			d, ok, err = ch.Get(queue, false)
			r.noError(err)
		}
		if want := fmt.Sprint(i + 1); string(d.Body) != want {
			r.Fatalf("amqp091-go got message %s, expected %s", d.Body, want)
		}
		if i%2 == 0 {
			r.noError(d.Ack(false))
		}
	}
	r.noError(ch.Close())
	left := make(map[string]bool) // a quorum queue gives them back in another order
	for _, d := range r.take(queue, 5) {
		left[string(d.Body)] = d.Redelivered
	}
	if want := map[string]bool{"2": true, "4": true, "6": true, "8": true, "10": true}; !reflect.DeepEqual(left, want) {
		r.Errorf("thump got the messages %v with their redelivered flags, expected %v", left, want)
	}
	r.send(queue, numbered(3)...)
	c := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue)})
	ours := r.receive(c, 3, nil)
	r.noError(ours[1].Ack())
	r.noError(ours[0].Requeue())
	r.noError(ours[2].Release())
	r.noError(c.Close(r.Context()))
	for _, d := range r.peerReceive(queue, 2) {
		if string(d.Body) == "2" || !d.Redelivered {
			r.Errorf("amqp091-go got message %s, redelivered %v", d.Body, d.Redelivered)
		}
	}
}
