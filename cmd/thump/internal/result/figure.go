package result

// Figure is a number of a run that has a name: for conditions, tables and comparing.
type Figure struct {
	Name   string // in conditions: "receive_rate"
	Title  string // for people: "received a second"
	Unit   Unit
	Better Direction
	// Of is the number; nil where the run did not measure it.
	Of func(*Run) *float64
}

// Unit is what a figure counts.
type Unit int

// The units of figures.
const (
	Count Unit = iota
	PerSecond
	Seconds
	Bytes
	Ratio
	Cores
)

// Direction says which of two numbers is better.
type Direction int

// The directions.
const (
	Neither Direction = iota
	Higher
	Lower
)

// Figures are all figures, in the order of reports.
func Figures() []Figure {
	figures := []Figure{
		{"send_rate", "sent a second", PerSecond, Higher, func(r *Run) *float64 { return r.SendRatePerSecond }},
		{"receive_rate", "received a second", PerSecond, Higher, func(r *Run) *float64 { return r.ReceiveRatePerSecond }},
		{"send_time", "time of sending", Seconds, Lower, func(r *Run) *float64 { return r.SendSeconds }},
		{"receive_time", "time of receiving", Seconds, Lower, func(r *Run) *float64 { return r.ReceiveSeconds }},
		{"total_time", "time from end to end", Seconds, Lower, func(r *Run) *float64 { return r.TotalSeconds }},
	}
	figures = append(figures, percentiles("", "latency", func(r *Run) *Latency {
		if r.ReceiveLatency != nil {
			return r.ReceiveLatency
		}
		return r.ConfirmLatency
	})...)
	figures = append(figures, percentiles("receive_", "latency to the consumer", func(r *Run) *Latency { return r.ReceiveLatency })...)
	figures = append(figures, percentiles("confirm_", "latency of confirms", func(r *Run) *Latency { return r.ConfirmLatency })...)
	return append(figures,
		count("lost", "lost", Lower, func(r *Run) *uint64 { return r.Lost }),
		count("duplicated", "duplicated", Lower, func(r *Run) *uint64 { return r.Duplicated }),
		count("unexplained", "duplicated, which no outage explains", Lower, (*Run).Unexplained),
		count("reordered", "out of order", Lower, func(r *Run) *uint64 { return r.Reordered }),
		count("corrupted", "corrupted", Lower, func(r *Run) *uint64 { return r.Corrupted }),
		count("unexpected", "unexpected", Lower, func(r *Run) *uint64 { return r.Unexpected }),
		count("rejected", "rejected", Lower, func(r *Run) *uint64 { return r.Rejected }),
		count("returned", "returned", Lower, func(r *Run) *uint64 { return r.Returned }),
		count("unknown", "of unknown outcome", Lower, func(r *Run) *uint64 { return r.Unknown }),
		count("resent", "sent again", Lower, func(r *Run) *uint64 { return r.Resent }),
		count("not_sent", "due and never sent", Lower, func(r *Run) *uint64 { return r.NotSent }),
		Figure{"late", "behind schedule, at worst", Seconds, Lower, func(r *Run) *float64 { return r.LateSeconds }},
		count("outages", "outages", Lower, func(r *Run) *uint64 { return r.Outages }),
		Figure{"outage_time", "time without a connection", Seconds, Lower, func(r *Run) *float64 { return r.OutageSeconds }},
		count("backlog", "waiting when the last was sent", Neither, func(r *Run) *uint64 { return r.BacklogAtSendEnd }),
		count("left", "left in the queue", Neither, func(r *Run) *uint64 { return r.LeftInQueue }),
		Figure{"client_cpu", "thump's processor time", Seconds, Lower, func(r *Run) *float64 { return r.ClientCPUSeconds }},
		Figure{"broker_cpu", "RabbitMQ's processor time", Seconds, Lower, func(r *Run) *float64 { return r.BrokerCPUSeconds }},
		Figure{"memory", "thump's peak memory", Bytes, Lower, func(r *Run) *float64 { return float(r.ClientRSSPeakBytes) }},
		Figure{"wire_bytes", "bytes on the wire", Bytes, Lower, func(r *Run) *float64 { return float(r.BytesOnWire) }},
		Figure{"compression", "compression ratio", Ratio, Higher, func(r *Run) *float64 { return r.CompressionRatio }},
	)
}

// percentiles are the figures of one latency.
func percentiles(prefix, title string, of func(*Run) *Latency) []Figure {
	figure := func(name string, value func(*Latency) float64) Figure {
		return Figure{prefix + name, title + ", " + name, Seconds, Lower, func(r *Run) *float64 {
			if l := of(r); l != nil && l.Count > 0 {
				return new(value(l))
			}
			return nil
		}}
	}
	return []Figure{
		figure("min", func(l *Latency) float64 { return l.Min }),
		figure("mean", func(l *Latency) float64 { return l.Mean }),
		figure("p50", func(l *Latency) float64 { return l.P50 }),
		figure("p95", func(l *Latency) float64 { return l.P95 }),
		figure("p99", func(l *Latency) float64 { return l.P99 }),
		figure("p99.9", func(l *Latency) float64 { return l.P999 }),
		figure("p99.99", func(l *Latency) float64 { return l.P9999 }),
		figure("max", func(l *Latency) float64 { return l.Max }),
	}
}

func count(name, title string, better Direction, of func(*Run) *uint64) Figure {
	return Figure{name, title, Count, better, func(r *Run) *float64 { return float(of(r)) }}
}

func float(n *uint64) *float64 {
	if n == nil {
		return nil
	}
	return new(float64(*n))
}
