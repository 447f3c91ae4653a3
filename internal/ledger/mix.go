package ledger

import (
	"fmt"
	"sort"
)

// Share is a size of bodies, and how many have it among those of other sizes.
type Share struct {
	Bytes  int
	Weight float64
}

// SharesMost is the most sizes that the bodies of a run may have.
const SharesMost = 100

// Mixed returns the format of bodies of several sizes, each at least MinBodySize and with a
// weight above 0. Which message has which size is drawn once for all: who knows the run number can
// tell it from the message's number. They are read one by one, and not by spans as those of
// one size.
func Mixed(plan Plan, shares []Share, run uint32) (Format, error) {
	if len(shares) == 0 || len(shares) > SharesMost {
		return Format{}, fmt.Errorf("ledger: bodies of %d sizes, want 1 to %d", len(shares), SharesMost)
	}
	largest, total := 0, 0.0
	for _, s := range shares {
		if s.Bytes < MinBodySize || !(s.Weight > 0) {
			return Format{}, fmt.Errorf("ledger: body of %d bytes with the weight %v, want %d bytes or more and a weight above 0", s.Bytes, s.Weight, MinBodySize)
		}
		largest, total = max(largest, s.Bytes), total+s.Weight
	}
	f := Format{plan: plan, sized: newSized(largest, run), mix: &mix{salt: scramble(uint64(run))}}
	var sum float64
	for _, s := range shares {
		sum += s.Weight
		f.mix.sizes = append(f.mix.sizes, newSized(s.Bytes, run))
		f.mix.upTo = append(f.mix.upTo, sum/total)
	}
	return f, nil
}

// mix is bodies of several sizes.
type mix struct {
	sizes []*sized
	upTo  []float64 // the sums of the weights, up to 1
	salt  uint64
}

// of returns what the body with that identity is like.
func (m *mix) of(id uint64) *sized {
	draw := float64(scramble(id^m.salt)>>11) / (1 << 53)
	i := sort.SearchFloat64s(m.upTo, draw)
	return m.sizes[min(i, len(m.sizes)-1)]
}

// scramble makes of each number another one that looks like drawn at random (splitmix64).
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// of returns what the sized body with that identity is like.
func (f *Format) of(id uint64) *sized {
	if f.mix == nil {
		return f.sized
	}
	return f.mix.of(id)
}

// appendMixed is AppendRun for bodies of several sizes.
func (f *Format) appendMixed(dst []byte, first uint64, n int, ends []int) ([]byte, []int) {
	for i := range uint64(n) {
		dst = f.Append(dst, first+i)
		ends = append(ends, len(dst))
	}
	return dst, ends
}
