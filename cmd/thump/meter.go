package main

import (
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

func startMeter(conn *connection) *meter {
	m := &meter{conn: conn}
	m.client, m.clientOK = load.ReadUsage()
	m.broker, m.brokerOK = conn.brokerCPU()
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
