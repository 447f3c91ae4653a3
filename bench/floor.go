package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/thumpmq/thump/internal/amqpproto"
)

func floorSender(t task) (job, error) {
	if t.Stream {
		return floorStreamSender(t)
	}
	c, err := dialBare(t.URL)
	if err != nil {
		return job{}, err
	}
	frames, ends, err := encodeAll(t)
	if err != nil {
		return job{}, err
	}
	work := func() error { return floorSend(c, frames) }
	if t.Safe {
		if err := c.call(floorChannel, &amqpproto.ConfirmSelect{}); err != nil {
			return job{}, err
		}
		work = func() error { return floorSendConfirmed(c, frames, ends, t.Window) }
	}
	return job{work: work, close: c.close}, nil
}

// encodeAll encodes every message; message i, counted from 1, ends at ends[i].
func encodeAll(t task) (frames []byte, ends []int, err error) {
	publish := amqpproto.BasicPublish{RoutingKey: t.Queue}
	properties := amqpproto.Properties{DeliveryMode: 1}
	if t.Safe {
		properties.DeliveryMode = 2
	}
	var body []byte
	ends = make([]int, 1, t.Count+1)
	for i := 1; i <= t.Count; i++ {
		body = appendBody(body[:0], i)
		frames, err = amqpproto.AppendPublish(frames, floorChannel, floorFrameMax, &publish, &properties, body)
		if err != nil {
			return nil, nil, err
		}
		ends = append(ends, len(frames))
	}
	return frames, ends, nil
}

func floorSend(c *bareConn, frames []byte) error {
	for len(frames) > 0 {
		n := min(len(frames), floorWriteBytes)
		if _, err := c.socket.Write(frames[:n]); err != nil {
			return err
		}
		frames = frames[n:]
	}
	// A channel answers in order, so the answer says that everything was read.
	return c.call(floorChannel, &amqpproto.BasicQos{})
}

// floorSendConfirmed fills the window with one write, and reads confirms until
// an eighth of it is free again, as thump does.
func floorSendConfirmed(c *bareConn, frames []byte, ends []int, window int) error {
	confirms := newConfirmCount(len(ends) - 1)
	sent := 0
	for confirms.count < len(ends)-1 {
		if free := window - (sent - confirms.count); free > window/8 && sent < len(ends)-1 {
			last := min(sent+free, len(ends)-1)
			if _, err := c.socket.Write(frames[ends[sent]:ends[last]]); err != nil {
				return err
			}
			sent = last
		}
		if err := c.read(); err != nil {
			return err
		}
		if err := c.walkConfirms(confirms); err != nil {
			return err
		}
	}
	return nil
}

// walkConfirms handles every complete frame that was read.
func (c *bareConn) walkConfirms(confirms *confirmCount) error {
	for {
		kind, payload, n := nextFrame(c.unread())
		if n == 0 {
			return nil
		}
		c.start += n
		if kind != amqpproto.FrameMethod {
			continue
		}
		if methodID(payload) != amqpproto.MethodBasicAck {
			return unexpected(payload)
		}
		// class, method, tag, multiple
		if err := confirms.confirm(binary.BigEndian.Uint64(payload[4:]), payload[12] != 0); err != nil {
			return err
		}
	}
}

func methodID(payload []byte) amqpproto.MethodID {
	return amqpproto.MethodID(binary.BigEndian.Uint32(payload))
}

// unexpected is the error for a method that must not come now.
func unexpected(payload []byte) error {
	m, err := amqpproto.ParseMethod(payload)
	if err != nil {
		return err
	}
	if err := refusal(m); err != nil {
		return err
	}
	return fmt.Errorf("%s came unexpectedly", m.ID())
}

// confirmCount counts every confirmed message once. RabbitMQ confirms all up to a
// tag, and may have confirmed some of them one by one before.
type confirmCount struct {
	done   []bool // by tag
	oldest int    // the lowest tag that is not confirmed
	count  int
	each   func(i int) // is told of each one; nil: nobody is
}

func newConfirmCount(messages int) *confirmCount {
	return &confirmCount{done: make([]bool, messages+1), oldest: 1}
}

var errConfirmTag = errors.New("a confirm for a message that was not sent")

func (c *confirmCount) confirm(tag uint64, multiple bool) error {
	if tag == 0 || tag >= uint64(len(c.done)) {
		return errConfirmTag
	}
	first := int(tag)
	if multiple {
		first = c.oldest
	}
	for i := first; i <= int(tag); i++ {
		if !c.done[i] {
			c.done[i] = true
			c.count++
			if c.each != nil {
				c.each(i)
			}
		}
	}
	for c.oldest < len(c.done) && c.done[c.oldest] {
		c.oldest++
	}
	return nil
}

func floorReceiver(t task) (job, error) {
	if t.Stream {
		return floorStreamReceiver(t)
	}
	c, err := dialBare(t.URL)
	if err != nil {
		return job{}, err
	}
	if t.Safe {
		if err := c.call(floorChannel, &amqpproto.BasicQos{PrefetchCount: uint16(t.Prefetch)}); err != nil {
			return job{}, err
		}
	}
	return job{work: func() error { return floorReceive(c, t) }, close: c.close}, nil
}

// floorReceive walks deliveries. After a read, it acks them with one frame if
// there are AckEvery or more.
func floorReceive(c *bareConn, t task) error {
	err := c.call(floorChannel, &amqpproto.BasicConsume{Queue: t.Queue, ConsumerTag: consumerTag, NoAck: !t.Safe})
	if err != nil {
		return err
	}
	check := newBodyCheck(t.Count)
	acked := 0
	var ack []byte
	for {
		if err := c.walkDeliveries(check); err != nil {
			return err
		}
		due := check.count-acked >= t.AckEvery || check.count == t.Count
		if t.Safe && due {
			// The delivery tags of a channel with one consumer count up from 1.
			acked = check.count
			ack = amqpproto.AppendAck(ack[:0], floorChannel, uint64(acked), true)
			if _, err := c.socket.Write(ack); err != nil {
				return err
			}
		}
		if check.count == t.Count {
			return nil
		}
		if err := c.read(); err != nil {
			return err
		}
	}
}

// walkDeliveries handles every complete frame that was read. Bodies are far
// smaller than frame-max, so each is one frame.
func (c *bareConn) walkDeliveries(check *bodyCheck) error {
	for {
		kind, payload, n := nextFrame(c.unread())
		if n == 0 {
			return check.err()
		}
		c.start += n
		switch kind {
		case amqpproto.FrameMethod:
			if methodID(payload) != amqpproto.MethodBasicDeliver {
				return unexpected(payload)
			}
		case amqpproto.FrameBody:
			check.add(payload)
		}
	}
}
