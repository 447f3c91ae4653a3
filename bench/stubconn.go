package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/thumpmq/thump/internal/amqpproto"
)

// stubConn is one connection of the stub. One goroutine reads, and answers what a read
// has brought with one write; another pours. Each write is of whole frames, so that they
// may come in any order.
type stubConn struct {
	bareSocket
	stub *stub

	answers   []byte // to what the last read has brought
	published int
	confirms  bool
	confirmed int // of published
	prefetch  int // 0: any number
	acked     int
	consuming bool
	over      bool // connection.close-ok is among the answers

	pouring sync.WaitGroup
	more    chan int      // how many deliveries may be poured in all; holds the newest
	ended   chan struct{} // closed once nothing more is read
	poured  int           // the pourer's, as is
	fault   error
}

func newStubConn(s *stub, socket net.Conn) *stubConn {
	return &stubConn{
		bareSocket: bareSocket{socket: socket, buf: make([]byte, stubReadBytes)}, stub: s,
		more: make(chan int, 1), ended: make(chan struct{}),
	}
}

// serve reads until the client has said goodbye, or has hung up.
func (c *stubConn) serve() error {
	defer close(c.ended)
	if err := c.greet(); err != nil {
		return err
	}
	for {
		if err := c.walk(); err != nil {
			return err
		}
		if c.confirms && c.published > c.confirmed {
			c.confirmed = c.published
			c.answers = amqpproto.AppendAck(c.answers, floorChannel, uint64(c.confirmed), true)
		}
		if len(c.answers) > 0 {
			if _, err := c.socket.Write(c.answers); err != nil {
				return err
			}
			c.answers = c.answers[:0]
		}
		if c.over {
			return nil
		}
		if err := c.read(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// greet reads the protocol header, and answers it.
func (c *stubConn) greet() error {
	header := make([]byte, len(amqpproto.ProtocolHeader))
	if _, err := io.ReadFull(c.socket, header); err != nil {
		return fmt.Errorf("waiting for the protocol header: %w", err)
	}
	if string(header) != amqpproto.ProtocolHeader {
		return fmt.Errorf("% x came, not the protocol header", header)
	}
	return c.answer(0, &amqpproto.ConnectionStart{
		VersionMinor: 9, Mechanisms: "PLAIN AMQPLAIN", Locales: "en_US",
		ServerProperties: amqpproto.Table{
			{Key: "capabilities", Value: amqpproto.Table{
				{Key: "publisher_confirms", Value: true},
				{Key: "basic.nack", Value: true},
				{Key: "consumer_cancel_notify", Value: true},
			}},
			{Key: "product", Value: "thump bench stub"},
			{Key: "version", Value: "4.3.0"},
		},
	})
}

// walk handles every complete frame that was read.
func (c *stubConn) walk() error {
	for {
		b := c.unread()
		kind, payload, n := nextFrame(b)
		if n == 0 {
			if len(b) == len(c.buf) {
				return fmt.Errorf("a frame is larger than %d bytes", len(c.buf))
			}
			return nil
		}
		if b[n-1] != amqpproto.FrameEnd {
			return amqpproto.ErrFrameEnd
		}
		c.start += n
		if kind != amqpproto.FrameMethod {
			continue
		}
		if len(payload) < 4 {
			return fmt.Errorf("a method of %d bytes", len(payload))
		}
		switch id := methodID(payload); id {
		case amqpproto.MethodBasicPublish:
			c.published++
		case amqpproto.MethodBasicAck:
			if err := c.ack(payload[4:]); err != nil {
				return err
			}
		default:
			if err := c.method(c.channelOf(b), payload); err != nil {
				return err
			}
		}
	}
}

// channelOf is the channel of the frame at the start of b.
func (c *stubConn) channelOf(b []byte) uint16 { return uint16(b[1])<<8 | uint16(b[2]) }

// ack lets more be poured. The tags count up from 1, as on a channel with one
// consumer.
func (c *stubConn) ack(arguments []byte) error {
	tag, multiple, err := amqpproto.ParseAck(arguments)
	switch {
	case err != nil:
		return err
	case multiple:
		c.acked = int(tag)
	default:
		c.acked++
	}
	if c.prefetch > 0 {
		c.allow(c.acked + c.prefetch)
	}
	return nil
}

// allow tells the pourer how many deliveries it may pour in all.
func (c *stubConn) allow(n int) {
	select {
	case <-c.more:
	default:
	}
	c.more <- n // only this goroutine puts anything there, so there is room
}

// method answers every other method.
func (c *stubConn) method(channel uint16, payload []byte) error {
	m, err := amqpproto.ParseMethod(payload)
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *amqpproto.ConnectionStartOk:
		return c.answer(channel, &amqpproto.ConnectionTune{ChannelMax: 2047, FrameMax: floorFrameMax, Heartbeat: 60})
	case *amqpproto.ConnectionTuneOk:
		return nil
	case *amqpproto.ConnectionOpen:
		return c.answer(channel, &amqpproto.ConnectionOpenOk{})
	case *amqpproto.ConnectionClose:
		c.over = true
		return c.answer(channel, &amqpproto.ConnectionCloseOk{})
	case *amqpproto.ChannelOpen:
		return c.answer(channel, &amqpproto.ChannelOpenOk{})
	case *amqpproto.ChannelClose:
		return c.answer(channel, &amqpproto.ChannelCloseOk{})
	case *amqpproto.ConfirmSelect:
		c.confirms = true
		return c.answer(channel, &amqpproto.ConfirmSelectOk{})
	case *amqpproto.BasicQos:
		c.prefetch = int(m.PrefetchCount)
		return c.answer(channel, &amqpproto.BasicQosOk{})
	case *amqpproto.BasicConsume:
		return c.consume(channel, m)
	case *amqpproto.BasicCancel:
		return c.answer(channel, &amqpproto.BasicCancelOk{ConsumerTag: m.ConsumerTag})
	case *amqpproto.QueueDeclare:
		return c.answer(channel, &amqpproto.QueueDeclareOk{Queue: m.Queue})
	}
	return fmt.Errorf("the stub has no answer to %s", m.ID())
}

// answer queues a method.
func (c *stubConn) answer(channel uint16, m amqpproto.Method) (err error) {
	c.answers, err = amqpproto.AppendMethodFrame(c.answers, channel, m)
	return err
}

// consume answers at once, because the deliveries must come after that, and begins to
// pour.
func (c *stubConn) consume(channel uint16, m *amqpproto.BasicConsume) error {
	switch {
	case channel != floorChannel || m.ConsumerTag != consumerTag:
		return fmt.Errorf("the stub delivers on channel %d to consumer %q, and this is %q on channel %d",
			floorChannel, consumerTag, m.ConsumerTag, channel)
	case c.stub.ends == nil || c.consuming:
		return errors.New("the stub has nothing to deliver")
	}
	c.consuming = true
	if err := c.answer(channel, &amqpproto.BasicConsumeOk{ConsumerTag: m.ConsumerTag}); err != nil {
		return err
	}
	if _, err := c.socket.Write(c.answers); err != nil {
		return err
	}
	c.answers = c.answers[:0]
	if m.NoAck || c.prefetch == 0 {
		c.prefetch = 0
		c.allow(c.stub.task.Count)
	} else {
		c.allow(c.prefetch)
	}
	c.pouring.Go(c.pour)
	return nil
}

// pour writes deliveries as fast as the socket takes them, and the consumer acks.
func (c *stubConn) pour() {
	ends, allowed := c.stub.ends, 0
	for last := len(ends) - 1; c.poured < last; {
		for c.poured == allowed {
			select {
			case n := <-c.more:
				allowed = min(n, last)
			case <-c.ended:
				return
			}
		}
		next := min(c.poured+stubPour, allowed)
		if _, err := c.socket.Write(c.stub.deliveries[ends[c.poured]:ends[next]]); err != nil {
			c.fault = err
			return
		}
		c.poured = next
	}
}

// endPouring waits for the pourer, whose socket is closed, and says how much it has
// poured.
func (c *stubConn) endPouring() (int, error) {
	c.pouring.Wait()
	if errors.Is(c.fault, net.ErrClosed) {
		return c.poured, nil // that it is not enough says as much
	}
	return c.poured, c.fault
}
