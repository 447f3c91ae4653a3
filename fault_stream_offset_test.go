package thump_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// offsetKeeper is a broker that keeps one consumer's offset, and notes what it
// was sent. The first of those it was sent it drops, as many as drop says.
type offsetKeeper struct {
	stored uint64
	known  bool
	drop   int
	sent   []uint64
	at     []time.Duration // when, since begin
	begin  time.Time
}

// serve is a script: login, a subscription that gets these frames, and offsets.
func (k *offsetKeeper) serve(frames ...[]byte) func(*fakebroker.StreamSession) {
	return func(s *fakebroker.StreamSession) {
		k.begin = time.Now()
		s.Login()
		s.Serve(func(r *fakebroker.StreamReceived) bool {
			if q, ok := r.Command.(*streamproto.Subscribe); ok {
				s.Answer(r.Correlation, &streamproto.Done{For: q.Key(), Code: streamproto.CodeOK})
				for _, frame := range frames {
					s.Offer(frame)
				}
				return true
			}
			return k.handle(s, r)
		})
	}
}

func (k *offsetKeeper) handle(s *fakebroker.StreamSession, r *fakebroker.StreamReceived) bool {
	switch q := r.Command.(type) {
	case *streamproto.StoreOffset:
		k.sent, k.at = append(k.sent, q.Offset), append(k.at, time.Since(k.begin))
		if k.drop--; k.drop < 0 {
			k.stored, k.known = q.Offset, true
		}
	case *streamproto.QueryOffset:
		answer := &streamproto.QueryOffsetResponse{Code: streamproto.CodeNoOffset}
		if k.known {
			answer = &streamproto.QueryOffsetResponse{Code: streamproto.CodeOK, Offset: k.stored}
		}
		return s.Offer(fakebroker.StreamResponse(r.Correlation, answer))
	default:
		return false
	}
	return true
}

// TestFaultStreamStores acks batches of three messages in every order. The offset
// that is stored may never go beyond a batch that is not acked.
func TestFaultStreamStores(t *testing.T) {
	for _, test := range []struct {
		name  string
		every int
		acks  []int
		want  string
	}{
		{"in order", 1, []int{0, 1, 2, 3}, "[2 5 8 11]"},
		{"every second", 6, []int{0, 1, 2, 3}, "[5 11]"},
		{"the last first", 1, []int{3, 2, 1, 0}, "[11]"},
		{"the middle first", 1, []int{1, 0, 3, 2}, "[5 11]"},
		{"one left open", 1, []int{0, 2, 3}, "[2]"},
		{"the first left open", 1, []int{1, 2, 3}, "[]"},
		{"none", 1, nil, "[]"},
		{"few, which Close stores", 100, []int{1, 0, 2}, "[8]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := &offsetKeeper{}
				client := faultStreamClient(t, k.serve(fakebroker.Numbered(0, 4, 3)...))
				con := streamConsumer(t, client, thump.ConsumerConfig{
					Stream: thump.StreamConsuming{Name: "me", StoreEvery: test.every, StoreInterval: time.Hour},
				})
				batches := streamBatches(t, con, 4)
				for _, i := range test.acks {
					if err := batches[i].Ack(); err != nil {
						t.Error(err)
					}
					if err := batches[i].Ack(); err != nil { // once more changes nothing
						t.Error(err)
					}
				}
				if err := con.Close(t.Context()); err != nil {
					t.Error("close:", err)
				}
				if got := fmt.Sprint(k.sent); got != test.want {
					t.Errorf("stored %s, want %s", got, test.want)
				}
			})
		})
	}
}

