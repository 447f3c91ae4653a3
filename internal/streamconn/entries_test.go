package streamconn

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/streamproto"
)

// booked is entries, with the window that knows which of them are settled.
type booked struct {
	entries
	freed int // bytes
}

func newBooked() *booked {
	return &booked{entries: entries{carrier: newWindow(1<<20, false).Carry()}}
}

// add adds a run of entries, with the messages before end.
func (l *booked) add(id, end uint64, entries, bytes int) {
	l.carrier.Window().Lock()
	defer l.carrier.Window().Unlock()
	l.carrier.AddRun(int(end-l.end), nil)
	l.entries.add(id, end, entries, bytes)
}

// settle settles what a broker confirms with one frame, and returns the messages that get
// their outcome by it, and the first of those that it is about.
func (l *booked) settle(ids ...uint64) (first, messages uint64, published bool) {
	l.carrier.Window().Lock()
	defer l.carrier.Window().Unlock()
	in := idsOf(ids...)
	for i := 0; i < in.Len(); {
		at, many, n := l.saidMany(in, i)
		if n == 0 {
			return 0, 0, false
		}
		if open := l.carrier.Open(at, many); open > 0 {
			if messages == 0 {
				first = at
			}
			messages += open
		}
		l.carrier.Resolve(at, many, outcome.Confirmed, 0, "")
		i += n
	}
	l.freed += l.advance()
	return first, messages, true
}

// idsOf are ids as they are in a frame.
func idsOf(ids ...uint64) streamproto.IDs {
	f, _, err := streamproto.ParseFrame(streamproto.AppendPublishConfirm(nil, 0, ids...), streamproto.Limits{})
	if err != nil {
		panic(err)
	}
	_, in, err := streamproto.ParsePublishConfirm(f)
	if err != nil {
		panic(err)
	}
	return in
}

// confirmed is what a broker confirms with one frame, and what it should come to: the
// messages that get their outcome by it.
type confirmed struct {
	ids         []uint64
	first, many uint64
	refused     bool // no such entry was published
}

// TestEntries settles entries: 10 with the message 0, 20 with 1 and 2, 30 to 34 with 3 to 7,
// and 40 with 8 to 10.
func TestEntries(t *testing.T) {
	yes := func(first, many uint64, ids ...uint64) confirmed { return confirmed{ids, first, many, false} }
	again := func(ids ...uint64) confirmed { return confirmed{ids: ids} }
	never := func(ids ...uint64) confirmed { return confirmed{ids: ids, refused: true} }
	ten, twenty, thirty, forty := yes(0, 1, 10), yes(1, 2, 20), yes(3, 5, 30, 31, 32, 33, 34), yes(8, 3, 40)
	for _, test := range []struct {
		name string
		said []confirmed
		left uint64 // runs in flight, from the first that is not settled on
	}{
		{"none", nil, 4},
		{"in order", []confirmed{ten, twenty, thirty, forty}, 0},
		{"all at once", []confirmed{yes(0, 11, 10, 20, 30, 31, 32, 33, 34, 40)}, 0},
		{"all at once, backwards", []confirmed{yes(8, 11, 40, 34, 33, 32, 31, 30, 20, 10)}, 0},
		{"out of order", []confirmed{thirty, ten}, 3},
		{"out of order, then the first", []confirmed{twenty, thirty, ten}, 1},
		{"the last first", []confirmed{forty}, 4},
		{"backwards", []confirmed{forty, thirty, twenty, ten}, 0},
		{"a run in parts", []confirmed{ten, twenty, yes(3, 2, 30, 31), yes(5, 1, 32), yes(6, 2, 33, 34)}, 1},
		{"a run in parts, out of order", []confirmed{yes(5, 2, 32, 33), ten, twenty, yes(3, 2, 30, 31), yes(7, 1, 34)}, 1},
		{"a run but for one", []confirmed{ten, twenty, yes(3, 4, 30, 31, 33, 34), forty}, 2},
		{"a part of a run twice", []confirmed{ten, twenty, yes(3, 2, 30, 31), yes(3, 1, 30, 31, 32)}, 2},
		{"twice", []confirmed{ten, again(10)}, 3},
		{"twice in one", []confirmed{yes(0, 1, 10, 10)}, 3},
		{"twice, out of order", []confirmed{twenty, again(20)}, 4},
		{"twice, and one of all", []confirmed{ten, twenty, thirty, forty, again(10, 40), again(20)}, 0},
		{"an id between", []confirmed{never(15)}, 4},
		{"an id after a run", []confirmed{never(35)}, 4},
		{"an id before a run", []confirmed{never(29)}, 4},
		{"an id of a message within a batch", []confirmed{never(39)}, 4},
		{"below all", []confirmed{never(9)}, 4},
		{"0", []confirmed{never(0)}, 4},
		{"above all", []confirmed{never(41)}, 4},
		{"above all that are settled", []confirmed{ten, twenty, thirty, forty, never(41)}, 0},
		{"the largest id", []confirmed{never(1<<64 - 1)}, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newBooked()
			l.add(10, 1, 1, 100)
			l.add(20, 3, 1, 200)
			l.add(34, 8, 5, 300)
			l.add(40, 11, 1, 400)
			for _, s := range test.said {
				if first, many, published := l.settle(s.ids...); published == s.refused || first != s.first || many != s.many {
					t.Errorf("entries %d: %d messages from %d on, published %v", s.ids, many, first, published)
				}
			}
			if left := l.next - l.oldest; left != test.left {
				t.Errorf("%d runs are in flight, want %d", left, test.left)
			}
			if l.freed+l.bytes() != 1000 {
				t.Errorf("%d bytes are in flight, and %d are not", l.bytes(), l.freed)
			}
		})
	}
}

