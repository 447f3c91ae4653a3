package streamconn

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
)

// TestSubscribe sends what it is told to, and hears when it is refused.
func TestSubscribe(t *testing.T) {
	in := NewInbox()
	cfg := SubscribeConfig{
		Stream: "events", Offset: streamproto.OffsetSpec{Type: streamproto.OffsetNumber, Value: 77}, Credit: 10,
		Properties: []streamproto.Property{{Key: "name", Value: "me"}}, Inbox: in, Ended: in.End,
	}
	pair(t, func(s *fakebroker.StreamSession) {
		q, correlation := fakebroker.ExpectCommand[*streamproto.Subscribe](s)
		if q.Stream != "events" || q.Offset != cfg.Offset || q.Credit != 10 || len(q.Properties) != 1 || q.Properties[0] != cfg.Properties[0] {
			t.Errorf("got %+v", q)
		}
		s.Answer(correlation, &streamproto.Done{For: q.Key(), Code: streamproto.CodeStreamNotAvailable})
		s.OpenSubscription()
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		_, err := conn.Subscribe(t.Context(), cfg)
		checkCode(t, err, streamproto.CodeStreamNotAvailable)
		s, err := conn.Subscribe(t.Context(), cfg)
		if err != nil || s.Stream() != "events" || s.Conn() != conn {
			t.Errorf("%v, %+v", err, s)
		}
		conntest.Goodbye(t, conn)
		if !errors.Is(cfg.Inbox.Err(), transport.ErrClosed) {
			t.Errorf("the inbox ended with %v", cfg.Inbox.Err())
		}
	})
}

// TestUnsubscribe: what is under way until the broker has answered comes, what
// comes after that does not, and is no violation; nor does it get credit.
func TestUnsubscribe(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		s.OpenSubscription()
		q, correlation := fakebroker.ExpectCommand[*streamproto.Unsubscribe](s)
		s.SendBytes(slices.Concat(
			fakebroker.Deliver(fakebroker.Chunk(0, 0, "message 0")),
			fakebroker.StreamResponse(correlation, &streamproto.Done{For: q.Key(), Code: streamproto.CodeOK}),
		))
		time.Sleep(time.Second)
		s.SendBytes(fakebroker.Deliver(fakebroker.Chunk(0, 1, "message 1")))
		s.Serve(func(r *fakebroker.StreamReceived) bool {
			if c, ok := r.Command.(*streamproto.Credit); ok {
				t.Errorf("got credit %+v", c)
			}
			return false
		})
	}, func(t *testing.T, conn *Conn) {
		sub, in := openSubscription(t, conn, 10)
		if err := sub.Unsubscribe(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Second)
		checkNumbered(t, receive(t, in, 1))
		if len(in.pending) > 0 {
			t.Error("something came after the end")
		}
		conntest.Goodbye(t, conn)
	})
}

// TestUnsubscribeWhileItPours: the answer comes behind more than the inbox holds, which
// nobody takes: only the end of the inbox lets the reader get there. It does not lift the
// limit: what comes over it is dropped.
func TestUnsubscribeWhileItPours(t *testing.T) {
	const n, each = 24, 8 << 20
	frame := textChunk(0, each)
	for _, end := range []bool{true, false} {
		pair(t, func(s *fakebroker.StreamSession) {
			s.OpenSubscription()
			for range n {
				s.SendBytes(frame)
			}
			s.Serve(nil)
		}, func(t *testing.T, conn *Conn) {
			sub, in := openSubscription(t, conn, n)
			synctest.Wait()
			if end {
				in.End(transport.ErrClosed)
			}
			if err := sub.Unsubscribe(shortly(t)); (err == nil) != end {
				t.Errorf("end %v: %v", end, err)
			}
			in.End(transport.ErrClosed)
			conntest.Goodbye(t, conn)
			if got := len(in.pending); got == 0 || got > inboxRoom/each+2 {
				t.Errorf("end %v: %d chunks are held", end, got)
			}
		})
	}
}

// TestCloseWhileItPours: a connection whose inbox is full can be closed all the
// same: at once when nobody waits for the broker, and with the context otherwise.
func TestCloseWhileItPours(t *testing.T) {
	frame := textChunk(0, 8<<20)
	for _, abort := range []bool{false, true} {
		pair(t, func(s *fakebroker.StreamSession) {
			s.OpenSubscription()
			flood(frame)(s)
		}, func(t *testing.T, conn *Conn) {
			_, in := openSubscription(t, conn, 1000)
			synctest.Wait()
			begin := time.Now()
			if abort {
				conntest.Drop(conn)
			} else if err := conn.Close(shortly(t)); err == nil {
				t.Error("it was answered; the test tests nothing")
			}
			if took := time.Since(begin); took > time.Second {
				t.Errorf("it took %v", took)
			}
			if got := len(in.pending) * 8; got > 100 {
				t.Errorf("%d MiB are there", got)
			}
		})
	}
}

