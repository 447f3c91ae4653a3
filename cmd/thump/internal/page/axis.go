package page

import (
	"fmt"
	"math"
	"strings"
)

// tick is a mark of an axis: where it is, in percent of the axis, and what stands there.
type tick struct {
	At   string // "12.5%"
	Text string
}

// axis maps values to parts of its length, from 0 to 1.
type axis struct {
	low, high float64
	log       bool
}

func (a axis) at(x float64) float64 {
	if a.log {
		return (math.Log10(x) - math.Log10(a.low)) / (math.Log10(a.high) - math.Log10(a.low))
	}
	return (x - a.low) / (a.high - a.low)
}

// What axes reach. What a record says beyond is no measurement, and is drawn at the edge.
const (
	least = 1e-9
	most  = 1e18
)

// upTo returns an axis from zero to a round number that is not below the largest value, and
// its ticks.
func upTo(largest float64) (axis, []float64) {
	largest = min(most, largest)
	if !(largest >= least) {
		largest = 1
	}
	step := round(largest / 4)
	a := axis{high: math.Ceil(largest/step-1e-9) * step}
	var ticks []float64
	for i := 0; float64(i)*step <= a.high*1.001; i++ {
		ticks = append(ticks, float64(i)*step)
	}
	return a, ticks
}

// decades returns a logarithmic axis over whole powers of ten, and its ticks.
func decades(smallest, largest float64) (axis, []float64) {
	smallest, largest = min(most, max(least, smallest)), min(most, max(least, largest))
	low, high := math.Floor(math.Log10(smallest)+1e-9), math.Ceil(math.Log10(largest)-1e-9)
	high = max(high, low+1)
	var ticks []float64
	for e := low; e <= high; e++ {
		ticks = append(ticks, math.Pow(10, e))
	}
	return axis{low: math.Pow(10, low), high: math.Pow(10, high), log: true}, ticks
}

// round is the smallest of 1, 2, 2.5 and 5 times a power of ten that is not below x.
func round(x float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if m*power >= x*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// timeSteps returns the distances that ticks on an axis of time may have, in seconds.
func timeSteps() []float64 {
	return []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400}
}

// timeTicks are at most six marks on an axis of time. The script does the same.
func timeTicks(end float64) []tick {
	step := end / 6
	for _, s := range timeSteps() {
		if end/s <= 6 {
			step = s
			break
		}
	}
	var ticks []tick
	for i := 0; float64(i)*step <= end*(1+1e-9) && i < 8; i++ {
		t := float64(i) * step
		ticks = append(ticks, tick{at(t / end), clock(t, end)})
	}
	return ticks
}

// clock writes a time since the begin of a run that took end: "12 s", "1:30", "2:05:00".
func clock(t, end float64) string {
	if end <= 120 {
		return strings.TrimSuffix(fmt.Sprintf("%.4g", math.Round(t*100)/100), ".0") + " s"
	}
	s := int(math.Round(t))
	if end < 3600 {
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// at writes a part of an axis as a percentage.
func at(part float64) string { return fmt.Sprintf("%.2f%%", min(1, max(0, part))*100) }

// short writes a number for an axis: 0, 250, 50k, 1.5M.
func short(x float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if x >= unit.size {
			return trim(x/unit.size) + unit.name
		}
	}
	return trim(x)
}

// shortBytes writes a size for an axis.
func shortBytes(x float64) string {
	if x < 1e3 {
		return trim(x) + " B"
	}
	text := short(x)
	return text[:len(text)-1] + " " + text[len(text)-1:] + "B"
}

// shortTime writes a duration for an axis: 10 µs, 1 ms, 2.5 s.
func shortTime(x float64) string {
	switch {
	case x == 0:
		return "0"
	case x < 0.9999e-6:
		return trim(x*1e9) + " ns"
	case x < 0.9999e-3:
		return trim(x*1e6) + " µs"
	case x < 0.9999:
		return trim(x*1e3) + " ms"
	default:
		return trim(x) + " s"
	}
}

func trim(x float64) string { return fmt.Sprintf("%.4g", x) }
