package ledger

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSetAgainstBools puts ranges, often to the borders of pages, into two sets
// until they are full, and wants them to be what slices of bools are.
func TestSetAgainstBools(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	const pages, count = 3, 3 * pageLen
	border := func() uint64 {
		if random.IntN(2) == 0 {
			return random.Uint64N(count)
		}
		return min(random.Uint64N(pages+1)*pageLen-min(random.Uint64N(5), 2), count-1) // wraps to the end
	}
	var sets [2]set
	plain := [2][]bool{make([]bool, count), make([]bool, count)}
	for sets[0].len < count || sets[1].len < count {
		i := random.IntN(2)
		first, last := border(), border()
		if first > last {
			first, last = last, first
		}
		if random.IntN(2) == 0 {
			last = min(last, first+random.Uint64N(100))
		}
		var want fresh
		var repeated []Range
		for n := first; n <= last; n++ {
			if plain[i][n] {
				repeated = appendRange(repeated, Range{n, n})
				continue
			}
			plain[i][n] = true
			if want.n == 0 {
				want.first = n
			}
			want.n, want.last = want.n+1, n
		}
		if got, ok := sets[i].addRange(first, last); got != want || !ok {
			t.Fatalf("%d to %d: added %+v, want %+v", first, last, got, want)
		}
		if !slices.Equal(sets[i].repeated, repeated) {
			t.Fatalf("%d to %d: there were %v, want %v", first, last, sets[i].repeated, repeated)
		}
		if random.IntN(4) == 0 {
			sets[i] = sets[i].clone()
		}
		compareSets(t, &sets, &plain, border())
	}
}

func compareSets(t *testing.T, sets *[2]set, plain *[2][]bool, at uint64) {
	t.Helper()
	var common uint64
	var all, from [2]uint64
	for n := range plain[0] {
		for i := range plain {
			if plain[i][n] {
				all[i]++
				if uint64(n) >= at {
					from[i]++
				}
			}
		}
		if plain[0][n] && plain[1][n] {
			common++
		}
	}
	for i := range sets {
		s := &sets[i]
		if s.len != all[i] || s.from(at) != from[i] || s.common(&sets[1-i]) != common || s.has(at) != plain[i][at] {
			t.Fatalf("%d numbers, %d from %d, %d in both, %d is there: %t; want %d, %d, %d, %t",
				s.len, s.from(at), at, s.common(&sets[1-i]), at, s.has(at), all[i], from[i], common, plain[i][at])
		}
	}
}

func TestSetLimit(t *testing.T) {
	s := set{limit: 2}
	if _, ok := s.addRange(pageLen, 3*pageLen-1); !ok {
		t.Fatal("two pages have no room")
	}
	if got, ok := s.addRange(0, 0); ok || got.n != 0 {
		t.Errorf("a third page was added with %+v", got)
	}
	if got, ok := s.addRange(pageLen+5, 2*pageLen+5); !ok || got.n != 0 {
		t.Errorf("what is there: %+v, %t", got, ok)
	}
}
