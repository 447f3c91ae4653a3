package result

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

// Merge returns one sample for two that follow each other. Its percentiles are the larger
// of each two, which those of both intervals together don't exceed.
func Merge(a, b *Sample) Sample {
	s := *b
	s.ConfirmLatency = mergePercentiles(a.ConfirmLatency, b.ConfirmLatency)
	s.ReceiveLatency = mergePercentiles(a.ReceiveLatency, b.ReceiveLatency)
	s.Client.CPU = mean(a.Client.CPU, b.Client.CPU)
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
	s.CPU = mean(a.CPU, b.CPU)
	s.Flow, s.Blocked = largest(a.Flow, b.Flow), largest(a.Blocked, b.Blocked)
	return &s
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

func mean(a, b *float64) *float64 {
	if a == nil || b == nil {
		return either(a, b)
	}
	return new((*a + *b) / 2)
}

func sum(a, b *float64) *float64 {
	if a == nil || b == nil {
		return either(a, b)
	}
	return new(*a + *b)
}

func largest(a, b *uint64) *uint64 {
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
