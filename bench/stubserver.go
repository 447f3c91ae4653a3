package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
)

// The stub is a listener that speaks just enough AMQP 0-9-1 to swallow what is
// published and to pour what is consumed. It does far less than a broker: what is
// published is walked where it was read and forgotten, and every delivery is encoded
// before anybody connects. So the client is the limit, and not RabbitMQ.
//
// It runs in a process of its own that speaks the lines of worker.go, with one
// difference: it serves from its readiness on, and "go" says that its clients are
// gone.

const (
	stubTitle = "stub"
	roleServe = "serve"

	stubReadBytes = 256 << 10
	stubPour      = 2000 // deliveries in a write at most
	// stubCountMost bounds --stub-count: the stub and the floor hold every frame in memory,
	// about 100 bytes a message.
	stubCountMost = 10_000_000

	stubConns  = 8 // connections at most; thump has two for each side
	stubLinger = 10 * time.Second
)

// consumerTag is that of every consumer in this program: the stub's deliveries are
// encoded before the consumer says its own.
const consumerTag = "bench"

// stub is what its connections share.
type stub struct {
	task     task
	listener net.Listener
	linger   time.Duration // for connections that are left at the end

	// Every delivery; number i, counted from 1, ends at ends[i].
	deliveries []byte
	ends       []int

	serving sync.WaitGroup

	mu        sync.Mutex
	sockets   []net.Conn
	published int
	poured    int
	faults    []error
}

func stubServer(t task) (job, error) {
	s, err := startStub(t, appendBody)
	if err != nil {
		return job{}, err
	}
	return job{url: s.url(), work: s.finish, close: func() error { return nil }}, nil
}

// startStub listens on a free port of the loopback interface, and serves. Where somebody
// receives, appendBody appends the body of a message by its number.
func startStub(t task, appendBody func(dst []byte, i int) []byte) (*stub, error) {
	s := &stub{task: t, linger: stubLinger}
	if slices.Contains(t.Roles, roleReceive) {
		if err := s.encode(appendBody); err != nil {
			return nil, err
		}
	}
	var err error
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	s.serving.Go(s.accept)
	return s, nil
}

func (s *stub) url() string { return fmt.Sprintf("amqp://guest:guest@%s/", s.listener.Addr()) }

// encode encodes every delivery.
func (s *stub) encode(appendBody func(dst []byte, i int) []byte) error {
	deliver := amqpproto.BasicDeliver{ConsumerTag: consumerTag, RoutingKey: s.task.Queue}
	properties := amqpproto.Properties{DeliveryMode: 1}
	s.ends = make([]int, 1, s.task.Count+1)
	var body []byte
	for i := 1; i <= s.task.Count; i++ {
		deliver.DeliveryTag = uint64(i)
		body = appendBody(body[:0], i)
		var err error
		s.deliveries, err = amqpproto.AppendContent(s.deliveries, floorChannel, floorFrameMax, &deliver, &properties, body)
		if err != nil {
			return err
		}
		s.ends = append(s.ends, len(s.deliveries))
	}
	return nil
}

// accept serves connections until the listener is closed, or there were as many as it
// takes.
func (s *stub) accept() {
	for range stubConns {
		socket, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.sockets = append(s.sockets, socket)
		s.mu.Unlock()
		s.serving.Go(func() { s.serve(socket) })
	}
}

// serve serves a connection until it ends, and adds up what it did.
func (s *stub) serve(socket net.Conn) {
	c := newStubConn(s, socket)
	err := c.serve()
	if closing := socket.Close(); err == nil && !errors.Is(closing, net.ErrClosed) {
		err = closing
	}
	poured, pouring := c.endPouring()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.published += c.published
	s.poured += poured
	if err = errors.Join(err, pouring); err != nil {
		s.faults = append(s.faults, err)
	}
}

// finish ends every connection that is left, and says what is wrong with what was
// published and poured.
func (s *stub) finish() error {
	_ = s.listener.Close() // its clients are gone
	s.mu.Lock()
	for _, socket := range s.sockets {
		_ = socket.SetReadDeadline(time.Now().Add(s.linger))
	}
	s.mu.Unlock()
	s.serving.Wait()
	faults := s.faults
	expect := func(role, done string, n int) {
		want := 0
		if slices.Contains(s.task.Roles, role) {
			want = s.task.Count
		}
		if n != want {
			faults = append(faults, fmt.Errorf("%d messages were %s, expected %d", n, done, want))
		}
	}
	expect(roleSend, "published", s.published)
	expect(roleReceive, "poured", s.poured)
	return errors.Join(faults...)
}
