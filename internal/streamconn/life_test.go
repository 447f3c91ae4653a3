package streamconn

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/streamproto"
)

// TestCloseInTime: Close returns when its context ends, whatever the broker does
// not do, and leaves every message with an outcome.
func TestCloseInTime(t *testing.T) {
	for _, test := range []struct {
		name    string
		script  func(*fakebroker.StreamSession)
		publish int // bytes
	}{
		{"not answering", (*fakebroker.StreamSession).Discard, 10},
		{"not reading", func(*fakebroker.StreamSession) { time.Sleep(8 * time.Second) }, 10},
		{"not reading, the socket full", func(*fakebroker.StreamSession) { time.Sleep(8 * time.Second) }, 500_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			pair(t, func(s *fakebroker.StreamSession) {
				s.OpenPublisher(0)
				test.script(s)
			}, func(t *testing.T, conn *Conn) {
				p := openPublisher(t, conn, PublisherConfig{})
				publish(t, p, 1, strings.Repeat("x", test.publish))
				time.Sleep(2 * time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				begin := time.Now()
				err := conn.Close(ctx)
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 3*time.Second {
					t.Errorf("close ended with %v after %v", err, time.Since(begin))
				}
				if total := p.Totals(); total.Unknown != 1 || !errors.Is(p.Err(), ErrClosed) {
					t.Errorf("totals %+v, the publisher ended with %v", total, p.Err())
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
			g := fakebroker.LikelyStream()
			g.Tune.FrameMax = 0
			b := fakebroker.Start(t, fakebroker.Stream(func(s *fakebroker.StreamSession) {
				s.LoginAs(g)
				s.OpenPublisher(0)
				<-release
			}))
			conn := dial(t, config(b))
			p := openPublisher(t, conn, PublisherConfig{})
			publish(t, p, 1, strings.Repeat("x", 15<<20))
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
// and nothing else: RabbitMQ does not read while 50,000 entries wait to be
// stored. What is taken meanwhile is bounded, and the end of a context ends the
// wait.
func TestBackPressure(t *testing.T) {
	for _, subEntry := range []int{1, 100} {
		pair(t, func(s *fakebroker.StreamSession) {
			s.OpenPublisher(0)
			for range 20 {
				time.Sleep(30 * time.Second)
				s.SendBytes(streamproto.AppendHeartbeat(nil))
			}
			s.Serve(nil)
		}, func(t *testing.T, conn *Conn) {
			p := openPublisher(t, conn, PublisherConfig{Window: 100_000, SubEntry: subEntry})
			body := make([]byte, 1000)
			taken := 0
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			for p.Begin(ctx) == nil {
				for {
					ok, err := p.Publish(0, 0, body)
					if err != nil {
						t.Error(err)
					}
					if !ok {
						break
					}
					taken++
				}
				p.End()
			}
			if ctx.Err() == nil || conn.Err() != nil {
				t.Fatalf("it ended: %v", conn.Err())
			}
			if most := (2*outRoom + 2*socketSize) / 1000; taken > most || taken < outRoom/1100 {
				t.Errorf("%d messages were taken, want at most %d", taken, most)
			}
			if err := p.WaitConfirms(t.Context()); err != nil || p.Totals().Confirmed != uint64(taken) {
				t.Errorf("%v, %+v, %d taken", err, p.Totals(), taken)
			}
			goodbye(t, conn)
		})
	}
}

// TestOrderlyClose: once the broker has answered, nothing of what it does to the
// socket makes the end look like a failure.
func TestOrderlyClose(t *testing.T) {
	for range 200 {
		pair(t, func(s *fakebroker.StreamSession) { s.Serve(nil) }, func(t *testing.T, conn *Conn) {
			p := openPublisher(t, conn, PublisherConfig{})
			goodbye(t, conn)
			if !errors.Is(conn.Err(), ErrClosed) || !errors.Is(p.Err(), ErrClosed) {
				t.Fatalf("the connection ended with %v, the publisher with %v", conn.Err(), p.Err())
			}
			if err := conn.Close(t.Context()); !errors.Is(err, ErrClosed) {
				t.Error("close again:", err)
			}
		})
	}
}

// TestServerCloses: the broker closes the connection and says why; it hears the
// answer, and everyone who waits hears the reason.
func TestServerCloses(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		s.OpenSubscription()
		s.OpenPublisher(0)
		published(s, 1)
		fakebroker.ExpectCommand[*streamproto.QueryOffset](s)
		s.SendBytes(join(fakebroker.Deliver(fakebroker.Chunk(0, 0, "message 0")), fakebroker.StreamRequest(77, &streamproto.Close{
			Code: streamproto.CodeInternalError, Reason: "Node is going down",
		})))
		for {
			r := s.Next()
			if done, ok := r.Command.(*streamproto.Done); ok && done.For == streamproto.KeyClose && r.Correlation == 77 {
				break
			}
		}
		s.Close()
	}, func(t *testing.T, conn *Conn) {
		_, in := openSubscription(t, conn, 10)
		p := openPublisher(t, conn, PublisherConfig{})
		publish(t, p, 1, "one")
		err := query(t.Context(), conn, 1)
		checkCode(t, err, streamproto.CodeInternalError)
		if want := "broker answered 15, internal error: Node is going down"; conn.Err() == nil || conn.Err().Error() != want {
			t.Errorf("got %v, want %s", conn.Err(), want)
		}
		checkCode(t, conn.Close(t.Context()), streamproto.CodeInternalError) // at once: the answer must still get out
		checkNumbered(t, receive(t, in, 1))
		if _, err := in.Take(t.Context(), nil); !errors.Is(err, conn.Err()) || !strings.Contains(err.Error(), `stream "events": `) {
			t.Errorf("the inbox ended with %v", err)
		}
		if total := p.Totals(); total.Unknown != 1 {
			t.Errorf("totals %+v", total)
		}
	})
}

// TestServerGone: the socket breaks in each way while everyone waits.
func TestServerGone(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*fakebroker.StreamSession)
		want string
	}{
		{"closed", (*fakebroker.StreamSession).Close, "closed the connection without a word"},
		{"reset", (*fakebroker.StreamSession).Reset, "reset by peer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			pair(t, func(s *fakebroker.StreamSession) {
				s.OpenSubscription()
				s.OpenPublisher(0)
				published(s, 1)
				s.Next()
				s.Next() // Unsubscribe and QueryOffset
				time.Sleep(time.Second)
				test.end(s)
			}, func(t *testing.T, conn *Conn) {
				sub, in := openSubscription(t, conn, 10)
				p := openPublisher(t, conn, PublisherConfig{Window: 1, Collect: true})
				publish(t, p, 1, "one")
				errs := make(chan error)
				for _, wait := range []func() error{
					func() error { _, err := in.Take(t.Context(), nil); return err },
					func() error { return p.Begin(t.Context()) },
					func() error { return query(t.Context(), conn, 1) },
					func() error { return sub.Unsubscribe(t.Context()) },
					func() error {
						outcomes, err := p.Outcomes(nil)
						if err != nil || len(outcomes) != 1 || outcomes[0].Status != outcome.Unknown {
							t.Errorf("outcomes %+v, %v", outcomes, err)
						}
						_, err = p.Outcomes(outcomes)
						return err
					},
				} {
					go func() { errs <- wait() }()
				}
				if err := p.WaitConfirms(t.Context()); err != nil {
					t.Error("wait for confirms:", err)
				}
				for range 5 {
					if err := <-errs; err == nil || !strings.Contains(err.Error(), test.want) {
						t.Errorf("got %v, want %q", err, test.want)
					}
				}
				checkEnded(t, conn)
			})
		})
	}
}

