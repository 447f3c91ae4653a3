package thump

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
)

func TestTable(t *testing.T) {
	table := NewTable("a", 1, "b", "two", "a", nil)
	want := Table{{"a", 1}, {"b", "two"}, {"a", nil}}
	if !reflect.DeepEqual(table, want) {
		t.Fatalf("got %v", table)
	}
	for _, step := range []struct {
		do   func()
		want Table
	}{
		{func() { table.Set("a", 3) }, Table{{"a", 3}, {"b", "two"}}},
		{func() { table.Set("c", 4) }, Table{{"a", 3}, {"b", "two"}, {"c", 4}}},
		{func() { table.Set("c", nil) }, Table{{"a", 3}, {"b", "two"}, {"c", nil}}},
		{func() { table.Del("b") }, Table{{"a", 3}, {"c", nil}}},
		{func() { table.Del("nobody") }, Table{{"a", 3}, {"c", nil}}},
	} {
		if step.do(); !reflect.DeepEqual(table, step.want) {
			t.Errorf("got %v, want %v", table, step.want)
		}
	}
	if v, there := table.Get("c"); v != nil || !there {
		t.Errorf("got %v, %v for a key with nil", v, there)
	}
	if v, there := table.Get("b"); v != nil || there {
		t.Errorf("got %v, %v for no key", v, there)
	}
	var none Table
	none.Del("a")
	none.Set("a", 1)
	if !reflect.DeepEqual(none, Table{{"a", 1}}) || len(NewTable()) != 0 {
		t.Errorf("got %v", none)
	}
}

func TestNewTablePanics(t *testing.T) {
	for want, arguments := range map[string][]any{
		"thump: NewTable: the last key has no value":                        {"a", 1, "b"},
		"thump: NewTable: argument 3 is a key and has type int, not string": {"a", 1, 2, "b"},
	} {
		func() {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("got %v, want %s", got, want)
				}
			}()
			NewTable(arguments...)
		}()
	}
}

// TestTableThroughTheCodec: a value of each type comes back through the codec, at the top
// and in tables and lists, and the caller's own table stays as it was.
func TestTableThroughTheCodec(t *testing.T) {
	values := []any{
		true, false, int8(math.MinInt8), uint8(math.MaxUint8), int16(math.MinInt16), uint16(math.MaxUint16),
		int32(math.MinInt32), uint32(math.MaxUint32), int64(math.MinInt64), float32(-1.5), math.Pi,
		Decimal{Scale: 2, Value: -314},
		Decimal{Scale: 255, Value: math.MinInt32},
		"grüße", "",
		[]byte{0, 0xff},
		[]byte{},
		time.Unix(-1, 0).UTC(), nil,
		[]any{},
		Table(nil),
	}
	make := func() Table {
		table := NewTable("list", append([]any{[]any{Decimal{Value: -1}}}, values...))
		inner := Table{}
		for _, v := range values {
			table = append(table, Field{Key: "k", Value: v})
			inner = append(inner, Field{Key: "k", Value: v})
		}
		return append(table, Field{Key: "table", Value: append(inner, Field{Key: "list", Value: []any{inner}})})
	}
	given, want := make(), make()
	if err := checkTable("header", given); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		raw, err := amqpproto.AppendProperties(nil, &amqpproto.Properties{Headers: appendWire(nil, given)})
		if err != nil {
			t.Fatal(err)
		}
		wire, err := amqpproto.ParseProperties(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := propertiesOf(&wire).Headers; !reflect.DeepEqual(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	}
	if !reflect.DeepEqual(given, want) {
		t.Errorf("the table became %v", given)
	}
}

// TestArgumentsOwnTheirBytes: what the caller writes into its bytes after the call does not
// change what is sent again later.
func TestArgumentsOwnTheirBytes(t *testing.T) {
	mine := []byte("mine")
	wire, err := wireArguments(NewTable("plain", mine, "table", NewTable("in", mine), "list", []any{[]any{mine}}))
	if err != nil {
		t.Fatal(err)
	}
	copy(mine, "late")
	want := NewTable("plain", []byte("mine"), "table", NewTable("in", []byte("mine")), "list", []any{[]any{[]byte("mine")}})
	if got := tableOf(wire); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestTableTakesOwnStrings: the types of this package that are strings are sent as that.
func TestTableTakesOwnStrings(t *testing.T) {
	table := NewTable("x-queue-type", Quorum, "x-overflow", RejectPublish, "x-dead-letter-strategy", AtLeastOnce,
		"x-delayed-retry-type", RetryAll, "list", []any{Classic})
	wire, err := wireArguments(table)
	if err != nil {
		t.Fatal(err)
	}
	want := NewTable("x-queue-type", "quorum", "x-overflow", "reject-publish", "x-dead-letter-strategy", "at-least-once",
		"x-delayed-retry-type", "all", "list", []any{"classic"})
	if got := tableOf(wire); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for i := range table[:4] {
		if got := sectionValue(table[i].Value); got != want[i].Value {
			t.Errorf("a stream gets %v, want %v", got, want[i].Value)
		}
	}

	spec := QueueSpec{Kind: Quorum, DeadLetterRoutingKey: "q", Arguments: table[:3]}
	if got, err := spec.arguments(); err != nil || len(got) != 5 {
		t.Errorf("got %v, %v", got, err)
	}
	if _, there := table.Get("x-queue-type"); !there || table[0].Value != Quorum {
		t.Errorf("the caller's table became %v", table)
	}
	spec.Kind = Classic
	if _, err := spec.arguments(); err == nil {
		t.Error("a classic queue with the arguments of a quorum queue is not refused")
	}
}
