package conformance

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
)

// Random messages: what is published comes back, over both protocols and from one to
// the other, and a stream holds the same of a message whether RabbitMQ or thump made the
// sections of it.

// randomMessages makes messages with random properties.
type randomMessages struct {
	*rand.Rand
	lists    bool   // tables and lists under "x-", and CC
	tables   bool   // tables, lists and decimals under all keys
	keepsAll bool   // a stream: what says that it expires does not
	user     string // of the login
}

// randomMessages says which seed it has.
func (r *rig) randomMessages() *randomMessages {
	seed := rand.Uint64()
	r.Logf("seed %d", seed)
	u, err := url.Parse(r.broker.URL)
	r.noError(err)
	return &randomMessages{Rand: rand.New(rand.NewPCG(seed, 0)), user: u.User.Username()}
}

// messages makes n messages, whose bodies begin with their number.
func (g *randomMessages) messages(n int) []thump.Message {
	msgs := make([]thump.Message, n)
	for i := range msgs {
		body := fmt.Appendf(nil, "%04d", i)
		for range g.IntN(300) {
			body = append(body, byte(g.Uint32()))
		}
		msgs[i] = thump.Message{Body: body, Properties: g.properties()}
	}
	return msgs
}

// properties are nil now and then, and each is absent half the time.
func (g *randomMessages) properties() *thump.Properties {
	if g.IntN(10) == 0 {
		return nil
	}
	p := &thump.Properties{
		ContentType: g.maybe(255), ContentEncoding: g.maybe(20), CorrelationID: g.id(), ReplyTo: g.maybe(80),
		MessageID: g.id(), Type: g.maybe(255), AppID: g.maybe(255),
		DeliveryMode: uint8(1 + g.IntN(2)), Priority: uint8(g.IntN(256)) * uint8(g.IntN(2)),
	}
	if g.IntN(2) == 0 {
		p.Expiration = time.Hour + time.Duration(g.Int64N(int64(math.MaxUint32-time.Hour/time.Millisecond)))*time.Millisecond
		if g.keepsAll && g.IntN(4) == 0 {
			p.Expiration = thump.ExpireAtOnce
		}
	}
	if g.IntN(2) == 0 {
		p.Timestamp = time.Unix(1+g.Int64N(1<<34), 0).UTC()
	}
	if g.IntN(2) == 0 {
		p.UserID = g.user
	}
	for i := range g.IntN(12) {
		p.Headers = append(p.Headers, g.header(i))
	}
	if g.lists && g.IntN(3) == 0 {
		p.Headers = append(p.Headers, thump.Field{Key: "CC", Value: []any{g.text(20), g.text(20)}})
	}
	return p
}

// header is number i of a message.
func (g *randomMessages) header(i int) thump.Field {
	key := fmt.Sprintf("%.200s %d", g.text(200), i)
	if strings.HasPrefix(key, "x-") {
		key = "y" + key
	}
	deep := g.tables
	if g.lists && g.IntN(2) == 0 {
		key, deep = "x-"+key, true
	}
	return thump.Field{Key: key, Value: g.value(deep, 0)}
}

// value has any type, tables and lists where deep.
func (g *randomMessages) value(deep bool, depth int) any {
	kinds := 16
	if deep && depth < 4 {
		kinds = 20
	}
	switch g.IntN(kinds) {
	case 0:
		return g.IntN(2) == 0
	case 1:
		return int8(g.Uint32())
	case 2:
		return uint8(g.Uint32())
	case 3:
		return int16(g.Uint32())
	case 4:
		return uint16(g.Uint32())
	case 5:
		return int32(g.Uint32())
	case 6:
		return g.Uint32()
	case 7:
		return int64(g.Uint64())
	case 8:
		return int(g.Uint64())
	case 9:
		return float32(g.NormFloat64())
	case 10:
		return g.NormFloat64() * 1e100
	case 11:
		return time.Unix(g.Int64N(1<<34)-1<<33, 0).UTC()
	case 12:
		return []byte(g.text(40) + "\x00\xff")
	case 13:
		return nil
	case 14, 15:
		return g.text(300)
	case 16, 17:
		list := []any{}
		for range g.IntN(4) {
			list = append(list, g.value(deep, depth+1))
		}
		return list
	case 18:
		if g.tables {
			return thump.Decimal{Scale: uint8(g.IntN(10)), Value: int32(g.Uint32())}
		}
	}
	table := thump.Table{}
	for i := range g.IntN(4) {
		table = append(table, thump.Field{Key: fmt.Sprintf("%d %s", i, g.text(20)), Value: g.value(deep, depth+1)})
	}
	return table
}

