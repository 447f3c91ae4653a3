package faulttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// oneStream is a broker of the stream "events" with n messages in chunks of three.
func oneStream(t *testing.T, n int) *brittle {
	b := &brittle{t: t, random: rand.New(rand.NewPCG(1, 32))}
	b.streams = map[string]*brittleStream{"events": threes(0, n)}
	return b
}

// threes is a stream of the messages from first to n, at the offset of their number, in chunks
// of three.
func threes(first, n int) *brittleStream {
	s := &brittleStream{mayStore: func(int) bool { return true }}
	for i := range n {
		s.offsets = append(s.offsets, uint64(i))
	}
	for i := first; i < n; i += 3 {
		s.chunks = append(s.chunks, brittleChunk{uint64(i), []string{fmt.Sprint("message ", i), fmt.Sprint("message ", i+1), fmt.Sprint("message ", i+2)}})
	}
	return s
}

// outageConsumer consumes from the broker's stream.
func outageConsumer(t *testing.T, b *brittle, client thump.Config, o thump.StreamConsuming) *thump.Consumer {
	t.Helper()
	c := b.client(client)
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return streamConsumer(t, c, thump.ConsumerConfig{Stream: o})
}

// next receives a batch, which begins with that message.
func next(t *testing.T, con *thump.Consumer, number int) *thump.Batch {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	batch, err := con.Receive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(batch.Deliveries[0].Body), fmt.Sprint("message ", number); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	return batch
}

// TestFaultStreamStoredAgain: an offset that was sent and not stored when the connection
// was lost is stored over the next one, without waiting for the interval.
func TestFaultStreamStoredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := oneStream(t, 9)
		con := outageConsumer(t, b, thump.Config{}, thump.StreamConsuming{Name: "me", StoreEvery: 3, StoreInterval: time.Hour})
		if err := next(t, con, 0).Ack(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		s := b.streams["events"]
		s.known = false // it was dropped
		b.cut(false)
		time.Sleep(time.Second)
		synctest.Wait()
		if !s.known || s.stored != 2 {
			t.Errorf("offset %d is stored (%t), want 2", s.stored, s.known)
		}
		next(t, con, 3)
		closeUnsettled(t, con)
	})
}

// TestFaultStreamOutage: what is asked of a consumer while it has no connection ends in
// time and says that, and the consumer goes on when there is one again.
func TestFaultStreamOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := oneStream(t, 30)
		events := make(chan string, 9)
		con := outageConsumer(t, b, thump.Config{OnEvent: func(e thump.Event) { events <- fmt.Sprint(e.Kind, " ", e.InFlight) }},
			thump.StreamConsuming{Name: "me", StoreInterval: time.Hour})
		first, second := next(t, con, 0), next(t, con, 3)
		if err := first.Ack(); err != nil {
			t.Error(err)
		}
		b.cut(true)
		if err := second.Ack(); !errors.Is(err, thump.ErrStale) || !strings.Contains(err.Error(), "the connection was lost") {
			t.Errorf("an ack during the outage: %v", err)
		}
		for name, call := range map[string]func(ctx context.Context) error{
			"receive": func(ctx context.Context) error { _, err := con.Receive(ctx); return err },
			"flush":   con.Flush,
			"store":   con.StoreOffset,
			"batches": func(ctx context.Context) error {
				for _, err := range con.Batches(ctx) {
					return err
				}
				return nil
			},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			err := call(ctx)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "there has been no connection for") || !strings.Contains(err.Error(), "refused") {
				t.Errorf("%s: %v", name, err)
			}
		}
		flushed := make(chan error)
		go func() { flushed <- con.Flush(t.Context()) }()
		synctest.Wait()
		b.up()
		if err := <-flushed; err != nil || b.streams["events"].stored != 2 {
			t.Errorf("flush: %v, and %d is stored", err, b.streams["events"].stored)
		}
		if err := next(t, con, 3).Ack(); err != nil {
			t.Error(err)
		}
		if err := con.Close(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		close(events)
		got := ""
		for e := range events {
			got += e + ", "
		}
		if got != "disconnected 3, recovered 0, " {
			t.Error("events:", got)
		}
	})
}

