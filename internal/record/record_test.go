package record

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
)

// TestRoundTrip: what is written is read back, whatever is in it.
func TestRoundTrip(t *testing.T) {
	seed := rand.Uint64()
	random := generator{rand.New(rand.NewPCG(seed, 0))}
	var p Parser
	var back Record
	for range 5000 {
		r := random.record()
		line := Append(nil, &r)
		if err := p.Parse(line, &back); err != nil {
			t.Fatalf("seed %d: %s%v", seed, line, err)
		}
		if !same(reflect.ValueOf(r), reflect.ValueOf(back)) {
			t.Fatalf("seed %d: %+v\ncame back as\n%+v\nfrom %s", seed, r, back, line)
		}
		if !json.Valid(line) || bytes.Count(line, []byte("\n")) != 1 {
			t.Fatalf("seed %d: not one line of JSON: %q", seed, line)
		}
	}
}

// same is reflect.DeepEqual, but for NaN, which equals itself bit by bit, for times, which
// are instants, and for nil, which is no more than empty.
func same(a, b reflect.Value) bool {
	if a.IsValid() != b.IsValid() || a.IsValid() && a.Type() != b.Type() {
		return false
	}
	if !a.IsValid() {
		return true
	}
	if at, ok := reflect.TypeAssert[time.Time](a); ok {
		return at.Equal(b.Interface().(time.Time))
	}
	switch a.Kind() {
	case reflect.Float32:
		return math.Float32bits(a.Interface().(float32)) == math.Float32bits(b.Interface().(float32))
	case reflect.Float64:
		return math.Float64bits(a.Float()) == math.Float64bits(b.Float())
	case reflect.Interface:
		return same(a.Elem(), b.Elem())
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Struct:
		for i := range a.NumField() {
			if !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	default:
		return a.Equal(b)
	}
}

// generator makes records of everything that a message may have.
type generator struct{ *rand.Rand }

func (g generator) record() Record {
	r := Record{Body: []byte(g.text(60)), Exchange: g.maybe(20), RoutingKey: g.maybe(20), Redelivered: g.IntN(2) == 0}
	if g.IntN(2) == 0 {
		r.Stream, r.Offset, r.StoredAt = g.text(10)+"s", g.Uint64(), time.UnixMilli(g.Int64N(1<<42)).UTC()
	}
	if g.IntN(3) == 0 {
		r.DeliveryCount = g.IntN(1000)
	}
	if g.IntN(10) == 0 {
		r.Unreadable, r.RawProperties = g.text(30), []byte(g.text(30))
	}
	if g.IntN(4) == 0 {
		r.Sections = []byte(g.text(30))
	}
	p := &r.Properties
	p.ContentType, p.ContentEncoding, p.CorrelationID, p.ReplyTo = g.maybe(20), g.maybe(20), g.maybe(255), g.maybe(20)
	p.MessageID, p.Type, p.UserID, p.AppID = g.maybe(80), g.maybe(20), g.maybe(20), g.maybe(20)
	p.DeliveryMode, p.Priority, p.Format = uint8(g.IntN(256)), uint8(g.IntN(256)), thump.Format(g.IntN(len(formats)))
	p.Priority *= uint8(g.IntN(2))
	p.ZeroPriority = p.Priority == 0 && g.IntN(2) == 0
	if g.IntN(2) == 0 {
		p.Timestamp = g.time()
	}
	switch g.IntN(4) {
	case 0:
		p.Expiration = time.Duration(g.Int64N(1<<40)+1) * time.Millisecond
	case 1:
		p.Expiration = thump.ExpireAtOnce
	}
	if g.IntN(3) > 0 {
		p.Headers = g.table(0)
	}
	return r
}

// maybe is a text or, as often, none.
func (g generator) maybe(most int) string {
	if g.IntN(2) == 0 {
		return ""
	}
	return g.text(most)
}

// text is characters of all kinds, and sometimes what is no character.
func (g generator) text(most int) string {
	var b strings.Builder
	broken := g.IntN(4) == 0
	for range g.IntN(most + 1) {
		switch kind := g.IntN(12); {
		case broken && kind < 3:
			b.WriteByte(byte(g.Uint32()))
		case kind < 8:
			b.WriteByte(byte(' ' + g.IntN(95)))
		case kind == 8:
			b.WriteByte(byte(g.IntN(0x80)))
		default:
			b.WriteRune(rune(g.IntN(0x110000)))
		}
	}
	return b.String()
}

func (g generator) time() time.Time {
	if g.IntN(8) == 0 {
		return time.Unix(int64(g.Uint64()>>g.IntN(30)), 0).UTC()
	}
	return time.Unix(g.Int64N(1<<33), int64(g.IntN(2))*int64(g.IntN(1000))*1e6).UTC()
}

func (g generator) table(depth int) thump.Table {
	t := thump.Table{}
	words := []string{"int8", "table", "bytes", "timestamp", "a", "x-death"}
	for range g.IntN(5) {
		key := g.text(12)
		if g.IntN(3) == 0 {
			key = words[g.IntN(len(words))]
		}
		t = append(t, thump.Field{Key: key, Value: g.value(depth)})
	}
	return t
}

// value is of one of the types that a table may hold.
func (g generator) value(depth int) any {
	kinds := 17
	if depth > 4 {
		kinds = 15
	}
	switch g.IntN(kinds) {
	case 0:
		return nil
	case 1:
		return g.IntN(2) == 0
	case 2:
		return int8(g.Uint32())
	case 3:
		return int16(g.Uint32())
	case 4:
		return int32(g.Uint32())
	case 5:
		return int64(g.Uint64())
	case 6:
		return uint8(g.Uint32())
	case 7:
		return uint16(g.Uint32())
	case 8:
		return g.Uint32()
	case 9:
		return g.float32()
	case 10:
		return g.float64()
	case 11:
		return thump.Decimal{Scale: uint8(g.Uint32() >> g.IntN(9)), Value: int32(g.Uint32()) >> g.IntN(32)}
	case 12:
		return g.text(40)
	case 13:
		return []byte(g.text(40))
	case 14:
		return g.time()
	case 15:
		return g.table(depth + 1)
	default:
		list := []any{}
		for range g.IntN(4) {
			list = append(list, g.value(depth+1))
		}
		return list
	}
}

func (g generator) float32() float32 {
	odd := []float32{0, float32(math.Copysign(0, -1)), 1, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), math.MaxFloat32, math.SmallestNonzeroFloat32}
	if g.IntN(2) == 0 {
		return odd[g.IntN(len(odd))]
	}
	return math.Float32frombits(g.Uint32())
}

