package ledger

import (
	"math"
	"testing"
)

// mustMix is bodies of three sizes.
func mustMix(t testing.TB, plan Plan) Format {
	t.Helper()
	f, err := Mixed(plan, []Share{{16, 1}, {17, 2}, {60, 1}}, 4711)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestMixedShares: of many messages each size has its share, and what is made is recognised.
func TestMixedShares(t *testing.T) {
	const count = 100_000
	shares := []Share{{100, 80}, {1000, 15}, {5000, 5}}
	f, err := Mixed(Plan{Count: count, Publishers: 3}, shares, 7)
	if err != nil {
		t.Fatal(err)
	}
	had := map[int]float64{}
	var body []byte
	for n := uint64(1); n <= count; n++ {
		body = f.Append(body[:0], n)
		had[len(body)]++
		if got, class := f.Parse(body); got != n || class != Ours {
			t.Fatalf("body %d parses as %d, class %d", n, got, class)
		}
	}
	for _, s := range shares {
		if got, want := had[s.Bytes], s.Weight/100*count; math.Abs(got-want) > want/10 {
			t.Errorf("%.0f bodies have %d bytes, want about %.0f", got, s.Bytes, want)
		}
	}
	if f.MaxSize() != 5000 {
		t.Errorf("the largest has %d bytes", f.MaxSize())
	}
	for _, wrong := range [][]Share{nil, {{15, 1}}, {{16, 0}}, {{16, math.NaN()}}, make([]Share, SharesMost+1)} {
		if _, err := Mixed(Plan{Count: 1, Publishers: 1}, wrong, 1); err == nil {
			t.Errorf("%v are taken", wrong)
		}
	}
}
