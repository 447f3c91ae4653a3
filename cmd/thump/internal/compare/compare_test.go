package compare

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// TestRankTest: values that tables of the test have.
func TestRankTest(t *testing.T) {
	for _, c := range []struct {
		a, b []float64
		want float64
	}{
		{[]float64{1, 2, 3}, []float64{4, 5, 6}, 0.1},                                      // 2 of 20 orders
		{[]float64{1, 2, 3, 4, 5}, []float64{6, 7, 8, 9, 10}, 2.0 / 252},                   //
		{[]float64{6, 7, 8, 9, 10}, []float64{1, 2, 3, 4, 5}, 2.0 / 252},                   //
		{[]float64{1, 2, 3, 4, 6}, []float64{5, 7, 8, 9, 10}, 4.0 / 252},                   // the next order
		{[]float64{1, 4, 5}, []float64{2, 3, 6}, 1},                                        // the middle
		{[]float64{5, 5, 5}, []float64{5, 5, 5}, 1},                                        // ties alone
		{nil, []float64{1}, 1},                                                             //
		{[]float64{1, 1, 2, 2, 3, 3, 4, 4}, []float64{5, 5, 6, 6, 7, 7, 8, 8}, 0.00085827}, // normal, with ties
	} {
		if got := RankTest(c.a, c.b); math.Abs(got-c.want) > 1e-4 {
			t.Errorf("%v beside %v: %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

// TestRankTestIsWrongAsOftenAsItSays: of sets from one distribution, it calls one in a hundred
// different at the level of a hundredth, or fewer; both ways of counting.
func TestRankTestIsWrongAsOftenAsItSays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{5, 10, 60} {
		const rounds = 1500
		wrong := 0
		for range rounds {
			a, b := make([]float64, n), make([]float64, n)
			for i := range n {
				a[i], b[i] = math.Exp(random.NormFloat64()), math.Exp(random.NormFloat64())
			}
			if RankTest(a, b) < 0.01 {
				wrong++
			}
		}
		if most := rounds / 100 * 3 / 2; wrong > most || wrong < rounds/100/3 {
			t.Errorf("%d values: %d of %d called different", n, wrong, rounds)
		}
	}
}

// rates makes a group of runs with rates around one.
func rates(random *rand.Rand, n int, rate, spread float64, prefetch int) Source {
	var s Source
	for range n {
		r := &result.Run{Command: "run", TotalSeconds: new(10.0), Settings: result.Settings{Queue: "q", Prefetch: prefetch, DiskFreeBytes: new(random.Uint64())}}
		r.SendRatePerSecond = new(rate * (1 + spread*random.NormFloat64()))
		r.ReceiveRatePerSecond = new(rate * (1 + spread*random.NormFloat64()))
		s.Runs = append(s.Runs, r)
	}
	return s
}

// TestCompare: runs of the same settings do not differ, whatever the number of runs, and another rate does.
func TestCompare(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{1, 2, 4, 5, 10} {
		wrong := 0
		for range 60 {
			groups := Groups(rates(random, n, 100_000, 0.07, 2000), rates(random, n, 100_000, 0.07, 2000))
			c := Compare(groups[0], groups[1])
			if len(c.Differences()) > 0 {
				wrong++
			}
			groups = Groups(rates(random, n, 100_000, 0.07, 2000), rates(random, n, 40_000, 0.07, 1))
			c = Compare(groups[0], groups[1])
			if len(c.Differences()) != 2 {
				t.Errorf("%d runs: %+v", n, c)
			}
			if c.Few != (n < 5) || c.Findings[0].P == nil != c.Few {
				t.Errorf("%d runs: %+v", n, c)
			}
		}
		if wrong > 2 {
			t.Errorf("%d runs: %d of 60 pairs called different", n, wrong)
		}
	}
}

// TestFewHaveMeasuredIt: a figure that one of five runs has is judged as of a single run.
func TestFewHaveMeasuredIt(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for _, c := range []struct {
		ratio float64
		want  bool
	}{{1.06, false}, {1.4, false}, {1.6, true}} {
		groups := Groups(rates(random, 5, 100_000, 0.001, 2000), rates(random, 5, 100_000*c.ratio, 0.001, 2000))
		for i, r := range groups[1].Runs {
			if r.SendRatePerSecond = nil; i > 0 {
				r.ReceiveRatePerSecond = nil
			}
		}
		found := Compare(groups[0], groups[1])
		if len(found.Findings) != 1 || found.Findings[0].Differs != c.want || found.Few {
			t.Errorf("%v times: %+v", c.ratio, found)
		}
	}
}

// TestGroupsOfAThousand: runs that all differ are each a group.
func TestGroupsOfAThousand(t *testing.T) {
	s := Source{Name: "a"}
	for i := range 1000 {
		s.Runs = append(s.Runs, &result.Run{Settings: result.Settings{Count: uint64(i)}}, &result.Run{Settings: result.Settings{Count: uint64(i)}})
	}
	groups := Groups(s, s)
	if len(groups) != 2000 || len(groups[999].Runs) != 2 || len(groups[1000].Runs) != 2 || groups[1000].Differs != nil || !slices.Equal(groups[1999].Differs, []string{"count 999"}) {
		t.Errorf("%d groups", len(groups))
	}
}

func TestGroups(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	one := rates(random, 2, 1, 0, 2000)
	one.Runs = append(one.Runs, rates(random, 1, 1, 0, 1).Runs...)
	one.Runs = append(one.Runs, rates(random, 1, 1, 0, 2000).Runs...)
	groups := Groups(one, rates(random, 3, 1, 0, 2000))
	if len(groups) != 3 || len(groups[0].Runs) != 3 || len(groups[1].Runs) != 1 || len(groups[2].Runs) != 3 {
		t.Fatalf("%+v", groups)
	}
	if !slices.Equal(groups[1].Differs, []string{"prefetch 1"}) || groups[2].Differs != nil || groups[2].Name != "C" {
		t.Errorf("%+v", groups)
	}
}

// TestNothingIsMinded: runs that measured nothing, no runs, and rates of 0.
func TestNothingIsMinded(t *testing.T) {
	if c := Compare(Group{}, Group{}); len(c.Findings) != 0 {
		t.Errorf("%+v", c)
	}
	none := &result.Run{SendRatePerSecond: new(0.0)}
	c := Compare(Group{Runs: []*result.Run{none}}, Group{Runs: []*result.Run{{SendRatePerSecond: new(5.0)}}})
	if len(c.Findings) != 1 || c.Findings[0].Differs {
		t.Errorf("%+v", c)
	}
	if Median(nil) != 0 || Median([]float64{3, 1}) != 2 {
		t.Error("the median")
	}
}

// TestUnsteady: a single run whose parts are far apart tells less.
func TestUnsteady(t *testing.T) {
	run := func(rate float64, apart uint64) Group {
		r := &result.Run{TotalSeconds: new(30.0), SendRatePerSecond: &rate, Samples: []result.Sample{{Seconds: 1}, {Seconds: 2}, {Seconds: 3}}}
		sent := uint64(0)
		for i := range 20 {
			if sent += 1000; i >= 16 { // the last fifth
				sent += 1000 * (apart - 1)
			}
			r.Samples = append(r.Samples, result.Sample{Seconds: float64(i + 4), Sent: sent})
		}
		for i := range 5 { // when all is sent
			r.Samples = append(r.Samples, result.Sample{Seconds: float64(i + 24), Sent: sent})
		}
		return Group{Runs: []*result.Run{r}}
	}
	if c := Compare(run(1000, 1), run(2000, 1)); math.Abs(c.Unsteady-1) > 1e-9 || !c.Findings[0].Differs {
		t.Errorf("%+v", c)
	}
	if c := Compare(run(1000, 1), run(2000, 3)); math.Abs(c.Unsteady-3) > 1e-9 || c.Least != c.Unsteady || c.Findings[0].Differs {
		t.Errorf("%+v", c)
	}
	few := Group{Runs: []*result.Run{{Samples: make([]result.Sample, 3)}}}
	if c := Compare(few, few); c.Unsteady != 0 {
		t.Errorf("%+v", c)
	}
}