// checkEnded makes sure that nothing can be begun on a connection that has ended.
func checkEnded(t *testing.T, conn *Conn) {
	t.Helper()
	why := conn.Err()
	_, publisher := conn.Publisher(t.Context(), PublisherConfig{Stream: "events", Window: 1, SubEntry: 1})
	_, subscription := conn.Subscribe(t.Context(), SubscribeConfig{Stream: "events", Credit: 2, Inbox: NewInbox()})
	for what, err := range map[string]error{
		"a publisher": publisher, "a subscription": subscription, "a call": query(t.Context(), conn, 1),
		"storing": conn.StoreOffset(&streamproto.StoreOffset{}), "a goodbye": conn.Close(t.Context()),
	} {
		if why == nil || !errors.Is(err, why) {
			t.Errorf("%s ended with %v, the connection with %v", what, err, why)
		}
	}
}

// TestAbort ends everything for the reason that is given.
func TestAbort(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) { s.Serve(nil) }, func(t *testing.T, conn *Conn) {
		_, in := openSubscription(t, conn, 10)
		p := openPublisher(t, conn, PublisherConfig{})
		conn.Abort(io.ErrNoProgress)
		conn.Abort(io.EOF)
		_, err := in.Take(t.Context(), nil)
		for what, err := range map[string]error{"connection": conn.Err(), "publisher": p.Err(), "inbox": err} {
			if !errors.Is(err, io.ErrNoProgress) {
				t.Errorf("the %s ended with %v", what, err)
			}
		}
		checkEnded(t, conn)
	})
}

// TestUpdateSecret logs in again on the same connection.
func TestUpdateSecret(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		q, correlation := fakebroker.ExpectCommand[*streamproto.SASLAuthenticate](s)
		if q.Mechanism != "PLAIN" || string(q.Data) != "\x00guest\x00new" {
			t.Errorf("got %+v", q)
		}
		s.Answer(correlation, &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeOK})
		_, correlation = fakebroker.ExpectCommand[*streamproto.SASLAuthenticate](s)
		s.Answer(correlation, &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeAuthenticationFailure})
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		if err := conn.UpdateSecret(t.Context(), "new"); err != nil {
			t.Error(err)
		}
		err := conn.UpdateSecret(t.Context(), "canary")
		checkCode(t, err, streamproto.CodeAuthenticationFailure)
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("the secret is in %v", err)
		}
		synctest.Wait()
		goodbye(t, conn)
	})
}
