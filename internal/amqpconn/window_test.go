package amqpconn

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

var noRoute = returnReason{312, "NO_ROUTE"}

// refs adds mandatory messages to a window, each with its ref for its print.
func addRefs(w *window, refs ...uint64) {
	for _, ref := range refs {
		w.add(ref, ref, true)
	}
}

// outcomes writes outcomes as "1 confirmed, 2 rejected".
func outcomeText(outcomes []Outcome) string {
	names := map[Status]string{Confirmed: "confirmed", Rejected: "rejected", Returned: "returned", Unknown: "unknown"}
	var words []string
	for _, o := range outcomes {
		words = append(words, fmt.Sprintf("%d %s", o.Ref, names[o.Status]))
	}
	return strings.Join(words, ", ")
}

// TestWindow gives confirms to a window of four messages, refs 11 to 14.
func TestWindow(t *testing.T) {
	type confirm struct {
		sequence uint64
		multiple bool
		status   Status
	}
	ack := func(s uint64) confirm { return confirm{s, false, Confirmed} }
	ackTo := func(s uint64) confirm { return confirm{s, true, Confirmed} }
	nack := func(s uint64) confirm { return confirm{s, false, Rejected} }
	nackTo := func(s uint64) confirm { return confirm{s, true, Rejected} }
	for _, test := range []struct {
		name     string
		confirms []confirm
		want     string
		inFlight int
		bad      bool // the last confirm is refused
	}{
		{"none", nil, "", 4, false},
		{"one by one", []confirm{ack(1), ack(2), ack(3), ack(4)}, "11 confirmed, 12 confirmed, 13 confirmed, 14 confirmed", 0, false},
		{"out of order", []confirm{ack(3), ack(1)}, "13 confirmed, 11 confirmed", 3, false},
		{"out of order, then the first", []confirm{ack(2), ack(3), ack(1)}, "12 confirmed, 13 confirmed, 11 confirmed", 1, false},
		{"multiple", []confirm{ackTo(3)}, "11 confirmed, 12 confirmed, 13 confirmed", 1, false},
		{"multiple over a hole", []confirm{nack(2), ackTo(4)}, "12 rejected, 11 confirmed, 13 confirmed, 14 confirmed", 0, false},
		{"multiple of what is settled", []confirm{ackTo(3), ackTo(2)}, "11 confirmed, 12 confirmed, 13 confirmed", 1, false},
		{"all", []confirm{ackTo(0)}, "11 confirmed, 12 confirmed, 13 confirmed, 14 confirmed", 0, false},
		{"all of none", []confirm{ackTo(0), ackTo(0), nackTo(0)}, "11 confirmed, 12 confirmed, 13 confirmed, 14 confirmed", 0, false},
		{"nacks", []confirm{nack(1), nackTo(3)}, "11 rejected, 12 rejected, 13 rejected", 1, false},
		{"nack of all", []confirm{nackTo(0)}, "11 rejected, 12 rejected, 13 rejected, 14 rejected", 0, false},
		{"ack twice", []confirm{ack(1), ack(1)}, "11 confirmed", 3, false},
		{"ack twice out of order", []confirm{ack(2), ack(2)}, "12 confirmed", 4, false},
		{"nack after ack", []confirm{ack(1), nack(1)}, "11 confirmed", 3, false},
		{"ack after nack", []confirm{nack(2), ackTo(2)}, "12 rejected, 11 confirmed", 2, false},
		{"never published", []confirm{ack(5)}, "", 4, true},
		{"never published, multiple", []confirm{ackTo(5)}, "", 4, true},
		{"the largest number", []confirm{ack(1<<64 - 1)}, "", 4, true},
		{"the largest number, multiple", []confirm{ackTo(1<<64 - 1)}, "", 4, true},
		{"0 without multiple", []confirm{ack(0)}, "", 4, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWindow(4, true)
			addRefs(w, 11, 12, 13, 14)
			var err error
			for _, c := range test.confirms {
				err = w.confirm(c.sequence, c.multiple, c.status)
			}
			if (err != nil) != test.bad {
				t.Errorf("error %v", err)
			}
			if got := outcomeText(w.take(nil)); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if w.inFlight() != test.inFlight {
				t.Errorf("%d in flight, want %d", w.inFlight(), test.inFlight)
			}
		})
	}
}

// TestWindowEmpty gives confirms to a window that never had a message.
func TestWindowEmpty(t *testing.T) {
	w := newWindow(1, true)
	if err := w.confirm(1, false, Confirmed); err == nil {
		t.Error("a confirm of message 1 was taken")
	}
	if err := w.confirm(0, true, Confirmed); err != nil {
		t.Error("a confirm of all:", err)
	}
	w.abandon()
	if w.totals != (Totals{}) || len(w.take(nil)) != 0 {
		t.Errorf("got %+v", w.totals)
	}
}

