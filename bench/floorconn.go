package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/amqpproto"
)

// The floor is the least a client can do: bytes that were encoded beforehand
// go out in large writes, and what comes in is walked frame by frame. It has no
// goroutines, no copies, no heartbeats, no API; it trusts the broker.

const (
	floorChannel    = 1
	floorWriteBytes = 128 << 10
	floorReadBytes  = 256 << 10
	floorFrameMax   = 128 << 10
	dialTimeout     = 10 * time.Second
)

// bareConn is a socket that has logged in and opened floorChannel.
type bareConn struct {
	socket     net.Conn
	buf        []byte
	start, end int // bytes of buf that are read and not walked
}

func dialBare(rawURL string) (*bareConn, error) {
	endpoint, err := thump.ParseURL(rawURL)
	if err != nil {
		return nil, err
	}
	if endpoint.TLS {
		return nil, errors.New("the floor is a bare socket: it has no TLS")
	}
	socket, err := net.DialTimeout("tcp", net.JoinHostPort(endpoint.Host, endpoint.Port), dialTimeout)
	if err != nil {
		return nil, err
	}
	c := &bareConn{socket: socket, buf: make([]byte, floorReadBytes)}
	if err := c.login(endpoint); err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return c, nil
}

func (c *bareConn) login(e thump.Endpoint) error {
	if _, err := c.socket.Write([]byte(amqpproto.ProtocolHeader)); err != nil {
		return err
	}
	if _, err := c.method(); err != nil { // connection.start
		return err
	}
	err := c.call(0, &amqpproto.ConnectionStartOk{
		Mechanism: "PLAIN", Response: "\x00" + e.User + "\x00" + e.Password, Locale: "en_US",
		ClientProperties: amqpproto.Table{{Key: "product", Value: "thump bench floor"}},
	})
	if err != nil { // else it is connection.tune
		return err
	}
	if err := c.send(0, &amqpproto.ConnectionTuneOk{ChannelMax: 1, FrameMax: floorFrameMax}); err != nil {
		return err
	}
	if err := c.call(0, &amqpproto.ConnectionOpen{VirtualHost: e.Vhost}); err != nil {
		return err
	}
	return c.call(floorChannel, &amqpproto.ChannelOpen{})
}

func (c *bareConn) send(channel uint16, m amqpproto.Method) error {
	frame, err := amqpproto.AppendMethodFrame(nil, channel, m)
	if err != nil {
		return err
	}
	_, err = c.socket.Write(frame)
	return err
}

// call sends a method and waits for the next that comes, which must be its
// answer; an error if the broker closes the channel or the connection with it.
func (c *bareConn) call(channel uint16, m amqpproto.Method) error {
	if err := c.send(channel, m); err != nil {
		return err
	}
	_, err := c.method()
	return err
}

// method waits for a method frame.
func (c *bareConn) method() (amqpproto.Method, error) {
	for {
		kind, payload, n := nextFrame(c.buf[c.start:c.end])
		if n == 0 {
			if err := c.read(); err != nil {
				return nil, err
			}
			continue
		}
		c.start += n
		if kind != amqpproto.FrameMethod {
			continue
		}
		m, err := amqpproto.ParseMethod(payload)
		if err != nil {
			return nil, err
		}
		return m, refusal(m)
	}
}

// refusal is the error that the broker closes a channel or connection with.
func refusal(m amqpproto.Method) error {
	switch m := m.(type) {
	case *amqpproto.ConnectionClose:
		return fmt.Errorf("the broker closed the connection: %d %s", m.ReplyCode, m.ReplyText)
	case *amqpproto.ChannelClose:
		return fmt.Errorf("the broker closed the channel: %d %s", m.ReplyCode, m.ReplyText)
	}
	return nil
}

// read reads as much as the socket has, behind an incomplete frame if one is
// left.
func (c *bareConn) read() error {
	if c.start > 0 {
		c.end = copy(c.buf, c.buf[c.start:c.end])
		c.start = 0
	}
	n, err := c.socket.Read(c.buf[c.end:])
	c.end += n
	if n > 0 {
		return nil
	}
	return err
}

// close closes the channel, whose answer says that the broker has read what
// came before it, and the socket.
func (c *bareConn) close() error {
	if err := c.send(floorChannel, &amqpproto.ChannelClose{ReplyCode: amqpproto.ReplySuccess}); err != nil {
		return err
	}
	for {
		m, err := c.method()
		if err != nil {
			return err
		}
		if m.ID() == amqpproto.MethodChannelCloseOk {
			break
		}
	}
	if err := c.call(0, &amqpproto.ConnectionClose{ReplyCode: amqpproto.ReplySuccess}); err != nil {
		return err
	}
	return c.socket.Close()
}

// nextFrame takes the first frame off b (AMQP 0-9-1 4.2.3); n, its length on
// the wire, is 0 where b holds only part of one.
func nextFrame(b []byte) (kind byte, payload []byte, n int) {
	if len(b) < 7 {
		return 0, nil, 0
	}
	n = 7 + int(binary.BigEndian.Uint32(b[3:])) + 1
	if len(b) < n {
		return 0, nil, 0
	}
	return b[0], b[7 : n-1], n
}
