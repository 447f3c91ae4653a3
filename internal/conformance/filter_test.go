package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/thumpmq/thump"
)

// Filtering: the broker leaves out chunks without a wanted filter value, the
// consumer what else is in those that come.
func filterCases() []conformanceCase {
	return []conformanceCase{
		{"filter/values", offsets, testFilterValues},
		{"filter/unfiltered", offsets, testFilterUnfiltered},
		{"filter/stored-offsets", offsets, testFilterOffsets},
		{"filter/keep-is-asked-of-whole-deliveries", offsets, testFilterKeep},
		{"filter/subscribing-needs-3.13", offsets, testFilterVersion},
		{"filter/long-values", offsets, testFilterLong},
		{"filter/partitions", partitions, testFilterPartitions},
		{"filter/nothing-is-kept", offsets, testFilterNothingKept},
		{"filter/nothing-is-kept", partitions, testFilterNothingKept},
	}
}

// testFilterKeep has Keep decide by everything that a delivery has. It can't be settled
// by then.
func testFilterKeep(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	p, err := r.client.Publisher(r.Context(), thump.PublisherConfig{To: thump.Stream(stream), Stream: thump.StreamPublishing{Filtered: true}})
	if r.lacks("3.13", err) {
		return
	}
	r.noError(err)
	msgs := numbered(40)
	for i := range msgs {
		msgs[i].FilterValue = "all"
		if i%4 != 3 { // and one has nothing but a body
			msgs[i].Properties = &thump.Properties{MessageID: fmt.Sprint("id ", i), Headers: thump.NewTable("wanted", i%2 == 0, "x-number", i)}
		}
	}
	r.publish(p, msgs...)
	r.noError(p.Close(r.Context()))
	asked := 0
	c := r.consumer(thump.ConsumerConfig{From: thump.Stream(stream), Stream: thump.StreamConsuming{
		Filters: []string{"all"},
		Keep: func(d *thump.Delivery) bool {
			i := asked
			asked++
			properties, err := d.Properties()
			r.noError(err)
			if string(d.Body) != fmt.Sprint(i+1) || d.Offset != uint64(i) || properties.MessageID != d.MessageID() {
				r.Errorf("asked of %q at offset %d, with %+v, expected message %d", d.Body, d.Offset, properties, i+1)
			}
			if i%4 != 3 && (d.MessageID() != fmt.Sprint("id ", i) || d.Header("x-number") != int64(i)) {
				r.Errorf("message %d has the id %q and the header %v", i+1, d.MessageID(), d.Header("x-number"))
			}
			if d.Ack() == nil {
				r.Errorf("message %d was settled before it was handed out", i+1)
			}
			return d.Header("wanted") == true
		},
	}})
	got := r.receive(c, 20, (*thump.Batch).Ack)
	for i := range got {
		if want := fmt.Sprint("id ", 2*i); got[i].MessageID() != want || string(got[i].Body) != fmt.Sprint(2*i+1) {
			r.Errorf("got %q, %q, expected %q", got[i].Body, got[i].MessageID(), want)
		}
	}
	r.noError(c.Close(r.Context()))
}

// coloured are n messages for each of the colours, a colour after the other, in
// groups of 100. The colour is the filter value and begins the body, behind
// which comes the number within the colour.
func coloured(n int, colours ...string) [][]thump.Message {
	var groups [][]thump.Message
	for first := 1; first <= n; first += 100 {
		for _, colour := range colours {
			var group []thump.Message
			for i := first; i < first+100; i++ {
				group = append(group, thump.Message{Body: fmt.Appendf(nil, "%s %d", colour, i), FilterValue: colour, RoutingKey: fmt.Sprint(i)})
			}
			groups = append(groups, group)
		}
	}
	return groups
}

// paint publishes groups, each in chunks of its own. It reports false, after an
// error that says which is needed, where the broker is too old.
func (r *rig) paint(place string, groups [][]thump.Message) bool {
	r.Helper()
	p, err := r.client.Publisher(r.Context(), thump.PublisherConfig{To: r.to(place), Stream: thump.StreamPublishing{Filtered: true}})
	if r.lacks("3.13", err) {
		return false
	}
	r.noError(err)
	for _, group := range groups {
		r.publish(p, group...)
		r.flush(p)
	}
	r.noError(p.Close(r.Context()))
	return true
}

