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
		// What came before was slower.
		sent, received := float64(*out.Confirmed) / *out.SendSeconds, float64(*out.Received) / *out.ReceiveSeconds
		if s, r := *out.SendRatePerSecond, *out.ReceiveRatePerSecond; s < 1.1*sent || r < 1.1*received {
			t.Errorf("%.0f sent and %.0f received a second, and with the warm-up %.0f and %.0f", s, r, sent, received)
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
