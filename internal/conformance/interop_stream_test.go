package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	officialamqp "github.com/rabbitmq/rabbitmq-stream-go-client/pkg/amqp"
	"github.com/rabbitmq/rabbitmq-stream-go-client/pkg/logs"
	"github.com/rabbitmq/rabbitmq-stream-go-client/pkg/message"
	official "github.com/rabbitmq/rabbitmq-stream-go-client/pkg/stream"

	"github.com/thumpmq/thump"
)

// Interoperation with rabbitmq-stream-go-client, RabbitMQ's own Go client for
// streams, both ways.

func TestInteropStream(t *testing.T) {
	t.Parallel()
	logs.SetLogger(silence{})
	eachStreamRig(t, func(r *rig) {
		for _, c := range []struct {
			name string
			run  func(*rig)
		}{
			{"thump-to-official", testToOfficial},
			{"official-to-thump", testFromOfficial},
			{"properties", testOfficialProperties},
			{"offsets", testOfficialOffsets},
			{"publisher-names", testOfficialNames},
			{"filters", testOfficialFilters},
			{"single-active-consumer", testOfficialGroup},
			{"super-stream-by-hash", testOfficialHash},
			{"super-stream-by-key", testOfficialByKey},
		} {
			r.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.run(newRig(t, r.broker, r.engine))
			})
		}
	})
}

// silence is a logger for the official client, which has much to say of every
// connection that is closed.
type silence struct{}

func (silence) Info(string, ...any)  {}
func (silence) Error(string, ...any) {}
func (silence) Debug(string, ...any) {}
func (silence) Warn(string, ...any)  {}

// environment is the official client's. Its sockets get larger buffers than the
// 8 kB that it gives them, with which it is slow.
func (r *rig) environment() *official.Environment {
	r.Helper()
	env, err := official.NewEnvironment(official.NewEnvironmentOptions().SetUri(r.broker.StreamURL).
		SetWriteBuffer(1 << 20).SetReadBuffer(1 << 20))
	r.noError(err)
	r.Cleanup(func() {
		if err := env.Close(); err != nil {
			r.Errorf("the official client: %v", err)
		}
	})
	return env
}

// officialSend publishes with the official client, and waits for the confirms.
func (r *rig) officialSend(env *official.Environment, stream string, o *official.ProducerOptions, msgs ...message.StreamMessage) {
	r.Helper()
	p, err := env.NewProducer(stream, o)
	r.noError(err)
	confirms := p.NotifyPublishConfirmation()
	failed := make(chan error, 1)
	go func() {
		for _, m := range msgs {
			if err := p.Send(m); err != nil {
				failed <- err
				return
			}
		}
	}()
	for confirmed := 0; confirmed < len(msgs); {
		select {
		case list := <-confirms:
			for _, c := range list {
				if !c.IsConfirmed() {
					r.Fatalf("the official client's message was not confirmed: %v", c.GetError())
				}
				confirmed++ // the others of a sub-entry batch are in the list too
			}
		case err := <-failed:
			r.Fatal(err)
		case <-r.T.Context().Done():
			r.Fatal("no confirm")
		case <-time.After(patience):
			r.Fatalf("%d of %d messages confirmed to the official client", confirmed, len(msgs))
		}
	}
	r.noError(p.Close())
}

// officialMessages are n messages with the bodies "1" to "n".
func officialMessages(n int) []message.StreamMessage {
	var list []message.StreamMessage
	for i := range n {
		list = append(list, officialamqp.NewMessage(fmt.Append(nil, i+1)))
	}
	return list
}

// received is a message as the official client has it.
type received struct {
	stream  string
	offset  int64
	message *officialamqp.Message
}

// officialReceive takes n messages with the official client, and expects that
// no more come.
func (r *rig) officialReceive(env *official.Environment, stream string, o *official.ConsumerOptions, n int) []received {
	r.Helper()
	arrived := make(chan received, n+1000)
	c, err := env.NewConsumer(stream, func(ctx official.ConsumerContext, m *officialamqp.Message) {
		arrived <- received{ctx.Consumer.GetStreamName(), ctx.Consumer.GetOffset(), m}
	}, o)
	r.noError(err)
	list := r.arrive(arrived, n)
	r.noError(c.Close())
	return list
}

