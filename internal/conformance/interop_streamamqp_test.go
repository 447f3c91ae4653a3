package conformance

import (
	"bytes"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/thumpmq/thump"
)

// A stream between the two protocols: what is published over one is consumed
// over the other, with thump and with amqp091-go.

func TestInteropStreamAMQP(t *testing.T) {
	t.Parallel()
	eachStreamRig(t, func(r *rig) {
		for _, c := range []struct {
			name string
			run  func(*rig)
		}{
			{"bodies-to-amqp", testBodiesToAMQP},
			{"properties-to-amqp", testPropertiesToAMQP},
			{"bodies-from-amqp", testBodiesFromAMQP},
			{"properties-from-amqp", testPropertiesFromAMQP},
			{"exchange-and-key-from-amqp", testSourceFromAMQP},
			{"compressed-batches", testCompressedToAMQP},
			{"super-stream", testSuperStreamFromAMQP},
		} {
			r.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.run(newRig(t, r.broker, r.engine))
			})
		}
	})
}

// takeOverAMQP consumes n messages of a stream from the beginning, with thump
// over AMQP.
func (r *rig) takeOverAMQP(stream string, n int) []thump.Delivery {
	r.Helper()
	c := r.consumer(thump.ConsumerConfig{
		From: thump.Queue(stream), Prefetch: 100, Arguments: thump.Table{{Key: "x-stream-offset", Value: "first"}},
	})
	got := r.receive(c, n, (*thump.Batch).Ack)
	r.nothingComes(c)
	r.noError(c.Close(r.Context()))
	return got
}

// peerTakeStream consumes n messages of a stream from the beginning, with
// amqp091-go.
func (r *rig) peerTakeStream(stream string, n int) []amqp091.Delivery {
	r.Helper()
	ch, leave := r.peer()
	defer leave()
	r.noError(ch.Qos(100, 0, false))
	deliveries, err := ch.ConsumeWithContext(r.Context(), stream, "", false, false, false, false, amqp091.Table{"x-stream-offset": "first"})
	r.noError(err)
	var got []amqp091.Delivery
	for len(got) < n {
		select {
		case d, open := <-deliveries:
			if !open {
				r.Fatalf("amqp091-go's consumer ended after %d of %d messages", len(got), n)
			}
			r.noError(d.Ack(false))
			got = append(got, d)
		case <-time.After(patience):
			r.Fatalf("amqp091-go received %d of %d messages", len(got), n)
		}
	}
	return got
}

// testBodiesToAMQP publishes to a stream in all ways that AMQP can read: it has
// message by message, each with its own offset.
func testBodiesToAMQP(r *rig) {
	const n = 500
	for _, way := range []thump.StreamPublishing{{}, {SubEntry: 2}, {SubEntry: 500}, {SubEntry: 65535}} {
		stream := r.stream(thump.StreamSpec{})
		p := r.publishing(stream, way)
		r.publish(p, numbered(n)...)
		r.publish(p, thump.Message{}, thump.Message{Body: everyByte(300_000)})
		r.noError(p.Close(r.Context()))
		ours, theirs := r.takeOverAMQP(stream, n+2), r.peerTakeStream(stream, n+2)
		r.inOrder(ours[:n], 1)
		if len(ours[n].Body) != 0 || !bytes.Equal(ours[n+1].Body, everyByte(300_000)) {
			r.Errorf("%+v: an empty body and one of 300000 bytes came as %d and %d bytes, or others", way, len(ours[n].Body), len(ours[n+1].Body))
		}
		for i := range theirs {
			properties, err := ours[i].Properties()
			r.noError(err)
			offset, _ := properties.Headers.Get("x-stream-offset")
			if offset != int64(i) || theirs[i].Headers["x-stream-offset"] != int64(i) || !bytes.Equal(ours[i].Body, theirs[i].Body) {
				r.Fatalf("%+v: message %d has the offset %v, and %v for amqp091-go, body %.20q and %.20q", way, i, offset, theirs[i].Headers["x-stream-offset"], ours[i].Body, theirs[i].Body)
			}
		}
	}
}

