package amqpconn

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/window"
)

func outcomeText(outcomes []outcome.Outcome) string {
	var list []string
	for _, o := range outcomes {
		list = append(list, fmt.Sprint(o.Ref, " ", o.Status))
	}
	return strings.Join(list, ", ")
}

// publishingChannel is a channel without a connection that publishes messages of
// w. They are numbered from 1, as the broker has it, and so are their Refs.
func publishingChannel(w *window.Window) *Channel {
	ch := &Channel{conn: &Conn{server: Server{FrameMax: 4096}}}
	ch.publishing.Store(newPublishing(w, func(error) {}))
	return ch
}

// note publishes a message with that body, without encoding it.
func (ch *Channel) note(ref uint64, body string, mandatory bool) {
	p := ch.publishing.Load()
	p.window.Lock()
	defer p.window.Unlock()
	m := &Message{BasicPublish: amqpproto.BasicPublish{RoutingKey: "q", Mandatory: mandatory}, Body: []byte(body)}
	p.note(p.carrier.Add(window.Tag{Ref: ref}), m)
}

// bringBack returns a message with that body. It reports whether one was found.
func (ch *Channel) bringBack(body string) bool {
	return ch.returned(&amqpproto.BasicReturn{ReplyCode: 312, ReplyText: "NO_ROUTE", RoutingKey: "q"}, []byte{0, 0}, []byte(body)) == nil
}

func (ch *Channel) takeOutcomes(t *testing.T) string {
	t.Helper()
	outcomes, err := conntest.Outcomes(ch.publishing.Load().window)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outcomes {
		if o.Status == outcome.Returned && (o.Code != 312 || o.Text != "NO_ROUTE") {
			t.Errorf("returned with %d %q", o.Code, o.Text)
		}
	}
	return outcomeText(outcomes)
}

// TestReturned finds the message that came back, by what it consists of.
func TestReturned(t *testing.T) {
	for _, test := range []struct {
		name      string
		bodies    string // of the messages 1, 2, ..., a letter each
		confirmed uint64 // before the returns
		returns   string
		found     int // of the returns
		want      string
	}{
		{"one", "abc", 0, "b", 1, "2 returned, 1 confirmed, 3 confirmed"},
		{"among equals the oldest", "aaa", 0, "a", 1, "1 returned, 2 confirmed, 3 confirmed"},
		{"two of three equals", "aaa", 0, "aa", 2, "1 returned, 2 returned, 3 confirmed"},
		{"all", "aaa", 0, "aaa", 3, "1 returned, 2 returned, 3 returned"},
		{"one too many", "aa", 0, "aaa", 2, "1 returned, 2 returned"},
		{"not one that is confirmed", "aaa", 1, "a", 1, "1 confirmed, 2 returned, 3 confirmed"},
		{"unknown", "ab", 0, "c", 0, "1 confirmed, 2 confirmed"},
		{"of a message that is confirmed", "ab", 1, "a", 0, "1 confirmed, 2 confirmed"},
		{"an equal one after another", "aba", 0, "ba", 2, "2 returned, 3 returned, 1 confirmed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ch := publishingChannel(window.New(window.Config{Messages: 4, Collect: true}))
			for i, body := range test.bodies {
				ch.note(uint64(i)+1, string(body), true)
			}
			confirm := func(tag uint64) {
				if err := ch.confirm(tag, true, outcome.Confirmed); err != nil {
					t.Fatal(err)
				}
			}
			if test.confirmed > 0 {
				confirm(test.confirmed)
			}
			found := 0
			for _, body := range test.returns {
				if ch.bringBack(string(body)) {
					found++
				}
			}
			confirm(0)
			if got := ch.takeOutcomes(t); found != test.found || got != test.want {
				t.Errorf("%d found, %s\nwant %d, %s", found, got, test.found, test.want)
			}
		})
	}
}

// TestReturnedNotMandatory returns a message that was not published so, alone and
// among others that were.
func TestReturnedNotMandatory(t *testing.T) {
	ch := publishingChannel(window.New(window.Config{Messages: 4}))
	ch.note(1, "a", false)
	if ch.bringBack("a") {
		t.Error("a message without the mandatory flag was taken for returned")
	}
	ch.note(2, "b", true)
	ch.note(3, "c", false)
	if ch.bringBack("a") || ch.bringBack("c") {
		t.Error("a message without the mandatory flag was taken for returned")
	}
	if !ch.bringBack("b") {
		t.Error("a mandatory message was not known when it came back")
	}
}

