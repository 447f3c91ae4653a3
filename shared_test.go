package thump

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// mortal is a connection that dies when its owner says so.
type mortal struct {
	err    error
	closed bool
}

func (m *mortal) Err() error                  { return m.err }
func (m *mortal) Close(context.Context) error { m.closed = true; return nil }

// slowDial is a dial that takes a second, and counts.
type slowDial struct{ dialled []*mortal }

func (d *slowDial) dial(ctx context.Context) (*mortal, error) {
	if !pause(ctx, time.Second) {
		return nil, ctx.Err()
	}
	conn := new(mortal)
	d.dialled = append(d.dialled, conn)
	return conn, nil
}

func TestSharedDialsOnceUntilItDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d slowDial
		s := newShared(d.dial)
		get := func() { // by ten at once
			t.Helper()
			got := make(chan *mortal)
			for range 10 {
				go func() {
					conn, err := s.get(t.Context())
					if err != nil {
						t.Error(err)
					}
					got <- conn
				}()
			}
			for range 10 {
				if conn := <-got; conn != d.dialled[len(d.dialled)-1] {
					t.Error("not everybody has the connection that was dialled last")
				}
			}
		}
		get()
		get()
		if len(d.dialled) != 1 {
			t.Errorf("dialled %d times while the connection lived, expected 1", len(d.dialled))
		}
		d.dialled[0].err = errors.New("cut")
		if _, live, err := s.current(); live || err != nil {
			t.Errorf("current says live %v, error %v of a dead connection", live, err)
		}
		get()
		if len(d.dialled) != 2 {
			t.Errorf("dialled %d times, expected 2", len(d.dialled))
		}
	})
}

func TestSharedWaitsNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d slowDial
		s := newShared(d.dial)
		dialling, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond)
		defer cancel()
		go func() { _, _ = s.get(dialling) }() // fails, and others must not
		synctest.Wait()

		waiting, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		began := time.Now()
		if _, err := s.get(waiting); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Millisecond {
			t.Errorf("got %v after %v, expected the context's error after 1ms", err, time.Since(began))
		}
		if conn, err := s.get(t.Context()); err != nil || conn != d.dialled[0] {
			t.Errorf("after somebody else's failure: %v", err)
		}
	})
}

func TestSharedCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d slowDial
		s := newShared(d.dial)
		late := make(chan error)
		go func() {
			_, err := s.get(t.Context())
			late <- err
		}()
		synctest.Wait()
		s.close(t.Context()) // while it is being dialled
		if err := <-late; !errors.Is(err, ErrClosed) || !d.dialled[0].closed {
			t.Errorf("got %v, expected ErrClosed, and closed %v", err, d.dialled[0].closed)
		}

		s = newShared(d.dial)
		conn, err := s.get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.close(t.Context())
		s.close(t.Context())
		if _, err := s.get(t.Context()); !errors.Is(err, ErrClosed) || !conn.closed || len(d.dialled) != 2 {
			t.Errorf("got %v, expected ErrClosed; closed %v, dialled %d times", err, conn.closed, len(d.dialled))
		}
	})
}
