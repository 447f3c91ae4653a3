package streamconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/streamproto"
)

// socketSize is what a socket's buffers hold in these tests.
const socketSize = 64 << 10

// config is an ordinary one, for a fake broker.
func config(b *fakebroker.Broker) Config {
	return Config{
		Address: b.Address(), Mechanism: "PLAIN", User: "guest", Password: "guest", Vhost: "/",
		Name: "test", FrameMax: 16 << 20, Heartbeat: 60 * time.Second,
		Timeout: 10 * time.Second, DialContext: b.DialContext,
	}
}

// pair runs a script and a test against it in a synctest bubble: time is fake,
// whoever waits for ever is found out, and so is a goroutine left behind. The
// client is logged in when the test begins; the script begins after the login.
func pair(t *testing.T, script func(*fakebroker.StreamSession), test func(*testing.T, *Conn)) {
	t.Helper()
	pairAs(t, fakebroker.LikelyStream(), script, test)
}

// pairAs is pair with a greeting of the test's own.
func pairAs(t *testing.T, g fakebroker.StreamGreeting, script func(*fakebroker.StreamSession), test func(*testing.T, *Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { pairInRealTime(t, g, script, test) })
}

// pairInRealTime is pairAs outside of a bubble.
func pairInRealTime(t *testing.T, g fakebroker.StreamGreeting, script func(*fakebroker.StreamSession), test func(*testing.T, *Conn)) {
	t.Helper()
	b := fakebroker.Pipe(t, socketSize, fakebroker.Stream(func(s *fakebroker.StreamSession) {
		s.LoginAs(g)
		script(s)
	}))
	conn := dial(t, config(b))
	test(t, conn)
	drop(conn)
}

func dial(t *testing.T, cfg Config) *Conn {
	t.Helper()
	conn, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal("dial:", err)
	}
	return conn
}

// drop ends a connection, which may have ended before, without a goodbye, and
// returns when its goroutines are gone.
func drop(conn *Conn) { conn.Abort(ErrClosed) }

// goodbye closes a connection, which must work.
func goodbye(t *testing.T, conn *Conn) {
	t.Helper()
	if err := conn.Close(t.Context()); err != nil {
		t.Error("close:", err)
	}
}

// ended waits for the end of a connection, and returns why it ended.
func ended(t *testing.T, conn *Conn) error {
	t.Helper()
	select {
	case <-conn.Done():
		return conn.Err()
	case <-time.After(10 * time.Minute): // fake time
		t.Fatal("the connection did not end")
		return nil
	}
}

// shortly is a context that ends after a second.
func shortly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	t.Cleanup(cancel)
	return ctx
}

// openPublisher declares a publisher; the script is OpenPublisher. What the
// config leaves open is: stream "events", a window of 1000, an entry per message.
func openPublisher(t *testing.T, conn *Conn, cfg PublisherConfig) *Publisher {
	t.Helper()
	if cfg.Stream == "" {
		cfg.Stream = "events"
	}
	cfg.Window, cfg.SubEntry = max(cfg.Window, 0), max(cfg.SubEntry, 1)
	if cfg.Window == 0 {
		cfg.Window = 1000
	}
	p, err := conn.Publisher(t.Context(), cfg)
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
		Stream: "events", Offset: streamproto.OffsetSpec{Type: streamproto.OffsetFirst}, Credit: credit, Inbox: in,
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
	for len(bodies) > 0 {
		if err := p.Begin(t.Context()); err != nil {
			t.Fatal("publish:", err)
		}
		for len(bodies) > 0 {
			ok, err := p.Publish(ref, 0, []byte(bodies[0]))
			if err != nil {
				p.End()
				t.Fatal("publish:", err)
			}
			if !ok {
				break
			}
			bodies, ref = bodies[1:], ref+1
		}
		p.End()
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
func collectOutcomes(p *Publisher) (all []outcome.Outcome, why error) {
	var taken []outcome.Outcome
	for {
		taken, why = p.Outcomes(taken)
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
		body, ok := streamproto.Data(message)
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

// checkMemory runs f and makes sure that the whole program allocates at most
// limit bytes meanwhile. No other test runs beside it, unless it is parallel.
func checkMemory(t *testing.T, limit uint64, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > limit {
		t.Errorf("%d bytes were allocated, more than %d", got, limit)
	}
}

// checkGoroutines runs f, which uses real sockets, and makes sure that no
// goroutine of it is left afterwards.
func checkGoroutines(t *testing.T, f func()) {
	t.Helper()
	before := runtime.NumGoroutine()
	f()
	for range 200 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
}

// tornConn is a connection of which every read returns at most n bytes.
type tornConn struct {
	net.Conn
	n int
}

func (c tornConn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, io.ErrShortBuffer
	}
	return c.Conn.Read(b[:min(len(b), c.n)])
}

// join puts frames together.
func join(frames ...[]byte) []byte {
	var all []byte
	for _, f := range frames {
		all = append(all, f...)
	}
	return all
}

// flood is a script that sends b until the client hangs up.
func flood(b []byte) func(*fakebroker.StreamSession) {
	return func(s *fakebroker.StreamSession) {
		for s.Offer(b) {
		}
	}
}
