package amqpconn

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// TestBlocked: publishing waits while the broker blocks the connection, as long
// as its context allows, and goes on when it no longer does.
func TestBlocked(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenPublisher()
		s.Send(0, &amqpproto.ConnectionBlocked{Reason: "low on disk"})
		time.Sleep(time.Minute)
		s.Send(0, &amqpproto.ConnectionUnblocked{})
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch := openPublisher(t, conn, 10, false)
		synctest.Wait()
		if conn.Blocked() != "low on disk" {
			t.Errorf("blocked is %q", conn.Blocked())
		}
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := ch.BeginPublish(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 10*time.Second {
			t.Errorf("publish ended with %v after %v", err, time.Since(begin))
		}
		publish(t, ch, 1, "one", "two")
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("published after %v", took)
		}
		if err := ch.WaitConfirms(t.Context()); err != nil || ch.Totals().Confirmed != 2 {
			t.Errorf("%v, %+v", err, ch.Totals())
		}
	})
}

// TestCloseInTime: Close returns when its context ends, whatever the broker does
// not do, and leaves every message with an outcome.
func TestCloseInTime(t *testing.T) {
	for _, test := range []struct {
		name    string
		script  func(*fakebroker.Session)
		publish int // bytes
	}{
		{"blocked", func(s *fakebroker.Session) {
			fakebroker.Expect[*amqpproto.BasicPublish](s)
			s.Send(0, &amqpproto.ConnectionBlocked{Reason: "low on memory"})
			s.Discard()
		}, 10},
		{"blocked, and not reading", func(s *fakebroker.Session) {
			time.Sleep(time.Second)
			s.Send(0, &amqpproto.ConnectionBlocked{Reason: "low on memory"})
			time.Sleep(8 * time.Second)
		}, 10},
		{"not reading, the socket full", func(*fakebroker.Session) { time.Sleep(8 * time.Second) }, 1 << 20},
		{"not answering", (*fakebroker.Session).Discard, 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			pair(t, func(s *fakebroker.Session) {
				s.OpenPublisher()
				test.script(s)
			}, func(t *testing.T, conn *Conn) {
				ch := openPublisher(t, conn, 10, false)
				publish(t, ch, 1, strings.Repeat("x", test.publish))
				time.Sleep(2 * time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				begin := time.Now()
				err := conn.Close(ctx)
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 3*time.Second {
					t.Errorf("close ended with %v after %v", err, time.Since(begin))
				}
				if total := ch.Totals(); total.Unknown != 1 || !errors.Is(ch.Err(), ErrClosed) {
					t.Errorf("totals %+v, channel ended with %v", total, ch.Err())
				}
			})
		})
	}
}

// TestCloseWithFullSocket is one of those with a real socket, whose Write stays
// in the kernel until the socket is closed.
func TestCloseWithFullSocket(t *testing.T) {
	checkGoroutines(t, func() {
		release := make(chan struct{})
		t.Run("it", func(t *testing.T) {
			b := fakebroker.Start(t, func(s *fakebroker.Session) {
				s.Login()
				s.OpenPublisher()
				<-release
			})
			conn := dial(t, config(b))
			ch := openPublisher(t, conn, 10, false)
			publish(t, ch, 1, strings.Repeat("x", 16<<20))
			time.Sleep(50 * time.Millisecond) // the writer is in Write
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			begin := time.Now()
			if err := conn.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("close ended with %v", err)
			}
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("close took %v", took)
			}
			close(release)
		})
	})
}

// TestBackPressure: a server that does not read, but lives, holds up publishing
// and nothing else: it may be RabbitMQ under an alarm.
func TestBackPressure(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenPublisher()
		for range 20 {
			time.Sleep(30 * time.Second)
			s.SendBytes(amqpproto.AppendHeartbeat(nil))
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch := openPublisher(t, conn, 100_000, false)
		body := strings.Repeat("x", 1000)
		published := 0
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		for ch.BeginPublish(ctx) == nil {
			p := Publishing{Body: []byte(body)}
			for {
				ok, err := ch.Publish(&p)
				if err != nil {
					t.Error(err)
				}
				if !ok {
					break
				}
				published++
			}
			ch.EndPublish()
		}
		if ctx.Err() == nil || conn.Err() != nil {
			t.Fatalf("it ended: %v", conn.Err())
		}
		if most := (2*outRoom + 2*socketSize) / 1000; published > most {
			t.Errorf("%d messages were taken, more than %d", published, most)
		}
		if err := ch.WaitConfirms(t.Context()); err != nil || ch.Totals().Confirmed != uint64(published) {
			t.Errorf("%v, %+v, %d published", err, ch.Totals(), published)
		}
	})
}