// arrive takes n messages of a channel, and expects that no more come.
func (r *rig) arrive(arrived <-chan received, n int) []received {
	r.Helper()
	var list []received
	end := time.After(patience)
	for len(list) < n {
		select {
		case m := <-arrived:
			list = append(list, m)
		case <-end:
			r.Fatalf("the official client received %d of %d messages", len(list), n)
		}
	}
	select {
	case m := <-arrived:
		r.Fatalf("the official client received more than %d messages: %q", n, m.message.GetData())
	case <-time.After(100 * time.Millisecond):
	}
	return list
}

// fromFirst are a consumer's options of the official client.
func fromFirst() *official.ConsumerOptions {
	return official.NewConsumerOptions().SetOffset(official.OffsetSpecification{}.First())
}

func testToOfficial(r *rig) {
	const n = 1001
	env := r.environment()
	// Not everyByte: of that, the client's LZ4 (pierrec/lz4 2.6.1) can't even read
	// what it has written itself.
	large := []byte(strings.Repeat("a large body ", 20_000))
	for _, way := range ways() {
		stream := r.stream(thump.StreamSpec{})
		p := r.publishing(stream, way)
		r.publish(p, numbered(n)...)
		r.publish(p, thump.Message{Body: large}, thump.Message{})
		r.noError(p.Close(r.Context()))
		got := r.officialReceive(env, stream, fromFirst(), n+2)
		for i := range n {
			if want := fmt.Sprint(i + 1); string(got[i].message.GetData()) != want || got[i].offset != int64(i) {
				r.Fatalf("%+v: message %d came as %q at offset %d", way, i+1, got[i].message.GetData(), got[i].offset)
			}
		}
		if !bytes.Equal(got[n].message.GetData(), large) || len(got[n+1].message.GetData()) != 0 {
			r.Errorf("%+v: bodies of %d bytes and of none came as %d and %d bytes, or others", way, len(large), len(got[n].message.GetData()), len(got[n+1].message.GetData()))
		}
	}
}

func testFromOfficial(r *rig) {
	const n = 1001
	env := r.environment()
	c := official.Compression{}
	for _, way := range []*official.ProducerOptions{
		official.NewProducerOptions(),
		official.NewProducerOptions().SetSubEntrySize(2).SetCompression(c.None()),
		official.NewProducerOptions().SetSubEntrySize(100).SetCompression(c.None()),
		official.NewProducerOptions().SetSubEntrySize(100).SetCompression(c.Gzip()),
		official.NewProducerOptions().SetSubEntrySize(100).SetCompression(c.Snappy()),
		official.NewProducerOptions().SetSubEntrySize(100).SetCompression(c.Lz4()),
		official.NewProducerOptions().SetSubEntrySize(100).SetCompression(c.Zstd()),
	} {
		stream := r.stream(thump.StreamSpec{})
		r.officialSend(env, stream, way, append(officialMessages(n), officialamqp.NewMessage(everyByte(100_000)), officialamqp.NewMessage(nil))...)
		got := r.take(stream, n+2)
		r.inOrder(got[:n], 1)
		r.offsetsFrom(got, 0)
		if !bytes.Equal(got[n].Body, everyByte(100_000)) || len(got[n+1].Body) != 0 {
			r.Errorf("%v: bodies of 100000 bytes and of none came as %d and %d bytes, or others", way.Compression, len(got[n].Body), len(got[n+1].Body))
		}
	}
}

