package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/amqpproto"
)

const (
	floorChannel    = 1
	floorWriteBytes = 128 << 10
	floorFrameMax   = 128 << 10
)

// bareConn is a socket that has logged in and opened floorChannel.
type bareConn struct{ bareSocket }

func dialBare(rawURL string) (*bareConn, error) {
	socket, endpoint, err := dialBareSocket(rawURL)
	if err != nil {
		return nil, err
	}
	c := &bareConn{socket}
	if err := c.login(endpoint); err != nil {
		return nil, errors.Join(err, c.socket.Close())
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
	if err != nil { // otherwise connection.tune came
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

// call sends a method and waits for the next one, which must be its answer. It is
// an error if that closes the channel or the connection.
func (c *bareConn) call(channel uint16, m amqpproto.Method) error {
	if err := c.send(channel, m); err != nil {
		return err
	}
	_, err := c.method()
	return err
}

// method waits for the next method frame.
func (c *bareConn) method() (amqpproto.Method, error) {
	for {
		kind, payload, n := nextFrame(c.unread())
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

// refusal is the error in a method that closes a channel or connection, or nil.
func refusal(m amqpproto.Method) error {
	switch m := m.(type) {
	case *amqpproto.ConnectionClose:
		return fmt.Errorf("the broker closed the connection: %d %s", m.ReplyCode, m.ReplyText)
	case *amqpproto.ChannelClose:
		return fmt.Errorf("the broker closed the channel: %d %s", m.ReplyCode, m.ReplyText)
	}
	return nil
}

// close closes the channel, and the answer says that the broker has read all that
// came before. Then it closes the connection.
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

// nextFrame returns the first frame of b (AMQP 0-9-1 4.2.3), and its length n on
// the wire, which is 0 while the frame is incomplete.
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
