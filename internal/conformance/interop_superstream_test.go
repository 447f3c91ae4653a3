package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	officialamqp "github.com/rabbitmq/rabbitmq-stream-go-client/pkg/amqp"
	"github.com/rabbitmq/rabbitmq-stream-go-client/pkg/message"
	official "github.com/rabbitmq/rabbitmq-stream-go-client/pkg/stream"

	"github.com/thumpmq/thump"
)

// Filters, groups and super streams that thump and the official client share.

// testOfficialFilters has each read what the other one gave filter values.
func testOfficialFilters(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	if !r.paint(stream, coloured(200, "red", "green", "blue")) {
		return
	}
	env := r.environment()
	looked := 0
	filter := official.NewConsumerFilter([]string{"green"}, false, func(m *officialamqp.Message) bool {
		looked++
		return bytes.HasPrefix(m.GetData(), []byte("green "))
	})
	got := r.officialReceive(env, stream, fromFirst().SetFilter(filter), 200)
	for i := range got {
		if want := fmt.Sprint("green ", i+1); string(got[i].message.GetData()) != want {
			r.Fatalf("the official client got %q, expected %q", got[i].message.GetData(), want)
		}
	}
	if looked > 400 {
		r.Errorf("%d of 600 messages came to the official client, and only 200 are green", looked)
	}

	stream = r.stream(thump.StreamSpec{})
	colour := func(m message.StreamMessage) string { return m.GetApplicationProperties()["colour"].(string) }
	for i := range 6 {
		var group []message.StreamMessage
		for j := range 100 {
			m := officialamqp.NewMessage(fmt.Appendf(nil, "%s %d", []string{"red", "green"}[i%2], i/2*100+j+1))
			m.ApplicationProperties = map[string]any{"colour": []string{"red", "green"}[i%2]}
			group = append(group, m)
		}
		r.officialSend(env, stream, official.NewProducerOptions().SetFilter(official.NewProducerFilter(colour)), group...)
	}
	looked = 0
	c := r.consuming(stream, wanted(&looked, "red"))
	r.inColour(r.receive(c, 300, nil), "red", 1)
	r.nothingComes(c)
	r.noError(c.Close(r.Context()))
	if looked > 450 {
		r.Errorf("%d of 600 messages came, and only 300 are red: the broker did not filter", looked)
	}
}

// testOfficialGroup has both in a group of which one is active: when it closes,
// the other goes on.
func testOfficialGroup(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	r.chunks(stream, 1, 10, 10)
	first := r.member(r.client, stream, neverStore("group"))
	if first == nil {
		return
	}
	r.becomes(first, stream)
	env := r.environment()
	arrived := make(chan received, 1000)
	update := func(stream string, active bool) official.OffsetSpecification {
		offset, err := env.QueryOffset("group", stream)
		if err != nil {
			return official.OffsetSpecification{}.First()
		}
		return official.OffsetSpecification{}.Offset(offset + 1)
	}
	second, err := env.NewConsumer(stream, func(ctx official.ConsumerContext, m *officialamqp.Message) {
		arrived <- received{message: m, offset: ctx.Consumer.GetOffset()}
	}, fromFirst().SetConsumerName("group").SetSingleActiveConsumer(official.NewSingleActiveConsumer(update)))
	r.noError(err)
	r.inOrder(r.receive(first.Consumer, 10, (*thump.Batch).Ack), 1)
	r.noError(first.Close(r.Context()))
	got := r.arrive(arrived, 10)
	if got[0].offset != 10 || string(got[9].message.GetData()) != "20" {
		r.Errorf("the official client goes on at offset %d, to %s, expected 10, to 20", got[0].offset, got[9].message.GetData())
	}
	third := r.member(r.client, stream, neverStore("group"))
	r.nothingComes(third.Consumer)
	r.noError(second.StoreCustomOffset(got[4].offset))
	r.stored(stream, "group", 14)
	r.noError(second.Close())
	r.becomes(third, stream)
	r.inOrder(r.receive(third.Consumer, 5, (*thump.Batch).Ack), 16)
	r.noError(third.Close(r.Context()))
}

