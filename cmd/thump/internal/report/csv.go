package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// column is a column of the samples, as CSV and tables have it.
type column struct {
	name string
	cell func(*result.Sample) string
}

// CSV writes the samples of the runs, a line each. The first column is the number of the run.
// What is not known is empty; times are in seconds, sizes in bytes.
func CSV(w io.Writer, runs []*result.Run) error {
	columns := sampleColumns()
	out := csv.NewWriter(w)
	line := []string{"run"}
	for _, c := range columns {
		line = append(line, c.name)
	}
	if err := out.Write(line); err != nil {
		return fmt.Errorf("report: writing the CSV: %w", err)
	}
	for i, r := range runs {
		r = shown(r)
		for j := range r.Samples {
			line = append(line[:0], strconv.Itoa(i+1))
			for _, c := range columns {
				line = append(line, c.cell(&r.Samples[j]))
			}
			if err := out.Write(line); err != nil {
				return fmt.Errorf("report: writing the CSV: %w", err)
			}
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("report: writing the CSV: %w", err)
	}
	return nil
}

// sampleColumns are all that a sample has.
func sampleColumns() []column {
	whole := func(name string, of func(*result.Sample) uint64) column {
		return column{name, func(s *result.Sample) string { return strconv.FormatUint(of(s), 10) }}
	}
	number := func(name string, of func(*result.Sample) *float64) column {
		return column{name, func(s *result.Sample) string {
			if x := of(s); x != nil {
				return strconv.FormatFloat(*x, 'g', -1, 64)
			}
			return ""
		}}
	}
	count := func(name string, of func(*result.BrokerSample) *uint64) column {
		return column{name, func(s *result.Sample) string {
			if s.Broker == nil || of(s.Broker) == nil {
				return ""
			}
			return strconv.FormatUint(*of(s.Broker), 10)
		}}
	}
	broker := func(name string, of func(*result.BrokerSample) *float64) column {
		return number(name, func(s *result.Sample) *float64 {
			if s.Broker == nil {
				return nil
			}
			return of(s.Broker)
		})
	}
	columns := []column{
		number("seconds", func(s *result.Sample) *float64 { return &s.Seconds }),
		whole("sent", func(s *result.Sample) uint64 { return s.Sent }),
		whole("confirmed", func(s *result.Sample) uint64 { return s.Confirmed }),
		whole("received", func(s *result.Sample) uint64 { return s.Received }),
		number("wanted_rate", func(s *result.Sample) *float64 { return s.WantedRate }),
		number("late_seconds", func(s *result.Sample) *float64 { return s.LateSeconds }),
	}
	for _, latency := range []struct {
		name string
		of   func(*result.Sample) *result.Percentiles
	}{
		{"confirm_", func(s *result.Sample) *result.Percentiles { return s.ConfirmLatency }},
		{"receive_", func(s *result.Sample) *result.Percentiles { return s.ReceiveLatency }},
	} {
		for _, p := range Percentiles() {
			columns = append(columns, number(latency.name+p.Name, func(s *result.Sample) *float64 {
				if of := latency.of(s); of != nil {
					return new(p.Of(of))
				}
				return nil
			}))
		}
	}
	return append(columns,
		number("client_cpu", func(s *result.Sample) *float64 { return s.Client.CPU }),
		column{"client_memory_bytes", func(s *result.Sample) string {
			if s.Client.MemoryBytes == nil {
				return ""
			}
			return strconv.FormatUint(*s.Client.MemoryBytes, 10)
		}},
		number("client_gc_pause_seconds", func(s *result.Sample) *float64 { return s.Client.GCPauseSeconds }),
		count("ready", func(b *result.BrokerSample) *uint64 { return b.Ready }),
		count("unacked", func(b *result.BrokerSample) *uint64 { return b.Unacked }),
		broker("broker_publish_rate", func(b *result.BrokerSample) *float64 { return b.PublishRate }),
		broker("broker_deliver_rate", func(b *result.BrokerSample) *float64 { return b.DeliverRate }),
		broker("broker_cpu", func(b *result.BrokerSample) *float64 { return b.CPU }),
		count("broker_memory_bytes", func(b *result.BrokerSample) *uint64 { return b.MemoryBytes }),
		count("broker_disk_free_bytes", func(b *result.BrokerSample) *uint64 { return b.DiskFreeBytes }),
		count("broker_flow", func(b *result.BrokerSample) *uint64 { return b.Flow }),
		count("broker_blocked", func(b *result.BrokerSample) *uint64 { return b.Blocked }),
		column{"broker_alarms", func(s *result.Sample) string {
			if s.Broker == nil {
				return ""
			}
			return strings.Join(s.Broker.Alarms, " ")
		}},
	)
}

// Percentile is one of those that a sample has.
type Percentile struct {
	Name string // "p99"
	Of   func(*result.Percentiles) float64
}

// Percentiles are all of them, the lowest first.
func Percentiles() []Percentile {
	return []Percentile{
		{"p50", func(p *result.Percentiles) float64 { return p.P50 }},
		{"p95", func(p *result.Percentiles) float64 { return p.P95 }},
		{"p99", func(p *result.Percentiles) float64 { return p.P99 }},
		{"p99.9", func(p *result.Percentiles) float64 { return p.P999 }},
		{"max", func(p *result.Percentiles) float64 { return p.Max }},
	}
}
