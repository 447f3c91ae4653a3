package load

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/brokertest"
	"github.com/thumpmq/thump/internal/ledger"
)

// TestPacerSendsNothingEarly: whatever the schedule, a message goes out when it is due or later,
// with no other that is not due, and one publisher of several has its turns alone.
func TestPacerSendsNothingEarly(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"2k", "20k", "0..5k:500ms", "300:100ms,0:50ms,3k:200ms"} {
		for _, s := range []*Schedule{mustParse(t, text), mustParse(t, text).Poisson(1)} {
			p := newPace(s, time.Now(), 3).pacer(1)
			count := min(s.Count(0), 1000) / 3
			for n := uint64(0); n < count; {
				ready := p.await(t.Context(), n, count-n)
				now := time.Since(p.begin)
				if ready < 1 || n+ready > count {
					t.Fatalf("%v: %d of the last %d messages are due", s, ready, count-n)
				}
				if due := (&arrivals{schedule: s}).at(3*(n+ready-1) + 1); due > now {
					t.Errorf("%v (%s): message %d goes out at %v, and is due at %v", s, s.Arrivals(), n+ready-1, now, due)
				}
				n += ready
			}
		}
	}
}

// TestPacerKeepsTheRate: three publishers are done when the last message of a second is due, within
// half a percent of it and no later than they say themselves that they were. A machine that is
// busy may hold up this test between two looks at the clock, but not each time.
func TestPacerKeepsTheRate(t *testing.T) {
	t.Parallel()
	const length, little, attempts = time.Second, 5 * time.Millisecond, 10
	for _, text := range []string{"3k:1s", "0..6k:1s"} {
		schedule := mustParse(t, text)
		var said []string
		for range attempts {
			p, took, late := newPace(schedule, time.Now(), 3), [3]time.Duration{}, [3]time.Duration{}
			var all sync.WaitGroup
			for i := range took {
				all.Go(func() {
					own, count := p.pacer(i), schedule.Count(0)/3
					for n := uint64(0); n < count; {
						n += own.await(t.Context(), n, count-n)
					}
					took[i], late[i] = time.Since(p.begin), own.late
				})
			}
			all.Wait()
			if slices.Max(took[:]) <= length+slices.Max(late[:])+little {
				said = nil
				break
			}
			said = append(said, fmt.Sprintf("it took %v, and was late by %v", slices.Max(took[:]), slices.Max(late[:])))
		}
		if said != nil {
			t.Errorf("%s, each time: %q", text, said)
		}
	}
}

// TestNapsAtOnce: none of many naps at once is shorter than it should be.
func TestNapsAtOnce(t *testing.T) {
	const d = 2 * time.Millisecond
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			for range 20 {
				before := time.Now()
				nap(d)
				if took := time.Since(before); took < d {
					t.Errorf("a nap of %v took %v", d, took)
				}
			}
		})
	}
	all.Wait()
}

func TestPacerStopsWaiting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := newPace(mustParse(t, "0:1h,1"), time.Now(), 1).pacer(0)
	time.AfterFunc(10*time.Millisecond, cancel)
	p.await(ctx, 0, 1)
	rate, due := p.rate()
	if late, ok := p.takeLate(); rate != 0 || late != 0 || !due || !ok {
		t.Errorf("the rate is %v, %t, and %v late, %t", rate, due, late, ok)
	}
	p.end()
	_, due = p.rate()
	if _, ok := p.takeLate(); due || ok {
		t.Error("it says that a message is due after the last")
	}
}

// TestPacerTellsOfTheLatest: how late a message was is told once, also where the one after it left
// on time before anybody asked, and where nothing more is to be sent.
func TestPacerTellsOfTheLatest(t *testing.T) {
	t.Parallel()
	const late = 490 * time.Millisecond
	p := newPace(mustParse(t, "2"), time.Now().Add(-late), 3)
	if told, ok := p.takeLate(); !ok || told < late {
		t.Errorf("%v late, %t, before the first message has left", told, ok)
	}
	first := p.pacer(0)
	first.await(t.Context(), 0, 1)
	p.pacer(1).await(t.Context(), 0, 1)
	for i := range p.publishers {
		p.publishers[i].next.Store(noneDue)
	}
	if told, ok := p.takeLate(); !ok || told < late || told != first.late {
		t.Errorf("%v late, %t, and it was %v", told, ok, first.late)
	}
	if told, ok := p.takeLate(); ok {
		t.Errorf("%v late, and all is told", told)
	}
	first.notSent(0)
	if told, ok := p.takeLate(); !ok || told != first.late {
		t.Errorf("%v late, %t, and what was not sent was %v", told, ok, first.late)
	}
}

