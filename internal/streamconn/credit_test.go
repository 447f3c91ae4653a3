package streamconn

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// TestCredit: a broker that sends a chunk for each credit, and one that since
// RabbitMQ 3.12 waits until there is more than half of the first credit, both
// send everything to a consumer that takes it, fast or slowly, and never get more
// credit than was agreed: the fake broker looks after that.
func TestCredit(t *testing.T) {
	const chunks = 300
	for _, credit := range []uint16{2, 3, 4, 10, 1000} {
		for _, halves := range []bool{false, true} {
			for _, slow := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d, halves %v, slow %v", credit, halves, slow), func(t *testing.T) {
					pair(t, func(s *fakebroker.StreamSession) {
						sub := s.OpenSubscription()
						if sub.Credit != credit {
							t.Errorf("it begins with a credit of %d", sub.Credit)
						}
						s.Feed(sub, halves, fakebroker.Numbered(0, chunks, 3)...)
						s.Serve(nil)
					}, func(t *testing.T, conn *Conn) {
						_, in := openSubscription(t, conn, credit)
						var bodies []string
						var arrivals []Arrival
						for len(bodies) < 3*chunks {
							var err error
							if arrivals, err = in.Take(shortly(t), arrivals); err != nil {
								t.Fatalf("it stalled after %d messages: %v", len(bodies), err)
							}
							if len(arrivals) > int(credit) {
								t.Fatalf("%d chunks came at once", len(arrivals))
							}
							for i := range arrivals {
								bodies = append(bodies, chunkBodies(t, &arrivals[i].Chunk)...)
								arrivals[i].Release()
							}
							if slow {
								time.Sleep(time.Millisecond)
							}
						}
						checkNumbered(t, bodies)
						conntest.Goodbye(t, conn)
					})
				})
			}
		}
	}
}

// TestCreditWithoutTaking: nothing is given back for what nobody has taken, and
// everything for what somebody has, released or not.
func TestCreditWithoutTaking(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		s.OpenSubscription()
		for _, frame := range fakebroker.Numbered(0, 7, 1) {
			s.SendBytes(frame)
		}
		begin, given := time.Now(), 0
		for given < 7 {
			c, _ := fakebroker.ExpectCommand[*streamproto.Credit](s)
			given += int(c.Credit)
		}
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("credit came after %v", took)
		}
		if r := s.Next(); r.Correlation == 0 {
			t.Errorf("got %+v, want the goodbye", r)
		}
		s.Close()
	}, func(t *testing.T, conn *Conn) {
		_, in := openSubscription(t, conn, 10)
		time.Sleep(10 * time.Second)
		if arrivals, err := in.Take(t.Context(), nil); err != nil || len(arrivals) != 7 {
			t.Errorf("%d chunks, %v", len(arrivals), err)
		}
		synctest.Wait()
		_ = conn.Close(t.Context()) // the script hangs up instead of answering
	})
}

// TestManySubscriptions: as many as a connection can have, to an inbox of their
// own or a common one, each with credit of its own.
func TestManySubscriptions(t *testing.T) {
	const chunks = 20
	for _, shared := range []bool{false, true} {
		pair(t, func(s *fakebroker.StreamSession) {
			given, sent := map[uint8]int{}, map[uint8]int{}
			s.Serve(func(r *fakebroker.StreamReceived) bool {
				var id uint8
				switch q := r.Command.(type) {
				case *streamproto.Subscribe:
					s.Answer(r.Correlation, &streamproto.Done{For: q.Key(), Code: streamproto.CodeOK})
					id, given[q.SubscriptionID] = q.SubscriptionID, int(q.Credit)
				case *streamproto.Credit:
					id = q.SubscriptionID
					given[id] += int(q.Credit)
				default:
					return false
				}
				for ; sent[id] < given[id] && sent[id] < chunks; sent[id]++ {
					s.Offer(fakebroker.Deliver(fakebroker.Chunk(id, uint64(sent[id]), fmt.Sprint(id, " ", sent[id]))))
				}
				return true
			})
		}, func(t *testing.T, conn *Conn) {
			in := NewInbox()
			subs := map[*Subscription]int{}
			for i := range idsMost {
				if !shared {
					in = NewInbox()
				}
				sub, err := conn.Subscribe(t.Context(), SubscribeConfig{Stream: fmt.Sprint("s", i), Credit: 2, Inbox: in, Ended: in.End})
				if err != nil {
					t.Fatal(err)
				}
				subs[sub] = 0
			}
			if _, err := conn.Subscribe(t.Context(), SubscribeConfig{Stream: "s", Credit: 2, Inbox: in, Ended: in.End}); err == nil {
				t.Error("one more than there are ids")
			}
			for len(subs) > 0 {
				takeOfMany(t, subs, chunks)
			}
			conntest.Goodbye(t, conn)
		})
	}
}

// takeOfMany takes what there is of each subscription, and forgets those that are
// through.
func takeOfMany(t *testing.T, subs map[*Subscription]int, chunks int) {
	t.Helper()
	var any *Subscription
	for any = range subs {
		break
	}
	arrivals, err := any.cfg.Inbox.Take(shortly(t), nil)
	if err != nil {
		t.Fatalf("with %d subscriptions left: %v", len(subs), err)
	}
	for i := range arrivals {
		sub := arrivals[i].Subscription
		if got, want := chunkBodies(t, &arrivals[i].Chunk)[0], fmt.Sprint(sub.id, " ", subs[sub]); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		arrivals[i].Release()
		if subs[sub]++; subs[sub] == chunks {
			delete(subs, sub)
		}
	}
}

// TestCreditErrors: the broker's answer to credit that came too late is no harm.
func TestCreditErrors(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		s.OpenSubscription()
		for _, code := range []streamproto.Code{streamproto.CodeSubscriptionIDDoesNotExist, streamproto.CodePreconditionFailed} {
			s.SendBytes(streamproto.AppendCreditError(nil, streamproto.CreditError{Code: code, SubscriptionID: 0}))
		}
		s.SendBytes(fakebroker.Deliver(fakebroker.Chunk(0, 0, "message 0")))
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		_, in := openSubscription(t, conn, 10)
		checkNumbered(t, receive(t, in, 1))
		conntest.Goodbye(t, conn)
	})
}
