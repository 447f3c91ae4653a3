package streamconn

import (
	"context"
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
	"github.com/thumpmq/thump/internal/window"
)

// TestConfirms has a broker settle six entries in its own ways.
func TestConfirms(t *testing.T) {
	confirm := func(ids ...uint64) []byte { return streamproto.AppendPublishConfirm(nil, 0, ids...) }
	refuse := func(ids ...uint64) []byte {
		return streamproto.AppendPublishError(nil, 0, streamproto.CodePreconditionFailed, ids...)
	}
	all := "1 confirmed, 2 confirmed, 3 confirmed, 4 confirmed, 5 confirmed, 6 confirmed"
	for _, test := range []struct {
		name  string
		sent  []byte
		want  string
		total outcome.Totals
	}{
		{"at once", confirm(1, 2, 3, 4, 5, 6), all, outcome.Totals{Published: 6, Confirmed: 6}},
		{
			"one by one", slices.Concat(confirm(1), confirm(2), confirm(3), confirm(4), confirm(5), confirm(6)),
			all,
			outcome.Totals{Published: 6, Confirmed: 6},
		},
		{
			"out of order", slices.Concat(confirm(4, 2), confirm(6, 5), confirm(3, 1)),
			"4 confirmed, 2 confirmed, 6 confirmed, 5 confirmed, 3 confirmed, 1 confirmed",
			outcome.Totals{Published: 6, Confirmed: 6},
		},
		{
			"an error in the middle", slices.Concat(confirm(1, 2), refuse(3, 4), confirm(5, 6)),
			"1 confirmed, 2 confirmed, 3 rejected, 4 rejected, 5 confirmed, 6 confirmed",
			outcome.Totals{Published: 6, Confirmed: 4, Rejected: 2},
		},
		{
			"twice", slices.Concat(confirm(1, 1), confirm(1), refuse(1), confirm(3, 3), refuse(3), refuse(2), confirm(2)),
			"1 confirmed, 3 confirmed, 2 rejected, 4 unknown, 5 unknown, 6 unknown",
			outcome.Totals{Published: 6, Confirmed: 2, Rejected: 1, Unknown: 3},
		},
		{"of none", slices.Concat(confirm(), refuse()), strings.ReplaceAll(all, "confirmed", "unknown"), outcome.Totals{Published: 6, Unknown: 6}},
		{"none", nil, strings.ReplaceAll(all, "confirmed", "unknown"), outcome.Totals{Published: 6, Unknown: 6}},
	} {
		t.Run(test.name, func(t *testing.T) {
			pair(t, func(s *fakebroker.StreamSession) {
				s.OpenPublisher(0)
				for i, e := range published(s, 6) {
					if e.ID != uint64(i)+1 || e.Batched || e.Bodies[0] != fmt.Sprint("m", i+1) {
						t.Errorf("entry %d is %+v", i, e)
					}
				}
				s.SendBytes(test.sent)
				time.Sleep(time.Second)
				s.Close()
			}, func(t *testing.T, conn *Conn) {
				p := openPublisher(t, conn, PublisherConfig{Window: newWindow(6, true)})
				publish(t, p, 1, "m1", "m2", "m3", "m4", "m5", "m6")
				outcomes, why := collectOutcomes(p.window)
				if got := outcomeText(outcomes); got != test.want || why == nil {
					t.Errorf("got %s, %v\nwant %s", got, why, test.want)
				}
				if got := p.window.Totals(); got != test.total {
					t.Errorf("totals %+v, want %+v", got, test.total)
				}
				for _, o := range outcomes {
					if o.Status == outcome.Rejected && (o.Code != 17 || o.Text != "precondition failed") {
						t.Errorf("rejected with %d %q", o.Code, o.Text)
					}
				}
			})
		})
	}
}

