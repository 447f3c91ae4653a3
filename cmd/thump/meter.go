package main

import (
	"time"

	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// meter measures what this process and a private broker use.
type meter struct {
	conn     *connection
	client   load.Usage
	clientOK bool
	broker   float64 // CPU seconds
	brokerOK bool
}

// startMeter begins to measure a run, which begins now.
func (o *opened) startMeter(r *result.Run) *meter {
	r.StartedAt = time.Now().Format(time.RFC3339)
	o.save.writer().Begin(r)
	m := &meter{conn: o.conn}
	m.client, m.clientOK = load.ReadUsage()
	m.broker, m.brokerOK = o.conn.brokerCPU()
	return m
}

// stop writes what was used since the start to r.
func (m *meter) stop(r *result.Run) {
	if now, ok := load.ReadUsage(); ok && m.clientOK {
		r.ClientCPUSeconds = new((now.CPU - m.client.CPU).Seconds())
		if now.PeakRSSBytes > 0 {
			r.ClientRSSPeakBytes = &now.PeakRSSBytes
		}
	}
	if now, ok := m.conn.brokerCPU(); ok && m.brokerOK {
		r.BrokerCPUSeconds = new(now - m.broker)
	}
}