// wanted is a consumer's configuration for some colours; looked counts the
// messages that came, wanted or not.
func wanted(looked *int, colours ...string) thump.StreamConsuming {
	return thump.StreamConsuming{Filters: colours, Keep: func(d *thump.Delivery) bool {
		*looked++
		for _, colour := range colours {
			if strings.HasPrefix(string(d.Body), colour+" ") {
				return true
			}
		}
		return false
	}}
}

// inColour expects messages of one colour in order.
func (r *rig) inColour(got []thump.Delivery, colour string, first int) {
	r.Helper()
	for i := range got {
		if want := fmt.Sprint(colour, " ", first+i); string(got[i].Body) != want {
			r.Fatalf("delivery %d is %q, expected %q", i, got[i].Body, want)
		}
	}
}

func testFilterValues(r *rig) {
	stream := r.stream(thump.StreamSpec{FilterBytes: 32})
	if !r.paint(stream, coloured(1000, "red", "green", "blue", "grün")) {
		return
	}
	looked := 0
	c := r.consuming(stream, wanted(&looked, "green"))
	r.inColour(r.receive(c, 1000, nil), "green", 1)
	r.nothingComes(c)
	r.noError(c.Close(r.Context()))
	if looked > 2000 {
		r.Errorf("%d of 4000 messages came, and only 1000 are green: the broker did not filter", looked)
	}
	looked = 0
	c = r.consuming(stream, wanted(&looked, "red", "grün"))
	got := r.receive(c, 2000, nil)
	for i := range 20 {
		r.inColour(got[100*i:100*i+100], []string{"red", "grün"}[i%2], 100*(i/2)+1)
	}
	r.nothingComes(c)
	r.noError(c.Close(r.Context()))
	if looked > 3000 {
		r.Errorf("%d of 4000 messages came, and only 2000 are wanted: the broker did not filter", looked)
	}
	looked = 0
	o := wanted(&looked, "blue")
	o.Start = thump.FromOffset(2250) // blue 551
	c = r.consuming(stream, o)
	r.inColour(r.receive(c, 450, nil), "blue", 551)
	r.noError(c.Close(r.Context()))
	c = r.consuming(stream, wanted(&looked, "yellow"))
	r.nothingComes(c)
	r.noError(c.Close(r.Context()))
	r.take(stream, 4000) // without a filter all is there
}

// testFilterUnfiltered has messages without a filter value: of a publisher that
// filters, and of one that does not.
func testFilterUnfiltered(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	if !r.paint(stream, coloured(100, "red", "", "green")) {
		return
	}
	p := r.publishing(stream, thump.StreamPublishing{})
	r.publish(p, numbered(50)...)
	r.noError(p.Close(r.Context()))
	all := 0
	o := thump.StreamConsuming{Filters: []string{"green"}, Keep: func(*thump.Delivery) bool { all++; return true }}
	c := r.consuming(stream, o)
	r.inColour(r.receive(c, 100, nil), "green", 1)
	r.nothingComes(c)
	r.noError(c.Close(r.Context()))
	o.MatchUnfiltered = true
	c = r.consuming(stream, o)
	got := r.receive(c, 250, nil)
	r.inColour(got[:100], "", 1)
	r.inColour(got[100:200], "green", 1)
	r.inOrder(got[200:], 1)
	r.nothingComes(c)
	r.noError(c.Close(r.Context()))
}

// testFilterOffsets stores offsets of a consumer that gets some messages only:
// what was left out counts as handled.
func testFilterOffsets(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	if !r.paint(stream, coloured(300, "red", "green")) {
		return
	}
	looked := 0
	o := wanted(&looked, "red")
	o.Name = "reader"
	c := r.consumer(thump.ConsumerConfig{From: thump.Stream(stream), MaxBatch: 150, Stream: o})
	r.inColour(r.receive(c, 100, (*thump.Batch).Ack), "red", 1)
	r.noError(c.Close(r.Context()))
	offset, found, err := r.client.QueryOffset(r.Context(), stream, "reader")
	if err != nil || !found || offset < 99 || offset >= 200 {
		r.Errorf("the stored offset is %d, %v, %v, expected 99, or a little more", offset, found, err)
	}
	c = r.consuming(stream, o)
	r.inColour(r.receive(c, 200, (*thump.Batch).Ack), "red", 101)
	r.nothingComes(c)
	r.noError(c.Close(r.Context()))
	c = r.consuming(stream, o)
	r.nothingComes(c)
	r.noError(c.Close(r.Context()))
}