// TestConsumerUpdate: the broker asks, the consumer answers, in its own time.
func TestConsumerUpdate(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		s.OpenSubscription()
		for i, active := range []bool{true, false, true} {
			begin := time.Now()
			s.Ask(uint32(1000+i), &streamproto.ConsumerUpdate{SubscriptionID: 0, Active: active})
			r, correlation := fakebroker.ExpectCommand[*streamproto.ConsumerUpdateResponse](s)
			want := streamproto.OffsetSpec{}
			if active {
				want = streamproto.OffsetSpec{Type: streamproto.OffsetNumber, Value: uint64(i)}
			}
			if correlation != uint32(1000+i) || r.Code != streamproto.CodeOK || r.Offset != want || time.Since(begin) != 5*time.Second {
				t.Errorf("update %d was answered by %d %+v after %v", i, correlation, r, time.Since(begin))
			}
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		sub, _ := openSubscription(t, conn, 10)
		for i := range uint64(3) {
			u := <-sub.Updates()
			time.Sleep(5 * time.Second)
			offset := streamproto.OffsetSpec{}
			if u.Active {
				offset = streamproto.OffsetSpec{Type: streamproto.OffsetNumber, Value: i}
			}
			if err := sub.Answer(u, offset); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		conntest.Goodbye(t, conn)
		if err := sub.Answer(Update{}, streamproto.OffsetSpec{}); !errors.Is(err, transport.ErrClosed) {
			t.Errorf("an answer at the end: %v", err)
		}
	})
}

