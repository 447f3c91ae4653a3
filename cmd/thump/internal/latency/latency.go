// Package latency keeps how long messages took, every one of them, in histograms of the
// HDR kind: three significant digits from a microsecond to a day, in the same memory for ten
// messages and for a billion. Histograms of one run, of several publishers, or of several
// runs can be added up without losing anything.
//
// It has no clock and does no input or output.
package latency

import (
	"errors"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// What a histogram distinguishes. Records name these numbers: with others they could not be
// added up.
const (
	unit    = time.Microsecond
	longest = 24 * time.Hour
	digits  = 3
)

// Histogram is the latencies of some messages. It takes a quarter of a megabyte. It is not
// safe for concurrent use.
type Histogram struct{ h *hdrhistogram.Histogram }

// New returns an empty histogram.
func New() *Histogram {
	return &Histogram{h: hdrhistogram.New(1, int64(longest/unit), digits)}
}

// Record notes that n messages took d each. Less than nothing counts as nothing, and more
// than a day as a day.
func (h *Histogram) Record(d time.Duration, n uint64) {
	value := min(max(0, d), longest)
	_ = h.h.RecordValues(int64((value+unit/2)/unit), int64(n)) // it fails beyond the longest
}

// Add adds what another histogram has.
func (h *Histogram) Add(other *Histogram) { h.h.Merge(other.h) }

// Reset empties the histogram.
func (h *Histogram) Reset() { h.h.Reset() }

// Count is how many messages it has.
func (h *Histogram) Count() uint64 { return uint64(h.h.TotalCount()) }

// At is the latency, in seconds, that so many percent of the messages did not exceed; 0 where
// there are none.
func (h *Histogram) At(percent float64) float64 {
	return seconds(h.h.ValueAtPercentile(percent))
}

// Each calls f with each latency that messages took, in seconds, and with their number.
func (h *Histogram) Each(f func(seconds float64, n uint64)) {
	for _, bar := range h.h.Distribution() {
		if bar.Count > 0 {
			f(seconds((bar.From+bar.To)/2), uint64(bar.Count))
		}
	}
}

// Percentiles are those of the record's samples; nil where there are no messages.
func (h *Histogram) Percentiles() *result.Percentiles {
	if h.Count() == 0 {
		return nil
	}
	at := h.h.ValueAtPercentilesSlice([]float64{50, 95, 99, 99.9})
	return &result.Percentiles{
		Count: h.Count(), P50: seconds(at[0]), P95: seconds(at[1]), P99: seconds(at[2]), P999: seconds(at[3]), Max: seconds(h.h.Max()),
	}
}

// Latency is what a record says of a whole run; nil where there are no messages.
func (h *Histogram) Latency() *result.Latency {
	p := h.Percentiles()
	if p == nil {
		return nil
	}
	return &result.Latency{
		Percentiles: *p, Min: seconds(h.h.Min()), Mean: h.h.Mean() * unit.Seconds(), P9999: h.At(99.99), Histogram: h.Encode(),
	}
}

// Point is a point of the percentile curve: so many percent of the messages took no longer
// than that.
type Point struct {
	Percent float64
	Seconds float64
	Count   uint64 // of the messages up to this point
}

// ticks is how many points the curve has in each half of the distance to 100 %.
const ticks = 5

// Curve is the percentile curve, from the fastest message to the slowest: the nearer to 100 %
// the closer its points, because that is where a curve is worth looking at. It is empty where
// there are no messages.
func (h *Histogram) Curve() []Point {
	if h.Count() == 0 {
		return nil
	}
	var points []Point
	for _, b := range h.h.CumulativeDistributionWithTicks(ticks) {
		points = append(points, Point{Percent: b.Quantile, Seconds: seconds(b.ValueAt), Count: uint64(b.Count)})
	}
	return points
}

// Sum adds up what records of several runs have as Latency.Histogram. It refuses what Decode
// refuses, also of the sum.
func Sum(encoded ...string) (*Histogram, error) {
	if len(encoded) == 0 {
		return nil, errors.New("latency: no histogram to add up")
	}
	sum := New()
	for _, text := range encoded {
		h, err := Decode(text)
		if err != nil {
			return nil, err
		}
		if sum.Add(h); sum.Count() > countMost {
			return nil, fmt.Errorf("latency: the histograms can't be added up: %w", errTooMany)
		}
	}
	return sum, nil
}

func seconds(value int64) float64 { return float64(value) * unit.Seconds() }
