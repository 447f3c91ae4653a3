package thump

import (
	"bytes"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/amqp10"
)

// TestSections: what Properties says of a stream's message is all, or the message is there
// as it is.
func TestSections(t *testing.T) {
	full := Properties{
		ContentType: "text/plain", ContentEncoding: "gzip", DeliveryMode: Persistent, Priority: 5, CorrelationID: "c", ReplyTo: "r",
		Expiration: time.Minute, MessageID: "urn:uuid:00112233-4455-6677-8899-aabbccddeeff", Timestamp: time.Unix(1_700_000_000, 0),
		Type: "t", UserID: "u", AppID: "a",
		Headers: NewTable("x-list", []any{int8(1), "two", NewTable("k", true)}, "a", 1, "time", time.Unix(1, 0), "bytes", []byte{1}, "nothing", nil),
	}
	old := full
	old.Headers = NewTable("a", uint8(1))
	for name, c := range map[string]struct {
		rules messageRules
		p     Properties
		odd   func(*amqp10.Message)
		whole bool
	}{
		"none":                {whole: true},
		"all":                 {p: full, whole: true},
		"all, with addresses": {rules: messageRules{addresses: true}, p: full, whole: true},
		"all, before 3.13":    {rules: messageRules{before313: true}, p: old, whole: true},
		"where it went to":    {p: old, odd: annotation(annotationExchange, "e"), whole: true},
		"a subject":           {p: full, odd: func(m *amqp10.Message) { m.Subject = "s" }},
		"an address":          {p: full, odd: func(m *amqp10.Message) { m.To = "/queues/q" }},
		"milliseconds":        {p: full, odd: func(m *amqp10.Message) { *m.CreationTime++ }},
		"a numeric id":        {p: full, odd: func(m *amqp10.Message) { m.MessageID = uint64(7) }},
		"a symbol":            {p: full, odd: annotation("x-s", amqp10.Symbol("s"))},
		"an own annotation":   {p: full, odd: annotation("other", "s")},
	} {
		t.Run(name, func(t *testing.T) {
			m := amqp10.Message{Body: []byte("body")}
			c.rules.setSections(&m, &c.p)
			if c.odd != nil {
				c.odd(&m)
			}
			encoded, err := amqp10.AppendMessage(nil, &m)
			if err != nil {
				t.Fatal(err)
			}
			checkSections(t, encoded, c.whole)
		})
	}
	footer := amqp10.AppendData(nil, []byte("body"))
	footer = append(footer, "\x00\x53\x78\xc1\x01\x00"...)
	checkSections(t, footer, false)
}

func annotation(key string, value any) func(*amqp10.Message) {
	return func(m *amqp10.Message) { m.Annotations = append(m.Annotations, amqp10.Pair{Key: key, Value: value}) }
}

// checkSections checks whether the properties of a message say all of it.
func checkSections(t *testing.T, message []byte, whole bool) {
	t.Helper()
	d := Delivery{sections: true}
	d.readSections(message, new(source))
	clone := d.Clone()
	for _, d := range []*Delivery{&d, &clone} {
		switch sections := d.Sections(); {
		case whole && sections != nil:
			t.Errorf("the properties do not say all: %+v", d.parse())
		case !whole && !bytes.Equal(sections, message):
			t.Errorf("got % x, want % x", sections, message)
		}
		if d.RawProperties() != nil {
			t.Error("there are properties of AMQP 0-9-1")
		}
	}
	if late := d.Clone(); !bytes.Equal(late.Sections(), d.Sections()) {
		t.Error("a clone that was made late has other sections")
	}
}

// TestSectionsOfABody: a message that is a body and nothing else, as nearly all of a stream are,
// is not looked into.
func TestSectionsOfABody(t *testing.T) {
	d := Delivery{sections: true, Body: []byte("a body")}
	if n := testing.AllocsPerRun(100, func() {
		if d.Sections() != nil {
			t.Error("it has more than its body")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
