package result

import (
	"cmp"
	"slices"
)

// SamplesMost is how many samples a run has at most, however long it is.
const SamplesMost = 4096

// Course is the samples of a run as they come. When there would be more than SamplesMost,
// each two that follow each other become one. The zero value is ready for use. It is not
// safe for concurrent use.
type Course struct {
	samples []Sample
	every   int
}

// Add adds the next sample. It keeps what the sample points to.
func (c *Course) Add(s Sample) {
	if len(c.samples) == SamplesMost {
		for i := range SamplesMost / 2 {
			c.samples[i] = Merge(&c.samples[2*i], &c.samples[2*i+1])
		}
		clear(c.samples[SamplesMost/2:])
		c.samples = c.samples[:SamplesMost/2]
		c.every = 2 * c.Every()
	}
	c.samples = append(c.samples, s)
}

// Every is how many of the samples that came first stand in one now: 1, 2, 4 and so on.
func (c *Course) Every() int { return max(1, c.every) }

// Samples are those of the course, in order of time. They are the course's own: the next
// Add may change them.
func (c *Course) Samples() []Sample { return c.samples }

// Merge returns one sample for two that follow each other: nothing that was seen only in the
// first is hidden. Its percentiles are the larger of each two, which those of both intervals
// together don't exceed. Its CPU is the mean of all samples that have become one.
func Merge(a, b *Sample) Sample {
	s := *b
	s.LateSeconds = largest(a.LateSeconds, b.LateSeconds)
	s.ConfirmLatency = mergePercentiles(a.ConfirmLatency, b.ConfirmLatency)
	s.ReceiveLatency = mergePercentiles(a.ReceiveLatency, b.ReceiveLatency)
	s.Client.CPU, s.Client.more = mean(a.Client.CPU, b.Client.CPU, a.Client.more, b.Client.more)
	s.Client.MemoryBytes = largest(a.Client.MemoryBytes, b.Client.MemoryBytes)
	s.Client.GCPauseSeconds = sum(a.Client.GCPauseSeconds, b.Client.GCPauseSeconds)
	s.Broker = mergeBroker(a.Broker, b.Broker)
	return s
}

func mergeBroker(a, b *BrokerSample) *BrokerSample {
	switch {
	case b == nil:
		return a
	case a == nil:
		return b
	}
	s := *b
	s.CPU, s.more = mean(a.CPU, b.CPU, a.more, b.more)
	s.MemoryBytes = largest(a.MemoryBytes, b.MemoryBytes)
	s.Flow, s.Blocked = largest(a.Flow, b.Flow), largest(a.Blocked, b.Blocked)
	s.Alarms = union(a.Alarms, b.Alarms)
	return &s
}

// union is what is in one of two lists, each once.
func union(a, b []string) []string {
	if slices.Equal(a, b) {
		return b
	}
	all := slices.Clone(a)
	for _, text := range b {
		if !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return bounded(all)
}

func mergePercentiles(a, b *Percentiles) *Percentiles {
	switch {
	case b == nil:
		return a
	case a == nil:
		return b
	}
	return &Percentiles{
		Count: a.Count + b.Count, P50: max(a.P50, b.P50), P95: max(a.P95, b.P95),
		P99: max(a.P99, b.P99), P999: max(a.P999, b.P999), Max: max(a.Max, b.Max),
	}
}

// mean is the mean of two means, and of how many values more than one it is that. moreA and moreB
// say that of them.
func mean(a, b *float64, moreA, moreB int) (*float64, int) {
	switch {
	case a == nil:
		return b, moreB
	case b == nil:
		return a, moreA
	}
	of, all := float64(moreA+1), float64(moreA+moreB+2)
	return new(*a*(of/all) + *b*(1-of/all)), moreA + moreB + 1
}

func sum(a, b *float64) *float64 {
	if a == nil || b == nil {
		return either(a, b)
	}
	return new(*a + *b)
}

func largest[T cmp.Ordered](a, b *T) *T {
	if a == nil || b == nil {
		return either(a, b)
	}
	return new(max(*a, *b))
}

func either[T any](a, b *T) *T {
	if b != nil {
		return b
	}
	return a
}
