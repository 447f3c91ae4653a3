// Package transport_test is the suite of what a connection promises whatever
// protocol it speaks: each test runs over all of them. What a protocol promises
// beside that is tested in its own package.
package transport_test

import (
	"cmp"
	"context"
	"errors"
	"net"
	"testing"

	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/transport"
	"github.com/thumpmq/thump/internal/window"
)

// protocol is what the tests need of a protocol, on either side of the wire.
type protocol struct {
	name   string
	dial   func(context.Context, transport.Config) (client, error)
	script func(func(server)) func(*fakebroker.Session)

	frameMax   uint32
	readBuffer int // its size, in bytes
	inboxRoom  int // bytes that may wait for a consumer

	beat     []byte                            // a heartbeat
	half     []byte                            // the beginning of a frame
	broken   []byte                            // what is no frame
	greeting []byte                            // what a server sends first
	goodbye  []byte                            // a frame by which the server ends the connection
	delivery func(i int, body string) []byte   // the frames of the i-th delivery, from 0
	renumber func(delivery []byte, i int)      // makes it the i-th
	steps    []string                          // what is being done while each step of a login is waited for
	offered  func(mechanisms ...string) string // as an error lists them

	stranger string           // what Dial calls a server of another protocol
	tlsAlert string           // what it says of one that answers with a TLS alert
	leaving  string           // what goodbye says
	isLeft   func(error) bool // has the code of goodbye
	isBroken func(error) bool // has the type of a broken protocol

	batches []int                          // messages that are published as one, at most
	large   struct{ n, bytes int }         // deliveries that are more than waits for a consumer
	aliased []int                          // bytes of deliveries that alias read buffers
	sizes   func(random func(int) int) int // of a delivery, at random

	life life
}

// life is a whole life of a connection, as the server and the client play it.
type life struct {
	server func(*fakebroker.Session)
	client func(*testing.T, *fakebroker.Broker) (bodies []string, total outcome.Totals, err error)
	bodies []string
	total  outcome.Totals
}

func protocols() []*protocol { return []*protocol{amqp(), stream()} }

// server is the broker's side of one connection: the steps of a script.
type server interface {
	// Of fakebroker's sessions.
	SendBytes([]byte)
	Offer([]byte) bool
	Discard()
	ExpectHeartbeat()
	ExpectHangUp()
	BreakAfter(written, read int)
	Conn() net.Conn
	Close()
	Reset()

	hello()                    // reads what the client says first
	login(greeting)            // takes the client through the login
	loginUpTo(step int)        // reads the client's part of that step
	loginButLast() []byte      // all but the last answer, which it returns
	refuse()                   // ends the login, with a reason
	offer(mechanisms []string) // up to the offer of mechanisms
	saslSent() (mechanism, response string)
	openPublisher()
	openConsumer()
	published(n int)  // reads n messages
	called(calls int) // reads that many calls, of one publisher, made at once
	stopped()         // reads that a consumer stops
	goodbyeAnswered() // reads the answer to goodbye
	broken()          // reads that the client ends the connection for a broken frame
	serve()           // does what an orderly broker would
}

// greeting is what a server proposes that is not a RabbitMQ with its usual
// settings.
type greeting struct {
	heartbeat  uint16 // seconds
	unlimited  bool   // frames of any size
	mechanisms []string
}

// client is the client's side.
type client interface {
	conntest.Conn

	publisher(*testing.T, publishing) publisher
	consumer(*testing.T) consumer

	// begin tries everything that can be begun on a connection.
	begin(context.Context) map[string]error
}

type publishing struct {
	window  int // 1000 where it is 0
	batch   int // messages, one where it is 0
	collect bool
}

func (o publishing) newWindow() *window.Window {
	return window.New(window.Config{Messages: cmp.Or(o.window, 1000), Collect: o.collect})
}

type publisher interface {
	Begin(context.Context) error
	Publish(ref uint64, body []byte) (bool, error)
	End()
	Outcomes() (*window.Outcomes, error)
	Wait(context.Context) error
	Totals() outcome.Totals
	Err() error

	call(context.Context) error // asks the broker for something
}

type consumer interface {
	take(ctx context.Context, limit int) (batch, error)
	stop(context.Context) error
	waiting() int // bytes
}

// batch is what was taken at once. The limit is not for all protocols.
type batch interface {
	bodies() [][]byte
	release()
}

// each runs a test over every protocol.
func each(t *testing.T, test func(*testing.T, *protocol)) {
	for _, p := range protocols() {
		t.Run(p.name, func(t *testing.T) { test(t, p) })
	}
}

// config is an ordinary one, for a fake broker.
func (p *protocol) config(b *fakebroker.Broker) transport.Config {
	return conntest.Config(b, p.frameMax)
}

// pair is conntest.Pair with a client that is logged in when the test begins; the script
// begins after the login.
func (p *protocol) pair(t *testing.T, script func(server), test func(*testing.T, client)) {
	t.Helper()
	conntest.Pair(t, p.script(func(s server) {
		s.login(greeting{})
		script(s)
	}), p.mustDial, test)
}

func (p *protocol) mustDial(t *testing.T, b *fakebroker.Broker) client {
	t.Helper()
	conn, err := p.dial(t.Context(), p.config(b))
	if err != nil {
		t.Fatal("dial:", err)
	}
	return conn
}

// publish publishes bodies, with Refs that count on from 1. All must be accepted.
func publish(t *testing.T, p publisher, bodies ...string) {
	t.Helper()
	for ref := uint64(1); len(bodies) > 0; {
		if err := p.Begin(t.Context()); err != nil {
			t.Fatal("publish:", err)
		}
		for len(bodies) > 0 {
			ok, err := p.Publish(ref, []byte(bodies[0]))
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

// receive takes n deliveries, and gives each with its number, from 0, to check.
func receive(t *testing.T, c consumer, n int, check func(i int, body []byte)) {
	t.Helper()
	for i := 0; i < n; {
		taken, err := c.take(t.Context(), n-i)
		if err != nil {
			t.Fatalf("take, after %d of %d: %v", i, n, err)
		}
		for _, body := range taken.bodies() {
			check(i, body)
			i++
		}
		taken.release()
	}
}

// checkBegin makes sure that nothing can be begun on a connection that has ended.
func checkBegin(t *testing.T, conn client) {
	t.Helper()
	why := conn.Err()
	for what, err := range conn.begin(t.Context()) {
		if why == nil || !errors.Is(err, why) {
			t.Errorf("%s ended with %v, the connection with %v", what, err, why)
		}
	}
}