// streamHeaders are headers of every kind that a stream keeps.
func streamHeaders() thump.Table {
	return thump.Table{
		{Key: "true", Value: true},
		{Key: "false", Value: false},
		{Key: "int8", Value: int8(-8)},
		{Key: "int16", Value: int16(-1600)},
		{Key: "int32", Value: int32(-1 << 31)},
		{Key: "int64", Value: int64(-1 << 63)},
		{Key: "uint8", Value: uint8(255)},
		{Key: "uint16", Value: uint16(65535)},
		{Key: "uint32", Value: uint32(1<<32 - 1)},
		{Key: "float32", Value: float32(0.5)},
		{Key: "float64", Value: 1e-300},
		{Key: "string", Value: "grüße"},
		{Key: "empty string", Value: ""},
		{Key: "bytes", Value: []byte{0, 1, 255}},
		{Key: "time", Value: time.Unix(1_772_323_199, 0).UTC()},
		{Key: "nothing", Value: nil},
		{Key: "x-string", Value: "above"},
		{Key: "x-number", Value: int64(7)},
	}
}

// headersToAMQP are those headers as RabbitMQ gives them to AMQP consumers:
// since version 4 bytes are text.
func (r *rig) headersToAMQP() thump.Table {
	list := streamHeaders()
	for i := range list {
		if bytes, ok := list[i].Value.([]byte); ok && !r.rabbitMQ3() {
			list[i].Value = string(bytes)
		}
	}
	return list
}

// streamedProperties are all properties.
func streamedProperties() thump.Properties {
	p := everyProperty()
	p.UserID = "user"
	return p
}

// sameHeaders compares headers without their order, and without x-stream-offset
// and the like, which RabbitMQ adds.
func (r *rig) sameHeaders(what string, got, want thump.Table) {
	r.Helper()
	for _, h := range want {
		value, there := got.Get(h.Key)
		if !there || !reflect.DeepEqual(normal(plain(value)), normal(plain(h.Value))) {
			r.Errorf("%s: header %q is %#v, %v, expected %#v", what, h.Key, value, there, h.Value)
		}
	}
	for _, h := range got {
		if _, expected := want.Get(h.Key); !expected && h.Key != "x-stream-offset" {
			r.Errorf("%s: header %q, %#v, is not expected", what, h.Key, h.Value)
		}
	}
}

// testPropertiesToAMQP publishes with all properties, as entries and in batches.
func testPropertiesToAMQP(r *rig) {
	want, expected := streamedProperties(), r.headersToAMQP()
	want.Headers = streamHeaders()
	for _, way := range []thump.StreamPublishing{{}, {SubEntry: 500}} {
		stream := r.stream(thump.StreamSpec{})
		p := r.publishing(stream, way)
		r.publish(p, thump.Message{Body: []byte("hello"), Properties: &want}, thump.Message{Body: []byte("bare")})
		r.noError(p.Close(r.Context()))
		deliveries := r.takeOverAMQP(stream, 2)
		got, err := deliveries[0].Properties()
		r.noError(err)
		r.sameHeaders("thump over AMQP", got.Headers, expected)
		got.Headers = nil
		without := want
		without.Headers = nil
		if !reflect.DeepEqual(got, without) || string(deliveries[0].Body) != "hello" {
			r.Errorf("thump over AMQP: got\n%+v, expected\n%+v", got, without)
		}
		bare, err := deliveries[1].Properties()
		r.noError(err)
		bare.Headers = nil
		if !reflect.DeepEqual(bare, thump.Properties{DeliveryMode: bare.DeliveryMode}) || bare.DeliveryMode == thump.Transient { // 4.0 says Persistent, the others nothing
			r.Errorf("a message without properties came with %+v", bare)
		}

		d := r.peerTakeStream(stream, 2)[0]
		theirs := thump.Properties{
			ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, DeliveryMode: d.DeliveryMode, Priority: d.Priority,
			CorrelationID: d.CorrelationId, ReplyTo: d.ReplyTo, MessageID: d.MessageId,
			Timestamp: d.Timestamp.UTC(), Type: d.Type, UserID: d.UserId, AppID: d.AppId,
		}
		if ms, err := strconv.Atoi(d.Expiration); err == nil {
			theirs.Expiration = time.Duration(ms) * time.Millisecond
		}
		if !reflect.DeepEqual(theirs, without) || string(d.Body) != "hello" {
			r.Errorf("amqp091-go: got\n%+v, expected\n%+v", theirs, without)
		}
		for _, h := range expected {
			if value := normal(d.Headers[h.Key]); !reflect.DeepEqual(value, normal(h.Value)) {
				r.Errorf("amqp091-go: header %q is %#v, expected %#v", h.Key, value, h.Value)
			}
		}
	}
}

