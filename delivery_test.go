package thump

import (
	"reflect"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/amqpproto"
)

// deliveryWith is a delivery with those properties, as AMQP brings it.
func deliveryWith(t *testing.T, p amqpproto.Properties) Delivery {
	t.Helper()
	raw, err := amqpproto.AppendProperties(nil, &p)
	if err != nil {
		t.Fatal(err)
	}
	return Delivery{properties: raw}
}

// TestPropertiesAreParsedOnce: the bytes are looked at once, and a clone keeps what was
// found.
func TestPropertiesAreParsedOnce(t *testing.T) {
	d := deliveryWith(t, amqpproto.Properties{MessageID: "m", Headers: amqpproto.Table{{Key: "h", Value: "v"}}})
	unread := d.Clone()
	if d.MessageID() != "m" || d.Header("h") != "v" || d.Header("none") != nil {
		t.Errorf("got %q, %v", d.MessageID(), d.Header("h"))
	}
	clone := d.Clone()
	clear(d.properties) // as when their buffer is read into again
	for what, d := range map[string]*Delivery{"the delivery": &d, "its clone": &clone, "a clone made before": &unread} {
		p, err := d.Properties()
		if err != nil || p.MessageID != "m" || d.Header("h") != "v" {
			t.Errorf("%s has %+v, %v", what, p, err)
		}
		p.Headers.Set("h", "changed")
		if d.Header("h") != "v" {
			t.Errorf("%s: what Properties returned is not a copy", what)
		}
	}
	if n := testing.AllocsPerRun(10, func() { _ = d.MessageID() + d.Type() }); n != 0 {
		t.Errorf("%v allocations to ask again", n)
	}
}

// TestMalformedProperties: what can't be read is an error of Properties and absent to
// the others.
func TestMalformedProperties(t *testing.T) {
	for _, d := range []Delivery{{properties: []byte{0xff, 0xff, 1}}, {sections: true, properties: []byte{0, 0x53}}} {
		if p, err := d.Properties(); err == nil || !reflect.DeepEqual(p, Properties{}) {
			t.Errorf("got %+v, %v", p, err)
		}
		count, ok := d.DeliveryCount()
		if d.MessageID() != "" || d.Header("h") != nil || d.Deaths() != nil || !d.Timestamp().IsZero() || count != 0 || ok {
			t.Error("something was found")
		}
	}
	if p, err := new(Delivery).Properties(); err != nil || !reflect.DeepEqual(p, Properties{}) {
		t.Errorf("a delivery without any: %+v, %v", p, err)
	}
}

func TestExpiration(t *testing.T) {
	for given, want := range map[time.Duration]string{
		1: "1", time.Millisecond: "1", time.Millisecond + 1: "2", time.Hour: "3600000", ExpireAtOnce: "0", -time.Hour: "0", 0: "",
	} {
		w := propertyWriter{unset: Persistent}
		var wire amqpproto.Properties
		for range 2 {
			if w.prepare(&wire, &Properties{Expiration: given}); wire.Expiration != want {
				t.Errorf("%v is sent as %q, want %q", given, wire.Expiration, want)
			}
		}
		if w.prepare(&wire, nil); wire.Expiration != "" || wire.DeliveryMode != Persistent {
			t.Errorf("after it: %+v", wire)
		}
	}
	for text, want := range map[string]time.Duration{
		"": 0, "0": ExpireAtOnce, "0005": 5 * time.Millisecond, "5s": 0, "-1": 0, "soon": 0, " 5": 0,
		"18446744073709551615": 1<<63 - 1, "18446744073709551616": 0,
	} {
		d := deliveryWith(t, amqpproto.Properties{Expiration: text, MessageID: "m"})
		if p, err := d.Properties(); err != nil || p.Expiration != want || p.MessageID != "m" {
			t.Errorf("%q is read as %v, %v, want %v", text, p.Expiration, err, want)
		}
		raw, err := amqp10.AppendMessage(nil, &amqp10.Message{Annotations: []amqp10.Pair{{Key: keyExpiration, Value: text}}})
		if err != nil {
			t.Fatal(err)
		}
		d = Delivery{sections: true, properties: raw}
		if p, err := d.Properties(); err != nil || p.Expiration != want {
			t.Errorf("%q is read from a stream as %v, %v, want %v", text, p.Expiration, err, want)
		}
	}
}

func TestDeaths(t *testing.T) {
	first := time.Unix(1_772_323_199, 0).UTC()
	d := deliveryWith(t, amqpproto.Properties{Headers: amqpproto.Table{
		{Key: "x-death", Value: []any{
			amqpproto.Table{
				{Key: "count", Value: int64(3)},
				{Key: "reason", Value: "expired"},
				{Key: "queue", Value: "waiting"},
				{Key: "time", Value: first},
				{Key: "exchange", Value: "orders"},
				{Key: "routing-keys", Value: []any{"new", "copy"}},
				{Key: "original-expiration", Value: "5000"},
			},
			"no table", // of somebody else's making
			amqpproto.Table{{Key: "count", Value: "many"}, {Key: "routing-keys", Value: "new"}, {Key: "reason", Value: "rejected"}},
		}},
		{Key: "x-delivery-count", Value: int64(2)},
	}})
	want := []Death{
		{Queue: "waiting", Reason: "expired", Count: 3, Exchange: "orders", RoutingKeys: []string{"new", "copy"}, Time: first, Expiration: 5 * time.Second},
		{Reason: "rejected"},
	}
	if got := d.Deaths(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if n, ok := d.DeliveryCount(); n != 2 || !ok {
		t.Errorf("got a delivery count of %d, %v", n, ok)
	}
	d = deliveryWith(t, amqpproto.Properties{Headers: amqpproto.Table{{Key: "x-death", Value: "x"}, {Key: "x-delivery-count", Value: "y"}}})
	if n, ok := d.DeliveryCount(); d.Deaths() != nil || n != 0 || ok {
		t.Errorf("got %v, %d, %v", d.Deaths(), n, ok)
	}
}

// TestForeignAnnotations: annotations in a form that RabbitMQ does not write are headers
// as they are.
func TestForeignAnnotations(t *testing.T) {
	raw, err := amqp10.AppendMessage(nil, &amqp10.Message{Annotations: []amqp10.Pair{
		{Key: "x-opt-deaths", Value: "x"},
		{Key: "x-opt-rabbitmq-received-time", Value: int64(1)},
		{Key: "x-cc", Value: "y"},
		{Key: "x-death", Value: amqp10.List{amqp10.Map{{Key: "count", Value: int64(1)}}}},
	}, ReplyTo: "/queues/%zz"})
	if err != nil {
		t.Fatal(err)
	}
	d := Delivery{sections: true, properties: raw}
	p, err := d.Properties()
	want := Properties{ReplyTo: "/queues/%zz", Headers: Table{
		{"x-opt-deaths", "x"}, {"x-opt-rabbitmq-received-time", int64(1)}, {"CC", "y"}, {"x-death", []any{Table{{"count", int64(1)}}}},
	}}
	if err != nil || !reflect.DeepEqual(p, want) {
		t.Errorf("got %+v, %v, want %+v", p, err, want)
	}
}
