package main

import (
	"cmp"
	"math"
	"slices"
)

// cell is one peer in one scenario, over all rounds.
type cell struct {
	Scenario string `json:"scenario"`
	Peer     string `json:"peer"`
	Count    int    `json:"count"` // messages per round
	// Error says why a measurement failed. It is then the cell's last.
	Error   string   `json:"error,omitempty"`
	Rounds  []sample `json:"rounds"`
	Summary summary  `json:"summary"`
}

// summary is the medians of a cell's rounds. CPU is user and system time per
// message, in microseconds.
type summary struct {
	RatePerSecond      float64  `json:"rate_per_second"`
	RatePerSecondLeast float64  `json:"rate_per_second_least"`
	RatePerSecondMost  float64  `json:"rate_per_second_most"`
	SendCPUMicros      float64  `json:"send_cpu_us"`
	ReceiveCPUMicros   float64  `json:"receive_cpu_us"`
	ClientCPUMicros    float64  `json:"client_cpu_us"`
	BrokerCPUMicros    *float64 `json:"broker_cpu_us"`
	RSSBytesPeak       int64    `json:"rss_bytes_peak"`

	// Timings are medians of the percentiles of each round, in scenarios with a rate.
	Timings *timings `json:"timings,omitempty"`

	// Thump's rate divided by this peer's, and thump's client CPU time per message
	// divided by this peer's; 0 if thump was not measured.
	ThumpRateRatio float64 `json:"thump_rate_ratio"`
	ThumpCPURatio  float64 `json:"thump_client_cpu_ratio"`
	// ThumpP99Ratio is thump's 99th percentile until a message is received, divided by this peer's.
	ThumpP99Ratio float64 `json:"thump_p99_ratio,omitempty"`
}

// summarize fills in the summaries. Their ratios are ratios of medians.
func summarize(cells []*cell) {
	thump := map[string]summary{} // by scenario
	for _, c := range cells {
		c.Summary = summarizeRounds(c.Rounds)
		if (c.Peer == thumpTitle || c.Peer == thumpEach || c.Peer == runTitle) && len(c.Rounds) > 0 {
			thump[c.Scenario] = c.Summary
		}
	}
	for _, c := range cells {
		if t, ok := thump[c.Scenario]; ok && len(c.Rounds) > 0 {
			c.Summary.ThumpRateRatio = ratio(t.RatePerSecond, c.Summary.RatePerSecond)
			c.Summary.ThumpCPURatio = ratio(t.ClientCPUMicros, c.Summary.ClientCPUMicros)
			c.Summary.ThumpP99Ratio = ratio(t.receiveP99(), c.Summary.receiveP99())
		}
	}
}

func summarizeRounds(rounds []sample) summary {
	if len(rounds) == 0 {
		return summary{}
	}
	rates := each(rounds, sample.ratePerSecond)
	perMessage := func(seconds func(sample) float64) float64 {
		return median(each(rounds, func(s sample) float64 { return seconds(s) / float64(s.Count) * 1e6 }))
	}
	out := summary{
		RatePerSecond:      median(rates),
		RatePerSecondLeast: slices.Min(rates),
		RatePerSecondMost:  slices.Max(rates),
		SendCPUMicros:      perMessage(func(s sample) float64 { return s.SendCPUSeconds }),
		ReceiveCPUMicros:   perMessage(func(s sample) float64 { return s.ReceiveCPUSeconds }),
		ClientCPUMicros:    perMessage(func(s sample) float64 { return s.ClientCPUSeconds }),
		RSSBytesPeak:       slices.Max(each(rounds, func(s sample) int64 { return s.RSSBytesPeak })),
	}
	out.Timings = medianTimings(rounds)
	if !slices.ContainsFunc(rounds, func(s sample) bool { return s.BrokerCPUSeconds == nil }) {
		broker := perMessage(func(s sample) float64 { return *s.BrokerCPUSeconds })
		out.BrokerCPUMicros = &broker
	}
	return out
}

func each[T cmp.Ordered](rounds []sample, of func(sample) T) []T {
	values := make([]T, 0, len(rounds))
	for _, s := range rounds {
		values = append(values, of(s))
	}
	return values
}

// median is the middle value, or the mean of the middle two, or NaN if there is
// none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// checkCost is what the check of the bodies costs thump in a scenario, from
// medians. Every other figure includes it.
type checkCost struct {
	Scenario  string  `json:"scenario"`
	RateShare float64 `json:"rate_share"` // how much lower the rate is, as a share of the unchecked rate
	// CPUMicros is CPU time per message, CPUShare its share of what a checked message
	// costs the client.
	CPUMicros float64 `json:"cpu_us"`
	CPUShare  float64 `json:"client_cpu_share"`
}

// checkCosts compares thump with and without the check in the scenarios where both
// were measured.
func checkCosts(cells []*cell) []checkCost {
	costs := []checkCost{} // [] in JSON
	for _, checked := range cells {
		for _, unchecked := range cells {
			if checked.Peer != thumpTitle || unchecked.Peer != thumpUnchecked || checked.Scenario != unchecked.Scenario ||
				len(checked.Rounds) == 0 || len(unchecked.Rounds) == 0 {
				continue
			}
			c, u := checked.Summary, unchecked.Summary
			micros := c.ClientCPUMicros - u.ClientCPUMicros
			costs = append(costs, checkCost{
				Scenario:  checked.Scenario,
				RateShare: 1 - ratio(c.RatePerSecond, u.RatePerSecond),
				CPUMicros: micros, CPUShare: ratio(micros, c.ClientCPUMicros),
			})
		}
	}
	return costs
}

// ratio is a/b, or 0 if b is 0.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
