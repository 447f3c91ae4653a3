package conformance

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
)

// rawStream writes entries into a stream as they are, and waits until it has them, or
// reports that the broker has refused them.
func (r *rig) rawStream(stream string, entries int, add func(dst []byte) []byte) (stored bool) {
	r.Helper()
	where, err := url.Parse(r.broker.StreamURL)
	r.noError(err)
	password, _ := where.User.Password()
	conn, err := streamconn.Dial(r.Context(), transport.Config{
		Address: where.Host, Mechanism: "PLAIN", User: where.User.Username(), Password: password, Vhost: "/",
		FrameMax: frameMost, Heartbeat: time.Minute, Timeout: patience, DialContext: new(net.Dialer).DialContext,
	})
	r.noError(err)
	defer conn.Fail(transport.ErrClosed)
	_, err = conn.Call(r.Context(), &streamproto.DeclarePublisher{PublisherID: 7, Stream: stream})
	r.noError(err)
	conn.Lock()
	start := len(conn.Out)
	conn.Out = add(streamproto.BeginPublish(conn.Out, 1, 7))
	streamproto.EndPublish(conn.Out, start, entries)
	conn.WakeWriter()
	conn.Unlock()
	select {
	case <-conn.Done(): // because a confirm comes for what this connection did not publish
		stored = strings.Contains(conn.Err().Error(), "confirms for publisher 7")
		if !stored {
			r.says(conn.Err(), "errors for publisher 7")
		}
	case <-r.Context().Done():
		r.Fatal("no confirm came for raw entries")
	}
	return stored
}

// entry appends an entry as it is.
func entry(dst []byte, id uint64, message string) []byte {
	dst = streamproto.BeginEntry(dst, id)
	start := len(dst)
	dst = append(dst, message...)
	streamproto.EndEntry(dst, start)
	return dst
}

// batched is messages as they are in a batch.
func batched(messages ...string) (data []byte) {
	for _, message := range messages {
		data = streamproto.BeginBatched(data)
		start := len(data)
		data = append(data, message...)
		streamproto.EndBatched(data, start)
	}
	return data
}

// section is a body section that RabbitMQ's clients write around text: code 0x75 for
// data, 0x77 for a value.
func section(section, kind byte, text string) string {
	return string([]byte{0, 0x53, section, kind, byte(len(text))}) + text
}

// oddity is what a program may write into a stream, and how it comes out.
type oddity struct {
	written  string
	format   thump.Format
	body     string // where that is not what was written
	problem  string // in the error of Properties
	overAMQP bool   // RabbitMQ can convert it
}

func oddities() []oddity {
	const header = "\x00\x53\x72\xc1\x1a\x04\xa3\x0ax-exchange\xa1\x01X\xa3\x05x-odd\xa1\x01v"
	return []oddity{
		{written: section(0x75, 0xa0, "bytes"), body: "bytes", overAMQP: true},
		{written: "hello, I am bare bytes", format: thump.FormatRaw, problem: "not a section"},
		{written: "\x00\x01\x02", format: thump.FormatRaw, problem: "not allowed"},
		{written: "", body: ""},
		{written: section(0x77, 0xa1, "a text, ä"), format: thump.FormatString, body: "a text, ä", overAMQP: true},
		{written: header + section(0x77, 0xa1, "with properties"), format: thump.FormatString, body: "with properties", overAMQP: true},
		{written: section(0x77, 0xa0, "\x00\xff"), format: thump.FormatBinary, body: "\x00\xff", overAMQP: true},
		{written: "\x00\x53\x77\xc1\x07\x02\xa1\x01k\xa1\x01v", format: thump.FormatValue, overAMQP: true},
		{written: "\x00\x53\x77\x40", format: thump.FormatValue},
		{written: "\x00\x53\x76\xc0\x04\x02\x54\x01\x41", format: thump.FormatSequence, overAMQP: true},
		{written: "\x00\x53\x73\xc0\x03\x01\x53\x01\x00\x53\x75\xa0\x01b", body: "b"},
		{written: "\x00\x53\x73\xc0\x05\x03\x40\x40\x41\x00" + section(0x75, 0xa0, "healthy"), body: "healthy", problem: "not allowed"},
		{written: "\x00\x53\x75\xa0\x63short", format: thump.FormatRaw, problem: "too short"},
		{written: section(0x75, 0xa0, "last"), body: "last", overAMQP: true},
	}
}

// comesAs expects a delivery to be what was written.
func (r *rig) comesAs(d *thump.Delivery, o *oddity) {
	r.Helper()
	body := o.body
	if o.format >= thump.FormatValue {
		body = o.written
	}
	if d.Format != o.format || string(d.Body) != body {
		r.Errorf("%q came as %v %q, expected %v %q", o.written, d.Format, d.Body, o.format, body)
	}
	_, err := d.Properties()
	switch {
	case o.problem != "":
		r.says(err, o.problem)
	case err != nil:
		r.Errorf("%q: %v", o.written, err)
	}
}

