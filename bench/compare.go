package main

import (
	"fmt"
	"slices"
	"strings"
)

// buildTolerance is how much slower than another build this one may be.
const buildTolerance = 0.03

// sides are who is compared: a peer, the same again, and the baseline.
type sides struct{ this, again, baseline string }

// sidesOf are those of a scenario, and how much slower than the baseline the peer may be, in
// addition to what it differs from itself.
func sidesOf(s scenario) (of sides, toleranceShare float64) {
	if s.Command {
		return sides{runTitle, runAgain, aloneTitle}, s.CostMost
	}
	return sides{thumpTitle, thumpAgain, baselineTitle}, buildTolerance
}

// noisyShare is how much a build may differ from itself before neither verdict is
// worth much.
const noisyShare = 0.10

// comparison is a peer beside its baseline in one scenario: thump beside another build, or the
// command beside the package. Machines change
// within minutes, so values are compared only within a round, where the peers
// follow each other closely.
type comparison struct {
	Scenario string `json:"scenario"`
	Peer     string `json:"peer"`
	Baseline string `json:"baseline"` // the peer that it is compared with
	// ToleranceShare is how much slower than that it may be, in addition to what it differs
	// from itself.
	ToleranceShare float64  `json:"tolerance_share"`
	Rounds         int      `json:"rounds"`
	Rate           contrast `json:"rate"`
	// ClientCPU is about CPU time per message; null where that is not known.
	ClientCPU *contrast `json:"client_cpu"`
}

// contrast compares one figure.
type contrast struct {
	Baseline ratios `json:"over_baseline"`
	Again    ratios `json:"over_again"`
	// SlowerShare is how much longer, or how much more CPU time, a message takes
	// than with the baseline, by the median ratio; negative where it takes less.
	SlowerShare float64 `json:"slower_share"`
	// AllowedShare is the tolerance and what the peer differs from itself, in
	// either direction, at most in three rounds out of four. A median would be
	// exceeded by mere noise in one comparison out of ten.
	AllowedShare float64 `json:"allowed_share"`
	Slower       bool    `json:"slower"` // by more than is allowed
	Noisy        bool    `json:"noisy"`  // see noisyShare
}

// ratios are those of the rounds.
type ratios struct {
	Median float64 `json:"median"`
	Least  float64 `json:"least"`
	Most   float64 `json:"most"`
}

// compare compares in the scenarios where a peer, the same again and the baseline were
// measured.
func compare(scenarios []scenario, cells []*cell) []comparison {
	var comparisons []comparison
	for _, s := range scenarios {
		rounds := map[string][]sample{} // by peer
		for _, c := range cells {
			if c.Scenario == s.Name {
				rounds[c.Peer] = c.Rounds
			}
		}
		of, _ := sidesOf(s)
		this, again, baseline := rounds[of.this], rounds[of.again], rounds[of.baseline]
		// A peer that failed has fewer rounds.
		if n := min(len(this), len(again), len(baseline)); n > 0 {
			comparisons = append(comparisons, newComparison(s, this[:n], again[:n], baseline[:n]))
		}
	}
	return comparisons
}

func newComparison(s scenario, this, again, baseline []sample) comparison {
	of, tolerance := sidesOf(s)
	c := comparison{Scenario: s.Name, Peer: of.this, Baseline: of.baseline, ToleranceShare: tolerance, Rounds: len(this)}
	rate := sample.ratePerSecond
	c.Rate = newContrast(pairs(this, baseline, rate), pairs(this, again, rate), c.ToleranceShare, true)
	cpu := func(s sample) float64 { return s.ClientCPUSeconds / float64(s.Count) }
	unknown := func(s sample) bool { return cpu(s) <= 0 }
	if !slices.ContainsFunc(slices.Concat(this, again, baseline), unknown) {
		cpus := newContrast(pairs(this, baseline, cpu), pairs(this, again, cpu), c.ToleranceShare, false)
		c.ClientCPU = &cpus
	}
	return c
}

// pairs are the ratios a/b of a figure, round by round.
func pairs(a, b []sample, of func(sample) float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = of(a[i]) / of(b[i])
	}
	return out
}

// newContrast compares a figure that is better the higher it is, or the lower.
func newContrast(baseline, again []float64, toleranceShare float64, higherIsBetter bool) contrast {
	c := contrast{Baseline: newRatios(baseline), Again: newRatios(again)}
	c.SlowerShare = c.Baseline.Median - 1
	if higherIsBetter {
		c.SlowerShare = 1/c.Baseline.Median - 1
	}
	apart := make([]float64, len(again))
	for i, r := range again {
		apart[i] = max(r, 1/r) - 1
	}
	slices.Sort(apart)
	itself := apart[(3*len(apart)-1)/4]
	c.AllowedShare = itself + toleranceShare
	c.Slower = c.SlowerShare > c.AllowedShare
	c.Noisy = itself > noisyShare
	return c
}

func newRatios(values []float64) ratios {
	return ratios{Median: median(values), Least: slices.Min(values), Most: slices.Max(values)}
}

// writeComparison prints a comparison below the table of its scenario.
func writeComparison(b *strings.Builder, c *comparison) {
	rows := [][]string{
		{fmt.Sprintf("pairs of %d rounds", c.Rounds), c.Peer + "/" + c.Baseline, "least - most", c.Peer + "/again", "least - most", "slower by", "allowed"},
		contrastRow("rate", &c.Rate),
	}
	verdict := "rate " + c.Rate.verdict()
	if c.ClientCPU != nil {
		rows = append(rows, contrastRow("client CPU", c.ClientCPU))
		verdict += ", client CPU " + c.ClientCPU.verdict()
	}
	writeRows(b, rows)
	fmt.Fprintf(b, "  Slower by more than the same build differs from itself plus %.0f %%: %s\n", 100*c.ToleranceShare, verdict)
}

func contrastRow(figure string, c *contrast) []string {
	return []string{
		figure,
		fmt.Sprintf("%.3f", c.Baseline.Median), c.Baseline.span(),
		fmt.Sprintf("%.3f", c.Again.Median), c.Again.span(),
		fmt.Sprintf("%.1f %%", 100*c.SlowerShare), fmt.Sprintf("%.1f %%", 100*c.AllowedShare),
	}
}

func (r ratios) span() string { return fmt.Sprintf("%.3f - %.3f", r.Least, r.Most) }

func (c *contrast) verdict() string {
	verdict := "no"
	if c.Slower {
		verdict = "YES"
	}
	if c.Noisy {
		verdict += " (noisy)"
	}
	return verdict
}
