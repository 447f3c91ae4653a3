package faulttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
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
					if err := batches[i].Ack(); !errors.Is(err, thump.ErrSettled) {
						t.Errorf("once more: %v", err)
					}
				}
				closeUnsettled(t, con)
				if got := fmt.Sprint(k.sent); got != test.want {
					t.Errorf("stored %s, want %s", got, test.want)
				}
			})
		})
	}
}

// TestFaultStreamManyPartitions: a consumer of many partitions far away is closed in time,
// since each is told, and asked, beside the others.
func TestFaultStreamManyPartitions(t *testing.T) {
	const partitions, roundTrip = 40, time.Second // one after another they would take longer than an answer may
	names := make([]string, partitions)
	for i := range names {
		names[i] = fmt.Sprintf("orders-%d", i)
	}
	for _, slow := range []streamproto.Request{&streamproto.Unsubscribe{}, &streamproto.QueryOffset{}} {
		t.Run(fmt.Sprintf("%T", slow), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var closing atomic.Bool
				var stored atomic.Int64
				scripts := slices.Repeat([]func(*fakebroker.StreamSession){func(s *fakebroker.StreamSession) {
					k := &offsetKeeper{}
					s.Login()
					s.Serve(func(r *fakebroker.StreamReceived) bool {
						if q, ok := r.Command.(streamproto.Request); ok && q.Key() == slow.Key() && closing.Load() {
							time.Sleep(roundTrip)
						}
						switch q := r.Command.(type) {
						case *streamproto.Partitions:
							s.Answer(r.Correlation, &streamproto.PartitionsResponse{Code: streamproto.CodeOK, Streams: names})
						case *streamproto.Subscribe:
							s.Answer(r.Correlation, &streamproto.Done{For: q.Key(), Code: streamproto.CodeOK})
							s.Offer(fakebroker.Numbered(0, 1, 3)[0])
						case *streamproto.StoreOffset:
							stored.Add(1)
							return k.handle(s, r)
						default:
							return k.handle(s, r)
						}
						return true
					})
				}}, 1+partitions)
				b := fakebroker.Pipe(t, 64<<10, streamScripts(scripts)...)
				client, err := thump.Dial(t.Context(), thump.Config{Recovery: noRecovery, URLs: []string{b.StreamURL()}, DialContext: b.DialContext})
				if err != nil {
					t.Fatal(err)
				}
				con, err := client.Consumer(t.Context(), thump.ConsumerConfig{
					From: thump.SuperStream("orders"), Stream: thump.StreamConsuming{Name: "me", StoreInterval: time.Hour},
				})
				if err != nil {
					t.Fatal(err)
				}
				for range partitions {
					batch, err := con.Receive(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if err := batch.Ack(); err != nil {
						t.Error(err)
					}
				}
				closing.Store(true)
				if err := con.Close(context.Background()); err != nil {
					t.Error(err)
				}
				if n := stored.Load(); n < partitions {
					t.Errorf("%d offsets were stored, of %d", n, partitions)
				}
				if err := client.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// streamScripts are the scripts for a broker that speaks the stream protocol.
func streamScripts(scripts []func(*fakebroker.StreamSession)) (all []func(*fakebroker.Session)) {
	for _, script := range scripts {
		all = append(all, fakebroker.Stream(script))
	}
	return all
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
		if err := batches[0].Reject(); err != nil { // of nothing that is open
			t.Error(err)
		}
		if err := con.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestFaultStreamClockGoesBack: a stream's new leader has a clock that is behind that of
// the one before. What it stores comes after a Start, though its time is before it; what
// went by before the Start is not stored as acked.
func TestFaultStreamClockGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keeper := &offsetKeeper{}
		var frames [][]byte
		for i, at := range []int64{10, 20, 40, 25, 50} {
			c := fakebroker.Chunk(0, uint64(i), fmt.Sprint(at))
			c.Timestamp = at
			frames = append(frames, fakebroker.Deliver(c))
		}
		client := faultStreamClient(t, keeper.serve(frames...))
		con := streamConsumer(t, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{
			Name: "me", Start: thump.FromTime(time.UnixMilli(30)), StoreInterval: time.Second,
		}})
		for i, want := range []string{"40", "25", "50"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			batch, err := con.Receive(ctx)
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			if got := string(batch.Deliveries[0].Body); got != want {
				t.Errorf("the message stored at %s came, expected that of %s", got, want)
			}
			time.Sleep(2 * time.Second) // StoreInterval
			synctest.Wait()
			if len(keeper.sent) != i {
				t.Errorf("after %d acks the stored offsets were %d", i, keeper.sent)
			}
			if err := batch.Ack(); err != nil {
				t.Error(err)
			}
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
		closeUnsettled(t, con)
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

// TestFaultStreamStoresLate: the broker drops an offset for many seconds, as it does
// while a stream has no leader. StoreOffset and Close wait as long as their contexts let
// them.
func TestFaultStreamStoresLate(t *testing.T) {
	for _, manual := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			k := &offsetKeeper{drop: 5}
			client := faultStreamClient(t, k.serve(fakebroker.Numbered(0, 1, 3)...))
			con := streamConsumer(t, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{Name: "me", ManualStore: manual, StoreInterval: time.Hour}})
			if err := streamBatches(t, con, 1)[0].Ack(); err != nil {
				t.Error(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if manual {
				if err := con.StoreOffset(ctx); err != nil {
					t.Error(err)
				}
			}
			if err := con.Close(ctx); err != nil {
				t.Error(err)
			}
			if !k.known || k.stored != 2 {
				t.Errorf("%d is stored: %v", k.stored, k.known)
			}
		})
	}
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
				closeUnsettled(t, con)
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

// turnTaker is a broker that gives a consumer of a group its turn and takes it again.
type turnTaker struct {
	offsetKeeper
	session  *fakebroker.StreamSession
	answered chan streamproto.OffsetSpec // the answers to updates
}

// serve is a script. Each time it is the consumer's turn, frames says what is delivered
// from an offset on.
func (k *turnTaker) serve(frames func(from uint64) [][]byte) func(*fakebroker.StreamSession) {
	k.answered = make(chan streamproto.OffsetSpec, 10)
	return func(s *fakebroker.StreamSession) {
		k.session = s
		s.Login()
		s.Serve(func(r *fakebroker.StreamReceived) bool {
			switch q := r.Command.(type) {
			case *streamproto.Subscribe:
				s.Answer(r.Correlation, &streamproto.Done{For: q.Key(), Code: streamproto.CodeOK})
				k.turn(true)
			case *streamproto.ConsumerUpdateResponse:
				if q.Offset.Type != streamproto.OffsetNone {
					for _, frame := range frames(q.Offset.Value) {
						s.Offer(frame)
					}
				}
				k.answered <- q.Offset
			default:
				return k.handle(s, r)
			}
			return true
		})
	}
}

func (k *turnTaker) turn(active bool) {
	k.session.Offer(fakebroker.StreamRequest(900, &streamproto.ConsumerUpdate{SubscriptionID: 0, Active: active}))
}

// TestFaultStreamTurnEndsInTake: another consumer of the group becomes the active one
// while a batch is being read. It is that one's: it must not be handed out, and nothing
// stored for it, since an earlier one is not acked.
func TestFaultStreamTurnEndsInTake(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			k := &turnTaker{}
			client := faultStreamClient(t, k.serve(func(uint64) [][]byte { return fakebroker.Numbered(0, 2, 3) }))
			con := streamConsumer(t, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{
				Name: "me", SingleActive: true, StoreEvery: 1, StoreInterval: time.Second,
				Filters: []string{"red"},
				Keep: func(d *thump.Delivery) bool {
					if d.Offset == 4 {
						k.turn(false)
						<-k.answered
					}
					return keeps || d.Offset < 3
				},
			}})
			<-k.answered
			first := streamBatches(t, con, 1)[0]
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			batch, err := con.Receive(ctx)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %+v, %v", batch, err)
			}
			if err == nil {
				_ = batch.Ack()
			}
			if err := first.Ack(); !errors.Is(err, thump.ErrStale) {
				t.Errorf("the ack of the first: %v", err)
			}
			if err := con.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if len(k.sent) > 0 {
				t.Errorf("%v were sent to be stored", k.sent)
			}
		})
	}
}