// TestFaultStreamCloseInOutage: a consumer that is closed, or stopped, while it has no
// connection does not come back; Close says so, and what was not settled.
func TestFaultStreamCloseInOutage(t *testing.T) {
	for _, stops := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := oneStream(t, 30)
			con := outageConsumer(t, b, thump.Config{}, thump.StreamConsuming{Name: "me"})
			next(t, con, 0)
			b.cut(true)
			time.Sleep(3 * time.Second)
			if stops {
				con.Stop()
				synctest.Wait()
				b.up()
				time.Sleep(time.Minute)
			}
			begin := time.Now()
			err := con.Close(t.Context())
			if time.Since(begin) > 0 {
				t.Errorf("it took %v", time.Since(begin))
			}
			checkSays(t, err, "there has been no connection for")
			checkSays(t, err, "3 deliveries were handed out and not acked")
			<-con.Done()
			if again := con.Close(t.Context()); again == nil || again.Error() != err.Error() {
				t.Errorf("again: %v", again)
			}
			if len(b.sessions) > 0 && stops {
				t.Errorf("%d connections after Stop", len(b.sessions))
			}
		})
	}
}

// TestFaultStreamGivesUp: a consumer that has not come back in time has failed, and says so
// like one that failed at once.
func TestFaultStreamGivesUp(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := oneStream(t, 30)
			b.hangs = hangs
			con := outageConsumer(t, b, thump.Config{Recovery: thump.Recovery{GiveUp: 5 * time.Second}}, thump.StreamConsuming{Name: "me"})
			next(t, con, 0)
			b.cut(true)
			begin := time.Now()
			_, err := con.Receive(t.Context())
			if took := time.Since(begin); took.Round(time.Second) != 5*time.Second {
				t.Errorf("it took %v", took)
			}
			checkSays(t, err, "given up after 5s")
			checkSays(t, err, "3 deliveries were handed out and not acked")
			if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, thump.ErrClosed) {
				t.Errorf("it is taken for the caller's end: %v", err)
			}
			if err := con.Close(t.Context()); err != nil {
				t.Error("close:", err)
			}
		})
	}
}

// TestFaultStreamDeclaredAgain: a stream that has other messages than before, or none, ends
// its consumer, and so does one that is not there.
func TestFaultStreamDeclaredAgain(t *testing.T) {
	later := func(s *brittleStream) *brittleStream {
		s.base = 1_000_000
		return s
	}
	shifted := threes(0, 60)
	shifted.chunks[3].first, shifted.chunks[3].bodies = 9, []string{"other 1", "other 2", "other 3", "other 4"}
	for _, test := range []struct {
		name  string
		old   bool // broker
		again *brittleStream
		want  error
	}{
		{"empty", false, threes(0, 0), thump.ErrDeclaredAgain},
		{"shorter", false, later(threes(0, 3)), thump.ErrDeclaredAgain},
		{"longer", false, later(threes(0, 60)), thump.ErrDeclaredAgain},
		{"other chunks", false, shifted, thump.ErrDeclaredAgain},
		{"shorter, RabbitMQ 3.10", true, later(threes(0, 3)), thump.ErrDeclaredAgain},
		{"empty, RabbitMQ 3.10", true, threes(0, 0), thump.ErrDeclaredAgain},
		{"longer, RabbitMQ 3.10", true, later(threes(0, 60)), thump.ErrDeclaredAgain},
		{"the same", false, threes(0, 60), nil},
		{"the same, RabbitMQ 3.10", true, threes(0, 60), nil},
		{"the same, with its beginning deleted", false, threes(9, 60), nil},
	} {
		for _, name := range []string{"", "me"} {
			t.Run(test.name+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := oneStream(t, 12)
					b.timeless = test.old
					con := outageConsumer(t, b, thump.Config{}, thump.StreamConsuming{Name: name})
					for i := range 4 {
						if err := next(t, con, 3*i).Ack(); err != nil {
							t.Error(err)
						}
					}
					b.cut(true)
					b.streams["events"] = test.again
					b.up()
					if test.want == nil {
						next(t, con, 12)
						closeUnsettled(t, con)
						return
					}
					_, err := con.Receive(t.Context())
					if !errors.Is(err, test.want) || !errors.Is(con.Err(), test.want) {
						t.Errorf("got %v, %v", err, con.Err())
					}
				})
			})
		}
	}
	synctest.Test(t, func(t *testing.T) {
		b := oneStream(t, 12)
		con := outageConsumer(t, b, thump.Config{}, thump.StreamConsuming{})
		next(t, con, 0)
		b.cut(true)
		delete(b.streams, "events")
		b.up()
		if _, err := con.Receive(t.Context()); !thump.IsNotFound(err) {
			t.Errorf("got %v", err)
		}
	})
}

