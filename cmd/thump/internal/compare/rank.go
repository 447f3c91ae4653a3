package compare

import (
	"cmp"
	"math"
	"slices"
)

// exactMost is up to how many values on a side the rank test counts all orders.
const exactMost = 50

// RankTest is the rank test of Mann and Whitney, both sides: how likely it is that two sets of
// values differ in rank by as much as these, or more, if chance alone decided. It believes
// nothing of how the values spread. It is exact for up to 50 values on a side that all differ,
// and otherwise uses the normal distribution. With nothing on one side it is 1.
func RankTest(a, b []float64) float64 {
	if len(a) == 0 || len(b) == 0 {
		return 1
	}
	u, ties := rankSum(a, b)
	if ties == 0 && len(a) <= exactMost && len(b) <= exactMost {
		return exact(int(u), len(a), len(b))
	}
	return normal(u, ties, float64(len(a)), float64(len(b)))
}

// rankSum is in how many pairs the value of a is the larger; equal ones count half. ties is
// the sum of t^3-t over each t equal values.
func rankSum(a, b []float64) (u, ties float64) {
	type value struct {
		x   float64
		ofA bool
	}
	var all []value
	for _, x := range a {
		all = append(all, value{x, true})
	}
	for _, x := range b {
		all = append(all, value{x, false})
	}
	slices.SortFunc(all, func(p, q value) int { return cmp.Compare(p.x, q.x) })
	below := 0.0 // of b, so far
	for i := 0; i < len(all); {
		var equalA, equalB float64
		j := i
		for ; j < len(all) && all[j].x == all[i].x; j++ {
			if all[j].ofA {
				equalA++
			} else {
				equalB++
			}
		}
		u += equalA * (below + equalB/2)
		below += equalB
		t := equalA + equalB
		ties += t*t*t - t
		i = j
	}
	return u, ties
}

// exact counts the orders of n and m values whose u is as far from the middle as this one.
func exact(u, n, m int) float64 {
	// orders[i][k] is the number of orders of i of a's values and those of b's so far in which
	// k pairs have the larger of a.
	orders := make([][]float64, n+1)
	for i := range orders {
		orders[i] = make([]float64, n*m+1)
		orders[i][0] = 1 // without any of b
	}
	for j := 1; j <= m; j++ {
		for i := 1; i <= n; i++ {
			// The largest is of a, and j of b are below it; or it is of b.
			next := make([]float64, n*m+1)
			copy(next, orders[i])
			for k := 0; k+j <= n*m; k++ {
				next[k+j] += orders[i-1][k]
			}
			orders[i] = next
		}
	}
	u = min(u, n*m-u)
	var far, all float64
	for k, count := range orders[n] {
		all += count
		if k <= u {
			far += count
		}
	}
	return min(1, 2*far/all)
}

// normal is the same by the normal distribution.
func normal(u, ties, n, m float64) float64 {
	total := n + m
	spread := math.Sqrt(n * m / 12 * (total + 1 - ties/(total*(total-1))))
	if spread == 0 || math.IsNaN(spread) {
		return 1 // all are equal
	}
	distance := max(0, math.Abs(u-n*m/2)-0.5)
	return math.Erfc(distance / spread / math.Sqrt2)
}