// testFilterVersion subscribes with a filter, which an old broker would pay no
// attention to.
func testFilterVersion(r *rig) {
	looked := 0
	c, err := r.client.Consumer(r.Context(), thump.ConsumerConfig{From: r.to(r.place()), Stream: wanted(&looked, "red")})
	if r.lacks("3.13", err) {
		return
	}
	r.noError(err)
	r.nothingComes(c)
	r.noError(c.Close(r.Context()))
}

// testFilterLong has filter values up to the longest that is allowed.
func testFilterLong(r *rig) {
	stream := r.stream(thump.StreamSpec{FilterBytes: 255})
	long := strings.Repeat("v", 255)
	if !r.paint(stream, coloured(100, "short", long)) {
		return
	}
	looked := 0
	c := r.consuming(stream, wanted(&looked, long))
	r.inColour(r.receive(c, 100, nil), long, 1)
	r.noError(c.Close(r.Context()))
	p := r.publishing(stream, thump.StreamPublishing{Filtered: true})
	n, err := p.Publish(r.Context(), thump.Message{Body: []byte("1")}, thump.Message{FilterValue: strings.Repeat("v", 40_000)}, thump.Message{})
	if n != 1 || err == nil {
		r.Errorf("a filter value of 40000 bytes: %d messages accepted, %v", n, err)
	}
	r.noError(p.Close(r.Context()))
	r.take(stream, 201)
}

func testFilterPartitions(r *rig) {
	super := r.superStream(3)
	if !r.paint(super, coloured(300, "red", "green")) {
		return
	}
	looked := 0
	c := r.consumer(thump.ConsumerConfig{From: thump.SuperStream(super), Stream: wanted(&looked, "green")})
	seen := make(map[string]bool)
	for _, d := range r.receive(c, 300, nil) {
		seen[string(d.Body)] = true
	}
	if len(seen) != 300 {
		r.Errorf("%d different messages are green, expected 300", len(seen))
	}
	r.nothingComes(c)
	r.noError(c.Close(r.Context()))
}

// testFilterNothingKept has consumers read on and on of which Keep wants nothing. They
// hear the end of their context, and Stop, which come while Keep is asked.
func testFilterNothingKept(r *rig) {
	const n, heardWithin = 20_000, 1024
	place := r.place()
	p, err := r.client.Publisher(r.Context(), thump.PublisherConfig{To: r.to(place), Stream: thump.StreamPublishing{Filtered: true}})
	if r.lacks("3.13", err) {
		return
	}
	r.noError(err)
	msgs := numbered(n)
	for i := range msgs {
		msgs[i].FilterValue, msgs[i].RoutingKey = "red", fmt.Sprint(i)
	}
	r.publish(p, msgs...)
	r.noError(p.Close(r.Context()))
	for _, stops := range []bool{false, true} {
		ctx, cancel := context.WithCancel(r.Context())
		var asked, atEnd int
		var c *thump.Consumer
		c = r.consumer(thump.ConsumerConfig{From: r.to(place), Stream: thump.StreamConsuming{
			Filters: []string{"red"},
			Keep: func(*thump.Delivery) bool {
				if asked++; asked == n/4 {
					atEnd = asked
					cancel()
					if stops {
						c.Stop()
					}
				}
				return false
			},
		}})
		want, receiving := context.Canceled, ctx
		if stops {
			want, receiving = thump.ErrClosed, r.Context()
		}
		if _, err := c.Receive(receiving); !errors.Is(err, want) {
			r.Errorf("got %v, expected %v", err, want)
		}
		if asked-atEnd > heardWithin {
			r.Errorf("Keep was asked of %d more messages after the end", asked-atEnd)
		}
		r.noError(c.Close(r.Context()))
		cancel()
	}
}
