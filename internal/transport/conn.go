// Package transport is one connection, from dial to close, whatever protocol it
// speaks: the socket and TLS, the bytes that wait to be written, the goroutine
// that writes them and the one that reads, heartbeats, read buffers, and how a
// connection ends. The package of a protocol logs in, and says what the frames
// mean: see Protocol.
//
// A Conn lives once: Dial connects, Start starts its two goroutines, and when it
// ends, by Close or by a failure, it says why and never comes back. Nothing in it
// is ever reset; recovery is for the layer above, which dials another.
//
// One mutex guards a connection: what waits to be written, and the state that the
// package of the protocol has beside it. The reader and the writer hold it for a
// few instructions per read, per write or per confirm, never while they touch the
// socket. The socket's buffers stay as the kernel made them: to set their size at
// all turns off its tuning of them.
package transport

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// ErrClosed is why a connection, or what it carried, ended after its own Close.
var ErrClosed = errors.New("closed")

// OutRoom is how many bytes may wait for the writer before publishers wait for
// it: enough for the largest useful write while the next one is being encoded.
const OutRoom = 256 << 10

// answersMost is how many frames may wait to be written because the peer made us
// send them: one that only asks and never reads must not fill the memory.
const answersMost = 10_000

// Protocol is what a connection asks of the protocol that it speaks. The reader
// alone calls Frames and HandOver; the connection's lock is held while the others
// are called.
type Protocol interface {
	// Frames handles every complete frame at the beginning of b, and returns how
	// many bytes that took. need is the size of the incomplete frame that
	// follows, 0 where it is not known. b is part of buf: whoever keeps a slice of
	// it must retain buf. An error ends the connection, after a Goodbye.
	Frames(b []byte, buf *Buffer) (used, need int, err error)

	// HandOver gives the consumers what Frames has found for them. While it waits
	// for one of them nothing is read, and TCP slows the peer down.
	HandOver()

	// Seal completes what is still being filled at the end of Out: the writer is
	// about to take it.
	Seal()

	// Goodbye queues the frame that tells the peer why the connection ends, where
	// there is one to send.
	Goodbye(why error)

	// Ended tells everyone who waits for something of the connection why it has
	// ended.
	Ended(why error)
}

// Conn is one connection. The package of a protocol embeds it, and guards its own
// state with the same mutex. It is safe for concurrent use.
type Conn struct {
	sync.Mutex

	// Out is the frames that wait for the writer. Whoever appends to it calls
	// WakeWriter. The lock guards it, and what follows.
	Out        []byte
	answers    int // frames in Out that the peer made us send
	writerIdle bool
	waiting    int       // publishers in room.Wait
	room       sync.Cond // for publishers: see WaitForRoom
	err        error     // why the connection ended

	address   string
	net       net.Conn
	protocol  Protocol
	settings  Settings
	onLost    func(why error)
	heartbeat time.Duration // the interval that was agreed on
	kick      chan struct{} // holds a token when the idle writer must look at Out
	done      chan struct{} // closed when the connection has ended
	loop      sync.WaitGroup

	pace    pace // the reader's own
	buffers bufferPool
}

// Start makes a connection of a login that has succeeded, and starts its two
// goroutines, which Close waits for. The interval of the heartbeats is what was
// agreed on. The zero Conn is ready for it; nothing else may be called before.
func (c *Conn) Start(l *Login, p Protocol, heartbeat time.Duration) {
	c.address, c.onLost = l.address, l.onLost
	c.net, c.settings, c.protocol, c.heartbeat = l.net, l.settings, p, heartbeat
	c.buffers.size = l.settings.firstBuffer()
	c.kick, c.done = make(chan struct{}, 1), make(chan struct{})
	c.room.L = c
	c.loop.Go(c.writeLoop)
	c.loop.Go(func() { c.readLoop(l) })
}

// Address is the host:port that the connection was dialled to.
func (c *Conn) Address() string { return c.address }

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err says why the connection ended; nil while it lives.
func (c *Conn) Err() error {
	c.Lock()
	defer c.Unlock()
	return c.err
}

// ErrLocked is Err for those who hold the lock.
func (c *Conn) ErrLocked() error { return c.err }

// CloseAfter ends the connection in order: goodbye tells the peer and waits for
// its answer. When ctx ends first the socket is just closed. Either way
// CloseAfter returns after both goroutines have, with the error of goodbye.
func (c *Conn) CloseAfter(ctx context.Context, goodbye func() error) error {
	stop := context.AfterFunc(ctx, func() { c.Fail(ErrClosed) })
	defer stop()
	err := goodbye()
	if err == nil {
		c.Fail(ErrClosed)
	}
	// Otherwise ctx ends it, or it has ended: then the last frames to the peer may
	// still be on their way (see leave).
	c.loop.Wait()
	return err
}

// Fail ends the connection for the reason why, unless it has ended already, and
// closes the socket, which ends its goroutines. The lock must not be held.
func (c *Conn) Fail(why error) {
	c.End(why)
	c.net.Close()
}

// End makes why the reason for which the connection ended, unless it has one, and
// tells everyone. What is in Out may still be written while the socket is open.
// The lock must not be held.
func (c *Conn) End(why error) {
	c.Lock()
	defer c.Unlock()
	if c.err != nil {
		return
	}
	c.err = why
	if c.onLost != nil && !errors.Is(why, ErrClosed) {
		go c.onLost(why)
	}
	c.protocol.Ended(why)
	close(c.done)
	c.RoomChanged()
}

// WaitForRoom waits for a publisher that cannot go on, until ready reports true
// or an error, or ctx ends. ready is asked at first, and after each RoomChanged:
// when the writer took Out, when a window emptied, when the broker no longer
// blocks. The lock is held around the call, and while ready is called.
func (c *Conn) WaitForRoom(ctx context.Context, ready func() (bool, error)) error {
	defer WakeAt(ctx, &c.room)()
	c.waiting++
	defer func() { c.waiting-- }()
	for {
		if ok, err := ready(); ok || err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		c.room.Wait()
	}
}

// RoomChanged lets those in WaitForRoom ask again whether they can go on. The lock
// is held.
func (c *Conn) RoomChanged() {
	if c.waiting > 0 {
		c.room.Broadcast()
	}
}

// WakeAt lets the end of ctx wake those who wait on cond, until stop is called.
func WakeAt(ctx context.Context, cond *sync.Cond) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		cond.L.Lock()
		defer cond.L.Unlock()
		cond.Broadcast()
	})
}

// CountAnswer counts a frame that the peer makes us send, and reports whether it
// may be queued: false says that the peer asks on and on and does not read. The
// lock is held.
func (c *Conn) CountAnswer() bool {
	c.answers++
	return c.answers <= answersMost
}

// CountDeliveries notes how many deliveries a read brought a consumer that may
// have prefetch of them unsettled, 0 meaning any number, so that the reader can
// let small ones gather. The reader calls it, in HandOver.
func (c *Conn) CountDeliveries(deliveries, prefetch int) { c.pace.count(deliveries, prefetch) }
