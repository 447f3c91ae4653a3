package main

import (
	"context"
	"fmt"
	"time"

	"github.com/thumpmq/thump"
)

// sample is what one peer did once in one scenario.
type sample struct {
	Count   int     `json:"count"`
	Seconds float64 `json:"seconds"`
	// The client's CPU time; of one side 0 where that was not taking part, or
	// where one process does both (PerfTest).
	SendCPUSeconds    float64  `json:"send_cpu_seconds"`
	ReceiveCPUSeconds float64  `json:"receive_cpu_seconds"`
	ClientCPUSeconds  float64  `json:"client_cpu_seconds"`
	BrokerCPUSeconds  *float64 `json:"broker_cpu_seconds"` // null where the broker can't be seen
	// RSSBytesPeak is that of the larger of two processes.
	RSSBytesPeak int64 `json:"rss_bytes_peak"`
	// BackInQueue counts messages that were received and acked, and were in the
	// queue again when the consumer had closed its channel: a quorum queue may
	// drop acks that are still on their way to it.
	BackInQueue int `json:"back_in_queue"`
}

// add takes in what one process did.
func (s *sample) add(role string, w work) {
	if role == roleSend {
		s.SendCPUSeconds = w.cpuSeconds
	} else {
		s.ReceiveCPUSeconds = w.cpuSeconds
	}
	s.ClientCPUSeconds += w.cpuSeconds
	s.RSSBytesPeak = max(s.RSSBytesPeak, w.rssBytes)
}

func (s *sample) ratePerSecond() float64 { return float64(s.Count) / s.Seconds }

// site is the broker that everything is measured on.
type site struct {
	url       string
	streamURL string
	client    *thump.Client
	// cpuSeconds is the broker's CPU time so far; nil where it can't be seen.
	cpuSeconds func() (float64, bool)
	filler     peer // fills the backlog of a scenario that only receives

	backlogs map[string]string // streams that are only read, by scenario
}

const (
	// cellTimeout and cellRateLeast bound one measurement.
	cellTimeout   = time.Minute
	cellRateLeast = 500 // messages per second

	settleTimeout = 10 * time.Second
	settlePause   = 20 * time.Millisecond
)

// measure lets one peer move t.Count messages once, through a fresh queue, and
// checks with the broker that none is left over or missing.
func (b *site) measure(ctx context.Context, p peer, s scenario, t task) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, cellTimeout+time.Duration(t.Count/cellRateLeast)*time.Second)
	defer cancel()
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
	excess, err := b.settled(ctx, t.Queue, left)
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
	_, err := b.settled(ctx, t.Queue, t.Count)
	return err
}

// settled waits until the queue holds as many messages as it must: what was
// published may still be on its way inside the broker. Where it does not come to
// that, the error says so, and excess is how many there are too many.
func (b *site) settled(ctx context.Context, queue string, messages int) (excess int, err error) {
	deadline := time.Now().Add(settleTimeout)
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
		case <-time.After(settlePause):
		case <-ctx.Done():
			return 0, fmt.Errorf("waiting for the queue to settle: %w", ctx.Err())
		}
	}
}
