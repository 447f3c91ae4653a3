package thump

import (
	"context"
	"sync"
)

// shared is a connection that everybody who needs one uses: dialled when the
// first of them needs it, and anew by the next one after it has died. It is safe
// for concurrent use.
type shared[C sharedConn] struct {
	dial    func(ctx context.Context) (C, error)
	dialing chan struct{} // holds a token while somebody dials; others wait for it

	// kept, where set, is called after dial, once current returns the connection. An error
	// of it closes the connection.
	kept func(ctx context.Context, conn C) error

	mu     sync.Mutex
	conn   C // the zero value before the first dial
	closed bool
}

// sharedConn is what shared needs of a connection.
type sharedConn interface {
	comparable
	Err() error // nil while it lives
	Close(ctx context.Context) error
}

func newShared[C sharedConn](dial func(ctx context.Context) (C, error)) *shared[C] {
	return &shared[C]{dial: dial, dialing: make(chan struct{}, 1)}
}

// get returns the connection, and dials where there is none that lives. The error
// is that of dial, of kept or of ctx, or ErrClosed after close.
func (s *shared[C]) get(ctx context.Context) (C, error) {
	if conn, live, err := s.current(); live || err != nil {
		return conn, err
	}
	var none C
	select {
	case s.dialing <- struct{}{}:
		defer func() { <-s.dialing }()
	case <-ctx.Done():
		return none, ctx.Err()
	}
	if conn, live, err := s.current(); live || err != nil {
		return conn, err // somebody else has dialled meanwhile
	}
	fresh, err := s.dial(ctx)
	if err != nil {
		return none, err
	}
	if !s.keep(fresh) {
		goodbye(ctx, fresh)
		return none, ErrClosed
	}
	if s.kept != nil {
		if err := s.kept(ctx, fresh); err != nil {
			goodbye(ctx, fresh)
			return none, err
		}
	}
	return fresh, nil
}

// current returns the connection if there is one that lives, without dialling;
// after close it returns ErrClosed.
func (s *shared[C]) current() (conn C, live bool, err error) {
	var none C
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return none, false, ErrClosed
	case s.conn == none || s.conn.Err() != nil:
		return none, false, nil
	default:
		return s.conn, true, nil
	}
}

// keep makes fresh the connection, unless close was called meanwhile.
func (s *shared[C]) keep(fresh C) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conn = fresh
	return true
}

// close closes the connection. Nobody gets one after that.
func (s *shared[C]) close(ctx context.Context) {
	var none C
	s.mu.Lock()
	conn := s.conn
	s.closed = true
	s.mu.Unlock()
	if conn != none {
		goodbye(ctx, conn)
	}
}