// testOfficialProperties sends properties both ways. Which section of AMQP 1.0
// holds what is RabbitMQ's to say; what has a place of its own there is compared.
// The official client takes -1 to -128 for 255 to 128.
func testOfficialProperties(r *rig) {
	env := r.environment()
	stream := r.stream(thump.StreamSpec{})
	sent := thump.Table{
		{Key: "text", Value: "grüße"},
		{Key: "true", Value: true},
		{Key: "int8", Value: int8(-8)},
		{Key: "int16", Value: int16(-16)},
		{Key: "int32", Value: int32(-320)},
		{Key: "int64", Value: int64(-640)},
		{Key: "uint8", Value: uint8(8)},
		{Key: "float32", Value: float32(0.5)},
		{Key: "float64", Value: 0.25},
		{Key: "bytes", Value: []byte{0, 1, 2}},
		{Key: "time", Value: time.Unix(1_772_323_199, 0).UTC()},
		{Key: "nothing", Value: nil},
	}
	headers := slices.Clip(sent)
	r.send(stream, thump.Message{Body: []byte("hello"), Properties: &thump.Properties{
		MessageID: "id", CorrelationID: "correlation", ReplyTo: "reply", ContentType: "text/plain", ContentEncoding: "identity",
		UserID: "user", Timestamp: time.Unix(1_772_323_199, 0).UTC(), Headers: append(headers, thump.Field{Key: "x-annotation", Value: "above"}),
	}})
	m := r.officialReceive(env, stream, fromFirst(), 1)[0].message
	want := &officialamqp.MessageProperties{
		MessageID: "id", CorrelationID: "correlation", ReplyTo: "reply", ContentType: "text/plain", ContentEncoding: "identity",
		UserID: []byte("user"), CreationTime: time.Unix(1_772_323_199, 0).UTC(),
	}
	if r.atLeast("4.2") { // where a ReplyTo is an address
		want.ReplyTo = "/queues/reply"
	}
	if m.Properties != nil {
		m.Properties.CreationTime = m.Properties.CreationTime.UTC()
	}
	if !reflect.DeepEqual(m.Properties, want) || string(m.GetData()) != "hello" {
		r.Errorf("thump to official: got %+v, expected %+v", m.Properties, want)
	}
	// Before 3.13 RabbitMQ has all headers there, since then these are annotations.
	if above, isText := m.Annotations["x-annotation"]; isText != r.atLeast("3.13") || isText && above != "above" {
		r.Errorf("thump to official: got the annotations %+v", m.Annotations)
	} else if !isText {
		headers = append(headers, thump.Field{Key: "x-annotation", Value: "above"})
	}
	for _, h := range headers {
		if got := normal(m.ApplicationProperties[h.Key]); !reflect.DeepEqual(got, normal(h.Value)) {
			r.Errorf("thump to official: %s is %#v, expected %#v", h.Key, got, h.Value)
		}
	}
	if len(m.ApplicationProperties) != len(headers) {
		r.Errorf("thump to official: got %+v", m.ApplicationProperties)
	}
	r.officialProperties(env, sent, want)
}

// officialProperties sends properties from the official client to thump, with
// ids of each kind that AMQP 1.0 has.
func (r *rig) officialProperties(env *official.Environment, headers thump.Table, properties *officialamqp.MessageProperties) {
	r.Helper()
	uuid := officialamqp.UUID{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}
	for _, id := range []struct {
		official any
		thump    string
		header   any // instead
	}{
		{"id", "id", nil},
		{uint64(1<<63 + 1), "9223372036854775809", nil},
		{uuid, "urn:uuid:01234567-89ab-cdef-0123-456789abcdef", nil},
		{[]byte("bytes"), "", []byte("bytes")},
		{strings.Repeat("x", 255), strings.Repeat("x", 255), nil},
		{strings.Repeat("x", 256), "", strings.Repeat("x", 256)},
	} {
		stream := r.stream(thump.StreamSpec{})
		m := officialamqp.NewMessage([]byte("hello"))
		given := *properties
		given.MessageID, given.CorrelationID, given.To, given.Subject, given.GroupID = id.official, id.official, "to", "subject", "group"
		m.Properties = &given
		m.Annotations = officialamqp.Annotations{"x-annotation": "above"}
		m.ApplicationProperties = map[string]any{}
		for _, h := range headers {
			m.ApplicationProperties[h.Key] = h.Value
		}
		r.officialSend(env, stream, official.NewProducerOptions(), m)
		d := r.take(stream, 1)[0]
		got, err := d.Properties()
		r.noError(err)
		for _, h := range append(headers, thump.Field{Key: "x-annotation", Value: "above"}) {
			value, there := got.Headers.Get(h.Key)
			if !there || !reflect.DeepEqual(normal(value), normal(h.Value)) {
				r.Errorf("official to thump: %s is %#v, %v, expected %#v", h.Key, value, there, h.Value)
			}
		}
		for _, key := range []string{"x-message-id", "x-correlation-id"} {
			if value, there := got.Headers.Get(key); there != (id.header != nil) || !reflect.DeepEqual(value, id.header) {
				r.Errorf("official to thump: %s is %#v, expected %#v", key, value, id.header)
			}
			got.Headers.Del(key)
		}
		if len(got.Headers) != len(headers)+1 {
			r.Errorf("official to thump: %d headers, expected %d", len(got.Headers), len(headers)+1)
		}
		got.Headers = nil
		want := thump.Properties{
			MessageID: id.thump, CorrelationID: id.thump, ReplyTo: "reply", ContentType: "text/plain", ContentEncoding: "identity",
			UserID: "user", Timestamp: properties.CreationTime, AppID: "group",
		}
		if !reflect.DeepEqual(got, want) || string(d.Body) != "hello" {
			r.Errorf("official to thump: got %+v, expected %+v", got, want)
		}
	}
}