// TestStopwatch sends batches of ten in turn by two publishers, and stops them in one piece and
// in pieces.
func TestStopwatch(t *testing.T) {
	begin := time.Now()
	times := newSentTimes(ledger.Plan{Count: 100_000, Publishers: 2}, nil, 10, 2)
	w := times.stopwatch()
	w.stop(0, 0, 9, begin)
	if len(w.took) != 0 {
		t.Errorf("messages took %v before one was sent", w.took)
	}
	times.start(begin, 0)
	const batches = 3000
	for i := range batches {
		for publisher := range 2 {
			times.sending(publisher, begin.Add(time.Duration(2*i+publisher)*time.Millisecond))
		}
	}
	end := begin.Add(time.Hour)
	for publisher := range 2 {
		w.stop(publisher, 5, 10*batches+7, end) // the last eight were never sent
		var n uint64
		for i, took := range w.took {
			if want := time.Hour - time.Duration(2*i+publisher)*time.Millisecond; took.d != want {
				t.Fatalf("batch %d of publisher %d took %v, want %v", i, publisher, took.d, want)
			}
			n += took.n
		}
		if n != 10*batches-5 || w.took[0].n != 5 {
			t.Errorf("%d messages, %d of the first batch", n, w.took[0].n)
		}
		w.record(new(latencies))
	}
}

// TestSentTimesAreDropped: what is kept is about the messages that are in the queue, however many
// have been there. What stays away keeps a chunk, and what the broker refused keeps none.
func TestSentTimesAreDropped(t *testing.T) {
	const batches, batch, queued = 300 * chunkBatches, 10, 5 * chunkBatches / 2
	plan := ledger.Plan{Count: batch * batches, Publishers: 1}
	for name, c := range map[string]struct {
		lost  []uint64 // batches that never come
		least int      // chunks at the end
	}{"all come": {nil, 0}, "some are lost": {[]uint64{5, 6, 70 * chunkBatches}, 2}} {
		begin := time.Now()
		times := newSentTimes(plan, nil, batch, 3)
		times.start(begin, 0)
		w := times.stopwatch()
		most, told := 0, uint64(0)
		come := func(i uint64) {
			first, last := i*batch, (i+1)*batch-1
			if i%7 == 3 {
				w.pass(0, first, last, times.asked)
				return
			}
			w.stop(0, first, last, begin)
			for reader := 0; reader < 2 && !slices.Contains(c.lost, i); reader++ {
				w.stop(0, first, last, begin)
			}
			for _, took := range w.took {
				told += took.n
			}
			w.took = w.took[:0]
		}
		for i := range uint64(batches) {
			times.sending(0, begin)
			if i >= queued {
				come(i - queued)
			}
			live := 0
			for _, chunk := range times.publishers[0].chunks {
				if chunk != nil {
					live++
				}
			}
			most = max(most, live)
		}
		for i := range uint64(queued) {
			come(batches - queued + i)
		}
		refused := uint64((batches + 3) / 7)
		if want := batch * (3*(batches-refused) - 2*uint64(len(c.lost))); told != want {
			t.Errorf("%s: %d were told, want %d", name, told, want)
		}
		if most > 4+c.least {
			t.Errorf("%s: %d chunks at most, for a queue of %d", name, most, queued/chunkBatches)
		}
		if left := times.publishers[0].chunks; c.least == 0 && len(left) > 0 {
			t.Errorf("%s: %d chunks are left", name, len(left))
		}
	}
}

// TestLatenciesTellEachMessageOnce takes them now and then, as whoever shows them does.
func TestLatenciesTellEachMessageOnce(t *testing.T) {
	var l latencies
	if l.take() != nil || l.latency(true) != nil {
		t.Error("latencies of no message")
	}
	var told uint64
	for i := range 100 {
		l.record([]took{{time.Duration(i) * time.Millisecond, 7}, {time.Second, 1}})
		if i%10 == 5 {
			told += l.take().Count
		}
	}
	if told != 8*96 || l.take().Count != 8*4 || l.take() != nil {
		t.Errorf("%d messages were told", told)
	}
	if all := l.latency(true); all.Count != 800 || !all.FromIntended || math.Abs(all.Max-1) > 0.001 {
		t.Errorf("got %+v", all)
	}
}

// TestRunByRate: all messages that the rate has are sent, none is sent early, and each one's
// latency is there, from when it was due.
func TestRunByRate(t *testing.T) {
	b := brokertest.All(t)[0]
	for _, publishers := range []int{1, 3} {
		for _, schedule := range []*Schedule{mustParse(t, "3k:1s"), mustParse(t, "1k:300ms,0..6k:700ms").Poisson(7)} {
			t.Run(fmt.Sprint(publishers, schedule, schedule.Arrivals()), func(t *testing.T) {
				t.Parallel()
				q := open(t, b, thump.QueueSpec{})
				cfg := q.config(schedule.Count(0))
				cfg.Publishers, cfg.Schedule = publishers, schedule
				out, err := run(t.Context(), t, q.client, cfg, nil)
				if err != nil {
					t.Fatal(err)
				}
				if out.Verdict != result.OK || *out.Confirmed != cfg.Count || *out.Unique != cfg.Count {
					t.Errorf("got %+v", out.Run)
				}
				if took := *out.SendSeconds; took < 0.99 {
					t.Errorf("it took %v s, less than the schedule", took)
				} else if most := 1 + out.ConfirmLatency.Max + 0.5; took > most {
					// The last confirm came within the longest latency of the last moment of the schedule, and
					// a busy machine may be late to look.
					t.Errorf("it took %v s, and %v s are all that the schedule and the latencies explain", took, most)
				}
				for name, l := range map[string]*result.Latency{"confirm": out.ConfirmLatency, "receive": out.ReceiveLatency} {
					if l.Count != cfg.Count || !l.FromIntended || l.Max <= 0 || l.P50 > l.Max || l.Histogram == "" {
						t.Errorf("%s: %+v", name, l)
					}
				}
				if late := *out.LateSeconds; late > out.ConfirmLatency.Max {
					t.Errorf("a message left %v s after it was due, and was confirmed within %v s of that", late, out.ConfirmLatency.Max)
				}
			})
		}
	}
}

