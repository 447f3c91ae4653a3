package compare

import (
	"slices"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// Finding is one figure of two groups beside each other.
type Finding struct {
	Figure string  `json:"figure"` // its name
	A      float64 `json:"a"`      // the medians
	B      float64 `json:"b"`
	Ratio  float64 `json:"ratio"` // B / A; 0 where A is 0
	// P is the result of the rank test; nil where one side has too few runs for it.
	P *float64 `json:"p"`
	// Differs says that noise does not explain the difference.
	Differs bool `json:"differs"`
}

// Comparison is two groups beside each other.
type Comparison struct {
	A        string    `json:"a"` // the names of the groups
	B        string    `json:"b"`
	Findings []Finding `json:"findings"`
	// Least is the factor by which two rates have to differ at least to be told apart.
	Least float64 `json:"least"`
	// Unsteady is how far apart, as a factor, the rates of the fifths of a run are: what there is
	// of noise to see where a run is alone. It counts with few runs, and is 0 where it is not known.
	Unsteady float64 `json:"unsteady"`
	// Few says that there were too few runs for the rank test.
	Few bool `json:"few"`
}

const (
	// testLeast is how many runs each side must have for the rank test: with four, not even the
	// clearest difference is as unlikely as testLevel.
	testLeast = 5
	testLevel = 0.01
	// shortSeconds is what a run takes at most whose beginning and end are much of it.
	shortSeconds = 2
)

// compared reports whether a figure is one that is compared, where both sides have measured it.
func compared(name string) bool {
	switch name {
	case "send_rate", "receive_rate", "confirm_p50", "confirm_p99", "receive_p50", "receive_p99", "client_cpu", "broker_cpu":
		return true
	default:
		return false
	}
}

// Compare puts b beside a. With five runs of each, a figure differs where chance alone would
// bring that less often than once in a hundred times (RankTest), and the medians are at least
// 1.05 apart (for latencies 1.2). With fewer, where every run of one is above all of
// the other, and the medians are so far apart as runs of one kind never were: 1.25, and with
// a single run 1.5; 3 for runs of less than two seconds; and further than the fifths of a
// run are (Unsteady). Latencies take the square of that. A figure that only some of the runs have
// measured counts as if the others were not there.
func Compare(a, b Group) Comparison {
	c := Comparison{A: a.Name, B: b.Name, Least: least(min(len(a.Runs), len(b.Runs)), a.Runs, b.Runs)}
	if c.Few = min(len(a.Runs), len(b.Runs)) < testLeast; c.Few {
		c.Unsteady = max(unsteady(a.Runs), unsteady(b.Runs))
		c.Least = max(c.Least, c.Unsteady)
	}
	for _, figure := range result.Figures() {
		if !compared(figure.Name) {
			continue
		}
		of, beside := values(figure, a.Runs), values(figure, b.Runs)
		if len(of) == 0 || len(beside) == 0 {
			continue
		}
		enough := c.Least
		if fewest := min(len(of), len(beside)); fewest < testLeast && fewest < min(len(a.Runs), len(b.Runs)) {
			// What counts is how many have measured this figure.
			enough = max(least(fewest, a.Runs, b.Runs), unsteady(a.Runs), unsteady(b.Runs))
		}
		c.Findings = append(c.Findings, finding(figure, of, beside, enough))
	}
	return c
}

// Differences are the findings that noise does not explain.
func (c *Comparison) Differences() []Finding {
	var differences []Finding
	for _, f := range c.Findings {
		if f.Differs {
			differences = append(differences, f)
		}
	}
	return differences
}

// finding puts the values of a figure beside each other; enough is the factor by which rates have
// to differ at least.
func finding(figure result.Figure, a, b []float64, enough float64) Finding {
	f := Finding{Figure: figure.Name, A: Median(a), B: Median(b)}
	if f.A > 0 {
		f.Ratio = f.B / f.A
	}
	apart := f.Ratio
	if apart > 0 && apart < 1 {
		apart = 1 / apart
	}
	if figure.Unit == result.Seconds {
		enough = latencyLeast(enough)
	}
	if figure.Name == "client_cpu" || figure.Name == "broker_cpu" {
		enough = max(enough, 1.1) // which other work on the machine adds to
	}
	if min(len(a), len(b)) >= testLeast {
		p := RankTest(a, b)
		f.P, f.Differs = &p, p < testLevel && apart >= enough
		return f
	}
	f.Differs = apart >= enough && (slices.Min(a) > slices.Max(b) || slices.Min(b) > slices.Max(a))
	return f
}

// least is the factor by which rates have to differ at least, of which a side has so few.
func least(fewest int, a, b []*result.Run) float64 {
	short := slices.ContainsFunc(append(slices.Clone(a), b...), func(r *result.Run) bool {
		return result.Value(r.TotalSeconds) < shortSeconds && max(result.Value(r.SendSeconds), result.Value(r.ReceiveSeconds)) < shortSeconds
	})
	switch {
	case fewest >= testLeast:
		return 1.05
	case short:
		return 3
	case fewest == 1:
		return 1.5
	default:
		return 1.25
	}
}

func latencyLeast(least float64) float64 { return max(1.2, least*least) }

func values(figure result.Figure, runs []*result.Run) []float64 {
	var all []float64
	for _, r := range runs {
		if value := figure.Of(r); value != nil {
			all = append(all, *value)
		}
	}
	return all
}

// Median is the middle one of values, or the mean of the two in the middle; 0 of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]/2 + sorted[len(sorted)/2]/2 // whose sum may be too large
}
