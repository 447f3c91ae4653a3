package dump_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
	"github.com/thumpmq/thump/internal/dump"
)

// TestRoundTrip: what is dumped, deleted, restored and dumped again is the same.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	const count = 3000
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum, dump.Stream} {
			t.Run(string(kind), func(t *testing.T) {
				t.Parallel()
				client := dial(t, b)
				random := messages{Rand: rand.New(rand.NewPCG(seed, 0)), userID: user(t, b), kind: kind, version: client.Server().Version}
				name := queueName(t, client, string(kind))
				declare(t, client, name, kind)
				to := thump.Queue(name)
				if kind == dump.Stream {
					to = thump.Stream(name)
				}
				publish(t, client, to, count, random.next)
				first := save(t, client, name)
				compare(t, first, again(t, client, name, first, count))
			})
			t.Run(string(kind)+"-through-exchange", func(t *testing.T) {
				t.Parallel()
				client := dial(t, b)
				random := messages{Rand: rand.New(rand.NewPCG(seed, 1)), userID: user(t, b), kind: kind, version: client.Server().Version}
				name := queueName(t, client, string(kind))
				declare(t, client, name, kind)
				throughExchange(t, client, name, count/10, &random)
				first := save(t, client, name)
				second := again(t, client, name, first, count/10)
				changes := regexp.MustCompile(`"exchange":"thump-[^"]*"`) // the one that a message came through last
				if kind == dump.Stream && random.version[0] == '3' {
					changes = regexp.MustCompile(`"(exchange|routing_key)":"([^"\\]|\\.)*",`) // what comes over the stream protocol has none
				}
				compareLines(t, changes.ReplaceAll(first, nil), changes.ReplaceAll(second, nil))
			})
		}
	})
}