// TestFaultStreamTurnAgain: it is another's turn and then this consumer's again, while
// it handles a batch. What waited for it meanwhile, the broker sends again: it must come
// once.
func TestFaultStreamTurnAgain(t *testing.T) {
	for _, most := range []int{0, 1, 2} {
		synctest.Test(t, func(t *testing.T) {
			k := &turnTaker{}
			all := fakebroker.Numbered(0, 4, 3)
			client := faultStreamClient(t, k.serve(func(from uint64) [][]byte { return all[from/3:] }))
			con := streamConsumer(t, client, thump.ConsumerConfig{MaxBatch: most, Stream: thump.StreamConsuming{
				Name: "me", SingleActive: true, StoreInterval: time.Hour,
			}})
			<-k.answered
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			batch, err := con.Receive(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := batch.Ack(); err != nil {
				t.Error(err)
			}
			want := uint64(len(batch.Deliveries))
			synctest.Wait()
			for _, active := range []bool{false, true} {
				k.turn(active)
				if spec := <-k.answered; active && spec.Value != want {
					t.Errorf("begins again with %+v, want %d", spec, want)
				}
			}
			synctest.Wait()
			for {
				batch, err := con.Receive(ctx)
				if err != nil {
					break
				}
				for _, d := range batch.Deliveries {
					if d.Offset != want {
						t.Errorf("batches of %d: got %d, want %d", most, d.Offset, want)
					}
					want = d.Offset + 1
				}
				if err := batch.Ack(); err != nil {
					t.Error(err)
				}
			}
			if want != 12 {
				t.Errorf("batches of %d: got up to %d", most, want)
			}
			if err := con.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if k.stored != 11 {
				t.Errorf("batches of %d: %d is stored", most, k.stored)
			}
		})
	}
}

// TestFaultStreamManualStoreTooLate: with ManualStore, what was acked can be stored
// until OnActive has returned. Afterwards the next consumer's offset stays.
func TestFaultStreamManualStoreTooLate(t *testing.T) {
	for _, inTime := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			k := &turnTaker{}
			client := faultStreamClient(t, k.serve(func(uint64) [][]byte { return fakebroker.Numbered(0, 1, 3) }))
			var con *thump.Consumer
			con = streamConsumer(t, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{
				Name: "me", SingleActive: true, ManualStore: true,
				OnActive: func(_ string, active bool) {
					if !active && inTime {
						if err := con.StoreOffset(t.Context()); err != nil {
							t.Error(err)
						}
					}
				},
			}})
			<-k.answered
			if err := streamBatches(t, con, 1)[0].Ack(); err != nil {
				t.Error(err)
			}
			k.turn(false)
			<-k.answered
			sent := len(k.sent)
			if err := con.StoreOffset(t.Context()); inTime != (err == nil) || err != nil && !errors.Is(err, thump.ErrStale) {
				t.Errorf("in time: %v, and later: %v", inTime, err)
			}
			if len(k.sent) != sent || inTime != (sent > 0) {
				t.Errorf("in time: %v, sent %v, %d of them before the turn was over", inTime, k.sent, sent)
			}
			if err := con.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
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

// TestFaultStreamStoresAgainWhileFull: an offset that was not stored is sent again while
// more chunks wait than are let in, and the handler takes none.
func TestFaultStreamStoresAgainWhileFull(t *testing.T) {
	frames := [][]byte{fakebroker.Numbered(0, 1, 3)[0]}
	for range 12 {
		frames = append(frames, fakebroker.Deliver(fakebroker.Chunk(0, 3, strings.Repeat("x", 8<<20))))
	}
	synctest.Test(t, func(t *testing.T) {
		k := &offsetKeeper{drop: 1}
		client := faultStreamClient(t, k.serve(frames...))
		con := streamConsumer(t, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{Name: "me", Credit: 100, StoreInterval: 10 * time.Second}})
		if err := streamBatches(t, con, 1)[0].Ack(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if !k.known || k.stored != 2 {
			t.Errorf("%d is stored: %v, after %v", k.stored, k.known, k.at)
		}
		if err := con.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestFaultStreamTurnEndsWhileFull: a consumer makes way in time while more chunks wait
// than are let in, and the handler takes none.
func TestFaultStreamTurnEndsWhileFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &turnTaker{}
		client := faultStreamClient(t, k.serve(func(uint64) [][]byte { return fakebroker.Numbered(0, 1, 3) }))
		con := streamConsumer(t, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{Name: "me", SingleActive: true, Credit: 100, StoreInterval: time.Hour}})
		<-k.answered
		if err := streamBatches(t, con, 1)[0].Ack(); err != nil {
			t.Error(err)
		}
		k.session.Offer(fakebroker.Deliver(fakebroker.Chunk(0, 3, strings.Repeat("x", 40<<20))))
		synctest.Wait()
		// One read brings both: the reader learns of the update, and then waits.
		k.session.Offer(append(fakebroker.Deliver(fakebroker.Chunk(0, 4, "x")),
			fakebroker.StreamRequest(900, &streamproto.ConsumerUpdate{SubscriptionID: 0, Active: false})...))
		select {
		case <-k.answered:
		case <-time.After(30 * time.Second):
			t.Error("the update was not answered in time")
		}
		if err := con.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestFaultStreamEndedAsksNothing: once a consumer has failed, it does not ask the broker
// again and again, and what is acked late is sent to be stored at once.
func TestFaultStreamEndedAsksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := badChunk(func(c *streamproto.Chunk) { fakebroker.AddEntry(c, "never"); c.CRC = 1 })
		k, asked := &offsetKeeper{}, 0
		client := faultStreamClient(t, func(s *fakebroker.StreamSession) {
			s.Login()
			deliverTo(s, append(fakebroker.Numbered(0, 2, 3), bad)...)
			s.Serve(func(r *fakebroker.StreamReceived) bool {
				if _, ok := r.Command.(*streamproto.QueryOffset); ok {
					asked++
				}
				return k.handle(s, r)
			})
		})
		con := streamConsumer(t, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{
			Name: "me", StoreInterval: time.Second,
		}})
		batches := streamBatches(t, con, 2)
		if err := batches[0].Ack(); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Second)
		if _, err := con.Receive(t.Context()); err == nil {
			t.Error("a bad chunk was received")
		}
		synctest.Wait()
		before := asked
		time.Sleep(time.Minute)
		synctest.Wait()
		if before == 0 || asked != before {
			t.Errorf("asked %d times before it failed, and %d times later", before, asked-before)
		}
		if err := batches[1].Ack(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if k.stored != 5 {
			t.Errorf("%d is stored", k.stored)
		}
		if err := con.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
