package streamconn

import (
	"fmt"
	"testing"

	"github.com/thumpmq/thump/internal/outcome"
)

// windowPublisher is a publisher that has a window and no connection, which
// takes outcomes as one with a connection does.
func windowPublisher(limit int, collect bool) *Publisher {
	c := &Conn{}
	c.room.L, c.settled.L = &c.mu, &c.mu
	return &Publisher{conn: c, window: newWindow(limit, collect)}
}

// takeRuns takes the outcomes that are known, which hands over those in dst.
func takeRuns(t *testing.T, p *Publisher, dst []outcome.Outcome) []outcome.Outcome {
	t.Helper()
	if len(p.window.runs) == 0 { // Outcomes would wait
		p.window.kept -= uint64(len(dst))
		return dst[:0]
	}
	dst, err := p.Outcomes(dst)
	if err != nil {
		t.Fatal(err)
	}
	return dst
}

// addEntry adds messages with these refs, and completes their entry.
func addEntry(w *window, id uint64, refs ...uint64) {
	for _, ref := range refs {
		w.add(ref)
	}
	w.seal(id)
}

// settlement is what a broker says of an entry.
type settlement struct {
	id     uint64
	status outcome.Status
}

func confirmed(id uint64) settlement { return settlement{id, outcome.Confirmed} }
func rejected(id uint64) settlement  { return settlement{id, outcome.Rejected} }