// TestReturnedThenNacked: the broker spoke of it, so it is not unknown and not
// rejected.
func TestReturnedThenNacked(t *testing.T) {
	w := window.New(window.Config{Messages: 4, Collect: true})
	ch := publishingChannel(w)
	for ref := range uint64(3) {
		ch.note(ref+1, fmt.Sprint(ref+1), true)
	}
	ch.bringBack("1")
	ch.bringBack("2")
	if err := ch.confirm(1, false, outcome.Rejected); err != nil {
		t.Fatal(err)
	}
	ch.publishing.Load().end(errors.New("broken"))
	if got, want := ch.takeOutcomes(t), "1 returned, 2 returned, 3 unknown"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := w.Totals(), (outcome.Totals{Published: 3, Returned: 2, Unknown: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if first := w.Report().First; first.Ref != 1 {
		t.Errorf("the first bad one is %+v", first)
	}
	if err := ch.confirm(3, false, outcome.Confirmed); err != nil || ch.bringBack("no such") == false {
		t.Errorf("what came after the end was not ignored: %v", err)
	}
}

// TestReturnedPlaceUsedAgain: a message must not inherit the return of the one
// whose place it has.
func TestReturnedPlaceUsedAgain(t *testing.T) {
	ch := publishingChannel(window.New(window.Config{Messages: 1, Collect: true}))
	for ref := range uint64(4) {
		ch.note(ref, "a", true)
		if ref%2 == 0 && !ch.bringBack("a") {
			t.Fatal("return not taken")
		}
		if err := ch.confirm(ref+1, false, outcome.Confirmed); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := ch.takeOutcomes(t), "0 returned, 1 confirmed, 2 returned, 3 confirmed"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestConfirmBounds: a broker that confirms what was not published breaks the
// protocol.
func TestConfirmBounds(t *testing.T) {
	for _, test := range []struct {
		tag      uint64
		multiple bool
		ok       bool
	}{{0, false, false}, {0, true, true}, {1, false, true}, {3, true, true}, {4, false, false}, {4, true, false}, {1 << 63, true, false}, {1<<64 - 1, false, false}} {
		ch := publishingChannel(window.New(window.Config{Messages: 4}))
		for ref := range uint64(3) {
			ch.note(ref, "a", false)
		}
		if err := ch.confirm(test.tag, test.multiple, outcome.Confirmed); (err == nil) != test.ok {
			t.Errorf("confirm of %d, multiple %v: %v", test.tag, test.multiple, err)
		}
	}
	if ch := publishingChannel(window.New(window.Config{Messages: 4})); ch.confirm(0, true, outcome.Confirmed) != nil || ch.confirm(1, true, outcome.Confirmed) == nil {
		t.Error("before anything was published, all of it can be confirmed and nothing else")
	}
}

// TestReturnedByProperties tells apart messages that differ in their properties alone, as
// these come back: encoded anew, the headers in another order, or not all of them.
func TestReturnedByProperties(t *testing.T) {
	header := func(fields ...amqpproto.Field) *amqpproto.Properties { return &amqpproto.Properties{Headers: fields} }
	yes := amqpproto.Field{Key: "want", Value: "yes"}
	no := amqpproto.Field{Key: "want", Value: "no"}
	other := amqpproto.Field{Key: "n", Value: []any{int64(1), amqpproto.Table{yes, no}, nil, []byte("x"), amqpproto.Decimal{Scale: 1, Value: -5}}}
	for _, test := range []struct {
		name      string
		published []*amqpproto.Properties
		returned  *amqpproto.Properties
		want      uint64
	}{
		{"a header", []*amqpproto.Properties{header(yes), header(no), header(yes)}, header(no), 2},
		{"in another order", []*amqpproto.Properties{header(yes), header(other, yes), header(yes, other)}, header(yes, other), 2},
		{"an int", []*amqpproto.Properties{header(yes), header(amqpproto.Field{Key: "i", Value: 7})}, header(amqpproto.Field{Key: "i", Value: int64(7)}), 2},
		{"its key", []*amqpproto.Properties{header(amqpproto.Field{Key: "a", Value: "b"}), header(amqpproto.Field{Key: "b", Value: "a"})}, header(amqpproto.Field{Key: "b", Value: "a"}), 2},
		{"a text", []*amqpproto.Properties{{MessageID: "1"}, {CorrelationID: "1"}, {MessageID: "2"}}, &amqpproto.Properties{MessageID: "2"}, 3},
		{"a number", []*amqpproto.Properties{{Priority: 1}, {Priority: 2}}, &amqpproto.Properties{Priority: 2}, 2},
		{"none", []*amqpproto.Properties{header(yes), {}}, &amqpproto.Properties{}, 2},
		{"what it is not, the oldest", []*amqpproto.Properties{header(yes), header(no)}, header(other), 1},
		{"equal ones, the oldest", []*amqpproto.Properties{header(no), header(yes), header(yes)}, header(yes), 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := window.New(window.Config{Messages: 4, Collect: true})
			ch := publishingChannel(w)
			p := ch.publishing.Load()
			w.Lock()
			for i, properties := range test.published {
				m := &Message{BasicPublish: amqpproto.BasicPublish{Mandatory: true}, Properties: *properties}
				p.note(p.carrier.Add(window.Tag{Ref: uint64(i) + 1}), m)
			}
			w.Unlock()
			frame, err := amqpproto.AppendContent(nil, 1, 1<<20, &amqpproto.BasicReturn{}, test.returned, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, n, _ := amqpproto.ParseFrame(frame, 1<<20)
			content, _, _ := amqpproto.ParseFrame(frame[n:], 1<<20)
			head, err := amqpproto.ParseContentHeader(content.Payload)
			if err != nil {
				t.Fatal(err)
			}
			if err := ch.returned(&amqpproto.BasicReturn{ReplyCode: 312, ReplyText: "NO_ROUTE"}, head.Properties, nil); err != nil {
				t.Fatal(err)
			}
			if got, want := ch.takeOutcomes(t), fmt.Sprint(test.want, " returned"); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}
