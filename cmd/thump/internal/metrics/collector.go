package metrics

import (
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// collector collects the figures of a run when somebody asks for them. Counters begin again
// with each run, as those of a program that was started again do.
type collector struct{ run *atomic.Pointer[Run] }

// Describe sends nothing: what there is depends on the run.
func (*collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the figures of the run, if there is one.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	run := c.run.Load()
	if run == nil {
		return
	}
	to := sink(ch)
	r := run.Record
	to.labelled("run_info", "The run that goes on.", 1,
		labels{{"command", r.Command}, {"queue", r.Settings.Queue}, {"kind", string(r.Settings.Kind)}, {"broker_version", r.Broker.Version}, {"thump_version", r.Settings.ThumpVersion}})

	p := run.Progress
	// In this order nothing is confirmed or received that was not sent.
	received, confirmed, published := p.Received(), p.Confirmed(), p.Published()
	if r.Command != "receive" {
		to.counter("published_messages_total", "Messages that were published, whatever became of them.", published)
		to.counter("confirmed_messages_total", "Messages that the broker has confirmed.", confirmed)
	}
	if r.Command != "send" {
		to.counter("received_messages_total", "Deliveries.", received)
	}
	if r.Settings.TTLSeconds > 0 && r.Command == "run" {
		to.counter("expired_messages_total", "Messages that expired in their queue, and came to no consumer.", p.Expired())
	}
	if r.Settings.Poll {
		to.counter("gets_total", "How often consumers asked for a message.", p.Gets())
		to.counter("empty_gets_total", "How often the queue was empty then.", p.EmptyGets())
	}
	confirms, receipts := newConfirmLatency(), newReceiveLatency()
	p.EachLatency(confirms.add, receipts.add)
	for _, h := range []*histogram{confirms, receipts} {
		if h.count > 0 {
			ch <- h
		}
	}
	_, away := p.Away()
	to.gauge("connected", "Whether all publishers and consumers have a connection.", new(truth(away == nil)))
	to.gauge("blocked", "Whether the broker blocks publishing.", new(truth(p.Blocked() != "")))
	if s := run.Latest(); s != nil {
		to.sample(s)
	}
}

func newConfirmLatency() *histogram {
	return newHistogram("confirm_latency_seconds", "From a message's sending, or when that was due, to its confirm.")
}

func newReceiveLatency() *histogram {
	return newHistogram("receive_latency_seconds", "From a message's sending, or when that was due, to its arrival.")
}

// sink is where metrics go.
type sink chan<- prometheus.Metric

// sample sends what a sample knows.
func (to sink) sample(s *result.Sample) {
	to.gauge("wanted_messages_per_second", "The rate that was asked for.", s.WantedRate)
	to.gauge("schedule_delay_seconds", "How far the sending was behind the rate that was asked for at most, in the last second.", s.LateSeconds)
	b := s.Broker
	if b == nil {
		return
	}
	to.count("queue_ready_messages", "Messages that wait in the queues, or are stored in the streams.", b.Ready)
	to.count("queue_unacked_messages", "Messages that consumers have and have not acked.", b.Unacked)
	to.gauge("broker_cpu_cores", "Processors that the broker keeps busy.", b.CPU)
	to.count("broker_memory_bytes", "Memory that the broker has.", b.MemoryBytes)
	to.count("broker_disk_free_bytes", "What is free on the broker's disk.", b.DiskFreeBytes)
	to.count("broker_flow_connections", "Connections of the run in flow control.", b.Flow)
	to.count("broker_blocked_connections", "Connections of the run that the broker blocks.", b.Blocked)
	if b.Alarms == nil {
		return
	}
	for _, alarm := range []string{"memory", "disk"} {
		to.labelled("broker_alarm", "Whether the broker has this alarm.", truth(slices.Contains(b.Alarms, alarm)), labels{{"alarm", alarm}})
	}
}

// labels are those of a metric: name and value each.
type labels [][2]string

func (to sink) labelled(name, help string, value float64, of labels) {
	names, values := make([]string, len(of)), make([]string, len(of))
	for i, label := range of {
		names[i], values[i] = label[0], valid(label[1])
	}
	to <- prometheus.MustNewConstMetric(describe(name, help, names...), prometheus.GaugeValue, value, values...)
}

func (to sink) counter(name, help string, value uint64) {
	to <- prometheus.MustNewConstMetric(describe(name, help), prometheus.CounterValue, float64(value))
}

// gauge sends a value that is known.
func (to sink) gauge(name, help string, value *float64) {
	if value != nil {
		to <- prometheus.MustNewConstMetric(describe(name, help), prometheus.GaugeValue, *value)
	}
}

// count is gauge for a whole number.
func (to sink) count(name, help string, value *uint64) {
	if value != nil {
		to.gauge(name, help, new(float64(*value)))
	}
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("thump_"+name, help, labels, nil)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