// TestFaultStreamAckOne: single acks count as far as all before them are there.
func TestFaultStreamAckOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &offsetKeeper{}
		client := faultStreamClient(t, k.serve(fakebroker.Numbered(0, 2, 3)...))
		con := streamConsumer(t, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{Name: "me", StoreEvery: 1, StoreInterval: time.Hour}})
		batches := streamBatches(t, con, 2)
		for _, step := range []struct {
			batch, delivery int
			want            string
		}{{1, 0, "[]"}, {0, 2, "[]"}, {0, 0, "[0]"}, {1, 1, "[0]"}, {0, 1, "[0 4]"}, {1, 2, "[0 4 5]"}} {
			if err := batches[step.batch].Deliveries[step.delivery].Ack(); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if got := fmt.Sprint(k.sent); got != step.want {
				t.Errorf("after %d of batch %d: stored %s, want %s", step.delivery, step.batch, got, step.want)
			}
		}
		if err := batches[0].Nack(); err != nil { // of nothing that is open
			t.Error(err)
		}
		if err := con.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestFaultStreamStoresAgain: the broker drops an offset without a word, as it
// does while a stream has no leader. It is sent again at the next interval.
func TestFaultStreamStoresAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &offsetKeeper{drop: 2}
		client := faultStreamClient(t, k.serve(fakebroker.Numbered(0, 2, 3)...))
		con := streamConsumer(t, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{Name: "me", StoreInterval: 10 * time.Second}})
		batches := streamBatches(t, con, 2)
		if err := batches[0].Ack(); err != nil {
			t.Error(err)
		}
		time.Sleep(55 * time.Second)
		synctest.Wait()
		if got := fmt.Sprint(k.sent, k.at); got != "[2 2 2] [10s 20s 30s]" {
			t.Errorf("sent %s", got)
		}
		if err := con.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestFaultStreamNeverStored: StoreOffset and Close say so where the broker does
// not store an offset, and within their contexts.
func TestFaultStreamNeverStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &offsetKeeper{drop: 1000}
		client := faultStreamClient(t, k.serve(fakebroker.Numbered(0, 1, 3)...))
		con := streamConsumer(t, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{Name: "me", ManualStore: true}})
		if err := streamBatches(t, con, 1)[0].Ack(); err != nil {
			t.Error(err)
		}
		checkSays(t, con.StoreOffset(t.Context()), "the broker has not stored offset 2: a consumer of that name gets some messages again")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begin := time.Now()
		checkSays(t, con.StoreOffset(ctx), "deadline exceeded")
		if took := time.Since(begin); took != 100*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		if err := con.Close(t.Context()); err != nil { // with ManualStore nothing is stored there
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		k := &offsetKeeper{drop: 1000}
		client := faultStreamClient(t, k.serve(fakebroker.Numbered(0, 1, 3)...))
		con := streamConsumer(t, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{Name: "me"}})
		if err := streamBatches(t, con, 1)[0].Ack(); err != nil {
			t.Error(err)
		}
		checkSays(t, con.Close(t.Context()), "the broker has not stored offset 2")
	})
}

