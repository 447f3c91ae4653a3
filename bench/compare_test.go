package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// rounds makes samples of 1000 messages from their rates and µs of CPU time per
// message.
func rounds(rates, cpus []float64) []sample {
	var out []sample
	for i, rate := range rates {
		out = append(out, sample{Count: 1000, Seconds: 1000 / rate, ClientCPUSeconds: cpus[i] / 1000})
	}
	return out
}

func comparisonCells(this, again, baseline []sample) []*cell {
	return []*cell{
		{Scenario: "fast", Peer: thumpTitle, Count: 1000, Rounds: this},
		{Scenario: "fast", Peer: thumpAgain, Count: 1000, Rounds: again},
		{Scenario: "fast", Peer: baselineTitle, Count: 1000, Rounds: baseline},
	}
}

// The machine gets slower from round to round, by far more than the builds
// differ: only pairs of one round show that.
func TestCompare(t *testing.T) {
	ones := []float64{1, 1, 1}
	this := rounds([]float64{1000, 500, 100}, ones)
	again := rounds([]float64{1010, 500, 99}, ones)
	for name, tt := range map[string]struct {
		baseline    []sample
		rate        float64
		slower      float64
		rateSlower  bool
		clientShare float64
		cpuSlower   bool
	}{
		"the same":             {rounds([]float64{1000, 500, 100}, ones), 1, 0, false, 0, false},
		"faster":               {rounds([]float64{500, 250, 50}, ones), 2, -0.5, false, 0, false},
		"slower":               {rounds([]float64{1050, 550, 106}, ones), 1 / 1.06, 0.06, true, 0, false},
		"slower, but not much": {rounds([]float64{1030, 515, 103}, ones), 1 / 1.03, 0.03, false, 0, false},
		"once is not enough":   {rounds([]float64{9000, 500, 100}, ones), 1, 0, false, 0, false},
		"more CPU time":        {rounds([]float64{1000, 500, 100}, []float64{0.9, 0.8, 0.9}), 1, 0, false, 1/0.9 - 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			got := compare([]scenario{{Name: "fast"}, {Name: "safe"}}, comparisonCells(this, again, tt.baseline))
			if len(got) != 1 || got[0].Scenario != "fast" || got[0].Rounds != 3 || got[0].ClientCPU == nil {
				t.Fatalf("got %+v, want one of three rounds", got)
			}
			rate, cpu := got[0].Rate, got[0].ClientCPU
			if !near(rate.Baseline.Median, tt.rate) || !near(rate.SlowerShare, tt.slower) || rate.Slower != tt.rateSlower {
				t.Errorf("rate: got %+v, want a ratio of %v and slower by %v, %v", rate, tt.rate, tt.slower, tt.rateSlower)
			}
			if !near(rate.Again.Least, 1000.0/1010) || !near(rate.Again.Most, 100.0/99) || !near(rate.AllowedShare, 100.0/99-1+0.03) {
				t.Errorf("the same build beside itself: got %+v", rate)
			}
			if !near(cpu.SlowerShare, tt.clientShare) || cpu.Slower != tt.cpuSlower || !near(cpu.AllowedShare, 0.03) {
				t.Errorf("client CPU: got %+v, want slower by %v, %v", cpu, tt.clientShare, tt.cpuSlower)
			}
		})
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestCompareWhatIsThere(t *testing.T) {
	two := rounds([]float64{1000, 500}, []float64{1, 1})
	scenarios := []scenario{{Name: "fast"}}
	if got := compare(scenarios, comparisonCells(two, two, nil)); len(got) != 0 {
		t.Errorf("without a baseline: got %+v", got)
	}
	if got := compare(scenarios, comparisonCells(two, two[:1], two)); len(got) != 1 || got[0].Rounds != 1 {
		t.Errorf("one failed in the second round: got %+v", got)
	}
	unknown := rounds([]float64{1000, 500}, []float64{1, 0})
	if got := compare(scenarios, comparisonCells(two, two, unknown)); len(got) != 1 || got[0].ClientCPU != nil {
		t.Errorf("no CPU time is known: got %+v", got)
	}
}

// A build that differs from itself by a fifth can't be told from one that is
// slower by as much.
func TestCompareNoise(t *testing.T) {
	ones := []float64{1, 1, 1, 1}
	this, baseline := rounds([]float64{100, 100, 100, 100}, ones), rounds([]float64{120, 120, 120, 120}, ones)
	for name, tt := range map[string]struct {
		again []float64
		want  string
	}{
		"none":                {[]float64{100, 100, 100, 100}, "YES"},
		"once":                {[]float64{100, 100, 100, 900}, "YES"},
		"in either direction": {[]float64{100, 100, 125, 80}, "no (noisy)"},
		"some":                {[]float64{112, 112, 112, 112}, "YES (noisy)"},
	} {
		c := newComparison(scenario{Name: "fast"}, this, rounds(tt.again, ones), baseline)
		if got := c.Rate.verdict(); got != tt.want {
			t.Errorf("%s: slower by %.3f, allowed %.3f: %q, want %q", name, c.Rate.SlowerShare, c.Rate.AllowedShare, got, tt.want)
		}
	}
}

// What measuring costs is the command beside the package alone, with a tolerance of its own.
func TestCompareTheCommand(t *testing.T) {
	ones := []float64{1, 1, 1}
	s := scenario{Name: "run-stream", Command: true, CostMost: 0.15}
	cells := []*cell{
		{Scenario: s.Name, Peer: runTitle, Rounds: rounds([]float64{100, 100, 100}, ones)},
		{Scenario: s.Name, Peer: runAgain, Rounds: rounds([]float64{100, 100, 100}, ones)},
		{Scenario: s.Name, Peer: aloneTitle, Rounds: rounds([]float64{114, 114, 114}, []float64{0.8, 0.8, 0.8})},
	}
	got := compare([]scenario{s}, cells)
	if len(got) != 1 || !near(got[0].Rate.SlowerShare, 0.14) || got[0].Rate.Slower || !got[0].ClientCPU.Slower || !near(got[0].ClientCPU.AllowedShare, 0.15) {
		t.Fatalf("got %+v", got)
	}
	var b strings.Builder
	writeComparison(&b, &got[0])
	if !strings.Contains(b.String(), "thump-run/thump-alone") || !strings.Contains(b.String(), "plus 15 %: rate no, client CPU YES") {
		t.Errorf("got:\n%s", b.String())
	}
}

func TestWriteComparison(t *testing.T) {
	ones := []float64{1, 1, 1}
	cells := comparisonCells(rounds([]float64{1000, 500, 100}, ones),
		rounds([]float64{1010, 500, 99}, ones), rounds([]float64{1050, 550, 106}, ones))
	scenarios := []scenario{{Name: "fast", Title: "both at once"}}
	summarize(cells)
	r := &record{
		Cells: cells, scenarios: scenarios, Comparisons: compare(scenarios, cells),
		Peers: []peerRecord{{Name: baselineTitle, Version: "1ffafd6b7b5e, go1.26.8"}}, Machine: machine{GoVersion: "go1.26.9"},
	}
	var b strings.Builder
	if err := writeTable(&b, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"baseline: 1ffafd6b7b5e, go1.26.8. thump and thump-again: this build, go1.26.9.\n",
		"  pairs of 3 rounds  thump/baseline   least - most  thump/again   least - most  slower by  allowed\n" +
			"  rate                        0.943  0.909 - 0.952        1.000  0.990 - 1.010      6.0 %    4.0 %\n" +
			"  client CPU                  1.000  1.000 - 1.000        1.000  1.000 - 1.000      0.0 %    3.0 %\n" +
			"  Slower by more than the same build differs from itself plus 3 %: rate YES, client CPU no\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("got:\n%s\nwhich lacks:\n%s", b.String(), want)
		}
	}
}

func TestOrder(t *testing.T) {
	for n := 1; n <= 7; n++ {
		orders := map[string]bool{}
		places := make([]map[int]int, n) // how often each turn was in each place
		for i := range places {
			places[i] = map[int]int{}
		}
		for round := range 2 * n {
			turns := order(round, n)
			orders[fmt.Sprint(turns)] = true
			for place, turn := range turns {
				places[turn][place]++
			}
			if slices.Sort(turns); turns[0] != 0 || turns[n-1] != n-1 || len(slices.Compact(turns)) != n {
				t.Fatalf("round %d of %d turns: %v", round, n, turns)
			}
		}
		for turn, p := range places {
			for place := range n {
				if p[place] != 2 {
					t.Errorf("of %d, turn %d was in place %d %d times in %d rounds, want 2", n, turn, place, p[place], 2*n)
				}
			}
		}
		if n == 3 && len(orders) != 6 {
			t.Errorf("three turns come in %d orders, want all six", len(orders))
		}
	}
}