// testOfficialHash publishes to one super stream with both: the same key leads
// to the same partition. And it has both read it.
func testOfficialHash(r *rig) {
	const n = 300
	env := r.environment()
	super := r.superStream(7)
	key := func(i int) string { return fmt.Sprintf("key %d grüße", i*i) }
	producer, err := env.NewSuperStreamProducer(super, official.NewSuperStreamProducerOptions(
		official.NewHashRoutingStrategy(func(m message.StreamMessage) string { return string(m.GetData()[0]) })))
	r.noError(err)
	confirms := producer.NotifyPublishConfirmation(1)
	go func() {
		for i := range n {
			if err := producer.Send(officialamqp.NewMessage([]byte(key(i)))); err != nil {
				r.Error(err)
			}
		}
	}()
	for confirmed := 0; confirmed < n; {
		select {
		case c := <-confirms:
			confirmed += len(c.ConfirmationStatus)
		case <-time.After(patience):
			r.Fatalf("%d of %d messages confirmed to the official client", confirmed, n)
		}
	}
	r.noError(producer.Close())

	var msgs []thump.Message
	for i := range n {
		msgs = append(msgs, thump.Message{RoutingKey: key(i), Body: []byte(key(i))})
	}
	p := r.publisher(thump.PublisherConfig{To: thump.SuperStream(super)})
	r.publish(p, msgs...)
	r.noError(p.Close(r.Context()))

	where := make(map[string][]string)
	for stream, bodies := range r.contents(super, 2*n) {
		for _, body := range bodies {
			where[body] = append(where[body], stream)
		}
	}
	used := make(map[string]bool)
	for i := range n {
		if w := where[key(i)]; len(w) != 2 || w[0] != w[1] {
			r.Errorf("key %q is in %v, expected the same partition twice", key(i), w)
		} else {
			used[w[0]] = true
		}
	}
	if len(used) != 7 {
		r.Errorf("%d keys are in %d of 7 partitions", n, len(used))
	}
	arrived := make(chan received, 3*n)
	consumer, err := env.NewSuperStreamConsumer(super, func(ctx official.ConsumerContext, m *officialamqp.Message) {
		arrived <- received{stream: ctx.Consumer.GetStreamName(), message: m}
	}, official.NewSuperStreamConsumerOptions().SetOffset(official.OffsetSpecification{}.First()))
	r.noError(err)
	for _, m := range r.arrive(arrived, 2*n) {
		if w := where[string(m.message.GetData())]; len(w) == 0 || w[0] != m.stream {
			r.Errorf("the official client has %q in %s, thump in %v", m.message.GetData(), m.stream, w)
		}
	}
	r.noError(consumer.Close())
}

// testOfficialByKey has both ask the broker which partition a key leads to.
func testOfficialByKey(r *rig) {
	env := r.environment()
	super := r.superStream(3)
	producer, err := env.NewSuperStreamProducer(super, official.NewSuperStreamProducerOptions(
		official.NewKeyRoutingStrategy(func(m message.StreamMessage) string { return string(m.GetData()[0]) })))
	r.noError(err)
	confirms := producer.NotifyPublishConfirmation(10)
	for i := range 3 {
		r.noError(producer.Send(officialamqp.NewMessage(fmt.Append(nil, i))))
	}
	if err := producer.Send(officialamqp.NewMessage([]byte("nowhere"))); !errors.Is(err, official.ErrMessageRouteNotFound) {
		r.Errorf("the official client sends to nowhere: %v", err)
	}
	for confirmed := 0; confirmed < 3; {
		select {
		case c := <-confirms:
			confirmed += len(c.ConfirmationStatus)
		case <-time.After(patience):
			r.Fatalf("%d of 3 messages confirmed to the official client", confirmed)
		}
	}
	r.noError(producer.Close())
	p := r.publisher(thump.PublisherConfig{To: thump.SuperStream(super), Stream: thump.StreamPublishing{RouteByKey: true}})
	for i := range 3 {
		r.publish(p, thump.Message{RoutingKey: fmt.Sprint(i), Body: fmt.Append(nil, i)})
	}
	r.noError(p.Close(r.Context()))
	for stream, got := range r.contents(super, 6) {
		if want := stream[len(super)+1:]; len(got) != 2 || got[0] != want || got[1] != want {
			r.Errorf("%s holds %v, expected %s twice", stream, got, want)
		}
	}
}
