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
		schedule, err := ParseSchedule("2k:400ms,500:600ms")
		if err != nil {
			t.Fatal(err)
		}
		cfg.Schedule, cfg.Duration, cfg.WarmUp = schedule, time.Second, 400*time.Millisecond
		cfg.Count, cfg.Publishers = schedule.Count(0), 2
		out, err := run(t.Context(), t, q.client, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		if out.Verdict != result.OK || *out.Unique != 1100 || !out.lost(0) {
			t.Errorf("got %+v", out.Run)
		}
		// The message that is due at the very end of the warm-up is after it.
		if c, r := out.ConfirmLatency.Count, out.ReceiveLatency.Count; c != 300 || r != 300 {
			t.Errorf("latencies of %d and %d messages, want 300", c, r)
		}
		// What was on its way then is a part of the rate.
		if s, r := *out.SendRatePerSecond, *out.ReceiveRatePerSecond; s < 400 || s > 900 || r < 400 || r > 900 {
			t.Errorf("%.0f sent and %.0f received a second, want about 500", s, r)
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