// TestWindowFree fills windows whose size is no power of two.
func TestWindowFree(t *testing.T) {
	for _, size := range []int{1, 2, 3, 5, 1000, 1024} {
		w := newWindow(size, true)
		for i := range size {
			if got := w.free(size); got != size-i {
				t.Fatalf("size %d: %d free with %d in it", size, got, i)
			}
			w.add(uint64(i), 0, false)
		}
		if got := w.free(size); got != 0 {
			t.Errorf("size %d: %d free when full", size, got)
		}
		if err := w.confirm(0, true, Confirmed); err != nil {
			t.Fatal(err)
		}
		if got := w.free(size); got != 0 {
			t.Errorf("size %d: %d free before the outcomes were taken", size, got)
		}
		w.take(nil)
		if got := w.free(size); got != size {
			t.Errorf("size %d: %d free afterwards", size, got)
		}
	}
}

// TestWindowReturns matches returns to messages by their prints.
func TestWindowReturns(t *testing.T) {
	for _, test := range []struct {
		name    string
		prints  []uint64 // of the messages 1, 2, ...
		settled uint64   // confirmed before the returns
		returns []uint64
		found   int // of the returns
		want    string
	}{
		{"one", []uint64{7, 8, 9}, 0, []uint64{8}, 1, "1 confirmed, 2 returned, 3 confirmed"},
		{"among equals the oldest", []uint64{7, 7, 7}, 0, []uint64{7}, 1, "1 returned, 2 confirmed, 3 confirmed"},
		{"two of three equals", []uint64{7, 7, 7}, 0, []uint64{7, 7}, 2, "1 returned, 2 returned, 3 confirmed"},
		{"all", []uint64{7, 7, 7}, 0, []uint64{7, 7, 7}, 3, "1 returned, 2 returned, 3 returned"},
		{"one too many", []uint64{7, 7}, 0, []uint64{7, 7, 7}, 2, "1 returned, 2 returned"},
		{"not one that is confirmed", []uint64{7, 7, 7}, 1, []uint64{7}, 1, "1 confirmed, 2 returned, 3 confirmed"},
		{"unknown", []uint64{7, 8}, 0, []uint64{9}, 0, "1 confirmed, 2 confirmed"},
		{"of a message that is confirmed", []uint64{7, 8}, 1, []uint64{7}, 0, "1 confirmed, 2 confirmed"},
		{"an equal one behind another", []uint64{7, 8, 7}, 0, []uint64{8, 7}, 2, "1 confirmed, 2 returned, 3 returned"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWindow(4, true)
			for i, print := range test.prints {
				w.add(uint64(i)+1, print, true)
			}
			var got []Outcome
			if test.settled > 0 {
				if err := w.confirm(test.settled, true, Confirmed); err != nil {
					t.Fatal(err)
				}
				got = append(got, w.take(nil)...)
			}
			found := 0
			for _, print := range test.returns {
				if w.markReturned(print, noRoute) {
					found++
				}
			}
			if err := w.confirm(0, true, Confirmed); err != nil {
				t.Fatal(err)
			}
			got = append(got, w.take(nil)...)
			if found != test.found || outcomeText(got) != test.want {
				t.Errorf("%d found, %s\nwant %d, %s", found, outcomeText(got), test.found, test.want)
			}
			for _, o := range got {
				if o.Status == Returned && (o.Code != 312 || o.Text != "NO_ROUTE") {
					t.Errorf("returned with %d %q", o.Code, o.Text)
				}
			}
		})
	}
}

// TestWindowNotMandatory returns a message that was not published so.
func TestWindowNotMandatory(t *testing.T) {
	w := newWindow(2, false)
	w.add(1, 0, false)
	if w.markReturned(0, noRoute) {
		t.Error("a message without the mandatory flag was taken for returned")
	}
}

// TestWindowReturnedThenNacked: the broker spoke of it, so it is not unknown
// and not rejected.
func TestWindowReturnedThenNacked(t *testing.T) {
	w := newWindow(4, true)
	addRefs(w, 1, 2, 3)
	w.markReturned(1, noRoute)
	w.markReturned(2, noRoute)
	if err := w.confirm(1, false, Rejected); err != nil {
		t.Fatal(err)
	}
	w.abandon()
	if got, want := outcomeText(w.take(nil)), "1 returned, 2 returned, 3 unknown"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if want := (Totals{Published: 3, Returned: 2, Unknown: 1}); w.totals != want {
		t.Errorf("got %+v, want %+v", w.totals, want)
	}
	if w.firstBad.Ref != 1 {
		t.Errorf("the first bad one is %+v", w.firstBad)
	}
	if w.inFlight() != 0 {
		t.Errorf("%d in flight", w.inFlight())
	}
}