// text has at most that many bytes, and at least one.
func (g *randomMessages) text(most int) string {
	letters := []rune("abcXYZ019 -._~/%&+=:@\r\n\t\x1b\"'äß€🐰")
	var b strings.Builder
	for range 1 + g.IntN(most) {
		letter := letters[g.IntN(len(letters))]
		if b.Len()+len(string(letter)) > most {
			break
		}
		b.WriteRune(letter)
	}
	return b.String() + strings.Repeat("a", max(0, 1-b.Len()))
}

func (g *randomMessages) maybe(most int) string {
	if g.IntN(2) == 0 {
		return ""
	}
	return g.text(most)
}

func (g *randomMessages) id() string {
	if g.IntN(4) == 0 {
		id := fmt.Sprintf("%016x%016x", g.Uint64(), g.Uint64())
		return "urn:uuid:" + strings.Join([]string{id[:8], id[8:12], id[12:16], id[16:20], id[20:]}, "-")
	}
	return g.maybe(255)
}

// came compares what came with what was sent, without the order of headers; also
// compares a header that came with what was sent, where plain equality is not all.
func (r *rig) came(what string, got []thump.Delivery, sent []thump.Message, also func(got, sent any) bool) {
	r.Helper()
	if len(got) != len(sent) {
		r.Fatalf("%s: %d of %d", what, len(got), len(sent))
	}
	// Queues sort by priority.
	slices.SortFunc(got, func(a, b thump.Delivery) int { return bytes.Compare(a.Body, b.Body) })
	for i := range got {
		d := &got[i]
		p, err := d.Properties()
		if err != nil {
			r.Fatalf("%s: message %d: %v", what, i, err)
		}
		want := thump.Properties{DeliveryMode: p.DeliveryMode} // the default depends on the protocol
		if sent[i].Properties != nil {
			want = *sent[i].Properties
		}
		if !bytes.Equal(d.Body, sent[i].Body) {
			r.Errorf("%s: message %d: body %q, sent %q", what, i, d.Body, sent[i].Body)
		}
		if d.MessageID() != p.MessageID || d.CorrelationID() != p.CorrelationID || d.ReplyTo() != p.ReplyTo ||
			d.ContentType() != p.ContentType || d.Type() != p.Type || !d.Timestamp().Equal(p.Timestamp) {
			r.Errorf("%s: message %d: its methods do not return its properties, %+v", what, i, p)
		}
		for _, h := range want.Headers {
			value, there := p.Headers.Get(h.Key)
			value, sent := plain(value), plain(h.Value)
			if !there || !reflect.DeepEqual(value, sent) && (also == nil || !also(value, sent)) {
				r.Errorf("%s: message %d: header %q is %#v, %v, sent %#v", what, i, h.Key, value, there, sent)
			}
			if h.Value != nil && d.Header(h.Key) == nil {
				r.Errorf("%s: message %d: no Header(%q)", what, i, h.Key)
			}
		}
		for _, h := range p.Headers {
			if _, expected := want.Headers.Get(h.Key); !expected && h.Key != "x-stream-offset" {
				r.Errorf("%s: message %d: header %q, %#v, was not sent", what, i, h.Key, h.Value)
			}
		}
		p.Headers, want.Headers = nil, nil
		if !reflect.DeepEqual(p, want) {
			r.Errorf("%s: message %d:\ngot  %#v\nsent %#v", what, i, p, want)
		}
	}
}

// testRandomMessages publishes random messages to a place, and reads them from it.
func testRandomMessages(r *rig) {
	g := r.randomMessages()
	g.tables = r.engine.can&tables != 0
	g.keepsAll, g.lists = r.engine.streams(), r.engine.streams() && r.atLeast("3.13")
	sent := g.messages(100)
	place := r.place()
	if r.engine.can&partitions != 0 {
		for i := range sent { // into one partition, so that the order is known
			sent[i].RoutingKey = "one"
		}
	}
	r.send(place, sent...)
	got := r.take(place, len(sent))
	r.came("sent and taken", got, sent, nil)

	// What came is sent again, as a relay does.
	again := make([]thump.Message, len(got))
	for i := range got {
		p, err := got[i].Properties()
		r.noError(err)
		again[i] = thump.Message{Body: got[i].Body, Properties: &p, RoutingKey: sent[i].RoutingKey}
	}
	place = r.place()
	r.send(place, again...)
	r.came("relayed", r.take(place, len(sent)), sent, nil)
}

