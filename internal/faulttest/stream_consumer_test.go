package faulttest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// streamConsumer consumes stream "events".
func streamConsumer(t *testing.T, client *thump.Client, cfg thump.ConsumerConfig) *thump.Consumer {
	t.Helper()
	cfg.From = thump.Stream("events")
	con, err := client.Consumer(t.Context(), cfg)
	if err != nil {
		t.Fatal("consumer:", err)
	}
	return con
}

// streamBatches receives n batches of three messages, each a chunk.
func streamBatches(t *testing.T, con *thump.Consumer, n int) []*thump.Batch {
	t.Helper()
	var batches []*thump.Batch
	for i := range n {
		batch, err := con.Receive(t.Context())
		if err != nil || len(batch.Deliveries) != 3 {
			t.Fatalf("batch %d: %v", i, err)
		}
		for j, d := range batch.Deliveries {
			if want := fmt.Sprint("message ", 3*i+j); string(d.Body) != want || d.Offset != uint64(3*i+j) {
				t.Errorf("got %q at %d, want %q", d.Body, d.Offset, want)
			}
		}
		if batch.Stream != "events" || batch.StoredAt.UnixMilli() != 1_700_000_000_000 {
			t.Errorf("batch %d is of %q, stored at %v", i, batch.Stream, batch.StoredAt)
		}
		batches = append(batches, batch)
	}
	return batches
}

// TestFaultStreamConsumerDies: when the connection or the stream is gone, whoever
// receives hears why.
func TestFaultStreamConsumerDies(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*fakebroker.StreamSession)
		code streamproto.Code
		want string
	}{
		{"closed", (*fakebroker.StreamSession).Close, 0, "closed the connection"},
		{"reset", (*fakebroker.StreamSession).Reset, 0, "reset"},
		{"silence", (*fakebroker.StreamSession).Discard, 0, "nothing heard"},
		{"garbage", fakebroker.Deaths("events")["garbage"], 0, "protocol violation"},
		{"goodbye", fakebroker.Deaths("events")["goodbye"], streamproto.CodeInternalError, "15, internal error: bye"},
		{"the stream goes", fakebroker.Deaths("events")["the stream goes"], streamproto.CodeStreamNotAvailable, `the leader of stream "events" moved, or the stream was deleted`},
		{"half a chunk", func(s *fakebroker.StreamSession) {
			frame := fakebroker.Numbered(0, 1, 3)[0]
			s.SendBytes(frame[:len(frame)-1])
			s.Close()
		}, 0, "closed the connection"},
		{"a chunk for another", func(s *fakebroker.StreamSession) {
			s.SendBytes(fakebroker.Deliver(fakebroker.Chunk(9, 0, "x")))
			s.Discard()
		}, 0, "a chunk for subscription 9, which was not made"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := faultStreamClient(t, func(s *fakebroker.StreamSession) {
					s.Login()
					s.Feed(s.OpenSubscription(), true, fakebroker.Numbered(0, 5, 3)...)
					time.Sleep(time.Second) // a reset loses what was not read
					test.end(s)
				})
				con := streamConsumer(t, client, thump.ConsumerConfig{})
				streamBatches(t, con, 5)
				_, err := con.Receive(t.Context())
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %q", err, test.want)
				}
				if test.code != 0 {
					checkStreamError(t, err, test.code)
					checkStreamError(t, con.Err(), test.code)
				}
				<-con.Done()
				if _, again := con.Receive(t.Context()); again == nil || again.Error() != err.Error() {
					t.Errorf("again: %v", again)
				}
				if err := con.Close(t.Context()); err != nil {
					t.Error("close:", err)
				}
			})
		})
	}
}

// TestFaultStreamSaysWhatIsOpen: a consumer with a name that dies says how much
// was handed out and not acked, and what was stored.
func TestFaultStreamSaysWhatIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := faultStreamClient(t, func(s *fakebroker.StreamSession) {
			s.Login()
			deliverTo(s, fakebroker.Numbered(0, 3, 3)...)
			s.Serve(func(r *fakebroker.StreamReceived) bool {
				if _, ok := r.Command.(*streamproto.StoreOffset); ok {
					s.Close()
				}
				return false
			})
		})
		con := streamConsumer(t, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{Name: "me", StoreEvery: 3}})
		batches := streamBatches(t, con, 3)
		if err := batches[0].Ack(); err != nil {
			t.Error(err)
		}
		_, err := con.Receive(t.Context())
		checkSays(t, err, "6 deliveries were handed out and not acked")
		checkSays(t, err, `offset 2 of stream "events" was sent to be stored for "me"`)
		_ = con.Close(t.Context()) // it has ended
	})
}