// TestFirstBad: the first outcome that is not Confirmed, and each only once.
func TestFirstBad(t *testing.T) {
	for _, collect := range []bool{false, true} {
		pair(t, func(s *fakebroker.StreamSession) {
			s.OpenPublisher(0)
			published(s, 4)
			s.SendBytes(streamproto.AppendPublishError(nil, 0, streamproto.CodeAccessRefused, 2, 3))
			s.Confirm(0, 1, 4)
			s.Serve(nil)
		}, func(t *testing.T, conn *Conn) {
			p := openPublisher(t, conn, PublisherConfig{Window: newWindow(1000, collect)})
			if collect {
				go drainOutcomes(p)
			}
			publish(t, p, 11, "1", "2", "3", "4")
			if err := p.window.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			want := outcome.Outcome{Ref: 12, Status: outcome.Rejected, Code: 16, Text: "access refused"}
			if got := p.window.Report().First; got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if got := p.window.Report().First; got != (outcome.Outcome{}) {
				t.Errorf("the next is %+v", got)
			}
		})
	}
}

// TestWindowHoldsPublishing: no more than the window is in flight, and outcomes
// that nobody takes fill it too.
func TestWindowHoldsPublishing(t *testing.T) {
	for _, collect := range []bool{false, true} {
		t.Run(fmt.Sprintf("collect %v", collect), func(t *testing.T) {
			pair(t, func(s *fakebroker.StreamSession) {
				s.OpenPublisher(0)
				published(s, 8)
				time.Sleep(10 * time.Second)
				s.Confirm(0, 1, 2, 3, 4, 5, 6, 7, 8)
				s.Serve(nil)
			}, func(t *testing.T, conn *Conn) {
				p := openPublisher(t, conn, PublisherConfig{Window: newWindow(8, collect)})
				publish(t, p, 1, strings.Split("12345678", "")...)
				if err := p.Begin(shortly(t)); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("a ninth message was let in: %v", err)
				}
				if err := p.window.Wait(shortly(t)); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("wait for confirms: %v", err)
				}
				time.Sleep(10 * time.Second)
				if got := p.window.Totals().Confirmed; got != 8 {
					t.Errorf("%d confirmed", got)
				}
				err := p.Begin(shortly(t))
				if (err != nil) != collect {
					t.Fatalf("publish once all are confirmed, their outcomes not taken: %v", err)
				}
				if err == nil {
					p.End()
				}
				if collect {
					_, err := conntest.Outcomes(p.window)
					if err != nil {
						t.Error(err)
					}
					if err := p.Begin(shortly(t)); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("publish before the outcomes were handed over: %v", err)
					}
					go func() { _, _ = conntest.Outcomes(p.window) }() // hands them over, and waits
				}
				publish(t, p, 9, "9")
			})
		})
	}
}

