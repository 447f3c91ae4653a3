package amqpconn

import (
	"errors"
	"strings"
	"testing"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/window"
)

// config is an ordinary one, for a fake broker.
func config(b *fakebroker.Broker) Config {
	return Config{Config: conntest.Config(b, 131072), ChannelMax: 2047}
}

// pair is conntest.Pair with a client that is logged in when the test begins; the script
// begins after the login.
func pair(t *testing.T, script func(*fakebroker.Session), test func(*testing.T, *Conn)) {
	t.Helper()
	conntest.Pair(t, func(s *fakebroker.Session) {
		s.Login()
		script(s)
	}, func(t *testing.T, b *fakebroker.Broker) *Conn { return dial(t, config(b)) }, test)
}

func dial(t *testing.T, cfg Config) *Conn {
	t.Helper()
	conn, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal("dial:", err)
	}
	return conn
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
func openPublisher(t *testing.T, conn *Conn, size int, collect bool) *Channel {
	t.Helper()
	ch := openChannel(t, conn)
	ch.carry(t, window.Config{Messages: size, Collect: collect})
	return ch
}

// carry gives the channel a window, which fails when the channel ends.
func (ch *Channel) carry(t testing.TB, cfg window.Config) {
	t.Helper()
	w := window.New(cfg)
	if err := ch.Carry(t.Context(), w, w.Fail); err != nil {
		t.Fatal("carry:", err)
	}
}

// window is what a channel of these tests carries messages of.
func (ch *Channel) window() *window.Window { return ch.publishing.Load().window }

// openConsumer starts consumer c; the script is OpenConsumer.
func openConsumer(t *testing.T, conn *Conn) (*Channel, *Inbox) {
	t.Helper()
	ch := openChannel(t, conn)
	in, err := ch.Consume(t.Context(), 0, &amqpproto.BasicConsume{Queue: "q", ConsumerTag: "c"})
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
			p := Message{Body: []byte(bodies[0]), Tag: window.Tag{Ref: ref}}
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
