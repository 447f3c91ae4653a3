package conformance

import (
	"bytes"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
)

// What is published arrives: bodies, properties, order, number.
func messageCases() []conformanceCase {
	return []conformanceCase{
		{"message/properties", 0, testProperties},
		{"message/headers", tables, testHeaders},
		{"message/random", 0, testRandomMessages},
		{"message/expiration", settles, testExpiration},
		{"message/no-properties", 0, testNoProperties},
		{"message/body-sizes", 0, testBodySizes},
		{"message/small-frames", splits, testSmallFrames},
		{"message/body-of-16-MiB", splits, testLargestBody},
		{"message/batches-in-order", 0, testBatchesInOrder},
		{"message/body-valid-until-the-next-batch", settles, testBodyLifetime},
		{"message/100000-exactly-once", 0, testManyExactlyOnce},
	}
}

// scalarHeaders has a header of every type but tables, arrays and decimals.
func scalarHeaders() thump.Table {
	return thump.Table{
		{Key: "true", Value: true},
		{Key: "false", Value: false},
		{Key: "int8", Value: int8(-128)},
		{Key: "uint8", Value: uint8(255)},
		{Key: "int16", Value: int16(-32768)},
		{Key: "uint16", Value: uint16(65535)},
		{Key: "int32", Value: int32(-1 << 31)},
		{Key: "uint32", Value: uint32(1<<32 - 1)},
		{Key: "int64", Value: int64(-1 << 63)},
		{Key: "int", Value: math.MaxInt},
		{Key: "float32", Value: float32(-0.1)},
		{Key: "float64", Value: 1e-300},
		{Key: "string", Value: "grüße \x00\x1b[31m\"<&>"},
		{Key: "empty string", Value: ""},
		{Key: "time", Value: time.Date(2026, 2, 28, 23, 59, 59, 0, time.UTC)},
		{Key: "before 1970", Value: time.Date(1815, 12, 10, 0, 0, 0, 0, time.UTC)},
		{Key: "bytes", Value: everyByte(256)},
		{Key: "no bytes", Value: []byte{}},
		{Key: "nothing", Value: nil},
		{Key: "", Value: "of the empty key"},
		{Key: strings.Repeat("k", 255), Value: strings.Repeat("v", 1000)},
	}
}

// everyHeader adds tables, arrays and decimals.
func everyHeader() thump.Table {
	deep := thump.Table{{Key: "bottom", Value: "reached"}}
	for range 12 {
		deep = thump.Table{{Key: "table", Value: []any{deep, int64(1)}}}
	}
	return append(scalarHeaders(), thump.Table{
		{Key: "decimal", Value: thump.Decimal{Scale: 2, Value: 31415}},
		{Key: "table", Value: scalarHeaders()},
		{Key: "empty table", Value: thump.Table{}},
		{Key: "array", Value: []any{
			int8(1), uint16(2), int32(3), int64(4), "five", nil, true, float64(8),
			[]byte{9},
			[]any{[]any{}, thump.Table{{Key: "in", Value: []any{"array"}}}},
		}},
		{Key: "deep", Value: deep},
		{Key: "twice", Value: "first"},
		{Key: "twice", Value: "second"},
	}...)
}

func everyProperty() thump.Properties {
	return thump.Properties{
		ContentType: "text/plain", ContentEncoding: "identity", DeliveryMode: thump.Transient, Priority: 9,
		CorrelationID: "correlation \x1b[0m", ReplyTo: "amq.reply", Expiration: time.Hour,
		MessageID: strings.Repeat("m", 255), Timestamp: time.Unix(1_772_323_199, 0).UTC(),
		Type: `"type", <b>`, AppID: "größe",
	}
}

func testProperties(r *rig) {
	want := everyProperty()
	want.Headers = scalarHeaders()
	r.propertiesSurvive(want)
}

func testHeaders(r *rig) { r.propertiesSurvive(thump.Properties{Headers: everyHeader()}) }

// propertiesSurvive sends a message with those properties twice.
func (r *rig) propertiesSurvive(want thump.Properties) {
	r.Helper()
	place := r.place()
	m := thump.Message{Body: []byte("with properties"), Properties: &want}
	r.send(place, m, m)
	key := ""
	if !r.engine.streams() {
		key = place
		if want.DeliveryMode == 0 {
			want.DeliveryMode = thump.Persistent // the documented default
		}
	}
	c := r.consumer(thump.ConsumerConfig{From: r.to(place)})
	for _, d := range r.receive(c, 2, (*thump.Batch).Ack) {
		got, err := d.Properties()
		r.noError(err)
		r.sameProperties(got, want)
		if string(d.Body) != "with properties" || d.RoutingKey != key || d.Exchange != "" || d.Redelivered {
			r.Errorf("got body %q, exchange %q, routing key %q, redelivered %v", d.Body, d.Exchange, d.RoutingKey, d.Redelivered)
		}
	}
}