// textOrBytes is for what RabbitMQ 4 makes of binary headers when an AMQP consumer reads
// a stream: strings.
func textOrBytes(got, sent any) bool {
	switch sent := sent.(type) {
	case []byte:
		return got == string(sent)
	case []any:
		got, ok := got.([]any)
		return ok && slices.EqualFunc(got, sent, sameOrText)
	case thump.Table:
		got, ok := got.(thump.Table)
		return ok && slices.EqualFunc(got, sent, func(a, b thump.Field) bool { return a.Key == b.Key && sameOrText(a.Value, b.Value) })
	default:
		return false
	}
}

func sameOrText(got, sent any) bool { return reflect.DeepEqual(got, sent) || textOrBytes(got, sent) }

// TestRandomAcrossProtocols publishes the same random messages to a stream over both
// protocols, and reads them over both.
func TestRandomAcrossProtocols(t *testing.T) {
	eachStreamRig(t, func(r *rig) {
		g := r.randomMessages()
		g.lists = r.atLeast("3.13")
		sent := g.messages(100)
		for i := range sent {
			if sent[i].Properties == nil { // RabbitMQ would write a delivery mode
				sent[i].Properties = &thump.Properties{DeliveryMode: thump.Persistent}
			}
		}
		if g.lists {
			sent[0].Properties.Headers.Set("x-keys", thump.NewTable("key of a table", 1))
		}
		ours, theirs := r.stream(thump.StreamSpec{}), r.stream(thump.StreamSpec{})
		for _, p := range []*thump.Publisher{
			r.publishing(ours, thump.StreamPublishing{SubEntry: 1}), r.publisher(thump.PublisherConfig{To: thump.Queue(theirs)}),
		} {
			r.publish(p, sent...)
			r.noError(p.Close(r.Context()))
		}

		r.came("stream to stream", r.take(ours, len(sent)), sent, nil)
		r.came("AMQP to stream", r.take(theirs, len(sent)), sent, nil)
		r.came("stream to AMQP", r.takeOverAMQP(ours, len(sent)), sent, textOrBytes)
		r.came("AMQP to AMQP", r.takeOverAMQP(theirs, len(sent)), sent, textOrBytes)

		// The codec does not tell how the keys of a table are written.
		const asSymbol = "\xa3\x0ekey of a table"
		for what, stream := range map[string]string{"thump": ours, "RabbitMQ": theirs} {
			if raw := r.rawMessages(stream, len(sent)); bytes.Contains(raw[0], []byte(asSymbol)) != g.lists {
				r.Errorf("%s: %q", what, raw[0])
			}
		}
		got, want := r.sections(ours, len(sent)), r.sections(theirs, len(sent))
		for i := range got {
			if !reflect.DeepEqual(got[i], want[i]) {
				r.Errorf("message %d: thump wrote\n%+v, RabbitMQ\n%+v", i, got[i], want[i])
			}
		}
	})
}

// sections reads n messages of a stream as they are stored, without what only RabbitMQ
// knows of one.
func (r *rig) sections(stream string, n int) []amqp10.Message {
	r.Helper()
	var list []amqp10.Message
	for _, raw := range r.rawMessages(stream, n) {
		var m amqp10.Message
		r.noError(amqp10.ParseMessage(raw, &m))
		m.More = false // RabbitMQ writes types that package thump does not
		m.Annotations = slices.DeleteFunc(m.Annotations, func(p amqp10.Pair) bool { return p.Key == "x-exchange" || p.Key == "x-routing-key" })
		for _, pairs := range []*[]amqp10.Pair{&m.Annotations, &m.ApplicationProperties} {
			if slices.SortFunc(*pairs, func(a, b amqp10.Pair) int { return strings.Compare(a.Key, b.Key) }); len(*pairs) == 0 {
				*pairs = nil
			}
		}
		list = append(list, m)
	}
	return list
}

