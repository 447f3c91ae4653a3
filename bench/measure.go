package main

import (
	"context"
	"fmt"
	"time"

	"github.com/thumpmq/thump"
)

// sample is one measurement: one peer, once, in one scenario.
type sample struct {
	Count   int     `json:"count"`
	Seconds float64 `json:"seconds"`
	// CPU time of the client. A side is 0 if it took no part, or if one process is
	// both sides (PerfTest).
	SendCPUSeconds    float64  `json:"send_cpu_seconds"`
	ReceiveCPUSeconds float64  `json:"receive_cpu_seconds"`
	ClientCPUSeconds  float64  `json:"client_cpu_seconds"`
	BrokerCPUSeconds  *float64 `json:"broker_cpu_seconds"` // null if unknown
	// RSSBytesPeak is that of the larger process.
	RSSBytesPeak int64 `json:"rss_bytes_peak"`
	// BackInQueue counts messages that were received and acked, but were back in the
	// queue after the consumer had closed its channel: a quorum queue may drop acks
	// that are still on their way.
	BackInQueue int `json:"back_in_queue"`
	// Timings are of a scenario with a rate.
	Timings *timings `json:"timings,omitempty"`
}

// add adds what one process did.
func (s *sample) add(role string, w work) {
	switch role {
	case roleSend, rolePacedSend:
		s.SendCPUSeconds = w.cpuSeconds
	case roleReceive, rolePacedReceive:
		s.ReceiveCPUSeconds = w.cpuSeconds
	}
	s.ClientCPUSeconds += w.cpuSeconds
	s.RSSBytesPeak = max(s.RSSBytesPeak, w.rssBytes)
	if w.Timings != nil {
		s.addTimings(w.Timings)
	}
}

func (s *sample) addTimings(t *timings) {
	if s.Timings == nil {
		s.Timings = &timings{}
	}
	if t.Receive != nil {
		s.Timings.Receive = t.Receive
		return
	}
	s.Timings.Confirm, s.Timings.Late = t.Confirm, t.Late
}

func (s sample) ratePerSecond() float64 { return float64(s.Count) / s.Seconds }

// site is the broker that everything is measured on.
type site struct {
	self      string // this program
	url       string
	streamURL string
	client    *thump.Client // nil if no scenario needs a broker
	// cpuSeconds is the broker's CPU time so far; nil if it can't be known.
	cpuSeconds func() (float64, bool)
	filler     peer // fills the backlog of a scenario that only receives

	backlogs map[string]string // streams that are only read, by scenario
}

const (
	// cellTimeout and cellRateLeast bound one measurement.
	cellTimeout   = time.Minute
	cellRateLeast = 500 // messages per second

	// checkTimeout bounds the wait for the broker to have what it must have.
	checkTimeout = 10 * time.Second
	checkPause   = 20 * time.Millisecond
)

// measure lets one peer move t.Count messages once, through a new queue, and asks
// the broker whether any is left over or missing.
func (b *site) measure(ctx context.Context, p peer, s scenario, t task) (sample, error) {
	limit := cellTimeout + time.Duration(t.Count/cellRateLeast)*time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than %v", limit))
	defer cancel()
	if s.Stub {
		return measureStub(ctx, b.self, p, s, t)
	}
	if s.Stream {
		return b.measureStream(ctx, p, s, t)
	}
	t.URL, t.Safe = b.url, s.Safe
	_, err := b.client.DeclareQueue(ctx, thump.QueueSpec{Name: t.Queue, Kind: s.Kind, Transient: !s.Safe})
	if err != nil {
		return sample{}, err
	}
	defer func() {
		// The next measurement has a queue of its own; this one only holds memory.
		_, _ = b.client.DeleteQueue(context.WithoutCancel(ctx), t.Queue, thump.DeleteOptions{})
	}()
	if !s.Sends {
		if err := b.fill(ctx, t); err != nil {
			return sample{}, fmt.Errorf("filling the backlog: %w", err)
		}
	}
	before, seen := b.cpu()
	out, err := p.run(ctx, s, t)
	if err != nil {
		return out, err
	}
	left := 0
	if !s.Receives {
		left = t.Count
	}
	excess, err := b.queueHolds(ctx, t.Queue, left)
	ackedInVain := s.Safe && excess > 0
	if err != nil && !ackedInVain {
		return out, err
	}
	out.BackInQueue = excess
	if after, ok := b.cpu(); ok && seen {
		used := after - before
		out.BrokerCPUSeconds = &used
	}
	out.Count = t.Count
	return out, nil
}

// version is the broker's, and "" without one.
func (b *site) version() string {
	if b.client == nil {
		return ""
	}
	return b.client.Server().Version
}

func (b *site) cpu() (float64, bool) {
	if b.cpuSeconds == nil {
		return 0, false
	}
	return b.cpuSeconds()
}

// fill publishes the backlog, the same way for every peer.
func (b *site) fill(ctx context.Context, t task) error {
	t.Profile, t.Safe = "", false
	if _, err := b.filler.run(ctx, scenario{Sends: true}, t); err != nil {
		return err
	}
	_, err := b.queueHolds(ctx, t.Queue, t.Count)
	return err
}

// queueHolds waits until the queue holds that many messages and has no consumer:
// what was published may still be on its way inside the broker. If it does not
// come to that it is an error, and excess is how many messages are too many.
func (b *site) queueHolds(ctx context.Context, queue string, messages int) (excess int, err error) {
	deadline := time.Now().Add(checkTimeout)
	for {
		info, err := b.client.InspectQueue(ctx, queue)
		if err != nil {
			return 0, err
		}
		if info.Messages == messages && info.Consumers == 0 {
			return 0, nil
		}
		if time.Now().After(deadline) {
			return info.Messages - messages, fmt.Errorf("the queue holds %d messages and %d consumers, expected %d and none",
				info.Messages, info.Consumers, messages)
		}
		select {
		case <-time.After(checkPause):
		case <-ctx.Done():
			return 0, fmt.Errorf("looking into the queue: %w", ctx.Err())
		}
	}
}
