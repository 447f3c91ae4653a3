package fakebroker

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
)

// recorder is a test that is allowed to fail: it keeps what it is told.
type recorder struct {
	testing.TB
	cleanup []func()

	mu   sync.Mutex
	told []string
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanup = append(r.cleanup, f) }
func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, fmt.Sprintf(format, args...))
}

// TestWordsOfFailure plays a client that does something else than the script
// expects, and reads what the developer would.
func TestWordsOfFailure(t *testing.T) {
	open := Frame(3, &amqpproto.ChannelOpen{})
	for _, test := range []struct {
		name   string
		script func(*Session)
		sent   []byte
		want   string
	}{
		{
			"another method", func(s *Session) { Expect[*amqpproto.BasicQos](s) }, open,
			"connection 1, step 1: got channel.open &{reserved1:} on channel 3, not basic.qos",
		},
		{
			"nothing", func(s *Session) { Expect[*amqpproto.BasicQos](s) }, nil,
			"connection 1, step 1: waiting for basic.qos: EOF",
		},
		{
			"half a frame", func(s *Session) { s.OpenChannel() }, open[:9],
			"connection 1, step 1: waiting for channel.open: unexpected EOF",
		},
		{"no frame", func(s *Session) { s.Next() }, []byte("GET / HTTP/1.1\r\n"), "no frame"},
		{"no header", (*Session).Login, []byte("AMQP\x00\x01\x00\x00"), "not the protocol header"},
		{"a method instead of the end", (*Session).ExpectHangUp, open, "not the end"},
		{
			"a publish without its message", func(s *Session) { s.Next() },
			append(Frame(1, &amqpproto.BasicPublish{}), open...), "not a header",
		},
		{"too much body", func(s *Session) { s.Next() }, append(append(Frame(1, &amqpproto.BasicPublish{}),
			Header(1, 1)...), Raw(amqpproto.FrameBody, 1, []byte("ab"))...), "announces 1 bytes, and 2 came"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &recorder{TB: t}
			b := Pipe(r, 4096, test.script)
			conn, err := b.DialContext(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(test.sent); err != nil {
				t.Fatal(err)
			}
			conn.Close()
			for _, f := range r.cleanup {
				f()
			}
			if len(r.told) != 1 || !strings.Contains(r.told[0], test.want) {
				t.Errorf("got %q, want %q in it", r.told, test.want)
			}
		})
	}
}

// TestScriptThatWaits makes sure that a script which never ends fails its test,
// and that a connection without a script does.
func TestScriptThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{TB: t}
		b := Pipe(r, 4096, func(s *Session) { s.Login() })
		for range 2 {
			if _, err := b.DialContext(t.Context(), "", ""); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		r.cleanup[0]()
		told := strings.Join(r.told, "\n")
		for _, want := range []string{"connection 2, and there are scripts for only 1", "connection 1: the test is over"} {
			if !strings.Contains(told, want) {
				t.Errorf("got %q, want %q in it", told, want)
			}
		}
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, to net.Conn, what string) {
	t.Helper()
	_, err := to.Write([]byte(what))
	check(t, err)
}

func TestPipe(t *testing.T) {
	t.Run("holds its size and no more", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, b := newPipe(10)
			check(t, a.SetWriteDeadline(time.Now().Add(time.Second)))
			if n, err := a.Write(make([]byte, 25)); n != 10 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("wrote %d, %v, want 10 and the deadline", n, err)
			}
			check(t, a.SetWriteDeadline(time.Time{}))
			go write(t, a, string(make([]byte, 15)))
			if n, err := io.ReadFull(b, make([]byte, 25)); n != 25 || err != nil {
				t.Errorf("read %d, %v, want 25", n, err)
			}
		})
	})
	t.Run("deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, _ := newPipe(10)
			start := time.Now()
			check(t, a.SetDeadline(start.Add(time.Minute)))
			_, err := a.Read(make([]byte, 1))
			var timeout net.Error
			if !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(start) != time.Minute {
				t.Errorf("got %v after %v, want a timeout after 1m", err, time.Since(start))
			}
		})
	})
	t.Run("close", func(t *testing.T) {
		a, b := newPipe(10)
		write(t, a, "ab")
		write(t, b, "cd")
		a.Close()
		if got, err := io.ReadAll(b); string(got) != "ab" || err != nil {
			t.Errorf("read %q, %v, want what was written before the close", got, err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write to a closed pipe: %v", err)
		}
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read of the closed end: %v", err)
		}
	})
	t.Run("reset", func(t *testing.T) {
		a, b := newPipe(10)
		write(t, a, "ab")
		a.(*pipeEnd).reset()
		if got, err := io.ReadAll(b); len(got) > 0 || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read %q, %v, want a reset", got, err)
		}
	})
}
