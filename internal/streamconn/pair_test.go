package streamconn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
	"github.com/thumpmq/thump/internal/window"
)

// config is an ordinary one, for a fake broker.
func config(b *fakebroker.Broker) transport.Config {
	return conntest.Config(b, 16<<20)
}

// pair is conntest.Pair with a client that is logged in when the test begins; the script
// begins after the login.
func pair(t *testing.T, script func(*fakebroker.StreamSession), test func(*testing.T, *Conn)) {
	t.Helper()
	pairAs(t, fakebroker.LikelyStream(), script, test)
}

// pairAs is pair with a greeting of the test's own.
func pairAs(t *testing.T, g fakebroker.StreamGreeting, script func(*fakebroker.StreamSession), test func(*testing.T, *Conn)) {
	t.Helper()
	conntest.Pair(t, loggedIn(g, script), dialPipe, test)
}

// pairInRealTime is pairAs outside of a bubble.
func pairInRealTime(t *testing.T, g fakebroker.StreamGreeting, script func(*fakebroker.StreamSession), test func(*testing.T, *Conn)) {
	t.Helper()
	conntest.PairInRealTime(t, loggedIn(g, script), dialPipe, test)
}

// loggedIn is a script that begins after the login.
func loggedIn(g fakebroker.StreamGreeting, script func(*fakebroker.StreamSession)) func(*fakebroker.Session) {
	return fakebroker.Stream(func(s *fakebroker.StreamSession) {
		s.LoginAs(g)
		script(s)
	})
}

func dialPipe(t *testing.T, b *fakebroker.Broker) *Conn {
	t.Helper()
	return dial(t, config(b))
}

func dial(t *testing.T, cfg transport.Config) *Conn {
	t.Helper()
	conn, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal("dial:", err)
	}
	return conn
}

// shortly is a context that ends after a second.
func shortly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	t.Cleanup(cancel)
	return ctx
}

// windowBytesMost is how many bytes the windows of these tests take.
const windowBytesMost = 8 << 20

func newWindow(messages int, collect bool) *window.Window {
	return window.New(window.Config{Messages: messages, Bytes: windowBytesMost, Collect: collect})
}

// openPublisher declares a publisher; the script is OpenPublisher. What the
// config leaves open is: stream "events", a window of 1000, an entry per message.
func openPublisher(t *testing.T, conn *Conn, cfg PublisherConfig) *Publisher {
	t.Helper()
	if cfg.Stream == "" {
		cfg.Stream = "events"
	}
	cfg.SubEntry = max(cfg.SubEntry, 1)
	if cfg.Window == nil {
		cfg.Window = newWindow(1000, false)
	}
	if cfg.Ended == nil {
		cfg.Ended = cfg.Window.Fail
	}
	p, err := conn.Publisher(t.Context(), NewBacklog(cfg))
	if err != nil {
		t.Fatal("publisher:", err)
	}
	return p
}

// openSubscription subscribes to stream "events" from its first offset; the
// script is OpenSubscription.
func openSubscription(t *testing.T, conn *Conn, credit uint16) (*Subscription, *Inbox) {
	t.Helper()
	in := NewInbox()
	s, err := conn.Subscribe(t.Context(), SubscribeConfig{
		Stream: "events", Offset: streamproto.OffsetSpec{Type: streamproto.OffsetFirst}, Credit: credit, Inbox: in, Ended: in.End,
	})
	if err != nil {
		t.Fatal("subscribe:", err)
	}
	return s, in
}

// publish publishes bodies, with Refs that count on from ref. All must be
// accepted.
func publish(t *testing.T, p *Publisher, ref uint64, bodies ...string) {
	t.Helper()
	var tags []window.Tag
	var all [][]byte
	for i, body := range bodies {
		all, tags = append(all, []byte(body)), append(tags, window.Tag{Ref: ref + uint64(i)})
	}
	for len(all) > 0 {
		if err := p.Begin(t.Context()); err != nil {
			t.Fatal("publish:", err)
		}
		n, err := p.PublishBodies(all, tags)
		if p.End(); err != nil {
			t.Fatal("publish:", err)
		}
		all, tags = all[n:], tags[n:]
	}
}