// testOddEntries writes everything that a program may write into a stream, as entries
// and in batches, with an unknown compression among them. Each comes as what it is, and a
// named consumer acks its way past all of them.
func testOddEntries(r *rig) {
	stream := r.place()
	list := oddities()
	unknown := batched(section(0x75, 0xa0, "a"), section(0x75, 0xa0, "b"), section(0x75, 0xa0, "c"))
	var messages []string
	for i := range list {
		messages = append(messages, list[i].written)
	}
	r.rawStream(stream, len(list), func(dst []byte) []byte {
		for i := range list {
			dst = entry(dst, uint64(i), list[i].written)
		}
		return dst
	})
	// RabbitMQ 4.3 refuses it, and drops what follows in the frame.
	hasUnknown := r.rawStream(stream, 1, func(dst []byte) []byte {
		return streamproto.AppendBatch(dst, 0, 5, 3, uint32(len(unknown)), unknown)
	})
	r.rawStream(stream, 2, func(dst []byte) []byte {
		all := batched(messages...)
		dst = streamproto.AppendBatch(dst, 0, 0, len(list), uint32(len(all)), all)
		return entry(dst, 1, section(0x75, 0xa0, "end"))
	})
	n := 2*len(list) + 1
	if hasUnknown {
		n++
	}
	for i, maxBatch := range []int{1000, 1} { // whatever the size of what is acked
		name := fmt.Sprint("reader-", i)
		cfg := thump.ConsumerConfig{From: r.to(stream), MaxBatch: maxBatch, Stream: thump.StreamConsuming{Name: name}}
		c := r.consumer(cfg)
		got := r.receive(c, n+i, (*thump.Batch).Ack)
		r.noError(c.Close(r.Context()))
		if hasUnknown {
			r.comesUnopened(&got[len(list)], unknown, uint64(len(list)+2))
			got = slices.Delete(got, len(list), len(list)+1)
		}
		for j := range list {
			r.comesAs(&got[j], &list[j])
			r.comesAs(&got[len(list)+j], &list[j])
		}
		if last := got[2*len(list)]; string(last.Body) != "end" {
			r.Errorf("the last one is %q", last.Body)
		}

		r.send(stream, thump.Message{Body: []byte("next")})
		c = r.consumer(cfg)
		if next := r.receive(c, 1, (*thump.Batch).Ack); string(next[0].Body) != "next" {
			r.Errorf("the next consumer of that name begins with %v %q", next[0].Format, next[0].Body)
		}
		r.noError(c.Close(r.Context()))
	}
}

func (r *rig) comesUnopened(d *thump.Delivery, data []byte, offset uint64) {
	r.Helper()
	if d.Format != thump.FormatBatch || !slices.Equal(d.Body, data) || d.Offset != offset {
		r.Errorf("the batch came as %v %q at %d", d.Format, d.Body, d.Offset)
	}
	_, err := d.Properties()
	r.says(err, "3 messages", "compression 5 is unknown")
}

// testValuesOverAMQP: the values and sequences that AMQP 1.0 programs write come with
// the same marks to a consumer over AMQP 0-9-1.
func testValuesOverAMQP(r *rig) {
	stream := r.place()
	list := slices.DeleteFunc(oddities(), func(o oddity) bool {
		// RabbitMQ 3.10 closes the connection of whoever comes to a value.
		return !o.overAMQP || r.rabbitMQ3() && o.format != thump.FormatData
	})
	r.rawStream(stream, len(list), func(dst []byte) []byte {
		for i := range list {
			dst = entry(dst, uint64(i), list[i].written)
		}
		return dst
	})
	c := r.consumer(thump.ConsumerConfig{
		From: thump.Queue(stream), Arguments: thump.Table{{Key: "x-stream-offset", Value: "first"}},
	})
	got := r.receive(c, len(list), (*thump.Batch).Ack)
	r.noError(c.Close(r.Context()))
	for i := range list {
		r.comesAs(&got[i], &list[i])
	}
}

// relay publishes what was delivered to another place, as a program does that passes on
// Body and Properties.
func (r *rig) relay(deliveries []thump.Delivery, to thump.Target) error {
	r.Helper()
	p := r.publisher(thump.PublisherConfig{To: to})
	defer func() { r.noError(p.Close(r.Context())) }()
	for i := range deliveries {
		// The error is about what can't be read of the properties.
		properties, _ := deliveries[i].Properties()
		if err := p.Send(r.Context(), thump.Message{Body: deliveries[i].Body, Properties: &properties}); err != nil {
			return err
		}
	}
	return nil
}