func testBodiesFromAMQP(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	sizes := []int{0, 1, 255, 256, 65535, 131072 - 8, 131072 - 8 + 1, 1_000_000, 0}
	var theirs []amqp091.Publishing
	var ours []thump.Message
	for _, size := range sizes {
		theirs = append(theirs, amqp091.Publishing{Body: everyByte(size)})
		ours = append(ours, thump.Message{Body: everyByte(size)})
	}
	r.peerSend(stream, theirs...)
	p := r.publisher(thump.PublisherConfig{To: thump.Queue(stream)})
	r.publish(p, ours...)
	r.noError(p.Close(r.Context()))
	got := r.take(stream, 2*len(sizes))
	r.offsetsFrom(got, 0)
	for i := range got {
		if size := sizes[i%len(sizes)]; !bytes.Equal(got[i].Body, everyByte(size)) {
			r.Errorf("a body of %d bytes came as %d bytes, or others", size, len(got[i].Body))
		}
	}
}

// testPropertiesFromAMQP publishes over AMQP with all properties, and with
// headers of which a stream drops tables and arrays; RabbitMQ 4 keeps those whose
// key begins with x-.
func testPropertiesFromAMQP(r *rig) {
	want := streamedProperties()
	u, err := url.Parse(r.broker.URL)
	r.noError(err)
	want.UserID = u.User.Username() // RabbitMQ looks whether it is true
	headers := streamHeaders()
	table, array := thump.Table{{Key: "in", Value: "it"}}, []any{"in", "it"}
	above := thump.Table{{Key: "x-table", Value: table}, {Key: "x-array", Value: array}}
	want.Headers = append(slices.Concat(headers, above), thump.Field{Key: "table", Value: table}, thump.Field{Key: "array", Value: array})
	if !r.rabbitMQ3() {
		headers = append(headers, above...)
	}
	stream := r.stream(thump.StreamSpec{})
	p := r.publisher(thump.PublisherConfig{To: thump.Queue(stream)})
	r.publish(p, thump.Message{Body: []byte("hello"), Properties: &want}, thump.Message{Body: []byte("bare")})
	r.noError(p.Close(r.Context()))
	r.peerSend(stream, amqp091.Publishing{
		Body: []byte("hello"), Headers: peerTable(want.Headers), ContentType: want.ContentType, ContentEncoding: want.ContentEncoding,
		DeliveryMode: want.DeliveryMode, Priority: want.Priority, CorrelationId: want.CorrelationID, ReplyTo: want.ReplyTo,
		Expiration: fmt.Sprint(want.Expiration.Milliseconds()), MessageId: want.MessageID, Timestamp: want.Timestamp, Type: want.Type, UserId: want.UserID, AppId: want.AppID,
	})
	deliveries := r.take(stream, 3)
	for i, what := range map[int]string{0: "thump", 2: "amqp091-go"} {
		got, err := deliveries[i].Properties()
		r.noError(err)
		r.sameHeaders(what, got.Headers, headers)
		got.Headers = nil
		without := want
		without.Headers = nil
		if !reflect.DeepEqual(got, without) {
			r.Errorf("%s over AMQP: got\n%+v, expected\n%+v", what, got, without)
		}
		if d := deliveries[i]; string(d.Body) != "hello" || d.Exchange != "" || d.RoutingKey != stream {
			r.Errorf("%s over AMQP: got body %q, exchange %q, routing key %q", what, d.Body, d.Exchange, d.RoutingKey)
		}
	}
	bare, err := deliveries[1].Properties()
	r.noError(err)
	if !reflect.DeepEqual(bare, thump.Properties{DeliveryMode: thump.Persistent}) || string(deliveries[1].Body) != "bare" {
		r.Errorf("got %+v and %q, expected nothing but Persistent", bare, deliveries[1].Body)
	}
}

