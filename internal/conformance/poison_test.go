package conformance

import (
	"strings"

	"github.com/thumpmq/thump"
)

// One message that is odd ends no consumer: it comes as what it is, and so do its
// neighbours.
func poisonCases() []conformanceCase {
	return []conformanceCase{
		{"poison/header-that-outgrew-its-frame", routes, testDeadLetteredHeader},
		{"poison/header-larger-than-our-frames", gets, testHeaderOverFrame},
		{"poison/type-of-ours", gets, testTypeOfOurs},
		{"poison/odd-entries", offsets, testOddEntries},
		{"poison/largest-batches", offsets, testLargestBatches},
		{"poison/values-over-amqp", offsets, testValuesOverAMQP},
		{"poison/relayed", offsets, testRelayed},
	}
}

// large is a message whose header frame has a little more than n bytes.
func large(n int) thump.Message {
	return thump.Message{Body: []byte("large"), Properties: &thump.Properties{
		Headers: thump.Table{{Key: "large", Value: strings.Repeat("x", n)}},
	}}
}

// among is a message between two others.
func among(m thump.Message) []thump.Message {
	return []thump.Message{{Body: []byte("before")}, m, {Body: []byte("after")}}
}

// comesAmong expects what among made of a large message.
func (r *rig) comesAmong(got []thump.Delivery, header int) {
	r.Helper()
	for i, want := range []string{"before", "large", "after"} {
		if string(got[i].Body) != want {
			r.Errorf("delivery %d is %.60q, expected %q", i, got[i].Body, want)
		}
	}
	properties, err := got[1].Properties()
	r.noError(err)
	if text, _ := properties.Headers.Get("large"); text != strings.Repeat("x", header) {
		r.Errorf("the header came as %.60v", text)
	}
}

// testDeadLetteredHeader: dead-lettering makes a header larger than the frame-max
// that its publisher and its consumer agreed on.
func testDeadLetteredHeader(r *rig) {
	const header = 130_900 // with x-death more than 131,072
	dead := r.queue()
	queue := r.queue(
		thump.Field{Key: "x-message-ttl", Value: 1},
		thump.Field{Key: "x-dead-letter-exchange", Value: ""}, thump.Field{Key: "x-dead-letter-routing-key", Value: dead},
	)
	for _, m := range among(large(header)) {
		r.send(queue, m)
	}
	r.eventually(dead, 3)
	c := r.consumer(thump.ConsumerConfig{From: thump.Queue(dead)})
	got := r.receive(c, 3, nil)
	r.comesAmong(got, header)
	properties, err := got[1].Properties()
	r.noError(err)
	if _, there := properties.Headers.Get("x-death"); !there {
		r.Error("it was not dead-lettered")
	}
	r.leave(c, 3) // nothing was acked: all of it comes again
	r.comesAmong(r.take(dead, 3), header)
}

// testHeaderOverFrame: a consumer with smaller frames than the publisher had.
func testHeaderOverFrame(r *rig) {
	const header = 10_000
	queue := r.queue()
	r.send(queue, append(among(large(header)), among(large(header))...)...)
	cfg := r.config()
	cfg.FrameMax = 8192
	client := r.dial(cfg)
	var got []thump.Delivery
	for range 3 {
		d, ok, err := client.Get(r.Context(), queue)
		if err != nil || !ok {
			r.Fatal(ok, err)
		}
		got = append(got, d)
	}
	r.comesAmong(got, header)
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Queue(queue)})
	r.noError(err)
	r.comesAmong(r.receive(c, 3, (*thump.Batch).Ack), header)
	r.noError(c.Close(r.Context()))
}