// rawMessages reads n messages of a stream as they are stored. It has to contain no
// batches.
func (r *rig) rawMessages(stream string, n int) [][]byte {
	r.Helper()
	u, err := thump.ParseURL(r.broker.StreamURL)
	r.noError(err)
	conn, err := streamconn.Dial(r.Context(), transport.Config{
		Address: net.JoinHostPort(u.Host, u.Port), Mechanism: "PLAIN", User: u.User, Password: u.Password, Vhost: u.Vhost,
		Name: r.Name(), Heartbeat: time.Minute, Timeout: patience, FrameMax: 16 << 20, DialContext: new(net.Dialer).DialContext,
	})
	r.noError(err)
	defer func() { _ = conn.Close(r.Context()) }()
	inbox := streamconn.NewInbox()
	_, err = conn.Subscribe(r.Context(), streamconn.SubscribeConfig{
		Stream: stream, Offset: streamproto.OffsetSpec{Type: streamproto.OffsetFirst}, Credit: 10, Inbox: inbox, Ended: func(why error) { inbox.End(why) },
	})
	r.noError(err)
	var raw [][]byte
	var arrivals []streamconn.Arrival
	for len(raw) < n {
		arrivals, err = inbox.Take(r.Context(), arrivals)
		r.noError(err)
		for i := range arrivals {
			entries := arrivals[i].Chunk.Reader()
			for {
				message, ok := entries.NextMessage()
				if !ok {
					break
				}
				raw = append(raw, bytes.Clone(message))
			}
			if _, more := entries.Next(); more || entries.Err() != nil {
				r.Fatalf("a batch, or %v", entries.Err())
			}
			arrivals[i].Release()
		}
	}
	return raw
}

// TestDeadLetteredIntoStream: what a dead-lettered message with copies shows is the same
// whatever protocol its stream is read with. RabbitMQ 3.10 dead-letters nothing into a
// stream.
func TestDeadLetteredIntoStream(t *testing.T) {
	eachStreamRig(t, func(r *rig) {
		if !r.atLeast("3.13") {
			return
		}
		stream, other := r.stream(thump.StreamSpec{}), r.classicQueue()
		first := r.declare(thump.QueueSpec{Name: unique("first"), Kind: thump.Classic, Arguments: thump.NewTable(
			"x-dead-letter-exchange", "", "x-dead-letter-routing-key", stream)})
		p := r.publisher(thump.PublisherConfig{To: thump.Queue(first)})
		r.publish(p, thump.Message{Body: []byte("short-lived"), Properties: &thump.Properties{
			Expiration: time.Millisecond, Headers: thump.NewTable("CC", []any{other}, "h", "kept"),
		}})
		r.noError(p.Close(r.Context()))

		overAMQP, overStream := r.takeOverAMQP(stream, 1)[0], r.take(stream, 1)[0]
		if got := overAMQP.Header("h"); got != "kept" || overStream.Header("h") != got {
			r.Errorf("got %v over AMQP, %v over the stream protocol", got, overStream.Header("h"))
		}
		want := []thump.Death{{
			Queue: first, Reason: "expired", Count: 1, RoutingKeys: []string{first, other}, Expiration: time.Millisecond,
		}}
		for what, d := range map[string]*thump.Delivery{"AMQP": &overAMQP, "the stream protocol": &overStream} {
			got := d.Deaths()
			if len(got) != 1 || time.Since(got[0].Time) > time.Minute || got[0].Time.Nanosecond() != 0 {
				r.Fatalf("over %s: %+v", what, got)
			}
			got[0].Time = time.Time{}
			if !reflect.DeepEqual(got, want) {
				r.Errorf("over %s: got %+v, expected %+v", what, got, want)
			}
			if copies := d.Header("CC"); !reflect.DeepEqual(copies, []any{other}) {
				r.Errorf("over %s: CC is %v", what, copies)
			}
		}
		if a, s := overAMQP.Header("x-death"), overStream.Header("x-death"); !sameDeaths(a, s) {
			r.Errorf("x-death is %v over AMQP, %v over the stream protocol", a, s)
		}

		// It can be relayed.
		properties, err := overStream.Properties()
		r.noError(err)
		again := r.stream(thump.StreamSpec{})
		r.send(again, thump.Message{Properties: &properties})
		if got := r.take(again, 1)[0]; !reflect.DeepEqual(got.Deaths(), overStream.Deaths()) || !reflect.DeepEqual(got.Header("CC"), []any{other}) {
			r.Errorf("relayed: %+v, %v", got.Deaths(), got.Header("CC"))
		}
	})
}

// sameDeaths compares two x-death, without the order of their fields.
func sameDeaths(a, b any) bool {
	as, _ := a.([]any)
	bs, _ := b.([]any)
	return slices.EqualFunc(as, bs, func(a, b any) bool {
		one, _ := a.(thump.Table)
		other, _ := b.(thump.Table)
		for _, f := range one {
			if v, there := other.Get(f.Key); !there || !reflect.DeepEqual(v, f.Value) {
				return false
			}
		}
		return len(one) == len(other)
	})
}
