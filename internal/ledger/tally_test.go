package ledger

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestTallyAgainstMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	tally := NewTally()
	consumers := []*TallyConsumer{tally.Consumer(), tally.Consumer()}
	came := map[uint64]bool{}
	var want TallyCounts
	n := uint64(1)
	for range 2000 {
		c := consumers[random.IntN(2)]
		switch random.IntN(6) {
		case 0:
			n = 1 + random.Uint64N(1000)
		case 1:
			n = []uint64{1, 95, pageLen - 10, 99_999_990, 9_999_999_999_999_995, 1<<64 - 10}[random.IntN(6)]
		case 2:
			c.Add(fmt.Appendf(nil, "Message %d!", n))
			want.Received++
		}
		for range random.IntN(20) {
			c.Add(fmt.Appendf(nil, "Message %d", n))
			want.Received++
			want.Highest = max(want.Highest, n)
			if n > 0 {
				want.Numbered++
				if came[n] {
					want.Repeated++
				}
			}
			came[n] = true
			n++ // past the greatest comes "Message 0", which is no number
		}
		c.Commit()
		if got := tally.Counts(); got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
}

func TestTallyKnowsTheHighestWhenPartial(t *testing.T) {
	tally := NewTally()
	c := tally.Consumer()
	for i := range uint64(tallyPages + 1) {
		c.Add(fmt.Appendf(nil, "Message %d", i*pageLen+1))
	}
	c.Commit()
	for _, n := range []uint64{5, 1 << 40, 6} {
		c.Add(fmt.Appendf(nil, "Message %d", n))
	}
	c.Commit()
	if got := tally.Counts(); !got.Partial || got.Highest != 1<<40 || got.Numbered != tallyPages+4 {
		t.Errorf("got %+v", got)
	}
}