// TestFaultStreamReplicaBehind: a replica that does not have yet what was read is no other
// stream: the leader has it.
func TestFaultStreamReplicaBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := oneStream(t, 12)
		con := outageConsumer(t, b, thump.Config{}, thump.StreamConsuming{})
		next(t, con, 0)
		next(t, con, 3)
		b.cut(true)
		b.lags = 1 // the replica, and not the leader, which is asked next
		b.up()
		next(t, con, 6)
		closeUnsettled(t, con)
		if b.lags >= 0 {
			t.Error("the replica was not asked")
		}
	})
}

// TestFaultStreamReplicaAstray: a replica that has other messages than those that were read is
// no other stream where the leader has them. Nothing of that replica is handed out.
func TestFaultStreamReplicaAstray(t *testing.T) {
	for _, name := range []string{"", "me"} {
		synctest.Test(t, func(t *testing.T) {
			b := oneStream(t, 30)
			con := outageConsumer(t, b, thump.Config{}, thump.StreamConsuming{Name: name})
			for i := range 3 {
				if err := next(t, con, 3*i).Ack(); err != nil {
					t.Error(err)
				}
			}
			b.cut(true)
			b.astray = threes(0, 60)
			b.astray.chunks[2].bodies = append(b.astray.chunks[2].bodies, "other")
			for i := range b.astray.chunks[3:] {
				b.astray.chunks[3+i].first += 2
				b.astray.chunks[3+i].bodies = []string{"other", "other", "other"}
			}
			b.up()
			for i := 3; i < 10; i++ {
				if err := next(t, con, 3*i).Ack(); err != nil {
					t.Error(err)
				}
			}
			if b.astray != nil {
				t.Error("the replica was not asked")
			}
			closeUnsettled(t, con)
		})
	}
}

// TestFaultStreamRetention: a consumer whose next messages were deleted meanwhile goes on
// with the first that there is, and the log says from where to where.
func TestFaultStreamRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b := oneStream(t, 6)
		con := outageConsumer(t, b, thump.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, thump.StreamConsuming{})
		next(t, con, 0)
		next(t, con, 3)
		b.cut(true)
		b.streams["events"] = threes(30, 60)
		b.up()
		next(t, con, 30)
		closeUnsettled(t, con)
		if !strings.Contains(log.String(), "wanted=6 first=30") {
			t.Error(log.String())
		}
	})
}

// TestFaultStreamBeginsAgain: a consumer that was handed out nothing before its connection
// was lost begins where it would have begun, and misses nothing that came meanwhile.
func TestFaultStreamBeginsAgain(t *testing.T) {
	for _, test := range []struct {
		name    string
		start   thump.Start
		old     bool
		n, want int
	}{
		{"next", thump.FromNext(), false, 9, 9},
		{"next in an empty stream", thump.FromNext(), false, 0, 0},
		{"next, RabbitMQ 3.10", thump.FromNext(), true, 9, 15},
		{"an offset to come", thump.FromOffset(12), false, 9, 12},
		{"the last two", thump.FromOffset(7), false, 9, 7},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := oneStream(t, test.n)
				b.timeless = test.old
				con := outageConsumer(t, b, thump.Config{}, thump.StreamConsuming{Start: test.start})
				synctest.Wait()
				b.cut(true)
				b.streams["events"] = threes(0, 15)
				b.up()
				time.Sleep(time.Second)
				if test.old { // it begins at the end as that is then
					b.cut(true)
					b.streams["events"] = threes(0, 18)
					b.up()
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					if batch, err := con.Receive(ctx); err == nil {
						t.Errorf("got %q", batch.Deliveries[0].Body)
					}
					closeUnsettled(t, con)
					return
				}
				next(t, con, test.want)
				closeUnsettled(t, con)
			})
		})
	}
}