// testSourceFromAMQP routes messages to a stream.
func testSourceFromAMQP(r *rig) {
	stream, exchange := r.stream(thump.StreamSpec{}), r.exchange(thump.ExchangeSpec{Kind: "topic"})
	r.bind(thump.Binding{Source: exchange, Queue: stream, RoutingKey: "a.#"})
	p := r.publisher(thump.PublisherConfig{To: thump.Exchange(exchange, "a.b")})
	long := "a." + strings.Repeat("é", 126)
	r.publish(p, thump.Message{Body: []byte("1")}, thump.Message{Body: []byte("2"), RoutingKey: long})
	r.noError(p.Close(r.Context()))
	r.chunks(stream, 3, 1)
	got := r.take(stream, 3)
	r.inOrder(got, 1)
	for i, want := range []thump.Delivery{{Exchange: exchange, RoutingKey: "a.b"}, {Exchange: exchange, RoutingKey: long}, {}} {
		if got[i].Exchange != want.Exchange || got[i].RoutingKey != want.RoutingKey {
			r.Errorf("message %d is from exchange %q with the key %q, expected %q and %q", i+1, got[i].Exchange, got[i].RoutingKey, want.Exchange, want.RoutingKey)
		}
	}
}

// testCompressedToAMQP pins what becomes of compressed batches that are read
// over AMQP: RabbitMQ 3 closes the connection, and RabbitMQ 4 leaves the
// messages out without a word. That is why compression is a choice.
func testCompressedToAMQP(r *rig) {
	cfg := r.config()
	cfg.Recovery.Off = true // it would come back for ever
	client := r.dial(cfg)
	for _, c := range compressions()[1:] {
		stream := r.stream(thump.StreamSpec{})
		r.chunks(stream, 1, 3)
		p := r.publishing(stream, thump.StreamPublishing{Compression: c})
		r.publish(p, numbered(6)[3:]...)
		r.noError(p.Close(r.Context()))
		r.chunks(stream, 7, 3)
		r.inOrder(r.take(stream, 9), 1) // over the stream protocol all are there
		con, err := client.Consumer(r.Context(), thump.ConsumerConfig{
			From: thump.Queue(stream), Prefetch: 100, Arguments: thump.Table{{Key: "x-stream-offset", Value: "first"}},
		})
		r.noError(err)
		if !r.rabbitMQ3() {
			got := r.receive(con, 6, (*thump.Batch).Ack)
			r.nothingComes(con)
			if bodies(got) != "1 2 3 7 8 9" {
				r.Errorf("%v: got %s", c, bodies(got))
			}
			last, err := got[3].Properties()
			r.noError(err)
			if offset, _ := last.Headers.Get("x-stream-offset"); offset != int64(6) {
				r.Errorf("%v: message 7 has the offset %v", c, offset)
			}
			r.noError(con.Close(r.Context()))
			continue
		}
		for err == nil {
			_, err = con.Receive(r.Context())
		}
		r.brokerError(err, 541)
	}
}

// testSuperStreamFromAMQP publishes to a super stream's exchange over AMQP, which
// is there with every version, and reads it as a super stream.
func testSuperStreamFromAMQP(r *rig) {
	super := r.superStream(3)
	p := r.publisher(thump.PublisherConfig{To: thump.Exchange(super, "")})
	for i := range 30 {
		r.publish(p, thump.Message{RoutingKey: fmt.Sprint(i % 3), Body: fmt.Append(nil, i)})
	}
	r.noError(p.Close(r.Context()))
	for stream, got := range r.contents(super, 30) {
		for i, body := range got {
			if want := fmt.Sprint(3*i + int(stream[len(stream)-1]-'0')); body != want {
				r.Errorf("message %d of %s is %s, expected %s", i, stream, body, want)
			}
		}
	}
}