// again deletes a queue, restores it from its dump, and dumps it again.
func again(t *testing.T, client *thump.Client, name string, first []byte, count uint64) []byte {
	t.Helper()
	if _, err := client.DeleteQueue(t.Context(), name, thump.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	contents := verify(t, first)
	if contents.Messages != count {
		t.Fatalf("%d messages in the dump, want %d", contents.Messages, count)
	}
	definition := contents.Header.Queue
	declareQueue(t, client, definition.Spec())
	restored, err := dump.Restore(t.Context(), client, dump.Restoring{
		From: bytes.NewReader(first), Contents: contents, To: definition, Progress: new(dump.Progress),
	})
	if err != nil || restored.Confirmed != count {
		t.Fatalf("%+v, %v", restored, err)
	}
	return save(t, client, name)
}

// throughExchange publishes messages with routing keys of their own, some of which name a
// further queue, to a queue through an exchange.
func throughExchange(t *testing.T, client *thump.Client, name string, count uint64, random *messages) {
	t.Helper()
	exchange := name + "-exchange"
	if err := client.DeclareExchange(t.Context(), thump.ExchangeSpec{Name: exchange, Kind: "fanout"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.DeleteExchange(context.Background(), exchange, thump.DeleteOptions{}) })
	if err := client.Bind(t.Context(), thump.Binding{Source: exchange, Queue: name}); err != nil {
		t.Fatal(err)
	}
	publish(t, client, thump.Exchange(exchange, ""), count, func() thump.Message {
		m := random.next()
		m.RoutingKey = random.text(random.IntN(20))
		if random.IntN(3) == 0 {
			m.Properties.Headers = append(m.Properties.Headers, thump.Field{Key: "CC", Value: []any{"elsewhere"}})
		}
		return m
	})
}

// compare compares two dumps: byte for byte, or those of a stream without what the broker
// stamps.
func compare(t *testing.T, first, second []byte) {
	t.Helper()
	compareLines(t, first, second)
	if !bytes.Contains(first, []byte("\n{\"stream\":")) && !bytes.Equal(first, second) {
		t.Errorf("the dumps differ")
	}
	if x, y := verify(t, first).Digest, verify(t, second).Digest; x != y {
		t.Errorf("the digests of the messages are %s and %s", x, y)
	}
}

// compareLines compares the records of two dumps, without what a broker stamps in a stream.
func compareLines(t *testing.T, first, second []byte) {
	t.Helper()
	a, b := strings.SplitAfter(string(first), "\n"), strings.SplitAfter(string(second), "\n")
	if len(a) != len(b) {
		t.Fatalf("%d lines, and then %d", len(a), len(b))
	}
	for i := range len(a) - 2 { // the last line, and nothing behind it
		if x, y := withoutStamps(a[i]), withoutStamps(b[i]); x != y {
			t.Fatalf("line %d:\n%.3000s\n%.3000s", i+1, x, y)
		}
	}
}

func withoutStamps(line string) string {
	if !strings.HasPrefix(line, `{"stream":`) {
		return line
	}
	_, rest, _ := strings.Cut(line, `"stored_at":"`)
	_, rest, _ = strings.Cut(rest, `",`)
	return rest
}

func declare(t testing.TB, client *thump.Client, name string, kind thump.QueueKind) {
	t.Helper()
	spec := thump.QueueSpec{Name: name, Kind: kind}
	if kind == dump.Stream {
		spec.MaxLengthBytes = 10_000_000_000
	} else {
		spec.MaxLength = 10_000_000
	}
	declareQueue(t, client, spec)
}

func publish(t testing.TB, client *thump.Client, to thump.Target, count uint64, next func() thump.Message) {
	t.Helper()
	stream := strings.HasPrefix(to.String(), "stream ")
	pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: to, SameDeliveryMode: !stream})
	if err != nil {
		t.Fatal(err)
	}
	for range count {
		if _, err := pub.Publish(t.Context(), next()); err != nil {
			t.Fatal(err)
		}
	}
	if err := pub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func save(t testing.TB, client *thump.Client, name string) []byte {
	t.Helper()
	definition, err := dump.Describe(t.Context(), client, name)
	if err != nil || definition.Partial != "" {
		t.Fatalf("%+v, %v", definition, err)
	}
	var out bytes.Buffer
	if _, err := dump.Save(t.Context(), client, dump.Saving{From: definition, Out: &out, Progress: new(dump.Progress)}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func verify(t testing.TB, file []byte) dump.Contents {
	t.Helper()
	contents, err := dump.Verify(bytes.NewReader(file), new(dump.Progress), nil)
	if err != nil {
		t.Fatal(err)
	}
	return contents
}

// user is the name that the broker's URL logs in with.
func user(t testing.TB, b brokertest.Broker) string {
	t.Helper()
	endpoint, err := thump.ParseURL(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	return endpoint.User
}

// messages makes random messages with all that a message can have.
type messages struct {
	*rand.Rand
	userID  string
	kind    thump.QueueKind
	version string
}

func (m *messages) next() thump.Message {
	p := &thump.Properties{DeliveryMode: uint8(m.IntN(3)), Headers: m.table(0)}
	text := func(to *string) {
		if m.IntN(2) == 0 {
			*to = m.text(1 + m.IntN(20))
		}
	}
	text(&p.ContentType)
	text(&p.ContentEncoding)
	text(&p.CorrelationID)
	text(&p.ReplyTo)
	text(&p.MessageID)
	text(&p.Type)
	text(&p.AppID)
	if m.IntN(2) == 0 {
		p.UserID = m.userID
	}
	p.Priority = uint8(m.IntN(10))
	p.ZeroPriority = p.Priority == 0 && m.IntN(2) == 0
	if m.IntN(2) == 0 {
		p.Expiration = time.Duration(1+m.IntN(1000)) * time.Hour
	}
	if m.IntN(2) == 0 {
		p.Timestamp = time.Unix(m.Int64N(1<<33), 0)
	}
	return thump.Message{Body: m.body(), Properties: p}
}

// body is mostly small, and now and then large.
func (m *messages) body() []byte {
	most := 200
	switch m.IntN(300) {
	case 0:
		most = 1 << 20
		if m.kind == dump.Stream {
			most = 1_000_000 // in one frame
		}
	case 1, 2, 3, 4, 5, 6:
		most = 10_000
	}
	n := m.IntN(most + 1)
	if n > 500_000 {
		n = most
	}
	if m.IntN(2) == 0 {
		return []byte(m.text(n))
	}
	body := make([]byte, n)
	for i := range body {
		body[i] = byte(m.Uint32())
	}
	return body
}

// text has about n bytes.
func (m *messages) text(n int) string {
	const letters = "abc\"\\\n\t\x00\x7f  <>&äöü€語😀\u2028"
	runes := []rune(letters)
	var b strings.Builder
	for b.Len() < n-4 {
		b.WriteRune(runes[m.IntN(len(runes))])
	}
	b.WriteString(strings.Repeat("x", n-b.Len()))
	return b.String()
}

// table has keys that no broker takes for its own, in their order: RabbitMQ 4 sorts them.
func (m *messages) table(depth int) thump.Table {
	var t thump.Table
	for i := range m.IntN(6) {
		key, value := fmt.Sprintf("key-%d", i), m.value(depth)
		switch value.(type) {
		case thump.Table, []any:
			if m.kind == dump.Stream { // which keeps those in annotations
				if key = "x-" + key; m.version[0] == '3' { // and before 3.13 not at all
					continue
				}
			}
		}
		t = append(t, thump.Field{Key: key, Value: value})
	}
	return t
}

func (m *messages) value(depth int) any {
	bits := m.Uint64()
	switch n := m.IntN(17); n {
	case 0:
		return bits&1 == 0
	case 1:
		return int8(bits)
	case 2:
		return int16(bits)
	case 3:
		return int32(bits)
	case 4:
		return int64(bits)
	case 5:
		return uint8(bits)
	case 6:
		return uint16(bits)
	case 7:
		return uint32(bits)
	case 8:
		return m.Float32()
	case 9:
		return m.NormFloat64()
	case 10:
		if m.kind == dump.Stream { // which can't keep one
			return "decimal"
		}
		return thump.Decimal{Scale: uint8(bits % 10), Value: int32(bits >> 32 & 0x7fffffff)}
	case 11:
		return []byte(m.text(int(bits % 30)))
	case 12:
		return time.Unix(int64(bits%(1<<33)), 0).UTC()
	case 13:
		return nil
	case 14, 15:
		if depth > 2 {
			return "deep"
		}
		if n == 14 {
			return m.table(depth + 1)
		}
		var list []any
		for range m.IntN(4) {
			list = append(list, m.value(depth+1))
		}
		return list
	default:
		return m.text(int(bits % 300))
	}
}
