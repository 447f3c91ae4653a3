package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// collector collects the figures of a run when somebody asks for them. Counters begin again
// with each run, as those of a program that was started again do.
type collector struct{ run *atomic.Pointer[Run] }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("thump_"+name, help, labels, nil)
}

var (
	info = describe("run_info", "The run that goes on.", "command", "queue", "kind", "broker_version", "thump_version")

	published = describe("published_messages_total", "Messages that were published, whatever became of them.")
	confirmed = describe("confirmed_messages_total", "Messages that the broker has confirmed.")
	received  = describe("received_messages_total", "Deliveries.")

	confirmLatency = describe("confirm_latency_seconds", "From a message's sending, or when that was due, to its confirm.")
	receiveLatency = describe("receive_latency_seconds", "From a message's sending, or when that was due, to its arrival.")

	connected = describe("connected", "Whether all publishers and consumers have a connection.")
	blocked   = describe("blocked", "Whether the broker blocks publishing.")

	wantedRate = describe("wanted_messages_per_second", "The rate that was asked for.")
	late       = describe("schedule_delay_seconds", "How far the sending is behind the rate that was asked for.")

	ready         = describe("queue_ready_messages", "Messages that wait in the queues, or are stored in the streams.")
	unacked       = describe("queue_unacked_messages", "Messages that consumers have and have not acked.")
	brokerCPU     = describe("broker_cpu_cores", "Processors that the broker keeps busy.")
	brokerMemory  = describe("broker_memory_bytes", "Memory that the broker has.")
	brokerDisk    = describe("broker_disk_free_bytes", "What is free on the broker's disk.")
	brokerAlarm   = describe("broker_alarm", "Whether the broker has this alarm.", "alarm")
	brokerFlow    = describe("broker_flow_connections", "Connections of the run in flow control.")
	brokerBlocked = describe("broker_blocked_connections", "Connections of the run that the broker blocks.")
)

// Describe sends nothing: what there is depends on the run.
func (*collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the figures of the run, if there is one.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	run := c.run.Load()
	if run == nil {
		return
	}
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	r := run.Record
	send(info, prometheus.GaugeValue, 1, r.Command, valid(r.Settings.Queue), string(r.Settings.Kind), valid(r.Broker.Version), r.Settings.ThumpVersion)

	p := run.Progress
	// In this order nothing is confirmed or received that was not sent.
	in, done, out := p.Received(), p.Confirmed(), p.Published()
	if r.Command != "receive" {
		send(published, prometheus.CounterValue, float64(out))
		send(confirmed, prometheus.CounterValue, float64(done))
	}
	if r.Command != "send" {
		send(received, prometheus.CounterValue, float64(in))
	}
	confirms, receipts := newHistogram(confirmLatency), newHistogram(receiveLatency)
	p.EachLatency(confirms.add, receipts.add)
	for _, h := range []*histogram{confirms, receipts} {
		if h.count > 0 {
			ch <- h
		}
	}
	_, away := p.Away()
	send(connected, prometheus.GaugeValue, truth(away == nil))
	send(blocked, prometheus.GaugeValue, truth(p.Blocked() != ""))

	if s := run.Latest(); s != nil {
		collectSample(s, send)
	}
}

// collectSample sends what a sample knows.
func collectSample(s *result.Sample, send func(*prometheus.Desc, prometheus.ValueType, float64, ...string)) {
	gauge := func(d *prometheus.Desc, value *float64) {
		if value != nil {
			send(d, prometheus.GaugeValue, *value)
		}
	}
	count := func(d *prometheus.Desc, value *uint64) {
		if value != nil {
			send(d, prometheus.GaugeValue, float64(*value))
		}
	}
	gauge(wantedRate, s.WantedRate)
	gauge(late, s.LateSeconds)
	b := s.Broker
	if b == nil {
		return
	}
	count(ready, b.Ready)
	count(unacked, b.Unacked)
	gauge(brokerCPU, b.CPU)
	count(brokerMemory, b.MemoryBytes)
	count(brokerDisk, b.DiskFreeBytes)
	count(brokerFlow, b.Flow)
	count(brokerBlocked, b.Blocked)
	if b.Alarms == nil {
		return
	}
	for _, alarm := range []string{"memory", "disk"} {
		has := false
		for _, a := range b.Alarms {
			has = has || a == alarm
		}
		send(brokerAlarm, prometheus.GaugeValue, truth(has), alarm)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
