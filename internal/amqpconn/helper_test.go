package amqpconn

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// socketSize is what a socket's buffers hold in these tests.
const socketSize = 64 << 10

// config is an ordinary one, for a fake broker.
func config(b *fakebroker.Broker) Config {
	return Config{
		Address: b.Address(), Mechanism: "PLAIN", User: "guest", Password: "guest", Vhost: "/",
		Name: "test", FrameMax: 131072, ChannelMax: 2047, Heartbeat: 60 * time.Second,
		Timeout: 10 * time.Second, DialContext: b.DialContext,
	}
}

// pair runs a script and a test against it in a synctest bubble: time is fake,
// whoever waits for ever is found out, and so is a goroutine left behind. The
// client is logged in when the test begins; the script begins after the login.
func pair(t *testing.T, script func(*fakebroker.Session), test func(*testing.T, *Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := fakebroker.Pipe(t, socketSize, func(s *fakebroker.Session) {
			s.Login()
			script(s)
		})
		conn := dial(t, config(b))
		test(t, conn)
		drop(conn)
	})
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
func drop(conn *Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = conn.Close(ctx)
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

func openChannel(t *testing.T, conn *Conn) *Channel {
	t.Helper()
	ch, err := conn.Channel(t.Context())
	if err != nil {
		t.Fatal("channel:", err)
	}
	return ch
}

// openPublisher opens a channel with confirms; the script is OpenPublisher.
func openPublisher(t *testing.T, conn *Conn, window int, collect bool) *Channel {
	t.Helper()
	ch := openChannel(t, conn)
	if err := ch.Confirm(t.Context(), window, collect); err != nil {
		t.Fatal("confirm:", err)
	}
	return ch
}

// openConsumer starts consumer c; the script is OpenConsumer.
func openConsumer(t *testing.T, conn *Conn) (*Channel, *Inbox) {
	t.Helper()
	ch := openChannel(t, conn)
	in, err := ch.Consume(t.Context(), &amqpproto.BasicConsume{Queue: "q", ConsumerTag: "c"})
	if err != nil {
		t.Fatal("consume:", err)
	}
	return ch, in
}

// publish publishes mandatory messages to queue q, with Refs that count on from
// ref. All must be accepted.
func publish(t *testing.T, ch *Channel, ref uint64, bodies ...string) {
	t.Helper()
	for len(bodies) > 0 {
		if err := ch.BeginPublish(t.Context()); err != nil {
			t.Fatal("publish:", err)
		}
		for len(bodies) > 0 {
			p := Publishing{Body: []byte(bodies[0]), Ref: ref}
			p.RoutingKey, p.Mandatory = "q", true
			ok, err := ch.Publish(&p)
			if err != nil {
				ch.EndPublish()
				t.Fatal("publish:", err)
			}
			if !ok {
				break
			}
			bodies, ref = bodies[1:], ref+1
		}
		ch.EndPublish()
	}
}

// deliver is the frames of one delivery to consumer c.
func deliver(channel uint16, tag uint64, body string) []byte {
	return fakebroker.Content(channel, 131072,
		&amqpproto.BasicDeliver{ConsumerTag: "c", DeliveryTag: tag, Exchange: "x", RoutingKey: "q"},
		&amqpproto.Properties{DeliveryMode: 2}, []byte(body))
}

// receive takes n deliveries and returns their bodies.
func receive(t *testing.T, in *Inbox, n int) []string {
	t.Helper()
	var d Deliveries
	var bodies []string
	for len(bodies) < n {
		if err := in.Take(t.Context(), &d, n-len(bodies)); err != nil {
			t.Fatalf("take, after %d of %d: %v", len(bodies), n, err)
		}
		for i := range d.List {
			bodies = append(bodies, string(d.List[i].Body))
		}
	}
	d.Release()
	return bodies
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

// byteByByte is a connection of which every read returns one byte.
type byteByByte struct{ net.Conn }

func (c byteByByte) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, io.ErrShortBuffer
	}
	return c.Conn.Read(b[:1])
}