// testOfficialOffsets stores offsets with one and goes on with the other.
func testOfficialOffsets(r *rig) {
	env := r.environment()
	stream := r.stream(thump.StreamSpec{})
	r.chunks(stream, 1, 50, 50)
	c := r.consumer(thump.ConsumerConfig{From: thump.Stream(stream), MaxBatch: 50, Stream: neverStore("reader")})
	r.receive(c, 50, (*thump.Batch).Ack)
	r.noError(c.Close(r.Context()))
	offset, err := env.QueryOffset("reader", stream)
	if err != nil || offset != 49 {
		r.Errorf("thump stored 49, the official client reads %d, %v", offset, err)
	}
	resume := official.NewConsumerOptions().SetConsumerName("reader").SetOffset(official.OffsetSpecification{}.Offset(offset + 1))
	if got := r.officialReceive(env, stream, resume, 50); got[0].offset != 50 || string(got[49].message.GetData()) != "100" {
		r.Errorf("the official client goes on at offset %d, to %s", got[0].offset, got[49].message.GetData())
	}

	arrived := make(chan received, 1000)
	consumer, err := env.NewConsumer(stream, func(ctx official.ConsumerContext, m *officialamqp.Message) {
		if string(m.GetData()) == "70" {
			if err := ctx.Consumer.StoreCustomOffset(ctx.Consumer.GetOffset()); err != nil {
				r.Error(err)
			}
		}
		arrived <- received{message: m}
	}, fromFirst().SetConsumerName("another"))
	r.noError(err)
	r.arrive(arrived, 100)
	r.stored(stream, "another", 69)
	r.noError(consumer.Close())
	c = r.consuming(stream, neverStore("another"))
	r.inOrder(r.receive(c, 30, (*thump.Batch).Ack), 71)
	r.noError(c.Close(r.Context()))
	if _, err := env.QueryOffset("nobody", stream); !errors.Is(err, official.OffsetNotFoundError) {
		r.Errorf("the offset of nobody: %v", err)
	}
}

// testOfficialNames has both publish under one name.
func testOfficialNames(r *rig) {
	env := r.environment()
	stream := r.stream(thump.StreamSpec{})
	r.named(stream, "publisher", thump.StreamPublishing{SubEntry: 7}, 0, withIDs(1, 100)...)
	if id, err := env.QuerySequence("publisher", stream); err != nil || id != 100 {
		r.Errorf("thump published id 100, the official client reads %d, %v", id, err)
	}
	msgs := officialMessages(150)
	for i, m := range msgs {
		m.SetPublishingId(int64(i + 1))
	}
	r.officialSend(env, stream, official.NewProducerOptions().SetProducerName("publisher"), msgs...)
	r.inOrder(r.take(stream, 150), 1)
	r.named(stream, "publisher", thump.StreamPublishing{}, 150, withIDs(120, 200)...)
	r.inOrder(r.take(stream, 200), 1)
}