// testRelayed passes on what other programs write into a stream: to another stream, and
// through a queue of each kind to a stream, over AMQP 0-9-1 and over the stream protocol.
// What was a value or a sequence of AMQP 1.0 stays one; what can't be passed on is refused.
func testRelayed(r *rig) {
	list := oddities()
	place := r.place()
	r.rawStream(place, len(list), func(dst []byte) []byte {
		for i := range list {
			dst = entry(dst, uint64(i), list[i].written)
		}
		return dst
	})
	got := r.take(place, len(list))
	expect := func(got []thump.Delivery, list []oddity) {
		r.Helper()
		for i := range list {
			o := list[i]
			if o.format == thump.FormatData {
				o.problem = "" // malformed properties were not passed on
			}
			r.comesAs(&got[i], &o)
			if properties, _ := got[i].Properties(); properties.Format != o.format {
				r.Errorf("%q: Properties.Format is %v", o.written, properties.Format)
			}
		}
	}
	second := r.place()
	r.noError(r.relay(got, thump.Stream(second)))
	expect(r.take(second, len(list)), list)

	// AMQP 0-9-1 can't carry what is no message.
	r.says(r.relay(got[1:2], thump.Queue(r.classicQueue())), "Properties.Format is raw", "queue")
	text := slices.IndexFunc(list, func(o oddity) bool { return o.format == thump.FormatString })
	if r.rabbitMQ3() {
		r.says(r.relay(got[text:text+1], thump.Queue(r.classicQueue())), "Properties.Format is string", "RabbitMQ 4.0")
		return
	}
	var values []thump.Delivery
	var odd []oddity
	for i := range list {
		if list[i].overAMQP {
			values, odd = append(values, got[i]), append(odd, list[i])
		}
	}
	for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum} {
		queue := r.declare(thump.QueueSpec{Name: unique("queue"), Kind: kind})
		r.noError(r.relay(values, thump.Queue(queue)))
		c := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue)})
		held := r.receive(c, len(odd), (*thump.Batch).Ack)
		r.noError(c.Close(r.Context()))
		expect(held, odd)
		for _, target := range []func(string) thump.Target{thump.Stream, thump.Queue} { // both protocols
			third := r.place()
			r.noError(r.relay(held, target(third)))
			expect(r.take(third, len(odd)), odd)
		}
	}
}

// testTypeOfOurs: who gives a message that Type and a body of another kind gets the
// body back.
func testTypeOfOurs(r *rig) {
	queue := r.queue()
	bodies := []string{"", "text", "\x00\x53\x75\xa0\x01b", "\x00\x53\x77", strings.Repeat("\x00", 100)}
	for _, body := range bodies {
		r.peerSend(queue, amqp091.Publishing{Type: "amqp-1.0", Body: []byte(body)}) // thump refuses to
	}
	for i, d := range r.take(queue, len(bodies)) {
		if d.Format != thump.FormatData || string(d.Body) != bodies[i] {
			r.Errorf("%q came as %v %q", bodies[i], d.Format, d.Body)
		}
	}
}

// testLargestBatches writes batches that have as many bytes as is accepted, once they are
// uncompressed, one less, and one more. Consumers get through all of them.
func testLargestBatches(r *rig) {
	const most = 64 << 20
	stream := r.place()
	var want []int
	for size := most - 1; size <= most+1; size++ {
		empty := batched("", "")
		data, err := compress.Compress(nil, compress.Zstd, batched("", string(make([]byte, size-len(empty)))))
		r.noError(err)
		stored := r.rawStream(stream, 1, func(dst []byte) []byte {
			return streamproto.AppendBatch(dst, 0, uint8(compress.Zstd), 2, uint32(size), data)
		})
		switch {
		case size <= most && stored:
			want = append(want, 0, size-len(empty))
		case stored: // it comes as it is
			want = append(want, len(data))
		case size <= most || r.rabbitMQ3(): // RabbitMQ 4.3 has the same limit
			r.Errorf("the broker refused a batch of %d bytes", size)
		}
	}
	r.send(stream, thump.Message{Body: []byte("end")})
	want = append(want, 3)
	for _, cfg := range []thump.ConsumerConfig{{}, {MaxBatch: 1, ReuseBuffers: true}} {
		cfg.From = thump.Stream(stream)
		c := r.consumer(cfg)
		var got []int
		for len(got) < len(want) {
			batch, err := c.Receive(r.Context())
			r.noError(err)
			for i := range batch.Deliveries {
				got = append(got, len(batch.Deliveries[i].Body))
			}
		}
		if !slices.Equal(got, want) {
			r.Errorf("%+v: got bodies of %d bytes, expected %d", cfg, got, want)
		}
		r.noError(c.Close(r.Context()))
	}
}
