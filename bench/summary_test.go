package main

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/thumpmq/thump"
)

func TestMedian(t *testing.T) {
	for name, tt := range map[string]struct {
		values []float64
		want   float64
	}{
		"one":  {[]float64{3}, 3},
		"odd":  {[]float64{9, 1, 5}, 5},
		"even": {[]float64{4, 1, 3, 100}, 3.5},
	} {
		t.Run(name, func(t *testing.T) {
			before := slices.Clone(tt.values)
			if got := median(tt.values); got != tt.want {
				t.Errorf("median is %v, want %v", got, tt.want)
			}
			if !slices.Equal(before, tt.values) {
				t.Errorf("it changed its argument to %v", tt.values)
			}
		})
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing is %v, want NaN", got)
	}
}

func testRecord() *record {
	broker := 2.0
	cells := []*cell{
		{Scenario: "fast", Peer: "thump", Count: 100_000, Rounds: []sample{
			{Count: 100_000, Seconds: 1, SendCPUSeconds: 0.02, ReceiveCPUSeconds: 0.08, ClientCPUSeconds: 0.1, BrokerCPUSeconds: &broker},
			{Count: 100_000, Seconds: 2, SendCPUSeconds: 0.02, ReceiveCPUSeconds: 0.08, ClientCPUSeconds: 0.1, BrokerCPUSeconds: &broker},
			{Count: 100_000, Seconds: 4, SendCPUSeconds: 0.02, ReceiveCPUSeconds: 0.08, ClientCPUSeconds: 0.1, BrokerCPUSeconds: &broker},
		}},
		{Scenario: "fast", Peer: "PerfTest", Count: 100_000, Rounds: []sample{
			{Count: 100_000, Seconds: 4, ClientCPUSeconds: 1},
		}},
		{Scenario: "fast", Peer: "pika", Count: 100_000, Error: "the send process: broken"},
	}
	summarize(cells)
	return &record{
		Broker: brokerRecord{Version: "4.3.0"}, Settings: settings{Rounds: 3, Window: 2000, Prefetch: 1000},
		Peers:     []peerRecord{{Name: "thump"}, {Name: "floor", Missing: "not here"}},
		Cells:     cells,
		scenarios: []scenario{{Name: "fast", Title: "both at once", Kind: thump.Classic}},
	}
}

func TestSummarize(t *testing.T) {
	cells := testRecord().Cells
	s := cells[0].Summary
	if s.RatePerSecond != 50_000 || s.RatePerSecondLeast != 25_000 || s.RatePerSecondMost != 100_000 {
		t.Errorf("rates are %v (%v - %v), want 50000 (25000 - 100000)", s.RatePerSecond, s.RatePerSecondLeast, s.RatePerSecondMost)
	}
	if math.Abs(s.ClientCPUMicros-1) > 1e-9 || s.BrokerCPUMicros == nil || math.Abs(*s.BrokerCPUMicros-20) > 1e-9 {
		t.Errorf("CPU is %v and %v, want 1 and 20", s.ClientCPUMicros, s.BrokerCPUMicros)
	}
	p := cells[1].Summary
	if p.ThumpRateRatio != 2 || math.Abs(p.ThumpCPURatio-0.1) > 1e-9 {
		t.Errorf("ratios are %v and %v, want 2 and 0.1", p.ThumpRateRatio, p.ThumpCPURatio)
	}
	if p.BrokerCPUMicros != nil {
		t.Errorf("broker CPU is %v, want none: it was not seen", *p.BrokerCPUMicros)
	}
}

func TestWriteTable(t *testing.T) {
	var b strings.Builder
	if err := writeTable(&b, testRecord()); err != nil {
		t.Fatal(err)
	}
	const want = `
fast: both at once
  peer      messages   msg/s      least - most  thump is  send  receive  client  broker    sum  thump uses  RSS MB
  thump      100,000  50,000  25,000 - 100,000     1.00x  0.20     0.80    1.00   20.00  21.00       1.00x       -
  PerfTest   100,000  25,000   25,000 - 25,000     2.00x     -        -   10.00       -      -       0.10x       -
  pika       100,000  failed

MISSING floor: not here
FAILED pika in "fast": the send process: broken
`
	if got := b.String(); !strings.HasSuffix(got, want) {
		t.Errorf("got:\n%s\nwant at its end:\n%s", got, want)
	}
}