// TestWindowReturnSlotReused: a message must not inherit the return of the one
// that had its slot before.
func TestWindowReturnSlotReused(t *testing.T) {
	w := newWindow(1, true)
	for ref := range uint64(4) {
		w.add(ref, 7, true)
		if ref%2 == 0 && !w.markReturned(7, noRoute) {
			t.Fatal("return not taken")
		}
		if err := w.confirm(ref+1, false, Confirmed); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := outcomeText(w.take(nil)), "0 returned, 1 confirmed, 2 returned, 3 confirmed"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestWindowRandom runs a window against a map that does the same slowly, far
// around the ring.
func TestWindowRandom(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		size := 1 + random.IntN(70)
		w := newWindow(size, true)
		want := map[uint64]Status{} // by ref
		got := map[uint64]Status{}
		open := map[uint64]bool{} // sequences
		returned := map[uint64]bool{}
		settle := func(s uint64, status Status) {
			if !open[s] {
				return
			}
			delete(open, s)
			want[s+1000] = status
			if returned[s] {
				want[s+1000] = Returned
			}
		}
		for range 3000 {
			s := w.next - min(w.next-1, uint64(random.IntN(size+3)))
			switch random.IntN(8) {
			case 0, 1, 2:
				if w.free(size) > 0 {
					open[w.next] = true
					w.add(w.next+1000, w.next, true)
				}
			case 3, 4:
				status := Confirmed + Status(random.IntN(2))
				if err := w.confirm(s, false, status); (err != nil) != (s >= w.next) {
					t.Fatalf("seed %d: confirm of %d: %v", seed, s, err)
				}
				settle(s, status)
			case 5:
				if err := w.confirm(s, true, Confirmed); err == nil {
					for before := s; before > 0 && before+uint64(size)+1 > s; before-- {
						settle(before, Confirmed)
					}
				}
			case 6:
				for _, o := range w.take(nil) {
					if got[o.Ref] != 0 {
						t.Fatalf("seed %d: a second outcome for %d", seed, o.Ref)
					}
					got[o.Ref] = o.Status
				}
			default:
				if s >= w.nextReturn && open[s] {
					returned[s] = w.markReturned(s, noRoute)
				}
			}
			if free := w.free(size); free > size {
				t.Fatalf("seed %d: %d free of %d", seed, free, size)
			}
		}
		w.abandon()
		for s := range open {
			settle(s, Unknown)
		}
		for _, o := range w.take(nil) {
			got[o.Ref] = o.Status
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: got %v\nwant %v", seed, got, want)
		}
		if n := w.totals; n.Published != n.Confirmed+n.Rejected+n.Returned+n.Unknown || n.Published != uint64(len(want)) {
			t.Errorf("seed %d: totals %+v, %d messages", seed, n, len(want))
		}
	}
}

// BenchmarkWindow adds 256 messages and confirms 256 with one multiple ack, with
// that many others outstanding.
func BenchmarkWindow(b *testing.B) {
	for _, outstanding := range []int{0, 50_000} {
		for _, collect := range []bool{false, true} {
			b.Run(fmt.Sprintf("outstanding=%d/collect=%v", outstanding, collect), func(b *testing.B) {
				const batch = 256
				w := newWindow(outstanding+batch, collect)
				for i := range outstanding {
					w.add(uint64(i), 1, true)
				}
				taken := make([]Outcome, 0, batch)
				w.outcomes = make([]Outcome, 0, batch)
				b.ReportAllocs()
				for b.Loop() {
					for i := range uint64(batch) {
						w.add(i, 1, true)
					}
					if err := w.confirm(w.oldest+batch-1, true, Confirmed); err != nil {
						b.Fatal(err)
					}
					taken = w.take(taken)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/msg")
			})
		}
	}
}

// BenchmarkWindowOutOfOrder confirms messages one by one, the newest of each
// batch first, which leaves a hole until the last.
func BenchmarkWindowOutOfOrder(b *testing.B) {
	const batch = 256
	w := newWindow(batch, false)
	b.ReportAllocs()
	for b.Loop() {
		for i := range uint64(batch) {
			w.add(i, 1, true)
		}
		first := w.oldest
		for i := range uint64(batch) {
			if err := w.confirm(first+batch-1-i, false, Confirmed); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/msg")
}
