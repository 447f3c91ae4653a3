package main

import (
	"errors"
	"net"
	"time"

	"github.com/thumpmq/thump"
)

// The floor is about the least a client can do: bytes that were encoded
// beforehand go out in large writes, and what comes in is walked frame by frame
// where it was read. It has no goroutines, no copies, no heartbeats, no API, and
// it trusts the broker.

const (
	floorReadBytes = 256 << 10
	dialTimeout    = 10 * time.Second
)

// bareSocket is a socket, and what was read from it and not walked.
type bareSocket struct {
	socket     net.Conn
	buf        []byte
	start, end int // of that part of buf
}

// dialBareSocket also returns the endpoint, to log in with.
func dialBareSocket(rawURL string) (bareSocket, thump.Endpoint, error) {
	endpoint, err := thump.ParseURL(rawURL)
	if err != nil {
		return bareSocket{}, endpoint, err
	}
	if endpoint.TLS {
		return bareSocket{}, endpoint, errors.New("the floor is a bare socket: it has no TLS")
	}
	socket, err := net.DialTimeout("tcp", net.JoinHostPort(endpoint.Host, endpoint.Port), dialTimeout)
	return bareSocket{socket: socket, buf: make([]byte, floorReadBytes)}, endpoint, err
}

// unread is what is left to walk; whoever walks n bytes adds n to start. It is
// valid until the next read.
func (s *bareSocket) unread() []byte { return s.buf[s.start:s.end] }

// read reads as much as the socket has. An incomplete frame that is left moves to
// the start of the buffer first.
func (s *bareSocket) read() error {
	if s.start > 0 {
		s.end = copy(s.buf, s.buf[s.start:s.end])
		s.start = 0
	}
	n, err := s.socket.Read(s.buf[s.end:])
	s.end += n
	if n > 0 {
		return nil
	}
	return err
}