// TestConsumerUpdateStorm: the broker asks and asks. Where nobody takes the
// questions, or the broker does not read the answers, the connection ends before
// they fill the memory; where both do, all is well.
func TestConsumerUpdateStorm(t *testing.T) {
	ask := fakebroker.StreamRequest(5, &streamproto.ConsumerUpdate{SubscriptionID: 0, Active: true})
	t.Run("nobody takes them", func(t *testing.T) {
		fakebroker.CheckMemory(t, 8<<20, func() {
			pair(t, func(s *fakebroker.StreamSession) {
				s.OpenSubscription()
				flood([]byte(strings.Repeat(string(ask), 1000)))(s)
			}, func(t *testing.T, conn *Conn) {
				openSubscription(t, conn, 10)
				checkViolation(t, conntest.Ended(t, conn), fmt.Sprint(updatesMost, " updates of one subscription at once"))
			})
		})
	})
	t.Run("answered", func(t *testing.T) {
		const n = 3000
		pair(t, func(s *fakebroker.StreamSession) {
			s.OpenSubscription()
			for range n {
				s.SendBytes(ask)
				fakebroker.ExpectCommand[*streamproto.ConsumerUpdateResponse](s)
			}
			s.Serve(nil)
		}, func(t *testing.T, conn *Conn) {
			sub, _ := openSubscription(t, conn, 10)
			for range n {
				if err := sub.Answer(<-sub.Updates(), streamproto.OffsetSpec{}); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			conntest.Goodbye(t, conn)
		})
	})
	t.Run("no answer read", func(t *testing.T) {
		pair(t, func(s *fakebroker.StreamSession) {
			s.OpenSubscription()
			for s.Offer(ask) { // and never reads
				time.Sleep(time.Millisecond)
			}
		}, func(t *testing.T, conn *Conn) {
			sub, _ := openSubscription(t, conn, 10)
			for {
				select {
				case u := <-sub.Updates():
					if err := sub.Answer(u, streamproto.OffsetSpec{}); err == nil {
						continue
					}
				case <-conn.Done():
				}
				break
			}
			conn.Lock()
			defer conn.Unlock()
			if len(conn.Out) > 1<<20 {
				t.Errorf("%d bytes wait to be written", len(conn.Out))
			}
		})
	})
}

// TestStreamGoes: the leader moved, or the stream was deleted. What the
// connection has on it ends: entries that are outstanding are Unknown, whatever
// is said of them afterwards, and what has come can be taken. What it has on
// other streams goes on.
func TestStreamGoes(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		s.OpenPublisher(0)
		s.OpenPublisher(0)
		s.OpenSubscription()
		s.OpenSubscription()
		published(s, 4)
		s.SendBytes(slices.Concat(
			streamproto.AppendPublishConfirm(nil, 0, 1), streamproto.AppendPublishError(nil, 0, streamproto.CodePreconditionFailed, 3),
			fakebroker.Deliver(fakebroker.Chunk(0, 0, "message 0")), fakebroker.Deliver(fakebroker.Chunk(1, 0, "message 0")),
			metadataUpdate("events"), metadataUpdate("events"), metadataUpdate("never heard of"),
			streamproto.AppendPublishConfirm(nil, 0, 2), streamproto.AppendPublishError(nil, 0, streamproto.CodePublisherDoesNotExist, 4),
			fakebroker.Deliver(fakebroker.Chunk(0, 1, "message 1")), fakebroker.Deliver(fakebroker.Chunk(1, 1, "message 1")),
		))
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		p := openPublisher(t, conn, PublisherConfig{Window: newWindow(4, true)})
		other := openPublisher(t, conn, PublisherConfig{Stream: "other"})
		_, in := openSubscription(t, conn, 10)
		otherIn := NewInbox()
		if _, err := conn.Subscribe(t.Context(), SubscribeConfig{Stream: "other", Credit: 10, Inbox: otherIn, Ended: otherIn.End}); err != nil {
			t.Fatal(err)
		}
		publish(t, p, 1, "1", "2", "3", "4")
		waits := make(chan error)
		go func() {
			err := p.Begin(t.Context())
			for ; err == nil; err = p.Begin(t.Context()) {
				p.End()
				time.Sleep(time.Millisecond)
			}
			waits <- err
		}()
		outcomes, why := collectOutcomes(p.window)
		if got, want := outcomeText(outcomes), "1 confirmed, 3 rejected, 2 unknown, 4 unknown"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		<-p.Done()
		_, taking := in.Take(t.Context(), nil) // what came before
		if taking != nil {
			t.Error(taking)
		}
		_, taking = in.Take(t.Context(), nil)
		for what, err := range map[string]error{"outcomes": why, "publisher": p.Err(), "begin": <-waits, "begin, later": p.Begin(t.Context()), "inbox": taking} {
			checkCode(t, err, streamproto.CodeStreamNotAvailable)
			if err == nil || !strings.Contains(err.Error(), `the leader of stream "events" moved, or the stream was deleted`) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if total := p.window.Totals(); total != (outcome.Totals{Published: 4, Confirmed: 1, Rejected: 1, Unknown: 2}) {
			t.Errorf("totals %+v", total)
		}
		publish(t, other, 1, "goes on")
		if err := other.window.Wait(t.Context()); err != nil || other.window.Totals().Confirmed != 1 {
			t.Errorf("%v, %+v", err, other.window.Totals())
		}
		checkNumbered(t, receive(t, otherIn, 2))
		conntest.Goodbye(t, conn)
	})
}

// TestStreamGoesWhileABatchFills: what was not sent is not sent, and Unknown; the
// frames of others around it are whole.
func TestStreamGoesWhileABatchFills(t *testing.T) {
	for _, subEntry := range []int{500, 1} {
		pair(t, func(s *fakebroker.StreamSession) {
			s.OpenPublisher(0)
			s.OpenPublisher(0)
			time.Sleep(30 * time.Second)
			s.SendBytes(metadataUpdate("events"))
			time.Sleep(30 * time.Second)
			published(s, 1) // what kept the writer busy
			var got []string
			s.Serve(func(r *fakebroker.StreamReceived) bool {
				if p, ok := r.Command.(*fakebroker.Published); ok {
					for _, e := range p.Entries {
						got = append(got, e.Bodies...)
					}
				}
				return false
			})
			// The frame before that of the other publisher was complete.
			if got := strings.Join(got, " "); got != "complete other goes on" {
				t.Errorf("subEntry %d: got %s", subEntry, got)
			}
		}, func(t *testing.T, conn *Conn) {
			p := openPublisher(t, conn, PublisherConfig{SubEntry: subEntry})
			other := openPublisher(t, conn, PublisherConfig{Stream: "other", SubEntry: subEntry})
			keepWriterBusy(t, other)
			publish(t, p, 0, "complete")
			publish(t, other, 0, "other")
			publish(t, p, 0, "never", "sent")
			<-p.Done()
			publish(t, other, 0, "goes", "on")
			if err := p.window.Wait(t.Context()); err != nil || p.window.Totals() != (outcome.Totals{Published: 3, Unknown: 3}) {
				t.Errorf("%v, %+v", err, p.window.Totals())
			}
			time.Sleep(time.Minute)
			conntest.Goodbye(t, conn)
		})
	}
}
