// Package fakebroker is a scripted AMQP 0-9-1 server, for the faults that a real
// broker does not produce on demand: silence in the middle of a login, a length
// field that lies, a frame cut in two, a confirm for a message nobody sent.
//
// A script is a function that says, step by step, what the server reads and
// writes on one connection. It is not a broker: it keeps no queues.
//
//	b := fakebroker.Start(t, func(s *fakebroker.Session) {
//		s.Login()
//		s.OpenChannel()
//		fakebroker.Expect[*amqpproto.QueueDeclare](s)
//		s.Send(1, &amqpproto.QueueDeclareOk{Queue: "hello"})
//		s.Serve(nil) // whatever comes, until the client says goodbye
//	})
//	conn, err := amqpconn.Dial(ctx, amqpconn.Config{Address: b.Address(), DialContext: b.DialContext, ...})
//
// A step that does not find what it expects fails the test, says on which
// connection and at which step, and ends the connection. At the end of the test
// every script must have come to its end: one that still waits for something is
// a fault of the client, or of the script.
//
// Stream makes a script of one that speaks RabbitMQ's stream protocol instead.
//
// Start listens on loopback TCP. Pipe makes connections in memory, which work
// within a testing/synctest bubble: there, time is fake, and a goroutine that is
// left behind fails the test.
package fakebroker

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// patience is how long a script may go on once its test is over.
const patience = 5 * time.Second

// Broker takes connections and runs a script for each.
type Broker struct {
	t       testing.TB
	scripts []func(*Session)
	listen  net.Listener // nil: connections are made in memory
	pipe    int          // bytes that one direction of such a connection holds

	running sync.WaitGroup // the goroutine that accepts, and one for each script

	mu       sync.Mutex
	sessions []*Session
}

// Start listens on a free port of the loopback interface. The first connection
// runs the first script, the second the second, and so on; one more than there
// are scripts fails the test. The broker ends with the test.
func Start(t testing.TB, scripts ...func(*Session)) *Broker {
	t.Helper()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal("fakebroker:", err)
	}
	b := &Broker{t: t, scripts: scripts, listen: listen}
	b.running.Go(b.accept)
	t.Cleanup(b.end)
	return b
}

// Pipe is Start without the network: DialContext makes connections in memory,
// each direction of which holds at most size bytes that are not read yet, as
// the buffers of a socket do.
func Pipe(t testing.TB, size int, scripts ...func(*Session)) *Broker {
	t.Helper()
	b := &Broker{t: t, scripts: scripts, pipe: size}
	t.Cleanup(b.end)
	return b
}

// Address is the host:port to connect to.
func (b *Broker) Address() string {
	if b.listen == nil {
		return "fakebroker.test:5672"
	}
	return b.listen.Addr().String()
}

// URL is the amqp URL to connect to, with the user guest.
func (b *Broker) URL() string { return "amqp://guest:guest@" + b.Address() + "/" }

// DialContext connects to the broker, whatever the address says. It has the
// form that configurations of clients ask for.
func (b *Broker) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	if b.listen != nil {
		return new(net.Dialer).DialContext(ctx, "tcp", b.Address())
	}
	client, server := newPipe(b.pipe)
	b.running.Go(func() { b.run(server) })
	return client, nil
}

// accept takes connections until the listener is closed.
func (b *Broker) accept() {
	for {
		socket, err := b.listen.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				b.t.Error("fakebroker:", err)
			}
			return
		}
		b.running.Go(func() { b.run(socket) })
	}
}

// run runs the next script on a connection.
func (b *Broker) run(socket net.Conn) {
	defer socket.Close()
	b.mu.Lock()
	s := newSession(b.t, len(b.sessions)+1, socket)
	b.sessions = append(b.sessions, s)
	b.mu.Unlock()
	if s.number > len(b.scripts) {
		b.t.Errorf("fakebroker: connection %d, and there are scripts for only %d", s.number, len(b.scripts))
		return
	}
	defer s.finished.Store(true)
	b.scripts[s.number-1](s)
}

// end waits for the scripts, and ends them by force when that takes too long.
func (b *Broker) end() {
	if b.listen != nil {
		b.listen.Close()
	}
	ended := make(chan struct{})
	go func() {
		b.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return
	case <-time.After(patience):
	}
	b.mu.Lock()
	for _, s := range b.sessions {
		if !s.finished.Load() {
			b.t.Errorf("fakebroker: connection %d: the test is over, and the script still waits at step %d", s.number, s.step.Load())
			s.net.Close()
		}
	}
	b.mu.Unlock()
	<-ended
}