// deliverTo answers what a consumer asks before it subscribes, and then delivers
// frames without regard to credit.
func deliverTo(s *fakebroker.StreamSession, frames ...[]byte) {
	for {
		r := s.Next()
		switch q := r.Command.(type) {
		case *streamproto.QueryOffset:
			s.Answer(r.Correlation, &streamproto.QueryOffsetResponse{Code: streamproto.CodeNoOffset})
		case *streamproto.Subscribe:
			s.Answer(r.Correlation, &streamproto.Done{For: q.Key(), Code: streamproto.CodeOK})
			for _, frame := range frames {
				s.SendBytes(frame)
			}
			return
		}
	}
}

// TestFaultStreamCredit: a consumer of one message at a time, fast or slow, with
// the least credit and with more, never stalls.
func TestFaultStreamCredit(t *testing.T) {
	for _, credit := range []int{2, 3, 10} {
		for _, slow := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				client := faultStreamClient(t, feed(fakebroker.Numbered(0, 100, 3)...))
				con := streamConsumer(t, client, thump.ConsumerConfig{MaxBatch: 1, Stream: thump.StreamConsuming{Credit: credit}})
				for i := range 300 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					batch, err := con.Receive(ctx)
					cancel()
					if err != nil || string(batch.Deliveries[0].Body) != fmt.Sprint("message ", i) {
						t.Fatalf("credit %d, message %d: %v", credit, i, err)
					}
					if slow {
						time.Sleep(time.Second)
					}
				}
				if err := con.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestFaultStreamClosePours: Close while deliveries pour in ends a running loop after
// the batch that it has, without an error; the broker's answer comes after what it
// sends meanwhile.
func TestFaultStreamClosePours(t *testing.T) {
	for _, autoAck := range []bool{false, true} {
		for _, handling := range []time.Duration{0, time.Second} {
			synctest.Test(t, func(t *testing.T) {
				var sent atomic.Int32 // frames
				over := false
				client := faultStreamClient(t, func(s *fakebroker.StreamSession) {
					s.Login()
					sub := s.OpenSubscription()
					frames := fakebroker.Numbered(0, 3000, 3)
					deliver := func(n int) {
						for ; n > 0 && !over; n-- {
							s.Offer(frames[sent.Add(1)-1])
						}
					}
					deliver(int(sub.Credit))
					s.Serve(func(r *fakebroker.StreamReceived) bool {
						switch q := r.Command.(type) {
						case *streamproto.Credit:
							time.Sleep(10 * time.Millisecond)
							deliver(int(q.Credit))
						case *streamproto.Unsubscribe:
							deliver(2)
							over = true
						}
						return false
					})
				})
				con := streamConsumer(t, client, thump.ConsumerConfig{AutoAck: autoAck})
				received := make(chan int)
				go func() {
					n := 0
					for batch, err := range con.Batches(t.Context()) {
						if err != nil {
							t.Error("batches:", err)
							break
						}
						time.Sleep(handling)
						for _, d := range batch.Deliveries {
							if string(d.Body) != fmt.Sprint("message ", n) {
								t.Errorf("got %q, want message %d", d.Body, n)
							}
							n++
						}
					}
					received <- n
				}()
				time.Sleep(time.Second)
				closed := make(chan error, 1)
				go func() { closed <- con.Close(t.Context()) }()
				begin := time.Now()
				n := <-received
				took := time.Since(begin)
				synctest.Wait()
				if most := 3 * int(sent.Load()); n == 0 || n > most || took > handling {
					t.Errorf("auto-ack %v: %d received, %d sent, the loop ended after %v", autoAck, n, most, took)
				}
				if err := <-closed; err != nil {
					t.Error("close:", err)
				}
				if _, err := con.Receive(t.Context()); !errors.Is(err, thump.ErrClosed) {
					t.Errorf("receive after close: %v", err)
				}
			})
		}
	}
}

// TestFaultStreamCloseHoldingABatch: Close does not wait for a loop that does not come
// to its end, where nothing is settled; it keeps to its context while the broker does
// not answer, and comes to its end while more waits than is let in.
func TestFaultStreamCloseHoldingABatch(t *testing.T) {
	large := fakebroker.Deliver(fakebroker.Chunk(0, 3, strings.Repeat("x", 8<<20)))
	for _, test := range []struct {
		name    string
		serve   func(*fakebroker.StreamSession)
		waiting int // large chunks
	}{
		{"answers", func(s *fakebroker.StreamSession) { s.Serve(nil) }, 0},
		{"does not answer", (*fakebroker.StreamSession).Discard, 0},
		{"pours", func(s *fakebroker.StreamSession) { s.Serve(nil) }, 12},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := faultStreamClient(t, func(s *fakebroker.StreamSession) {
					s.Login()
					s.OpenSubscription()
					s.SendBytes(fakebroker.Numbered(0, 1, 3)[0])
					for range test.waiting {
						if !s.Offer(large) {
							return
						}
					}
					test.serve(s)
				})
				con := streamConsumer(t, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{Credit: 100}})
				inLoop, leave := make(chan struct{}), make(chan struct{})
				go func() {
					for batch, err := range con.Batches(t.Context()) {
						if err != nil || string(batch.Deliveries[2].Body) != "message 2" {
							t.Error(err)
						}
						close(inLoop)
						<-leave
						if string(batch.Deliveries[2].Body) != "message 2" {
							t.Errorf("the batch that is held has become %.20q", batch.Deliveries[2].Body)
						}
						break
					}
				}()
				<-inLoop
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				want, wantTook := error(nil), time.Duration(0)
				if test.name == "does not answer" {
					want, wantTook = context.DeadlineExceeded, time.Second
				}
				begin := time.Now()
				if err := con.Close(ctx); !errors.Is(err, want) {
					t.Errorf("close: %v", err)
				}
				if took := time.Since(begin); took != wantTook {
					t.Errorf("close took %v", took)
				}
				close(leave)
			})
		})
	}
}