func (g generator) float64() float64 {
	odd := []float64{0, math.Copysign(0, -1), 1, 1e300, -2e21, math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat64, math.SmallestNonzeroFloat64}
	if g.IntN(2) == 0 {
		return odd[g.IntN(len(odd))]
	}
	return math.Float64frombits(g.Uint64())
}

// TestLine is what a line looks like.
func TestLine(t *testing.T) {
	r := Record{
		Body: []byte("an order\n"), Exchange: "orders", RoutingKey: "eu.de", Redelivered: true, DeliveryCount: 2,
		Properties: thump.Properties{
			ContentType: "text/plain", DeliveryMode: thump.Persistent, Expiration: time.Minute, MessageID: "17",
			Timestamp: time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC),
			Headers: thump.NewTable("tenant", "acme", "attempt", 3, "ratio", 1.0, "price", thump.Decimal{Scale: 2, Value: -1250},
				"level", uint8(5), "key", []byte{0, 255}, "odd", "a\xffb", "shape", thump.NewTable("bytes", nil), "list", []any{true, float32(1.5)}),
		},
	}
	const want = `{"exchange":"orders","routing_key":"eu.de","redelivered":true,"delivery_count":2,"content_type":"text/plain",` +
		`"headers":{"tenant":"acme","attempt":3,"ratio":1.0,"price":{"decimal":"-12.50"},"level":{"uint8":5},"key":{"bytes":"AP8="},` +
		`"odd":"a\udcffb","shape":{"table":{"bytes":null}},"list":[true,{"float":1.5}]},"delivery_mode":2,"expiration":60000,` +
		`"message_id":"17","timestamp":"2026-11-27T10:00:00Z","body":"an order\n"}` + "\n"
	if got := string(Append(nil, &r)); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	r = Record{Body: []byte("\xff\x00"), Stream: "events", StoredAt: time.UnixMilli(1_700_000_000_123).UTC()}
	const wantStream = `{"stream":"events","offset":0,"stored_at":"2023-11-14T22:13:20.123Z","body_base64":"/wA="}` + "\n"
	if got := string(Append(nil, &r)); got != wantStream {
		t.Errorf("got  %swant %s", got, wantStream)
	}
}

