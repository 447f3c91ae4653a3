package load

import (
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/brokertest"
)

// TestWarmUpIsLeftOut: what was due before is accounted for, and in no rate and no latency.
func TestWarmUpIsLeftOut(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		q := open(t, b, thump.QueueSpec{})
		cfg := q.config(0)
		schedule, err := ParseSchedule("100:400ms,2k:600ms")
		if err != nil {
			t.Fatal(err)
		}
		cfg.Schedule, cfg.Duration, cfg.WarmUp = schedule, time.Second, 400*time.Millisecond
		cfg.Count, cfg.Publishers = schedule.Count(0), 2
		out, err := run(t.Context(), t, q.client, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		if out.Verdict != result.OK || *out.Unique != 1240 || !out.lost(0) {
			t.Errorf("got %+v", out.Run)
		}
		// The message that is due at the very end of the warm-up is after it.
		if c, r := out.ConfirmLatency.Count, out.ReceiveLatency.Count; c != 1200 || r != 1200 {
			t.Errorf("latencies of %d and %d messages, want 1200", c, r)
		}
		if out.SendRatePerSecond == nil || out.ReceiveRatePerSecond == nil {
			t.Errorf("there is no rate: %+v", out.Run)
		}
	})
}

// TestWarmUpThatNothingOutlives has no rate and no latency.
func TestWarmUpThatNothingOutlives(t *testing.T) {
	t.Parallel()
	q := open(t, brokertest.All(t)[0], thump.QueueSpec{})
	cfg := q.config(10)
	cfg.WarmUp = time.Minute
	out, err := run(t.Context(), t, q.client, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out.Verdict != result.OK || *out.Unique != 10 || out.SendRatePerSecond != nil || out.ReceiveRatePerSecond != nil || out.ConfirmLatency != nil || out.ReceiveLatency != nil {
		t.Errorf("got %+v", out.Run)
	}
	if out.SendSeconds == nil || out.ReceiveSeconds == nil {
		t.Error("it took no time")
	}
}

// TestRateAfterWarmUp: a rate is of what came after it, in the time after it.
func TestRateAfterWarmUp(t *testing.T) {
	begin := time.Unix(1000, 0)
	at := func(s float64) time.Time { return begin.Add(time.Duration(s * float64(time.Second))) }
	received := func(w *warm) uint64 { return w.received }
	cfg := SendConfig{Progress: new(Progress)}
	rate := func(count uint64, first, last float64) *float64 {
		return cfg.rateAfter(&count, at(first), at(last), received)
	}
	if r := rate(1000, 0, 10); r == nil || *r != 100 {
		t.Errorf("without a warm-up: %v", r)
	}
	cfg.WarmUp = 5 * time.Second
	if r := rate(1000, 0, 4); r != nil {
		t.Errorf("before its end: %v", *r)
	}
	cfg.Progress.warm.Store(&warm{at: at(5), received: 800})
	for _, tt := range []struct {
		count       uint64
		first, last float64
		want        float64
	}{{1000, 0, 10, 40}, {1000, 1, 9, 50}, {1000, 6, 8, 100}, {800, 0, 10, 0}, {700, 0, 10, 0}} {
		if r := rate(tt.count, tt.first, tt.last); r == nil || *r != tt.want {
			t.Errorf("%+v: %v", tt, r)
		}
	}
	if r := rate(1000, 0, 5); r != nil {
		t.Errorf("of what ended with it: %v", *r)
	}
}

// TestWarmUpThatOutlastsTheSending: what is received after it has a rate, though all was sent before.
func TestWarmUpThatOutlastsTheSending(t *testing.T) {
	t.Parallel()
	q := open(t, brokertest.All(t)[0], thump.QueueSpec{})
	cfg := q.config(1500)
	cfg.Sequential, cfg.Work.Rate, cfg.WarmUp = true, 500, time.Second // receiving takes three seconds
	out, err := run(t.Context(), t, q.client, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out.Verdict != result.OK {
		t.Fatalf("got %+v", out.Run)
	}
	w := cfg.Progress.warm.Load()
	if w == nil || w.received == *out.Received {
		t.Fatalf("when the warm-up was over: %+v", w)
	}
	// No less than if the last had come at the end of the run.
	least := float64(*out.Received-w.received) / time.Since(w.at).Seconds()
	if rate := out.ReceiveRatePerSecond; rate == nil || *rate < least {
		t.Errorf("%v a second after the warm-up, at least %v", rate, least)
	}
}