// ending is a broker with a stream that holds something. probe is what it does when it is
// asked for the newest chunk, and beforeAnswer before it answers that it sends no more;
// tries counts from 1.
func ending(probe func(s *fakebroker.StreamSession, sub uint8, tries int), beforeAnswer func(tries int)) func(*fakebroker.StreamSession) {
	return func(s *fakebroker.StreamSession) {
		s.Login()
		tries, asked := 0, 0
		s.Serve(func(r *fakebroker.StreamReceived) bool {
			switch q := r.Command.(type) {
			case *streamproto.StreamStats:
				committed := int64(100)
				if asked++; asked <= 3 {
					committed = -1 // as a node that has just started
				}
				return s.Offer(fakebroker.StreamResponse(r.Correlation, &streamproto.StreamStatsResponse{Code: streamproto.CodeOK, Stats: []streamproto.Stat{
					{Name: "first_chunk_id"}, {Name: "committed_chunk_id", Value: committed},
				}}))
			case *streamproto.Subscribe:
				s.Offer(fakebroker.StreamResponse(r.Correlation, &streamproto.Done{For: q.Key(), Code: streamproto.CodeOK}))
				if q.Offset.Type == streamproto.OffsetLast {
					tries++
					probe(s, q.SubscriptionID, tries)
					return true
				}
				return true
			case *streamproto.Unsubscribe:
				beforeAnswer(tries)
			}
			return false
		})
	}
}

// TestFaultStreamUntilSlowHandler: the end of the stream is looked for while the
// connection is not read, since the handler is slow, or the broker is. Every message
// before Until must come first.
func TestFaultStreamUntilSlowHandler(t *testing.T) {
	const large = 12
	chunk := func(sub uint8, offset int, body string) []byte {
		c := fakebroker.Chunk(sub, uint64(offset), body)
		c.Timestamp = 1 // before Until
		return fakebroker.Deliver(c)
	}
	lastOf := func(sub uint8) []byte { return chunk(sub, large, "last") }
	for _, test := range []struct {
		name         string
		probe        func(s *fakebroker.StreamSession, sub uint8, tries int)
		beforeAnswer func(tries int)
		want         int
	}{
		{"a slow handler", func(s *fakebroker.StreamSession, sub uint8, _ int) {
			for i := range large {
				s.Offer(chunk(0, i, strings.Repeat("x", 8<<20)))
			}
			s.Offer(lastOf(sub))
			s.Offer(lastOf(0))
		}, func(int) {}, large + 1},
		{"a slow broker", func(s *fakebroker.StreamSession, sub uint8, tries int) {
			if tries == 3 {
				s.Offer(lastOf(sub))
				s.Offer(lastOf(0))
			}
		}, func(tries int) {
			if tries < 3 {
				time.Sleep(20 * time.Second)
			}
		}, 1},
		{"offsets and no messages", func(*fakebroker.StreamSession, uint8, int) {}, func(int) {}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := faultStreamClient(t, ending(test.probe, test.beforeAnswer))
				con := streamConsumer(t, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{Until: time.Now(), Credit: 100}})
				time.Sleep(time.Minute)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				n := 0
				for {
					batch, err := con.Receive(ctx)
					if err != nil {
						if !errors.Is(err, thump.ErrEnd) {
							t.Error(err)
						}
						break
					}
					n += len(batch.Deliveries)
					time.Sleep(time.Second)
				}
				if n != test.want {
					t.Errorf("it ended after %d messages, want %d", n, test.want)
				}
				if err := con.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestFaultStreamFromLastSlow: where the newest chunk is not known in time, a consumer
// does not begin with the first message instead.
func TestFaultStreamFromLastSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := faultStreamClient(t, ending(func(*fakebroker.StreamSession, uint8, int) {}, func(int) { time.Sleep(20 * time.Second) }))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		_, err := client.Consumer(ctx, thump.ConsumerConfig{From: thump.Stream("events"), Stream: thump.StreamConsuming{Start: thump.FromLast(3)}})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