// sameProperties compares properties. Headers of RabbitMQ's own making, all of
// which begin with x-, are left out.
//
// RabbitMQ 3 hands headers on as they came, unless it adds some of its own, as
// a quorum queue does for Get: then they come sorted by key. Since RabbitMQ 4
// they always do, and of a key that is there more than once only the first.
// Inside of nested tables nothing changes. In a stream nothing does at all.
func (r *rig) sameProperties(got, want thump.Properties) {
	r.Helper()
	headers := slices.DeleteFunc(slices.Clone(got.Headers), func(f thump.Field) bool { return strings.HasPrefix(f.Key, "x-") })
	expected := slices.Clone(want.Headers)
	byKey := func(a, b thump.Field) int { return strings.Compare(a.Key, b.Key) }
	sorts := !r.rabbitMQ3() && !r.engine.streams()
	if sorts || slices.IsSortedFunc(headers, byKey) {
		slices.SortStableFunc(expected, byKey)
	}
	if sorts {
		expected = slices.CompactFunc(expected, func(a, b thump.Field) bool { return a.Key == b.Key })
	}
	if len(headers) != len(expected) {
		r.Errorf("got %d headers, expected %d", len(headers), len(expected))
	}
	for i := range min(len(headers), len(expected)) {
		if headers[i].Key != expected[i].Key || !reflect.DeepEqual(plain(headers[i].Value), plain(expected[i].Value)) {
			r.Errorf("header %d: got %#v, expected %#v", i, headers[i], expected[i])
		}
	}
	got.Headers, want.Headers = nil, nil
	if !reflect.DeepEqual(got, want) {
		r.Errorf("got properties\n%#v\nexpected\n%#v", got, want)
	}
}

// plain makes values that are equal on the wire equal in Go: an int is an
// int64, what is empty is not nil.
func plain(v any) any {
	switch v := v.(type) {
	case int:
		return int64(v)
	case []byte:
		return append([]byte{}, v...)
	case []any:
		list := []any{}
		for _, item := range v {
			list = append(list, plain(item))
		}
		return list
	case thump.Table:
		fields := thump.Table{}
		for _, f := range v {
			fields = append(fields, thump.Field{Key: f.Key, Value: plain(f.Value)})
		}
		return fields
	default:
		return v
	}
}

// testExpiration sends messages that expire at once, soon and late.
func testExpiration(r *rig) {
	queue := r.queue()
	r.send(queue,
		thump.Message{Body: []byte("at once"), Properties: &thump.Properties{Expiration: thump.ExpireAtOnce}},
		thump.Message{Body: []byte("too late"), Properties: &thump.Properties{Expiration: -time.Hour}},
		thump.Message{Body: []byte("soon"), Properties: &thump.Properties{Expiration: time.Nanosecond}},
		thump.Message{Body: []byte("late"), Properties: &thump.Properties{Expiration: 10 * 365 * 24 * time.Hour}},
		thump.Message{Body: []byte("never")},
	)
	r.eventually(queue, 2)
	if got := r.take(queue, 2); string(got[0].Body) != "late" || string(got[1].Body) != "never" {
		r.Errorf("got %q and %q", got[0].Body, got[1].Body)
	}
}

func testNoProperties(r *rig) {
	place := r.place()
	r.send(place, thump.Message{}, thump.Message{Body: []byte{0}})
	want := thump.Properties{DeliveryMode: thump.Persistent}
	if r.engine.streams() { // which keep a body alone
		want.DeliveryMode = 0
	}
	got := r.take(place, 2)
	for i := range got {
		properties, err := got[i].Properties()
		r.noError(err)
		r.sameProperties(properties, want)
	}
	if len(got[0].Body) != 0 || !bytes.Equal(got[1].Body, []byte{0}) {
		r.Errorf("got bodies %q and %q, expected none and a zero byte", got[0].Body, got[1].Body)
	}
}

// everyByte is n bytes in which every value occurs, in an order that does not
// repeat soon.
func everyByte(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// testBodySizes sends bodies around every size at which something changes: no
// body frame, one frame, the consumer's buffers, more than one frame; in a
// stream, a short section, a batch by itself.
func testBodySizes(r *rig) {
	large := 1 << 20
	if r.engine.streams() {
		large = largestBody
	}
	r.sizesSurvive(r.client, 0, 1, 255, 256, 65535, 65536, 65537,
		131072-8-1, 131072-8, 131072-8+1, 131072-1, 131072, 131072+1,
		2*(131072-8)-1, 2*(131072-8), 2*(131072-8)+1, 0, large, 1)
}

// testSmallFrames does the same with the smallest frames that all brokers
// agree to.
func testSmallFrames(r *rig) {
	client := r.dial(thump.Config{URLs: []string{r.broker.URL + "?frame_max=8192"}})
	r.sizesSurvive(client, 0, 1, 8192-8-1, 8192-8, 8192-8+1, 8192, 2*(8192-8), 2*(8192-8)+1, 65536, 300_000)
}

func testLargestBody(r *rig) { r.sizesSurvive(r.client, 16<<20) }

func (r *rig) sizesSurvive(client *thump.Client, sizes ...int) {
	r.Helper()
	place := r.place()
	p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: r.to(place)})
	r.noError(err)
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: r.to(place)})
	r.noError(err)
	for _, size := range sizes {
		r.publish(p, thump.Message{Body: everyByte(size)})
	}
	r.noError(p.Close(r.Context()))
	for i, d := range r.receive(c, len(sizes), (*thump.Batch).Ack) {
		if !bytes.Equal(d.Body, everyByte(sizes[i])) {
			r.Errorf("a body of %d bytes came back as %d bytes, or others", sizes[i], len(d.Body))
		}
	}
	r.noError(c.Close(r.Context()))
}

func testBatchesInOrder(r *rig) {
	const n, largest = 5000, 100
	place := r.place()
	c := r.consumer(thump.ConsumerConfig{From: r.to(place), MaxBatch: largest})
	p := r.publisher(thump.PublisherConfig{To: r.to(place)})
	msgs := numbered(n)
	for size := 1; len(msgs) > 0; size = size*2%1023 + 1 {
		size = min(size, len(msgs))
		r.publish(p, msgs[:size]...)
		msgs = msgs[size:]
	}
	r.publish(p) // no message is no error
	r.flush(p)
	got := r.receive(c, n, func(b *thump.Batch) error {
		if len(b.Deliveries) == 0 || len(b.Deliveries) > largest {
			r.Errorf("a batch of %d deliveries, expected 1 to %d", len(b.Deliveries), largest)
		}
		return b.Ack()
	})
	r.inOrder(got, 1)
}

// testBodyLifetime reads bodies as late as is allowed, and keeps one of each
// batch with Clone.
func testBodyLifetime(r *rig) {
	const n = 2000
	queue := r.queue()
	r.send(queue, numbered(n)...)
	c := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue), Prefetch: n, MaxBatch: 64})
	var kept []thump.Delivery
	var bodies []string // of kept, as they were
	for next := 1; next <= n; {
		batch, err := c.Receive(r.Context())
		r.noError(err)
		r.inOrder(batch.Deliveries, next)
		kept = append(kept, batch.Deliveries[0].Clone())
		bodies = append(bodies, string(batch.Deliveries[0].Body))
		next += len(batch.Deliveries)
	}
	for i := range kept {
		if string(kept[i].Body) != bodies[i] {
			r.Errorf("the clone of %s has become %s", bodies[i], kept[i].Body)
		}
		r.noError(kept[i].Ack()) // long after its batch
	}
	r.leave(c, n-len(kept))
	if r.engine.kind == thump.Quorum { // applies acks shortly after it has read them: some come again
		return
	}
	left := r.take(queue, n-len(kept))
	for i := range left {
		if slices.Contains(bodies, string(left[i].Body)) {
			r.Fatalf("message %s was acked and came again", left[i].Body)
		}
	}
}

// testManyExactlyOnce sends more than any buffer holds through a small window,
// with little sent ahead to the consumer.
func testManyExactlyOnce(r *rig) {
	const n, size = 100_000, 100
	place := r.place()
	p := r.publisher(thump.PublisherConfig{To: r.to(place), Window: 200})
	c := r.consumer(r.fewAhead(place, 100))
	sent := make(chan error, 1)
	ctx := r.Context()
	go func() {
		all := numbered(n)
		for len(all) > 0 {
			if _, err := p.Publish(ctx, all[:size]...); err != nil {
				sent <- err
				return
			}
			all = all[size:]
		}
		sent <- p.Close(ctx)
	}()
	r.inOrder(r.receive(c, n, (*thump.Batch).Ack), 1)
	r.noError(<-sent)
	if got := p.Counts(); got.Published != n || got.Confirmed != n || got.InFlight != 0 {
		r.Errorf("got %+v, expected %d published and confirmed", got, n)
	}
	r.noError(c.Close(r.Context()))
	r.consumed(place, n)
}

func TestEveryByte(t *testing.T) {
	seen := make(map[byte]bool)
	for _, b := range everyByte(256) {
		seen[b] = true
	}
	if len(seen) != 256 {
		t.Errorf("%d byte values, expected 256", len(seen))
	}
}