// TestWindow settles entries of a window: 10 with the message 11, 20 with 21 and
// 22, 30 with 31, and 40 with 41 to 43.
func TestWindow(t *testing.T) {
	all := "11 confirmed, 21 confirmed, 22 confirmed, 31 confirmed, 41 confirmed, 42 confirmed, 43 confirmed"
	for _, test := range []struct {
		name string
		said []settlement
		want string
		free int  // of 10, before the outcomes are handed over
		bad  bool // the last settlement is refused
	}{
		{"none", nil, "", 3, false},
		{"in order", []settlement{confirmed(10), confirmed(20), confirmed(30), confirmed(40)}, all, 3, false},
		{"out of order", []settlement{confirmed(30), confirmed(10)}, "31 confirmed, 11 confirmed", 2, false},
		{
			"out of order, then the first",
			[]settlement{confirmed(20), confirmed(30), confirmed(10)},
			"21 confirmed, 22 confirmed, 31 confirmed, 11 confirmed", 3, false,
		},
		{"the last first", []settlement{confirmed(40)}, "41 confirmed, 42 confirmed, 43 confirmed", 0, false},
		{"a batch is rejected whole", []settlement{rejected(20), confirmed(10)}, "21 rejected, 22 rejected, 11 confirmed", 3, false},
		{"twice", []settlement{confirmed(10), confirmed(10)}, "11 confirmed", 3, false},
		{"twice, out of order", []settlement{confirmed(20), confirmed(20)}, "21 confirmed, 22 confirmed", 1, false},
		{"rejected once confirmed", []settlement{confirmed(10), rejected(10)}, "11 confirmed", 3, false},
		{"confirmed once rejected", []settlement{rejected(30), confirmed(30)}, "31 rejected", 2, false},
		{"confirmed once rejected, the front", []settlement{rejected(10), confirmed(10)}, "11 rejected", 3, false},
		{"an id between", []settlement{confirmed(15)}, "", 3, true},
		{"an id of a message within a batch", []settlement{confirmed(39)}, "", 3, true},
		{"below all", []settlement{confirmed(9)}, "", 3, true},
		{"0", []settlement{confirmed(0)}, "", 3, true},
		{"above all", []settlement{confirmed(41)}, "", 3, true},
		{"above all that are settled", []settlement{confirmed(10), confirmed(20), confirmed(30), confirmed(40), confirmed(41)}, all, 3, true},
		{"the largest id", []settlement{rejected(1<<64 - 1)}, "", 3, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := windowPublisher(10, true)
			w := p.window
			addEntry(w, 10, 11)
			addEntry(w, 20, 21, 22)
			addEntry(w, 30, 31)
			addEntry(w, 40, 41, 42, 43)
			known := true
			for _, s := range test.said {
				known = w.settle(s.id, s.status, 0, "")
			}
			if known == test.bad {
				t.Errorf("the last was known: %v", known)
			}
			if got := w.free(); got != test.free {
				t.Errorf("%d free, want %d", got, test.free)
			}
			if got := outcomeText(takeRuns(t, p, nil)); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// TestWindowEmpty settles what a window never had.
func TestWindowEmpty(t *testing.T) {
	p := windowPublisher(1, true)
	for _, id := range []uint64{0, 1, 1<<64 - 1} {
		if p.window.settle(id, outcome.Confirmed, 0, "") {
			t.Errorf("a confirm of id %d was taken", id)
		}
	}
	p.window.abandon()
	if p.window.totals != (outcome.Totals{}) || len(p.window.runs) != 0 {
		t.Errorf("got %+v, %v", p.window.totals, p.window.runs)
	}
}

// TestWindowFree fills windows of every kind of size, with entries of one and of
// several messages, again and again, so that the rings turn. What was taken and
// not handed over occupies room as well.
func TestWindowFree(t *testing.T) {
	for _, size := range []int{1, 2, 3, 5, 1000, 1023, 1024, 1025, 5000} {
		for _, perEntry := range []int{1, 7} {
			for _, collect := range []bool{false, true} {
				t.Run(fmt.Sprint(size, " by ", perEntry, ", collect ", collect), func(t *testing.T) {
					testWindowFree(t, size, perEntry, collect)
				})
			}
		}
	}
}

func testWindowFree(t *testing.T, size, perEntry int, collect bool) {
	p := windowPublisher(size, collect)
	w := p.window
	free := func(want int, when string) {
		t.Helper()
		if got := w.free(); got != want {
			t.Fatalf("%d free %s, want %d", got, when, want)
		}
	}
	var taken []outcome.Outcome
	for round, id := 0, uint64(0); round < 5; round++ {
		first, begin := id+1, id
		for i := range size {
			free(size-i, "while it fills")
			w.add(uint64(round*size + i))
			if (i+1)%perEntry == 0 || i == size-1 {
				id++
				w.seal(id)
			}
		}
		free(0, "when full")
		for i := first; i <= id; i++ {
			if !w.settle(i, outcome.Confirmed, 0, "") {
				t.Fatal("unknown id", i)
			}
		}
		if !collect {
			free(size, "once all are confirmed")
			continue
		}
		free(0, "before the outcomes are taken")
		taken = takeRuns(t, p, taken)
		free(0, "before the outcomes are handed over")
		for i, o := range taken {
			if o.Ref != uint64(round*size+i) {
				t.Fatalf("round %d: outcome %d is of %d", round, i, o.Ref)
			}
		}
		taken = takeRuns(t, p, taken)
		free(size, "once the outcomes are handed over")
		if id == begin {
			t.Fatal("nothing was published")
		}
	}
}

// TestWindowKeepsRefs: a confirm of a later message is taken and handed over
// before an earlier message is confirmed, whose ref must not make room for that
// of a new message.
func TestWindowKeepsRefs(t *testing.T) {
	p := windowPublisher(100_000, true)
	w := p.window
	for i := range uint64(ringLeast) {
		addEntry(w, i+1, i)
	}
	w.settle(ringLeast/2+1, outcome.Confirmed, 0, "")
	takeRuns(t, p, takeRuns(t, p, nil))
	for id := range uint64(ringLeast / 2) {
		w.settle(id+1, outcome.Confirmed, 0, "")
	}
	for i := range uint64(2 * ringLeast) { // the ring turns, and grows
		addEntry(w, ringLeast+i+1, ringLeast+i)
	}
	for i, o := range takeRuns(t, p, nil) {
		if o.Ref != uint64(i) {
			t.Fatalf("outcome %d is of message %d", i, o.Ref)
		}
	}
}

// TestWindowAbandon: what has no outcome becomes Unknown, what was never sent
// too, and nothing that has one.
func TestWindowAbandon(t *testing.T) {
	p := windowPublisher(10, true)
	w := p.window
	addEntry(w, 1, 1, 2)
	addEntry(w, 2, 3)
	addEntry(w, 3, 4)
	w.add(5) // its batch is being filled
	w.settle(2, outcome.Rejected, 17, "precondition failed")
	w.abandon()
	w.abandon()
	taken := takeRuns(t, p, nil)
	if got, want := outcomeText(taken), "3 rejected, 1 unknown, 2 unknown, 4 unknown, 5 unknown"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if taken[0].Code != 17 || taken[0].Text != "precondition failed" || taken[1].Code != 0 {
		t.Errorf("codes and texts: %+v", taken)
	}
	if want := (outcome.Totals{Published: 5, Rejected: 1, Unknown: 4}); w.totals != want {
		t.Errorf("got %+v, want %+v", w.totals, want)
	}
	if bad := p.TakeFirstBad(); bad.Ref != 3 || bad.Status != outcome.Rejected {
		t.Errorf("the first bad one is %+v", bad)
	}
}

// TestWindowDifferentEnds: runs of messages are kept apart where their ends are.
func TestWindowDifferentEnds(t *testing.T) {
	p := windowPublisher(10, true)
	w := p.window
	for i := range uint64(6) {
		addEntry(w, i+1, i+1)
	}
	w.settle(1, outcome.Rejected, 17, "a")
	w.settle(2, outcome.Rejected, 18, "b")
	w.settle(3, outcome.Rejected, 18, "b")
	w.settle(4, outcome.Confirmed, 0, "")
	w.settle(6, outcome.Confirmed, 0, "")
	w.settle(5, outcome.Confirmed, 0, "")
	taken := takeRuns(t, p, nil)
	if got, want := outcomeText(taken), "1 rejected, 2 rejected, 3 rejected, 4 confirmed, 6 confirmed, 5 confirmed"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for i, code := range []uint16{17, 18, 18, 0, 0, 0} {
		if taken[i].Code != code {
			t.Errorf("outcome %d has code %d, want %d", i, taken[i].Code, code)
		}
	}
}

// BenchmarkWindow adds 256 entries and confirms them, with many others
// outstanding behind them, in the order of publishing and the newest first.
func BenchmarkWindow(b *testing.B) {
	const batch = 256
	for _, outstanding := range []int{0, 50_000} {
		for _, backwards := range []bool{false, true} {
			b.Run(fmt.Sprintf("outstanding=%d/backwards=%v", outstanding, backwards), func(b *testing.B) {
				w := newWindow(outstanding+batch, false)
				next := uint64(1)
				for range outstanding {
					addEntry(w, next, 0)
					next++
				}
				b.ReportAllocs()
				for b.Loop() {
					for range batch {
						w.add(0)
						w.seal(next)
						next++
					}
					first := next - uint64(outstanding) - batch
					for i := range uint64(batch) {
						id := first + i
						if backwards {
							id = first + batch - 1 - i
						}
						if !w.settle(id, outcome.Confirmed, 0, "") {
							b.Fatal("unknown id")
						}
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/entry")
			})
		}
	}
}
