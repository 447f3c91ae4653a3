package streamconn

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// said is what a broker says of an entry, and what it should come to: the
// messages that get their outcome by it.
type said struct {
	id          uint64
	first, many uint64
	refused     bool // no such entry was published
}

// TestEntries settles entries: 10 with the message 0, 20 with 1 and 2, 30 with 3,
// and 40 with 4 to 6.
func TestEntries(t *testing.T) {
	ten, twenty, thirty, forty := said{10, 0, 1, false}, said{20, 1, 2, false}, said{30, 3, 1, false}, said{40, 4, 3, false}
	again := func(id uint64) said { return said{id: id} }
	never := func(id uint64) said { return said{id: id, refused: true} }
	for _, test := range []struct {
		name string
		said []said
		left uint64 // entries in flight, from the first that is not settled on
	}{
		{"none", nil, 4},
		{"in order", []said{ten, twenty, thirty, forty}, 0},
		{"out of order", []said{thirty, ten}, 3},
		{"out of order, then the first", []said{twenty, thirty, ten}, 1},
		{"the last first", []said{forty}, 4},
		{"backwards", []said{forty, thirty, twenty, ten}, 0},
		{"twice", []said{ten, again(10)}, 3},
		{"twice, out of order", []said{twenty, again(20)}, 4},
		{"twice, and one of all", []said{ten, twenty, thirty, forty, again(10), again(40), again(20)}, 0},
		{"an id between", []said{never(15)}, 4},
		{"an id of a message within a batch", []said{never(39)}, 4},
		{"below all", []said{never(9)}, 4},
		{"0", []said{never(0)}, 4},
		{"above all", []said{never(41)}, 4},
		{"above all that are settled", []said{ten, twenty, thirty, forty, never(41)}, 0},
		{"the largest id", []said{never(1<<64 - 1)}, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			var e entries
			e.add(10, 1, 100)
			e.add(20, 3, 200)
			e.add(30, 4, 300)
			e.add(40, 7, 400)
			bytes := 1000
			for _, s := range test.said {
				got, published := e.settle(s.id)
				if published == s.refused || got.first != s.first || uint64(got.count) != s.many {
					t.Errorf("entry %d: messages %d and %d more, published %v", s.id, got.first, got.count, published)
				}
				bytes -= int(got.bytes)
			}
			if left := e.next - e.oldest; left != test.left {
				t.Errorf("%d entries are in flight, want %d", left, test.left)
			}
			if e.bytes() != bytes {
				t.Errorf("%d bytes are in flight, want %d", e.bytes(), bytes)
			}
		})
	}
}

// TestEntriesLost loses the connection of entries 10, 20 and 30, of which 20 was settled, and
// takes 40, before the next connection has them, one after another: what it does not have
// can't be settled.
func TestEntriesLost(t *testing.T) {
	var e entries
	e.add(10, 1, 100)
	e.add(20, 3, 200)
	e.add(30, 4, 300)
	e.settle(20)
	e.lost()
	e.add(40, 7, 400)
	e.unsent++
	if n, end := e.messages(e.carried), e.carriedEnd(); n != 2 || end != 4 || e.messages(e.next) != 5 {
		t.Errorf("%d messages, up to %d, were carried, %d in all", n, end, e.messages(e.next))
	}
	for _, want := range []struct{ number, id uint64 }{{0, 10}, {2, 30}, {3, 40}} {
		if _, published := e.settle(want.id); published {
			t.Errorf("entry %d was settled before it was sent", want.id)
		}
		if number, more := e.unsentNext(); !more || number != want.number {
			t.Errorf("entry %d is sent, %v, want %d", number, more, want.number)
		}
		if got, published := e.settle(want.id); !published || got.id != want.id {
			t.Errorf("entry %d was not settled once it was sent", want.id)
		}
	}
	if _, more := e.unsentNext(); more || e.oldest != 4 {
		t.Errorf("more is to be sent: %v, the oldest is %d", more, e.oldest)
	}
}

// TestEntriesForget: what was on a connection is settled, and the rest is not.
func TestEntriesForget(t *testing.T) {
	var e entries
	e.add(10, 1, 100)
	e.add(20, 3, 200)
	e.settle(10)
	e.add(30, 4, 300)
	e.add(40, 7, 400)
	e.unsent++
	e.lost()
	if first, end, bytes := e.forget(); first != 1 || end != 4 || bytes != 500 {
		t.Errorf("messages %d to %d, %d bytes", first, end, bytes)
	}
	if number, more := e.unsentNext(); !more || number != 3 || e.bytes() != 400 {
		t.Errorf("entry %d is sent, %v, %d bytes are in flight", number, more, e.bytes())
	}
	if _, published := e.settle(30); !published {
		t.Error("what was forgotten was never published")
	}
}

// TestEntriesRandom settles entries in random order, far around the ring, and
// compares with a map.
func TestEntriesRandom(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 13))
			var e entries
			type known struct {
				first   uint64
				count   uint32
				settled bool
			}
			all := map[uint64]*known{}
			var open []uint64
			id, end := uint64(0), uint64(0)
			most := 1 + random.IntN(3*entriesLeast)
			for range 20_000 {
				switch {
				case len(open) < most && random.IntN(2) == 0:
					id += 1 + random.Uint64N(3)
					count := 1 + random.Uint32N(5)
					e.add(id, end+uint64(count), 1)
					all[id] = &known{first: end, count: count}
					open = append(open, id)
					end += uint64(count)
				case random.IntN(10) == 0: // an id that may be settled, or was never there
					asked := random.Uint64N(id + 3)
					want := all[asked]
					if want != nil && !want.settled {
						continue
					}
					got, published := e.settle(asked)
					if got.count != 0 || want != nil && !published {
						t.Fatalf("entry %d, settled already: %+v, published %v", asked, got, published)
					}
				case len(open) > 0:
					i := min(random.IntN(len(open)), random.IntN(20)) // mostly an old one
					asked := open[i]
					open = append(open[:i], open[i+1:]...)
					got, published := e.settle(asked)
					want := all[asked]
					if !published || got.first != want.first || got.count != want.count {
						t.Fatalf("entry %d: %+v, published %v, want %+v", asked, got, published, *want)
					}
					want.settled = true
				}
				if e.bytes() != len(open) {
					t.Fatalf("%d entries are in flight, want %d", e.bytes(), len(open))
				}
			}
		})
	}
}
