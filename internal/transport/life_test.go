package transport_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/transport"
)

// TestCloseInTime: Close returns when its context ends, whatever the broker does
// not do, and leaves every message with an outcome.
func TestCloseInTime(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		asleep := func(server) { time.Sleep(8 * time.Second) }
		for _, test := range []struct {
			name    string
			script  func(server)
			publish int // bytes
		}{
			{"not answering", server.Discard, 10},
			{"not reading", asleep, 10},
			{"not reading, the socket full", asleep, 500_000},
		} {
			t.Run(test.name, func(t *testing.T) {
				p.pair(t, func(s server) {
					s.openPublisher()
					test.script(s)
				}, func(t *testing.T, conn client) {
					pub := conn.publisher(t, publishing{})
					publish(t, pub, strings.Repeat("x", test.publish))
					time.Sleep(2 * time.Second)
					ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
					defer cancel()
					begin := time.Now()
					err := conn.Close(ctx)
					if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 3*time.Second {
						t.Errorf("close ended with %v after %v", err, time.Since(begin))
					}
					if total := pub.Totals(); total.Unknown != 1 || !errors.Is(pub.Err(), transport.ErrClosed) {
						t.Errorf("totals %+v, the publisher ended with %v", total, pub.Err())
					}
				})
			})
		}
	})
}

// TestCloseWithFullSocket is one of those with a real socket, whose Write stays
// in the kernel until the socket is closed.
func TestCloseWithFullSocket(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		fakebroker.CheckGoroutines(t, func() {
			release := make(chan struct{})
			t.Run("it", func(t *testing.T) {
				b := fakebroker.Start(t, p.script(func(s server) {
					s.login(greeting{unlimited: true})
					s.openPublisher()
					<-release
				}))
				conn := p.mustDial(t, b)
				publish(t, conn.publisher(t, publishing{}), strings.Repeat("x", 15<<20))
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
	})
}

// TestBackPressure: a server that does not read, but lives, holds up publishing
// and nothing else: RabbitMQ does not read while it is under an alarm, nor while
// 50,000 entries wait to be stored. What is taken meanwhile is bounded, and the
// end of a context ends the wait.
func TestBackPressure(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		for _, batch := range p.batches {
			p.pair(t, func(s server) {
				s.openPublisher()
				for range 20 {
					time.Sleep(30 * time.Second)
					s.SendBytes(p.beat)
				}
				s.serve()
			}, func(t *testing.T, conn client) { backPressure(t, conn, batch) })
		}
	})
}

func backPressure(t *testing.T, conn client, batch int) {
	pub := conn.publisher(t, publishing{window: 100_000, batch: batch})
	body := make([]byte, 1000)
	taken := 0
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for pub.Begin(ctx) == nil {
		for {
			ok, err := pub.Publish(0, body)
			if err != nil {
				t.Error(err)
			}
			if !ok {
				break
			}
			taken++
		}
		pub.End()
	}
	if ctx.Err() == nil || conn.Err() != nil {
		t.Fatalf("it ended: %v", conn.Err())
	}
	if most := (2*transport.OutRoom + 2*conntest.SocketSize) / 1000; taken > most || taken < transport.OutRoom/1100 {
		t.Errorf("%d messages were taken, want at most %d", taken, most)
	}
	if err := pub.Wait(t.Context()); err != nil || pub.Totals().Confirmed != uint64(taken) {
		t.Errorf("%v, %+v, %d taken", err, pub.Totals(), taken)
	}
	conntest.Goodbye(t, conn)
}

// TestRoomAgain: who waits for room goes on once the broker reads on, though it
// confirms nothing.
func TestRoomAgain(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		p.pair(t, func(s server) {
			s.openPublisher()
			time.Sleep(10 * time.Second)
			s.Discard()
		}, func(t *testing.T, conn client) {
			pub := conn.publisher(t, publishing{window: 100_000})
			begin := time.Now()
			publish(t, pub, slices.Repeat([]string{strings.Repeat("x", 1000)}, 3000)...)
			if took := time.Since(begin); took != 10*time.Second {
				t.Errorf("published after %v", took)
			}
		})
	})
}

// TestOrderlyClose: once the broker has answered, nothing of what it does to the
// socket makes the end look like a failure.
func TestOrderlyClose(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		for range 200 {
			p.pair(t, server.serve, func(t *testing.T, conn client) {
				pub := conn.publisher(t, publishing{})
				conntest.Goodbye(t, conn)
				if !errors.Is(conn.Err(), transport.ErrClosed) || !errors.Is(pub.Err(), transport.ErrClosed) {
					t.Fatalf("the connection ended with %v, the publisher with %v", conn.Err(), pub.Err())
				}
				if err := conn.Close(t.Context()); !errors.Is(err, transport.ErrClosed) {
					t.Error("close again:", err)
				}
			})
		}
	})
}