// TestWindowWithinOneBegin: Publish itself says when the window is full.
func TestWindowWithinOneBegin(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		s.OpenPublisher(0)
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		p := openPublisher(t, conn, PublisherConfig{Window: newWindow(5, false)})
		for round := range 3 {
			if err := p.Begin(t.Context()); err != nil {
				t.Fatal(err)
			}
			accepted := 0
			for range 9 {
				if ok, err := p.Publish(window.Tag{}, 0, []byte("x")); err != nil {
					t.Error(err)
				} else if ok {
					accepted++
				}
			}
			p.End()
			if accepted != 5 {
				t.Errorf("round %d: %d messages were accepted, want 5", round, accepted)
			}
			if err := p.window.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestWokenWithRoom: a publisher that waits is not woken for a single confirm, but
// once an eighth of the window is free.
func TestWokenWithRoom(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		s.OpenPublisher(0)
		published(s, 80)
		for id := range uint64(20) {
			time.Sleep(time.Second)
			s.Confirm(0, id+1)
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		p := openPublisher(t, conn, PublisherConfig{Window: newWindow(80, false)})
		publish(t, p, 0, strings.Split(strings.Repeat("x", 80), "")...)
		begin := time.Now()
		if err := p.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.End()
		if took := time.Since(begin); took != 11*time.Second {
			t.Errorf("woken after %v", took)
		}
		time.Sleep(time.Minute)
	})
}

// TestWaitConfirmsOfSeveral: each waits for what was published before it began.
func TestWaitConfirmsOfSeveral(t *testing.T) {
	for _, collect := range []bool{false, true} {
		pair(t, func(s *fakebroker.StreamSession) {
			s.OpenPublisher(0)
			published(s, 3)
			for id := range uint64(3) {
				time.Sleep(time.Second)
				s.Confirm(0, id+1)
			}
			s.Serve(nil)
		}, func(t *testing.T, conn *Conn) {
			p := openPublisher(t, conn, PublisherConfig{Window: newWindow(8, collect)})
			if collect {
				go drainOutcomes(p)
			}
			begin := time.Now()
			took := make(chan time.Duration, 3)
			for i := range 3 {
				publish(t, p, uint64(i), "x")
				go func() {
					if err := p.window.Wait(t.Context()); err != nil {
						t.Error(err)
					}
					took <- time.Since(begin)
				}()
				synctest.Wait()
			}
			for i := range 3 {
				if got, want := <-took, time.Duration(i+1)*time.Second; got != want {
					t.Errorf("wait %d took %v, want %v", i, got, want)
				}
			}
		})
	}
}

// TestSeveralPublishers share a connection: each has its own stream, ids and
// window, and nobody hears of another's.
func TestSeveralPublishers(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		next := map[uint8]uint64{}
		s.Serve(func(r *fakebroker.StreamReceived) bool {
			p, ok := r.Command.(*fakebroker.Published)
			if !ok {
				return false
			}
			for _, e := range p.Entries {
				if next[p.PublisherID]++; e.ID != next[p.PublisherID] || e.Bodies[0] != fmt.Sprint(p.PublisherID, " ", e.ID) {
					t.Errorf("publisher %d: entry %+v", p.PublisherID, e)
				}
			}
			return false
		})
	}, func(t *testing.T, conn *Conn) {
		var publishers []*Publisher
		for i := range 5 {
			publishers = append(publishers, openPublisher(t, conn, PublisherConfig{Stream: fmt.Sprint("s", i), Window: newWindow(3, false)}))
		}
		for i := range 50 {
			for id, p := range publishers {
				if i%(id+1) == 0 {
					publish(t, p, 0, fmt.Sprint(id, " ", i/(id+1)+1))
				}
			}
		}
		for id, p := range publishers {
			if err := p.window.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			if got, want := p.window.Totals().Confirmed, uint64((50+id)/(id+1)); got != want {
				t.Errorf("publisher %d: %d confirmed, want %d", id, got, want)
			}
		}
		conntest.Goodbye(t, conn)
	})
}

// TestPublisherIDs: a connection has 256 of them, and says so.
func TestPublisherIDs(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) { s.Serve(nil) }, func(t *testing.T, conn *Conn) {
		for range idsMost {
			openPublisher(t, conn, PublisherConfig{})
		}
		_, err := conn.Publisher(t.Context(), NewBacklog(PublisherConfig{Stream: "events", Window: newWindow(1, false), SubEntry: 1, Ended: func(error) {}}))
		if err == nil || !strings.Contains(err.Error(), "all 256 ids of the connection are in use") {
			t.Errorf("got %v", err)
		}
		conntest.Goodbye(t, conn)
	})
}

// TestPublisherRefused: the broker refuses the declaration, or the question
// behind it.
func TestPublisherRefused(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		_, correlation := fakebroker.ExpectCommand[*streamproto.DeclarePublisher](s)
		s.Answer(correlation, &streamproto.Done{For: streamproto.KeyDeclarePublisher, Code: streamproto.CodeStreamDoesNotExist})
		_, correlation = fakebroker.ExpectCommand[*streamproto.DeclarePublisher](s)
		s.Answer(correlation, &streamproto.Done{For: streamproto.KeyDeclarePublisher, Code: streamproto.CodeOK})
		_, correlation = fakebroker.ExpectCommand[*streamproto.QueryPublisherSequence](s)
		s.Answer(correlation, &streamproto.QueryPublisherSequenceResponse{Code: streamproto.CodeStreamNotAvailable})
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		for _, code := range []streamproto.Code{streamproto.CodeStreamDoesNotExist, streamproto.CodeStreamNotAvailable} {
			_, err := conn.Publisher(t.Context(), NewBacklog(PublisherConfig{Stream: "events", Reference: "me", Window: newWindow(1, false), SubEntry: 1, Ended: func(error) {}}))
			checkCode(t, err, code)
		}
		publish(t, openPublisher(t, conn, PublisherConfig{}), 1, "works")
		conntest.Goodbye(t, conn)
	})
}