// TestFaults: what is wrong in a line is said, and where.
func TestFaults(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{``, `column 1: the line ends where '{' has to be`},
		{`Message 1`, `column 1: 'M' is where '{' has to be`},
		{`{}`, `column 1: the record has no "body"`},
		{`{"body":"a","body_base64":"YQ=="}`, `column 1: the record has both "body" and "body_base64"`},
		{`{"body":"a","bdy":1}`, `column 13: no record has a key "bdy"`},
		{`{"body":"a","body":"b"}`, `column 13: "body" comes twice`},
		{`{"body":1}`, `column 9: '1' is where a string has to be`},
		{`{"body":"a"`, `column 12: the line ends where ',' or '}' has to be`},
		{`{"body":"a"} x`, `column 14: 'x' is where the end of the line has to be`},
		{`{"body":"a`, `column 9: the string that begins here has no end`},
		{`{"body":"a\n`, `column 9: the string that begins here has no end`},
		{`{"body":"a\`, `column 11: the line ends in an escape`},
		{`{"body":"\x"}`, `column 10: JSON has no such escape`},
		{`{"body":"\u12g4"}`, `column 10: \u has no four hexadecimal digits`},
		{`{"body":"\ud83d"}`, `column 10: half of a pair of escapes, and not the other`},
		{"{\"body\":\"a\xff\"}", `column 11: the byte 0xff is not UTF-8`},
		{"{\"body\":\"a\tb\"}", `column 11: a string has the control character 0x09 in it, which JSON writes as an escape`},
		{"{\"body\":\"\\na\tb\"}", `column 13: a string has the control character 0x09 in it, which JSON writes as an escape`},
		{`{"body_base64":"a"}`, `column 16: the string is not base64`},
		{`{"body":"","priority":256}`, `column 23: the number is not from 0 to 255`},
		{`{"body":"","priority":1.5}`, `column 23: the number must be a whole one`},
		{`{"body":"","priority":01}`, `column 23: the number that begins here is not one of JSON`},
		{`{"body":"","redelivered":1}`, `column 26: '1' is where true or false has to be`},
		{`{"body":"","timestamp":"today"}`, `column 24: the time is not one like 2026-11-27T10:00:00Z`},
		{`{"body":"","format":"xml"}`, `column 21: there is no format "xml"`},
		{`{"body":"","headers":[]}`, `column 22: '[' is where '{' has to be`},
		{`{"body":"","headers":{"a":{"int8":200}}}`, `column 35: the number is not from -128 to 127`},
		{`{"body":"","headers":{"a":{"decimal":"1.x"}}}`, `column 38: a decimal is a string of digits like "-12.50"`},
		{`{"body":"","headers":{"a":9223372036854775808}}`, `column 27: the number has no room in 64 bits`},
		{`{"body":"","headers":{"a":}}`, `column 27: '}' is where a value has to be`},
		{`{"body":"","headers":{"a":` + strings.Repeat("[", 1000), `more than 64 values are inside of each other`},
		{`{"body":"","headers":{"a":[` + strings.Repeat("1,", valuesMost) + `1]}}`, `the headers have more than 1048576 values`},
	} {
		var p Parser
		var r Record
		err := p.Parse([]byte(c.line), &r)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.100s\n got %v\nwant %s", c.line, err, c.want)
		}
	}
}

// TestAllocations: a message without headers costs none.
func TestAllocations(t *testing.T) {
	r := Record{Body: []byte(`{"order":17}`), Exchange: "orders", RoutingKey: "eu", Properties: thump.Properties{ContentType: "application/json"}}
	var p Parser
	var back Record
	line := Append(nil, &r)
	if n := testing.AllocsPerRun(100, func() { line = Append(line[:0], &r) }); n != 0 {
		t.Errorf("Append allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { _ = p.Parse(line, &back) }); n != 0 {
		t.Errorf("Parse allocates %v times", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	r := Record{Body: []byte("Message 123456"), RoutingKey: "orders", Properties: thump.Properties{DeliveryMode: 2}}
	var line []byte
	b.ReportAllocs()
	for b.Loop() {
		line = Append(line[:0], &r)
	}
}

func BenchmarkParse(b *testing.B) {
	r := Record{Body: []byte("Message 123456"), RoutingKey: "orders", Properties: thump.Properties{DeliveryMode: 2}}
	line := Append(nil, &r)
	var p Parser
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Parse(line, &r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseStandard(b *testing.B) {
	r := Record{Body: []byte("Message 123456"), RoutingKey: "orders", Properties: thump.Properties{DeliveryMode: 2}}
	line := Append(nil, &r)
	var v struct {
		RoutingKey   string `json:"routing_key"`
		DeliveryMode int    `json:"delivery_mode"`
		Body         string `json:"body"`
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := json.Unmarshal(line, &v); err != nil {
			b.Fatal(err)
		}
	}
}
