package dump_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
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
				publish(t, client, name, kind, count, random.next)

				first := save(t, client, name)
				if _, err := client.DeleteQueue(t.Context(), name, thump.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
				contents := verify(t, first)
				if contents.Messages != count {
					t.Fatalf("%d messages in the dump, want %d", contents.Messages, count)
				}
				if _, err := client.DeclareQueue(t.Context(), contents.Header.Queue.Spec()); err != nil {
					t.Fatal(err)
				}
				restored, err := dump.Restore(t.Context(), client, dump.Restoring{
					From: bytes.NewReader(first), Contents: contents, To: name, Kind: kind, Progress: new(dump.Progress),
				})
				if err != nil || restored.Confirmed != count {
					t.Fatalf("%+v, %v", restored, err)
				}
				second := save(t, client, name)
				compare(t, first, second)
			})
		}
	})
}

// compare compares two dumps, without what the broker stamps.
func compare(t *testing.T, first, second []byte) {
	t.Helper()
	a, b := strings.SplitAfter(string(first), "\n"), strings.SplitAfter(string(second), "\n")
	if len(a) != len(b) {
		t.Fatalf("%d lines, and then %d", len(a), len(b))
	}
	if !strings.HasPrefix(a[1], `{"stream":`) && !bytes.Equal(first, second) {
		t.Errorf("the dumps differ")
	}
	for i := range a {
		if i > 0 && i < len(a)-2 && strings.HasPrefix(a[i], `{"stream":`) {
			a[i], b[i] = withoutStamps(a[i]), withoutStamps(b[i])
		}
		if i != len(a)-2 && a[i] != b[i] {
			t.Fatalf("line %d:\n%.3000s\n%.3000s", i+1, a[i], b[i])
		}
	}
	if x, y := verify(t, first).Digest, verify(t, second).Digest; x != y {
		t.Errorf("the digests of the messages are %s and %s", x, y)
	}
}

func withoutStamps(line string) string {
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
	if _, err := client.DeclareQueue(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
}

func publish(t testing.TB, client *thump.Client, name string, kind thump.QueueKind, count int, next func() thump.Message) {
	t.Helper()
	to := thump.Queue(name)
	if kind == dump.Stream {
		to = thump.Stream(name)
	}
	pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: to})
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
	p := &thump.Properties{DeliveryMode: uint8(1 + m.IntN(2)), Headers: m.table(0)}
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
