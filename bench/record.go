package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// record is a run as data: what --json writes and what the table is made of.
type record struct {
	StartedAt time.Time    `json:"started_at"`
	Machine   machine      `json:"machine"`
	Broker    brokerRecord `json:"broker"`
	Settings  settings     `json:"settings"`
	Peers     []peerRecord `json:"peers"`
	Cells     []*cell      `json:"cells"`
	Checking  []checkCost  `json:"checking"`
	// Comparisons are there if there was a baseline.
	Comparisons []comparison `json:"comparisons,omitempty"`

	// Causes are there if they were asked for.
	Causes []spent `json:"causes,omitempty"`

	scenarios []scenario
}

type machine struct {
	OS        string `json:"os"`
	Arch      string `json:"arch"`
	CPUs      int    `json:"cpus"`
	GoVersion string `json:"go_version"`
}

type brokerRecord struct {
	Version string `json:"version"`
	Private bool   `json:"private"`
}

type settings struct {
	Count     int      `json:"count"`
	Rounds    int      `json:"rounds"`
	Window    int      `json:"window"`
	Prefetch  int      `json:"prefetch"`
	AckEvery  int      `json:"ack_every"`
	Scenarios []string `json:"scenarios"`

	StubCount      int `json:"stub_count"`
	LatencySeconds int `json:"latency_seconds"` // that count in scenarios with a rate

	// For streams.
	StreamCount  int `json:"stream_count"`
	StreamWindow int `json:"stream_window"`
	SubEntry     int `json:"sub_entry"`
}

// countOf is how many messages a fast peer moves in a scenario.
func (s *settings) countOf(sc scenario) int {
	switch {
	case sc.Rate > 0:
		return sc.Rate * (latencyWarmSeconds + s.LatencySeconds)
	case sc.Stub:
		return s.StubCount
	case sc.Stream:
		return sc.Times * s.StreamCount
	}
	return s.Count
}

type peerRecord struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Missing string `json:"missing,omitempty"` // why it was not measured
}

// writeJSON writes the record to a file, or to standard output for "-".
func writeJSON(path string, stdout io.Writer, r *record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the record: %w", err)
	}
	data = append(data, '\n')
	if path == "-" {
		_, err = stdout.Write(data)
		return err
	}
	return os.WriteFile(path, data, 0o644)
}
