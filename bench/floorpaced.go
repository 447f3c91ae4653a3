package main

import (
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
)

// The floor in the scenarios with a rate: what is due goes out with one write, and
// another goroutine reads the confirms. Its latency is that of the broker and the
// schedule.

func floorPacedSender(t task) (job, error) {
	c, err := dialBare(t.URL)
	if err != nil {
		return job{}, err
	}
	if err := c.call(floorChannel, &amqpproto.ConfirmSelect{}); err != nil {
		return job{}, err
	}
	var out *departures
	work := func() error {
		out = newDepartures(t)
		return floorPacedSend(c, out, t)
	}
	return job{work: work, timings: func() *timings { return out.timings() }, close: c.close}, nil
}

// floorPacedSend has no window.
func floorPacedSend(c *bareConn, out *departures, t task) error {
	all := make(chan error, 1)
	go func() { all <- floorPacedConfirms(c, out) }()
	publish := amqpproto.BasicPublish{RoutingKey: t.Queue}
	properties := amqpproto.Properties{DeliveryMode: 2}
	body := make([]byte, timedBytes)
	var frames []byte
	for sent := 0; sent < out.count; {
		last := out.next(sent, out.count)
		frames = frames[:0]
		for ; sent < last; sent++ {
			putTimed(body, out.due(sent+1), sent+1)
			var err error
			frames, err = amqpproto.AppendPublish(frames, floorChannel, floorFrameMax, &publish, &properties, body)
			if err != nil {
				return err
			}
		}
		if _, err := c.socket.Write(frames); err != nil {
			return err
		}
	}
	if err := <-all; err != nil {
		return err
	}
	return out.err()
}

func floorPacedConfirms(c *bareConn, out *departures) error {
	confirms := newConfirmCount(out.count)
	now := int64(0)
	confirms.each = func(i int) { out.confirmed(i, now) }
	for confirms.count < out.count {
		if err := c.read(); err != nil {
			return err
		}
		now = time.Now().UnixNano()
		if err := c.walkConfirms(confirms); err != nil {
			return err
		}
	}
	return nil
}

func floorPacedReceiver(t task) (job, error) {
	c, err := dialBare(t.URL)
	if err != nil {
		return job{}, err
	}
	if err := c.call(floorChannel, &amqpproto.BasicQos{PrefetchCount: uint16(t.Prefetch)}); err != nil {
		return job{}, err
	}
	in := &arrivals{latencies: newLatencies(t.Warm)}
	return job{work: func() error { return floorPacedReceive(c, in, t) }, timings: in.timings, close: c.close}, nil
}

// floorPacedReceive acks what a read has brought with one frame.
func floorPacedReceive(c *bareConn, in *arrivals, t task) error {
	if err := c.call(floorChannel, &amqpproto.BasicConsume{Queue: t.Queue, ConsumerTag: consumerTag}); err != nil {
		return err
	}
	acked := 0
	var ack []byte
	for {
		if err := c.walkArrivals(in, time.Now().UnixNano()); err != nil {
			return err
		}
		if in.count > acked {
			acked = in.count
			ack = amqpproto.AppendAck(ack[:0], floorChannel, uint64(acked), true)
			if _, err := c.socket.Write(ack); err != nil {
				return err
			}
		}
		if in.count == t.Count {
			return nil
		}
		if err := c.read(); err != nil {
			return err
		}
	}
}

// walkArrivals handles every complete frame that was read.
func (c *bareConn) walkArrivals(in *arrivals, now int64) error {
	for {
		kind, payload, n := nextFrame(c.unread())
		if n == 0 {
			return nil
		}
		c.start += n
		switch {
		case kind == amqpproto.FrameBody:
			if err := in.add(payload, now); err != nil {
				return err
			}
		case kind == amqpproto.FrameMethod && methodID(payload) != amqpproto.MethodBasicDeliver:
			return unexpected(payload)
		}
	}
}