// TestFaultStreamGroupGoesOn: a consumer of a group whose connection was lost begins its
// next turn after what is stored, or after what it has acked, whichever is further on.
func TestFaultStreamGroupGoesOn(t *testing.T) {
	for _, test := range []struct {
		name   string
		stored int // by another one of the group, meanwhile; -1: there was none
		want   int
	}{
		{"nobody else", -1, 6},
		{"another one that did less", 2, 6},
		{"another one that did more", 11, 12},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := oneStream(t, 30)
				heard := ""
				con := outageConsumer(t, b, thump.Config{}, thump.StreamConsuming{
					Name: "me", SingleActive: true, StoreInterval: time.Hour,
					OnActive: func(_ string, active bool) { heard += fmt.Sprint(active, " ") },
				})
				for _, n := range []int{0, 3} {
					if err := next(t, con, n).Ack(); err != nil {
						t.Error(err)
					}
				}
				late := next(t, con, 6)
				b.cut(true)
				if err := con.Flush(t.Context()); !errors.Is(err, thump.ErrStale) {
					t.Errorf("flush during the outage: %v", err)
				}
				if s := b.streams["events"]; test.stored >= 0 {
					s.stored, s.known = uint64(test.stored), true
				}
				b.up()
				batch := next(t, con, test.want)
				if err := late.Ack(); !errors.Is(err, thump.ErrStale) {
					t.Errorf("the ack of a former turn: %v", err)
				}
				if err := con.Flush(t.Context()); err != nil || test.stored < 11 && b.streams["events"].stored != 5 {
					t.Errorf("flush: %v, and %d is stored", err, b.streams["events"].stored)
				}
				if err := batch.Ack(); err != nil {
					t.Error(err)
				}
				if err := con.Close(t.Context()); err != nil {
					t.Error(err)
				}
				if heard != "true false true " {
					t.Error("heard", heard)
				}
			})
		})
	}
}

// TestFaultStreamOnActiveCloses: OnActive may close the consumer also when the loss of a
// connection has ended its turn.
func TestFaultStreamOnActiveCloses(t *testing.T) {
	for _, down := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := oneStream(t, 30)
			var con *thump.Consumer
			closed := make(chan time.Duration, 1)
			con = outageConsumer(t, b, thump.Config{}, thump.StreamConsuming{
				Name: "me", SingleActive: true,
				OnActive: func(_ string, active bool) {
					if !active {
						begin := time.Now()
						_ = con.Close(t.Context()) // may say that there is no connection
						closed <- time.Since(begin)
					}
				},
			})
			next(t, con, 0)
			b.cut(down)
			if took := <-closed; took > time.Second {
				t.Errorf("it took %v", took)
			}
			<-con.Done()
		})
	}
}

// TestFaultStreamUntilInOutage: the end of what was asked for is found although the
// connection is lost before.
func TestFaultStreamUntilInOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := oneStream(t, 12)
		b.streams["events"].base = time.Now().Add(-time.Minute).UnixMilli() - fakebroker.Chunk(0, 0).Timestamp
		con := outageConsumer(t, b, thump.Config{}, thump.StreamConsuming{Until: time.Now().Add(10 * time.Second)})
		next(t, con, 0)
		b.cut(true)
		time.Sleep(20 * time.Second)
		b.up()
		for n := 3; n < 12; n += 3 {
			next(t, con, n)
		}
		if _, err := con.Receive(t.Context()); !errors.Is(err, thump.ErrEnd) {
			t.Errorf("got %v", err)
		}
		if err := con.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