// TestRunForATime: the time ends a run that has no count, and what was sent is accounted for.
func TestRunForATime(t *testing.T) {
	t.Parallel()
	q := open(t, brokertest.All(t)[0], thump.QueueSpec{})
	cfg := q.config(0)
	cfg.Publishers, cfg.Duration = 2, 500*time.Millisecond
	begin := time.Now()
	out, err := run(t.Context(), t, q.client, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out.Verdict != result.OK || *out.Run.Sent == 0 || *out.Unique != *out.Run.Sent || !out.lost(0) || time.Since(begin) < cfg.Duration {
		t.Errorf("after %v got %+v", time.Since(begin), out.Run)
	}
	if out.ConfirmLatency.Count != *out.Confirmed || out.ReceiveLatency.Count != *out.Unique || out.ReceiveLatency.FromIntended {
		t.Errorf("latencies of %d and %d messages", out.ConfirmLatency.Count, out.ReceiveLatency.Count)
	}
}

// TestRateThatIsTooHigh: what was due and could not be sent in time is counted, and not left
// out without a word.
func TestRateThatIsTooHigh(t *testing.T) {
	t.Parallel()
	q := open(t, brokertest.All(t)[0], thump.QueueSpec{})
	cfg := q.config(50_000_000)
	cfg.Schedule, cfg.Duration, cfg.Window = mustParse(t, "100m"), 500*time.Millisecond, 1
	out, err := run(t.Context(), t, q.client, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out.Verdict != result.OK || result.Value(out.NotSent) != cfg.Count-*out.Run.Sent || *out.NotSent == 0 || *out.LateSeconds < 1 {
		t.Errorf("%d sent, %d not, %v s late", *out.Run.Sent, result.Value(out.NotSent), *out.LateSeconds)
	}
}

// list is a feed of so many messages. Before each batch it waits.
type list struct {
	batches, each int
	before        time.Duration
	given         int
	progress      *Progress // nil, or nothing of it may be late while the list waits
	late          bool
}

func (*list) String() string                      { return "from a list" }
func (*list) Outcomes([]thump.Outcome)            {}
func (*list) Refused(*thump.Message, error) error { return nil }

func (l *list) Next(context.Context) ([]thump.Message, error) {
	if l.given == l.batches*l.each {
		return nil, io.EOF
	}
	time.Sleep(l.before)
	if l.progress != nil {
		_, due := l.progress.Schedule()
		l.late = l.late || due
	}
	messages := make([]thump.Message, l.each)
	for i := range messages {
		messages[i] = thump.Message{Body: []byte("x"), Ref: uint64(l.given + i + 1)}
	}
	l.given += l.each
	return messages, nil
}

// TestFeedByRate: messages of a file go out at the rate too. Those that come late are not made
// up for in a burst: the rate is kept from then on.
func TestFeedByRate(t *testing.T) {
	t.Parallel()
	q := open(t, brokertest.All(t)[0], thump.QueueSpec{})
	for name, c := range map[string]struct {
		feed  list
		least float64
		rate  string
		sent  uint64
	}{
		"there":      {list{batches: 2, each: 100}, 0.99, "200", 200},
		"late":       {list{batches: 3, each: 100, before: 300 * time.Millisecond}, 0.98, "2000", 300},
		"more to it": {list{batches: 50, each: 100}, 0.49, "200:500ms", 100},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := q.config(0).SendConfig
			cfg.Feed, cfg.Schedule = &c.feed, mustParse(t, c.rate)
			cfg.Duration = cfg.Schedule.Length()
			c.feed.progress = cfg.Progress
			var r result.Run
			if err := Send(t.Context(), q.client, cfg, &r, nil); err != nil {
				t.Fatal(err)
			}
			if *r.Confirmed != c.sent || *r.SendSeconds < c.least || r.Verdict != result.OK {
				t.Errorf("%d confirmed in %v s, %s; want %d in %v or more", *r.Confirmed, *r.SendSeconds, r.Verdict, c.sent, c.least)
			}
			if c.feed.late {
				t.Error("a message is said to be due, or late, that the feed does not have yet")
			}
		})
	}
}