// published reads Publish frames until n messages have come, and returns them
// entry by entry.
func published(s *fakebroker.StreamSession, n int) []fakebroker.PublishedEntry {
	var entries []fakebroker.PublishedEntry
	for got := 0; got < n; {
		p, _ := fakebroker.ExpectCommand[*fakebroker.Published](s)
		for _, e := range p.Entries {
			entries, got = append(entries, e), got+len(e.Bodies)
		}
	}
	return entries
}

// outcomeText writes outcomes as "1 confirmed, 2 rejected".
func outcomeText(outcomes []outcome.Outcome) string {
	var words []string
	for _, o := range outcomes {
		words = append(words, fmt.Sprint(o.Ref, " ", o.Status))
	}
	return strings.Join(words, ", ")
}

// collectOutcomes takes outcomes until the publisher ends.
func collectOutcomes(w *window.Window) (all []outcome.Outcome, why error) {
	var taken []outcome.Outcome
	for {
		taken, why = conntest.Outcomes(w)
		if why != nil {
			return all, why
		}
		all = append(all, taken...)
	}
}

// chunkBodies reads the messages of a chunk whose batches are not compressed,
// after its CRC.
func chunkBodies(t *testing.T, c *streamproto.Chunk) []string {
	t.Helper()
	if err := c.CheckCRC(); err != nil {
		t.Fatal(err)
	}
	var bodies []string
	add := func(message []byte) {
		body, ok := amqp10.Data(message)
		if !ok {
			t.Fatalf("% x is no data section", message)
		}
		bodies = append(bodies, string(body))
	}
	entries := c.Reader()
	for {
		e, ok := entries.Next()
		if !ok {
			break
		}
		if !e.Batched {
			add(e.Data)
			continue
		}
		for message, rest, ok := streamproto.NextBatched(e.Data); ok; message, rest, ok = streamproto.NextBatched(rest) {
			add(message)
		}
	}
	if err := entries.Err(); err != nil {
		t.Fatal(err)
	}
	return bodies
}

// receive takes chunks until n messages have come, and returns their bodies. It
// must be a whole number of chunks.
func receive(t *testing.T, in *Inbox, n int) []string {
	t.Helper()
	var arrivals []Arrival
	var err error
	var bodies []string
	for len(bodies) < n {
		if arrivals, err = in.Take(t.Context(), arrivals); err != nil {
			t.Fatalf("take, after %d of %d: %v", len(bodies), n, err)
		}
		for i := range arrivals {
			bodies = append(bodies, chunkBodies(t, &arrivals[i].Chunk)...)
			arrivals[i].Release()
		}
	}
	if len(bodies) > n {
		t.Fatalf("%d messages came, want %d", len(bodies), n)
	}
	return bodies
}

// checkNumbered makes sure that bodies are "message 0", "message 1" and so on.
func checkNumbered(t *testing.T, bodies []string) {
	t.Helper()
	for i, body := range bodies {
		if want := fmt.Sprint("message ", i); body != want {
			t.Fatalf("got %q, want %q", body, want)
		}
	}
}

// tellSeed is deferred by a random test.
func tellSeed(t *testing.T, seed uint64) {
	if t.Failed() {
		t.Log("seed", seed)
	}
}

// checkViolation makes sure that err is a *ProtocolError whose text contains
// want.
func checkViolation(t *testing.T, err error, want string) {
	t.Helper()
	var violation *ProtocolError
	if !errors.As(err, &violation) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want a protocol violation with %q", err, want)
	}
}

// checkCode makes sure that err is a *ServerError with that code.
func checkCode(t *testing.T, err error, code streamproto.Code) {
	t.Helper()
	var server *ServerError
	if !errors.As(err, &server) || server.Code != code {
		t.Errorf("got %v, want the broker's code %d", err, code)
	}
}

// flood is a script that sends b until the client hangs up.
func flood(b []byte) func(*fakebroker.StreamSession) {
	return func(s *fakebroker.StreamSession) {
		for s.Offer(b) {
		}
	}
}