// TestFaultStreamResumes: a consumer begins behind what is stored, drops what
// comes before that in the first chunk, and where nothing is stored begins where
// it is told.
func TestFaultStreamResumes(t *testing.T) {
	for _, test := range []struct {
		name   string
		keeper offsetKeeper
		start  thump.Start
		want   streamproto.OffsetSpec
		first  int
	}{
		{"stored", offsetKeeper{stored: 6, known: true}, thump.FromFirst(), streamproto.OffsetSpec{Type: streamproto.OffsetNumber, Value: 7}, 7},
		{"0 is stored", offsetKeeper{stored: 0, known: true}, thump.FromNext(), streamproto.OffsetSpec{Type: streamproto.OffsetNumber, Value: 1}, 1},
		{"nothing is stored", offsetKeeper{}, thump.FromOffset(4), streamproto.OffsetSpec{Type: streamproto.OffsetNumber, Value: 4}, 4},
		{"nothing is stored, and no start", offsetKeeper{}, thump.Start{}, streamproto.OffsetSpec{Type: streamproto.OffsetFirst}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := test.keeper
				client := faultStreamClient(t, func(s *fakebroker.StreamSession) {
					s.Login()
					s.Serve(func(r *fakebroker.StreamReceived) bool {
						if q, ok := r.Command.(*streamproto.Subscribe); ok {
							if q.Offset != test.want {
								t.Errorf("begins at %+v, want %+v", q.Offset, test.want)
							}
							s.Answer(r.Correlation, &streamproto.Done{For: q.Key(), Code: streamproto.CodeOK})
							return s.Offer(fakebroker.Numbered(0, 1, 20)[0])
						}
						return k.handle(s, r)
					})
				})
				con := streamConsumer(t, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{Name: "me", Start: test.start}})
				batch, err := con.Receive(t.Context())
				if err != nil || len(batch.Deliveries) != 20-test.first || string(batch.Deliveries[0].Body) != fmt.Sprint("message ", test.first) {
					t.Errorf("got %+v, %v", batch, err)
				}
				if err := con.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestFaultStreamTurns: the broker gives a consumer its turn in a group and takes
// it again, many times. Each time it begins behind what is stored, and what was
// acked is stored before it gives up its turn.
func TestFaultStreamTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const turns = 50
		k := &offsetKeeper{}
		var began []uint64
		ask := func(s *fakebroker.StreamSession, active bool) {
			s.Offer(fakebroker.StreamRequest(900, &streamproto.ConsumerUpdate{SubscriptionID: 0, Active: active}))
		}
		client := faultStreamClient(t, func(s *fakebroker.StreamSession) {
			s.Login()
			updates := 0
			s.Serve(func(r *fakebroker.StreamReceived) bool {
				switch q := r.Command.(type) {
				case *streamproto.Subscribe:
					s.Answer(r.Correlation, &streamproto.Done{For: q.Key(), Code: streamproto.CodeOK})
					ask(s, true)
				case *streamproto.ConsumerUpdateResponse:
					if updates++; updates%2 == 1 {
						began = append(began, q.Offset.Value)
						s.Offer(fakebroker.Deliver(fakebroker.Chunk(0, q.Offset.Value, fmt.Sprint(q.Offset.Value))))
					} else if updates < 2*turns {
						if q.Offset.Type != streamproto.OffsetNone || !k.known || k.stored != began[len(began)-1] {
							t.Errorf("gives up its turn with %+v, and %d is stored", q.Offset, k.stored)
						}
						ask(s, true)
					}
				case *streamproto.Credit:
					time.Sleep(time.Second)
					ask(s, false)
				default:
					return k.handle(s, r)
				}
				return true
			})
		})
		var heard []bool
		con := streamConsumer(t, client, thump.ConsumerConfig{
			Stream: thump.StreamConsuming{
				Name: "me", SingleActive: true, StoreInterval: time.Hour, Start: thump.FromOffset(1000),
				OnActive: func(_ string, active bool) { heard = append(heard, active) },
			},
		})
		for i := range turns {
			batch, err := con.Receive(t.Context())
			if err != nil || string(batch.Deliveries[0].Body) != fmt.Sprint(1000+i) {
				t.Fatalf("turn %d: %+v, %v", i, batch, err)
			}
			if err := batch.Ack(); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute)
		if err := con.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if len(heard) != 2*turns || !heard[0] || heard[1] {
			t.Errorf("heard %v", heard)
		}
	})
}

// TestFaultStreamStoreWhileFull: an offset is stored while more chunks wait than
// are let in. Who asks is who would take them.
func TestFaultStreamStoreWhileFull(t *testing.T) {
	large := fakebroker.Deliver(fakebroker.Chunk(0, 3, strings.Repeat("x", 8<<20)))
	frames := [][]byte{fakebroker.Numbered(0, 1, 3)[0]}
	for range 12 {
		frames = append(frames, large)
	}
	synctest.Test(t, func(t *testing.T) {
		k := &offsetKeeper{}
		client := faultStreamClient(t, k.serve(frames...))
		con := streamConsumer(t, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{Name: "me", ManualStore: true, Credit: 100}})
		batch := streamBatches(t, con, 1)[0]
		synctest.Wait()
		if err := batch.Ack(); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := con.StoreOffset(ctx); err != nil {
			t.Error(err)
		}
		if err := con.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