// TestEntriesLost loses the connection of entries 10, 20 and 30, of which 20 was settled, and
// takes 40 to 42, before the next connection has them, one after another: what it does not have
// can't be settled.
func TestEntriesLost(t *testing.T) {
	l := newBooked()
	l.add(10, 1, 1, 100)
	l.add(20, 3, 1, 200)
	l.add(30, 4, 1, 300)
	l.settle(20)
	l.lost()
	l.add(42, 7, 3, 400)
	l.unsent++
	if n, end := l.messages(l.carried), l.carriedEnd(); n != 2 || end != 4 || l.messages(l.next) != 5 {
		t.Errorf("%d messages, up to %d, were carried, %d in all", n, end, l.messages(l.next))
	}
	for i, ids := range [][]uint64{{10}, {20}, {30}, {40, 41, 42}} {
		if _, _, published := l.settle(ids...); published {
			t.Errorf("entry %d was settled before it was sent", ids[0])
		}
		if number, more := l.unsentNext(); !more || number != uint64(i) {
			t.Errorf("run %d is sent, %v, want %d", number, more, i)
		}
		if _, _, published := l.settle(ids...); !published {
			t.Errorf("entry %d was not settled once it was sent", ids[0])
		}
	}
	if _, more := l.unsentNext(); more || l.oldest != 4 || l.bytes() != 0 {
		t.Errorf("more is to be sent: %v, the oldest is %d", more, l.oldest)
	}
}

// TestEntriesForget: what was on a connection is settled, and the rest is not.
func TestEntriesForget(t *testing.T) {
	l := newBooked()
	l.add(10, 1, 1, 100)
	l.add(20, 3, 1, 200)
	l.settle(10)
	l.add(30, 4, 1, 300)
	l.add(40, 7, 1, 400)
	l.unsent++
	l.lost()
	if first, end, bytes := l.forget(); first != 1 || end != 4 || bytes != 500 {
		t.Errorf("messages %d to %d, %d bytes", first, end, bytes)
	}
	if number, more := l.unsentNext(); !more || number != 3 || l.bytes() != 400 {
		t.Errorf("run %d is sent, %v, %d bytes are in flight", number, more, l.bytes())
	}
	if _, _, published := l.settle(30); !published {
		t.Error("what was forgotten was never published")
	}
}

// TestEntriesRandom settles entries in random order, far around the ring, and
// compares with a map.
func TestEntriesRandom(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { testEntriesRandom(t, rand.New(rand.NewPCG(seed, 13))) })
	}
}

func testEntriesRandom(t *testing.T, random *rand.Rand) {
	type known struct {
		first, messages uint64
		settled         bool
	}
	l := newBooked()
	all := map[uint64]*known{}
	var open []uint64
	id, end, added := uint64(0), uint64(0), 0
	most := 1 + random.IntN(20*entriesLeast)
	for range 8000 {
		switch {
		case len(open) < most && random.IntN(3) == 0:
			id += 1 + random.Uint64N(3)
			entries, messages := 1, uint64(1)
			if random.IntN(2) == 0 {
				entries = 1 + random.IntN(20)
			} else {
				messages = 1 + random.Uint64N(5)
			}
			for i := range uint64(entries) {
				all[id+i] = &known{first: end, messages: messages}
				open = append(open, id+i)
				end += messages
			}
			id += uint64(entries - 1)
			l.add(id, end, entries, 1)
			added++
		case random.IntN(10) == 0: // an id that may be settled, or was never there
			asked := random.Uint64N(id + 3)
			want := all[asked]
			if want != nil && !want.settled {
				continue
			}
			if _, messages, published := l.settle(asked); messages != 0 || want != nil && !published {
				t.Fatalf("entry %d, settled already: %d messages, published %v", asked, messages, published)
			}
		case len(open) > 0:
			i := min(random.IntN(len(open)), random.IntN(20)) // mostly an old one
			asked := open[i : i+1+random.IntN(min(8, len(open)-i))]
			var want uint64
			for _, id := range asked {
				all[id].settled = true
				want += all[id].messages
			}
			if first, messages, published := l.settle(asked...); !published || first != all[asked[0]].first || messages != want {
				t.Fatalf("entries %d: %d messages from %d on, published %v, want %d from %d on", asked, messages, first, published, want, all[asked[0]].first)
			}
			open = append(open[:i], open[i+len(asked):]...)
		}
		if l.freed+l.bytes() != added || len(open) == 0 && l.bytes() != 0 {
			t.Fatalf("%d of %d runs are in flight, %d are not, and %d entries are open", l.bytes(), added, l.freed, len(open))
		}
	}
}
