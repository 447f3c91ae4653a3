package main

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/broker"
	"github.com/thumpmq/thump/internal/brokertest"
)

// TestKilledRunLeavesItsCourse kills a run that has --save, after a memory alarm and a while in
// which the broker hung: all of it is in the file.
func TestKilledRunLeavesItsCourse(t *testing.T) {
	t.Parallel()
	brokers := brokertest.All(t)
	b := brokers[len(brokers)-1]
	node := b.Private(t, broker.Options{})
	file := filepath.Join(t.TempDir(), "run.ndjson")
	p := start(t, node.URL, "run", "--queue", brokertest.QueueName(t), "--count", "1000m", "--save", file, "--management-url", node.ManagementURL)
	p.awaitProgress("Received", lineEvery)
	course := saved{t, file}
	course.await("what the API says", func(r *result.Run) bool {
		b := r.Samples[len(r.Samples)-1].Broker
		return b != nil && b.PublishRate != nil && *b.PublishRate > 0 && b.Unacked != nil && b.MemoryBytes != nil && b.Flow != nil && b.Alarms != nil && b.CPU != nil
	})

	ctl(t, node, "set_vm_memory_high_watermark", "0.00001")
	course.awaitEvents(result.Blocked, result.AlarmRaised)
	ctl(t, node, "set_vm_memory_high_watermark", "0.6")
	course.awaitEvents(result.Unblocked, result.AlarmCleared)

	if err := node.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	course.await("three samples without a depth", func(r *result.Run) bool { return gaps(r) >= 3 })
	if err := node.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	course.await("a depth again", func(r *result.Run) bool { return gaps(r) == 0 })

	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.wait()
	r := course.read()
	if r == nil || r.Verdict != result.Unfinished || r.Reason == nil || *r.Sent == 0 || *r.Received < lineEvery || *r.TotalSeconds < 3 || r.Settings.Count != 1e9 {
		t.Errorf("it left %+v", r)
	}
}

// gaps is how many samples without a depth are the last.
func gaps(r *result.Run) (n int) {
	for _, s := range slices.Backward(r.Samples) {
		if s.Broker != nil && s.Broker.Ready != nil {
			break
		}
		n++
	}
	return n
}

// saved is a run file while it is written.
type saved struct {
	t    *testing.T
	file string
}

// read returns the run, nil as long as there is no sample.
func (s saved) read() *result.Run {
	s.t.Helper()
	rec, err := result.ReadFile(s.file)
	if err != nil {
		s.t.Fatal(err)
	}
	if r := rec.Runs[0]; len(r.Samples) > 0 {
		return r
	}
	return nil
}

// await waits until the run is as wanted.
func (s saved) await(what string, wanted func(*result.Run) bool) {
	s.t.Helper()
	for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		r := s.read()
		if r != nil && wanted(r) {
			return
		}
		if time.Since(begin) > patience {
			s.t.Fatalf("the file never has %s: %+v", what, r)
		}
	}
}

// awaitEvents waits for events of these kinds.
func (s saved) awaitEvents(kinds ...result.EventKind) {
	s.t.Helper()
	for _, kind := range kinds {
		s.await(string(kind), func(r *result.Run) bool {
			return slices.ContainsFunc(r.Events, func(e result.Event) bool { return e.Kind == kind })
		})
	}
}