// TestOrderlyClose: once the broker has answered, nothing of what it does to the
// socket makes the end look like a failure.
func TestOrderlyClose(t *testing.T) {
	for range 200 {
		pair(t, func(s *fakebroker.Session) {
			s.OpenChannel()
			s.Serve(nil)
		}, func(t *testing.T, conn *Conn) {
			ch := openChannel(t, conn)
			if err := conn.Close(t.Context()); err != nil {
				t.Error("close:", err)
			}
			if !errors.Is(conn.Err(), ErrClosed) || !errors.Is(ch.Err(), ErrClosed) {
				t.Fatalf("the connection ended with %v, the channel with %v", conn.Err(), ch.Err())
			}
			if err := conn.Close(t.Context()); !errors.Is(err, ErrClosed) {
				t.Error("close again:", err)
			}
		})
	}
}

// TestServerCloses: the broker closes the connection and says why; it hears
// close-ok, and everyone who waits hears the reason.
func TestServerCloses(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenConsumer()
		s.OpenPublisher()
		fakebroker.Expect[*amqpproto.BasicPublish](s)
		fakebroker.Expect[*amqpproto.BasicQos](s)
		s.SendBytes(join(deliver(1, 1, "last"), fakebroker.Frame(0, &amqpproto.ConnectionClose{
			ReplyCode: 320, ReplyText: "CONNECTION_FORCED - broker forced connection closure", ClassID: 60, MethodID: 40,
		})))
		fakebroker.Expect[*amqpproto.ConnectionCloseOk](s)
		s.Close()
	}, func(t *testing.T, conn *Conn) {
		_, in := openConsumer(t, conn)
		ch := openPublisher(t, conn, 10, false)
		publish(t, ch, 1, "one")
		_, err := ch.Call(t.Context(), &amqpproto.BasicQos{})
		var server *ServerError
		if !errors.As(err, &server) || server.Code != 320 || server.Method.String() != "basic.publish" {
			t.Errorf("the call ended with %v", err)
		}
		if want := "broker answered 320 CONNECTION_FORCED - broker forced connection closure"; conn.Err().Error() != want {
			t.Errorf("got %v, want %s", conn.Err(), want)
		}
		if err := conn.Close(t.Context()); !errors.As(err, &server) { // at once: close-ok must still get out
			t.Errorf("close ended with %v", err)
		}
		if got := receive(t, in, 1); got[0] != "last" {
			t.Errorf("got %q", got)
		}
		if total := ch.Totals(); total.Unknown != 1 {
			t.Errorf("totals %+v", total)
		}
	})
}

// TestServerGone: the socket breaks in each way while everyone waits.
func TestServerGone(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*fakebroker.Session)
		want string
	}{
		{"closed", (*fakebroker.Session).Close, "closed the connection without a word"},
		{"reset", (*fakebroker.Session).Reset, "reset by peer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			pair(t, func(s *fakebroker.Session) {
				s.OpenConsumer()
				s.OpenPublisher()
				fakebroker.Expect[*amqpproto.BasicPublish](s)
				s.Next() // basic.qos or basic.cancel: one waits for the other
				time.Sleep(time.Second)
				test.end(s)
			}, func(t *testing.T, conn *Conn) {
				_, in := openConsumer(t, conn)
				ch := openPublisher(t, conn, 1, true)
				publish(t, ch, 1, "one")
				errs := make(chan error)
				var d Deliveries
				for _, wait := range []func() error{
					func() error { return in.Take(t.Context(), &d, 1) },
					func() error { return ch.BeginPublish(t.Context()) },
					func() error { return ch.Qos(t.Context(), 1) },
					func() error { return ch.Cancel(t.Context(), in) },
					func() error {
						outcomes, err := ch.Outcomes(nil)
						if err != nil || len(outcomes) != 1 || outcomes[0].Status != Unknown {
							t.Errorf("outcomes %+v, %v", outcomes, err)
						}
						_, err = ch.Outcomes(outcomes)
						return err
					},
				} {
					go func() { errs <- wait() }()
				}
				if err := ch.WaitConfirms(t.Context()); err != nil {
					t.Error("wait for confirms:", err)
				}
				for range 5 {
					if err := <-errs; err == nil || !strings.Contains(err.Error(), test.want) {
						t.Errorf("got %v, want %q", err, test.want)
					}
				}
			})
		})
	}
}

func TestUpdateSecret(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		if m, _ := fakebroker.Expect[*amqpproto.ConnectionUpdateSecret](s); m.NewSecret != "new" || m.Reason != "rotation" {
			t.Errorf("got %+v", m)
		}
		s.Send(0, &amqpproto.ConnectionUpdateSecretOk{})
		fakebroker.Expect[*amqpproto.ConnectionUpdateSecret](s)
		s.Send(0, &amqpproto.ConnectionClose{ReplyCode: 530, ReplyText: "NOT_ALLOWED - no"})
		fakebroker.Expect[*amqpproto.ConnectionCloseOk](s)
	}, func(t *testing.T, conn *Conn) {
		if err := conn.UpdateSecret(t.Context(), "new", "rotation"); err != nil {
			t.Error(err)
		}
		err := conn.UpdateSecret(t.Context(), "canary", "rotation")
		var server *ServerError
		if !errors.As(err, &server) || server.Code != 530 || strings.Contains(err.Error(), "canary") {
			t.Errorf("got %v", err)
		}
		_ = conn.Close(t.Context()) // close-ok gets out
	})
}
