package amqpconn

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/transport"
)

// shortly is a context that ends after a second.
func shortly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestLateAnswer: a call is given up, its answer comes late, and the next call
// gets its own.
func TestLateAnswer(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenChannel()
		for range 3 {
			m, _ := fakebroker.Expect[*amqpproto.QueueDeclare](s)
			time.Sleep(10 * time.Second)
			s.Send(1, &amqpproto.QueueDeclareOk{Queue: m.Queue})
		}
		fakebroker.Expect[*amqpproto.BasicGet](s)
		time.Sleep(10 * time.Second)
		s.SendContent(1, &amqpproto.BasicGetOk{DeliveryTag: 1}, nil, []byte("late"))
		fakebroker.Expect[*amqpproto.BasicGet](s)
		s.SendContent(1, &amqpproto.BasicGetOk{DeliveryTag: 2}, nil, []byte("next"))
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch := openChannel(t, conn)
		if _, err := ch.Call(shortly(t), &amqpproto.QueueDeclare{Queue: "given up"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if _, err := ch.Call(shortly(t), &amqpproto.QueueDeclare{Queue: "never sent"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		for i := range 2 {
			name := fmt.Sprint("q", i)
			m, err := ch.Call(t.Context(), &amqpproto.QueueDeclare{Queue: name})
			if err != nil || m.(*amqpproto.QueueDeclareOk).Queue != name {
				t.Errorf("got %v, %v, want the answer for %s", m, err, name)
			}
		}
		if _, _, err := ch.Get(shortly(t), "q", true); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if d, ok, err := ch.Get(t.Context(), "q", true); !ok || err != nil || string(d.Body) != "next" {
			t.Errorf("got %q, %v, %v", d.Body, ok, err)
		}
	})
}

// TestGivenUpChannel: neither a channel whose opening was given up, nor one that
// is closed while a call on it is, may keep its id, or stay open at the broker.
func TestGivenUpChannel(t *testing.T) {
	for _, test := range []struct {
		name string
		use  func(*testing.T, *Conn)
	}{
		{"opening", func(t *testing.T, conn *Conn) {
			if _, err := conn.Channel(shortly(t)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		}},
		{"a context that has ended", func(t *testing.T, conn *Conn) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := conn.Channel(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}},
		{"a call", func(t *testing.T, conn *Conn) {
			ch := openChannel(t, conn)
			ctx := shortly(t)
			if _, err := ch.Call(ctx, &amqpproto.QueueDeclare{Queue: "q"}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			if err := ch.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("close: %v", err)
			}
			if !errors.Is(ch.Err(), transport.ErrClosed) {
				t.Errorf("it ended with %v", ch.Err())
			}
		}},
		{"closing", func(t *testing.T, conn *Conn) {
			if err := openChannel(t, conn).Close(shortly(t)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				greeting := fakebroker.Likely()
				greeting.Tune.ChannelMax = 2
				b := fakebroker.Pipe(t, conntest.SocketSize, func(s *fakebroker.Session) {
					s.LoginAs(greeting)
					open := map[uint16]bool{}
					s.Serve(func(r *fakebroker.Received) bool {
						switch m := r.Method.(type) {
						case *amqpproto.ChannelOpen:
							if open[r.Channel] {
								t.Errorf("channel %d was opened twice", r.Channel)
							}
							open[r.Channel] = true
							if test.name == "opening" {
								time.Sleep(2 * time.Second)
							}
						case *amqpproto.QueueDeclare:
							time.Sleep(2 * time.Second)
						case *amqpproto.ChannelClose:
							if !open[r.Channel] {
								t.Errorf("channel %d was closed, and it was not open: %+v", r.Channel, m)
							}
							delete(open, r.Channel)
							if test.name == "closing" {
								time.Sleep(2 * time.Second)
							}
						}
						return false
					})
					if len(open) != 0 {
						t.Errorf("channels are open in the end: %v", open)
					}
				})
				conn := dial(t, config(b))
				for range 5 { // of two channels
					test.use(t, conn)
					time.Sleep(10 * time.Second)
				}
				if err := conn.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestConcurrentCalls: calls on one channel wait for each other.
func TestConcurrentCalls(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.Serve(func(r *fakebroker.Received) bool {
			if _, ok := r.Method.(*amqpproto.QueueDeclare); ok {
				time.Sleep(time.Millisecond)
			}
			return false
		})
	}, func(t *testing.T, conn *Conn) {
		ch := openChannel(t, conn)
		errs := make(chan error)
		for i := range 20 {
			go func() {
				name := fmt.Sprint(i)
				m, err := ch.Call(t.Context(), &amqpproto.QueueDeclare{Queue: name})
				if err == nil && m.(*amqpproto.QueueDeclareOk).Queue != name {
					err = fmt.Errorf("got the answer for %v, not %s", m, name)
				}
				errs <- err
			}()
		}
		for range 20 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}