// TestServerCloses: the broker closes the connection and says why; it hears the
// answer, and everyone who waits hears the reason.
func TestServerCloses(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		p.pair(t, func(s server) {
			s.openConsumer()
			s.openPublisher()
			s.published(1)
			s.called(1)
			s.SendBytes(slices.Concat(p.delivery(0, "last"), p.goodbye))
			s.goodbyeAnswered()
			s.Close()
		}, func(t *testing.T, conn client) {
			c, pub := conn.consumer(t), conn.publisher(t, publishing{})
			publish(t, pub, "one")
			if err := pub.call(t.Context()); !p.isLeft(err) {
				t.Errorf("the call ended with %v", err)
			}
			if conn.Err() == nil || conn.Err().Error() != p.leaving {
				t.Errorf("got %v, want %s", conn.Err(), p.leaving)
			}
			if err := conn.Close(t.Context()); !p.isLeft(err) { // at once: the answer must still get out
				t.Errorf("close ended with %v", err)
			}
			receive(t, c, 1, func(_ int, body []byte) {
				if string(body) != "last" {
					t.Errorf("got %q", body)
				}
			})
			if _, err := c.take(t.Context(), 1); !errors.Is(err, conn.Err()) {
				t.Errorf("the consumer ended with %v", err)
			}
			if total := pub.Totals(); total.Unknown != 1 {
				t.Errorf("totals %+v", total)
			}
		})
	})
}

// TestServerGone: the socket breaks in each way while everyone waits.
func TestServerGone(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		for _, test := range []struct {
			name string
			end  func(server)
			want string
		}{
			{"closed", server.Close, "closed the connection without a word"},
			{"reset", server.Reset, "reset by peer"},
		} {
			t.Run(test.name, func(t *testing.T) {
				p.pair(t, func(s server) {
					s.openConsumer()
					s.openPublisher()
					s.published(1)
					s.called(2)
					s.stopped()
					time.Sleep(time.Second)
					test.end(s)
				}, func(t *testing.T, conn client) {
					everyoneWaits(t, conn, test.want)
					checkBegin(t, conn)
				})
			})
		}
	})
}

// everyoneWaits does everything that waits for the broker, which wants that as the
// reason why the connection ends.
func everyoneWaits(t *testing.T, conn client, want string) {
	c, pub := conn.consumer(t), conn.publisher(t, publishing{window: 1, collect: true})
	publish(t, pub, "one")
	errs := make(chan error)
	wait := func(f func() error) { go func() { errs <- f() }() }
	wait(func() error { _, err := c.take(t.Context(), 1); return err })
	wait(func() error { return pub.Begin(t.Context()) })
	wait(func() error {
		outcomes, err := conntest.Outcomes(pub)
		if err != nil || len(outcomes) != 1 || outcomes[0].Status != outcome.Unknown {
			t.Errorf("outcomes %+v, %v", outcomes, err)
		}
		_, err = conntest.Outcomes(pub)
		return err
	})
	wait(func() error { return pub.call(t.Context()) })
	wait(func() error { return pub.call(t.Context()) })
	synctest.Wait()
	wait(func() error { return c.stop(t.Context()) })
	if err := pub.Wait(t.Context()); err != nil {
		t.Error("wait for confirms:", err)
	}
	for range 6 {
		if err := <-errs; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestFail ends everything, for the first reason that is given.
func TestFail(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		p.pair(t, server.serve, func(t *testing.T, conn client) {
			c, pub := conn.consumer(t), conn.publisher(t, publishing{})
			conn.Fail(io.ErrNoProgress)
			conn.Fail(io.EOF)
			_, err := c.take(t.Context(), 1)
			for what, err := range map[string]error{"connection": conn.Err(), "publisher": pub.Err(), "consumer": err} {
				if !errors.Is(err, io.ErrNoProgress) {
					t.Errorf("the %s ended with %v", what, err)
				}
			}
			checkBegin(t, conn)
		})
	})
}

// TestBrokenFrame: a broker sends what is no frame. It hears why the connection
// ends, what came before is there, and everyone hears the reason.
func TestBrokenFrame(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		p.pair(t, func(s server) {
			s.openConsumer()
			s.SendBytes(p.delivery(0, "first"))
			s.openPublisher()
			s.published(2)
			s.SendBytes(p.broken)
			s.broken()
		}, func(t *testing.T, conn client) {
			c, pub := conn.consumer(t), conn.publisher(t, publishing{window: 10})
			publish(t, pub, "one", "two")
			why := conntest.Ended(t, conn)
			if !p.isBroken(why) {
				t.Errorf("it ended with %v", why)
			}
			receive(t, c, 1, func(_ int, body []byte) {
				if string(body) != "first" {
					t.Errorf("got %q, want what came before", body)
				}
			})
			if _, err := c.take(t.Context(), 1); !errors.Is(err, why) {
				t.Errorf("the consumer ended with %v, not %v", err, why)
			}
			if err := pub.Wait(t.Context()); err != nil {
				t.Error("waiting for confirms:", err)
			}
			if total := pub.Totals(); total != (outcome.Totals{Published: 2, Unknown: 2}) {
				t.Errorf("totals %+v", total)
			}
			if err := pub.call(t.Context()); !errors.Is(err, why) {
				t.Errorf("a call ended with %v", err)
			}
			if err := pub.Begin(t.Context()); !errors.Is(err, why) {
				t.Errorf("a publish ended with %v", err)
			}
			checkBegin(t, conn) // its Close lets our reason get out, which the script waits for
		})
	})
}

// TestFloodOfHeartbeats: a million of them cost no memory.
func TestFloodOfHeartbeats(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		many := []byte(strings.Repeat(string(p.beat), 1000))
		fakebroker.CheckMemory(t, 4<<20, func() {
			p.pair(t, func(s server) {
				for range 1000 {
					s.SendBytes(many)
				}
				s.serve()
			}, func(t *testing.T, conn client) { conntest.Goodbye(t, conn) })
		})
	})
}
