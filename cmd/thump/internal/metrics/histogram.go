package metrics

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// schema says how fine a native histogram is: 2^3 buckets for each doubling, so that a
// percentile is at most 9 % off.
const schema = 3

// zero is the width of the bucket for latencies of next to nothing.
const zero = 1e-6

// bounds are the buckets for who reads no native histograms.
func bounds() []float64 {
	return []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}
}

// histogram is a native histogram with classic buckets beside it, made at once of what was
// counted before.
type histogram struct {
	desc   *prometheus.Desc
	count  uint64
	sum    float64
	zeros  uint64
	native map[int]int64
	bounds []float64
	below  []uint64 // for each bound
}

func newHistogram(name, help string) *histogram {
	h := &histogram{desc: describe(name, help), native: make(map[int]int64), bounds: bounds()}
	h.below = make([]uint64, len(h.bounds))
	return h
}

// add counts n messages of a latency.
func (h *histogram) add(seconds float64, n uint64) {
	h.count += n
	h.sum += seconds * float64(n)
	if seconds <= zero {
		h.zeros += n
	} else {
		// Bucket i reaches from 2^((i-1)/8), exclusive, to 2^(i/8).
		h.native[int(math.Ceil(math.Log2(seconds)*(1<<schema)))] += int64(n)
	}
	for i, bound := range h.bounds {
		if seconds <= bound {
			h.below[i] += n
		}
	}
}

// Desc describes the histogram.
func (h *histogram) Desc() *prometheus.Desc { return h.desc }

// Write writes both kinds of buckets.
func (h *histogram) Write(out *dto.Metric) error {
	to := &dto.Histogram{
		SampleCount: &h.count, SampleSum: &h.sum,
		Schema: new(int32(schema)), ZeroThreshold: new(zero), ZeroCount: &h.zeros,
	}
	for i := range h.bounds {
		to.Bucket = append(to.Bucket, &dto.Bucket{UpperBound: &h.bounds[i], CumulativeCount: &h.below[i]})
	}
	var before int64
	next := 0
	for i, bucket := range slices.Sorted(maps.Keys(h.native)) {
		if spans := len(to.PositiveSpan); i > 0 && bucket == next {
			*to.PositiveSpan[spans-1].Length++
		} else {
			to.PositiveSpan = append(to.PositiveSpan, &dto.BucketSpan{Offset: new(int32(bucket - next)), Length: new(uint32(1))})
		}
		next = bucket + 1
		to.PositiveDelta = append(to.PositiveDelta, h.native[bucket]-before)
		before = h.native[bucket]
	}
	if len(to.PositiveSpan) == 0 { // which says that it is native
		to.PositiveSpan = []*dto.BucketSpan{{Offset: new(int32(0)), Length: new(uint32(0))}}
	}
	out.Histogram = to
	return nil
}

// valid is a text as a label may be: of a broker's or a user's, some is not UTF-8.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }
