package main

import (
	"errors"
	"fmt"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/streamproto"
)

// floorStreamFrameMax is what the floor asks for. RabbitMQ allows it unless it is
// configured otherwise.
const floorStreamFrameMax = 1<<20 - 1<<10

// bareStream is a socket that has logged in to the stream protocol.
type bareStream struct{ bareSocket }

func dialBareStream(rawURL string) (*bareStream, error) {
	socket, endpoint, err := dialBareSocket(rawURL)
	if err != nil {
		return nil, err
	}
	c := &bareStream{socket}
	if err := c.login(endpoint); err != nil {
		return nil, errors.Join(err, c.socket.Close())
	}
	return c, nil
}

func (c *bareStream) login(e thump.Endpoint) error {
	product := []streamproto.Property{{Key: "product", Value: "thump bench floor"}}
	for _, r := range []streamproto.Request{
		&streamproto.PeerProperties{Properties: product},
		&streamproto.SASLHandshake{},
		&streamproto.SASLAuthenticate{Mechanism: "PLAIN", Data: []byte("\x00" + e.User + "\x00" + e.Password)},
	} {
		if err := c.call(r); err != nil {
			return err
		}
	}
	if _, err := c.await(streamproto.KeyTune); err != nil {
		return err
	}
	tune := streamproto.AppendTune(nil, streamproto.Tune{FrameMax: floorStreamFrameMax})
	if _, err := c.socket.Write(tune); err != nil {
		return err
	}
	return c.call(&streamproto.Open{VirtualHost: e.Vhost})
}

// call sends a request and waits for its response. It is an error if that is not
// OK.
func (c *bareStream) call(r streamproto.Request) error {
	request, err := streamproto.AppendRequest(nil, 1, r)
	if err != nil {
		return err
	}
	if _, err := c.socket.Write(request); err != nil {
		return err
	}
	f, err := c.await(r.Key())
	if err != nil {
		return err
	}
	_, response, err := streamproto.ParseResponse(f)
	if err != nil {
		return err
	}
	if code := response.Result(); code != streamproto.CodeOK {
		return fmt.Errorf("%v was refused: %v", r.Key(), code)
	}
	return nil
}

// await waits for a frame with that key and skips others. The frame is valid until
// the next read.
func (c *bareStream) await(key streamproto.Key) (streamproto.Frame, error) {
	for {
		f, ok, err := c.frame()
		if err != nil {
			return f, err
		}
		if !ok {
			if err := c.read(); err != nil {
				return f, err
			}
			continue
		}
		if f.Key == key {
			return f, nil
		}
		if f.Key == streamproto.KeyClose {
			return f, unexpectedFrame(f)
		}
	}
}

// frame returns the next frame of what was read; ok is false while it is
// incomplete.
func (c *bareStream) frame() (f streamproto.Frame, ok bool, err error) {
	f, n, err := streamproto.ParseFrame(c.unread(), streamproto.Limits{})
	if err != nil || n == 0 || n > c.end-c.start {
		return f, false, err
	}
	c.start += n
	return f, true, nil
}

// unexpectedFrame is the error for a frame that must not come now.
func unexpectedFrame(f streamproto.Frame) error {
	if f.Key == streamproto.KeyClose && !f.Response {
		_, r, err := streamproto.ParseRequest(f)
		if err != nil {
			return err
		}
		if closing, ok := r.(*streamproto.Close); ok {
			return fmt.Errorf("the broker closed the connection: %v: %s", closing.Code, closing.Reason)
		}
	}
	return fmt.Errorf("%v came unexpectedly", f.Key)
}