func TestWriteTableOfLatency(t *testing.T) {
	round := func(p99 float64, late *latency) sample {
		return sample{Count: 1000, Seconds: 1, ClientCPUSeconds: 0.1, Timings: &timings{
			Receive: &latency{P50: 300, P99: p99, P999: 4000, Most: 5000}, Confirm: &latency{P50: 400, P99: 500, P999: 600}, Late: late,
		}}
	}
	late := &latency{P99: 70}
	cells := []*cell{
		{Scenario: "latency-1k", Peer: "thump", Count: 1000, Rounds: []sample{round(2000, late), round(1000, late), round(9000, late)}},
		{Scenario: "latency-1k", Peer: "PerfTest", Count: 1000, Rounds: []sample{round(4000, nil)}},
		{Scenario: "latency-1k", Peer: "floor", Count: 1000, Error: "broken"},
	}
	summarize(cells)
	var b strings.Builder
	r := &record{Settings: settings{LatencySeconds: 7}, Cells: cells, scenarios: []scenario{{Name: "latency-1k", Rate: 1000}}}
	if err := writeTable(&b, r); err != nil {
		t.Fatal(err)
	}
	const want = `
  peer      messages   msg/s   p50   p99  p99.9   max  thump is  confirm p50   p99  p99.9  late p99  client  broker
  thump        1,000   1,000  0.30  2.00   4.00  5.00     1.00x         0.40  0.50   0.60      0.07  100.00       -
  PerfTest     1,000   1,000  0.30  4.00   4.00  5.00     0.50x         0.40  0.50   0.60         -  100.00       -
  floor        1,000  failed
`
	if got := b.String(); !strings.Contains(got, want) || !strings.Contains(got, "over 7 s of each round") {
		t.Errorf("got:\n%s\nwant in it:\n%s", got, want)
	}
}

func TestWriteTableOfTheStub(t *testing.T) {
	stub := 0.02
	cells := []*cell{{Scenario: "stub-publish", Peer: "thump", Count: 100_000, Rounds: []sample{
		{Count: 100_000, Seconds: 0.1, SendCPUSeconds: 0.05, ClientCPUSeconds: 0.05, BrokerCPUSeconds: &stub},
	}}}
	summarize(cells)
	var b strings.Builder
	if err := writeTable(&b, &record{Cells: cells, scenarios: []scenario{{Name: "stub-publish", Stub: true}}}); err != nil {
		t.Fatal(err)
	}
	const want = `
  peer   messages      msg/s           least - most  thump is  send  receive  client  stub   sum  thump uses  RSS MB   per core
  thump   100,000  1,000,000  1,000,000 - 1,000,000     1.00x  0.50        -    0.50  0.20  0.70       1.00x       -  2,000,000
`
	if got := b.String(); !strings.Contains(got, want) || !strings.Contains(got, "with a stub in RabbitMQ's place") {
		t.Errorf("got:\n%s\nwant in it:\n%s", got, want)
	}
}

func TestCheckCosts(t *testing.T) {
	cells := []*cell{
		{Scenario: "a", Peer: "thump", Rounds: []sample{{Count: 1000, Seconds: 1, ClientCPUSeconds: 0.010}}},
		{Scenario: "a", Peer: thumpUnchecked, Rounds: []sample{{Count: 1000, Seconds: 0.8, ClientCPUSeconds: 0.009}}},
		{Scenario: "b", Peer: "thump", Rounds: []sample{{Count: 1000, Seconds: 1}}},
		{Scenario: "b", Peer: thumpUnchecked, Error: "broken"},
		{Scenario: "c", Peer: thumpUnchecked, Rounds: []sample{{Count: 1000, Seconds: 1}}},
	}
	summarize(cells)
	costs := checkCosts(cells)
	if len(costs) != 1 || costs[0].Scenario != "a" {
		t.Fatalf("got %+v, want the cost in scenario a alone", costs)
	}
	c := costs[0]
	if math.Abs(c.RateShare-0.2) > 1e-9 || math.Abs(c.CPUMicros-1) > 1e-9 || math.Abs(c.CPUShare-0.1) > 1e-9 {
		t.Errorf("got %+v, want a share of the rate of 0.2, and 1 µs, 0.1 of the CPU", c)
	}
	var b strings.Builder
	r := &record{Cells: cells, Checking: costs, scenarios: []scenario{{Name: "a", Stream: true}}}
	if err := writeTable(&b, r); err != nil {
		t.Fatal(err)
	}
	const want = "The check of every body takes 20 % of thump's rate, and 1.00 of its 10.00 µs a message (10 %)."
	if !strings.Contains(b.String(), want) {
		t.Errorf("got:\n%s\nwhich lacks: %s", b.String(), want)
	}
}

func TestMicros(t *testing.T) {
	for v, want := range map[float64]string{0: "-", 12.345: "12.35", 0.1: "0.10", 0.0123456: "0.0123", -0.005: "-0.0050"} {
		if got := micros(v); got != want {
			t.Errorf("micros(%v) is %q, want %q", v, got, want)
		}
	}
}

func TestThousands(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999.4: "999", 1000: "1,000", 123456.7: "123,457", 1e9: "1,000,000,000"} {
		if got := thousands(v); got != want {
			t.Errorf("thousands(%v) is %q, want %q", v, got, want)
		}
	}
}
