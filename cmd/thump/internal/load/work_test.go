package load

import (
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/brokertest"
)

// TestConsumersAtWork: whatever consumers give back or reject, every message is received once,
// and the books say so.
func TestConsumersAtWork(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for name, work := range map[string]Work{
			"gives back": {Requeue: 0.3},
			"rejects":    {Reject: 0.3},
			"all":        {Requeue: 0.2, Reject: 0.2, Least: 100 * time.Microsecond, Most: time.Millisecond},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				q := open(t, b, thump.QueueSpec{})
				cfg := q.config(2000)
				cfg.Work, cfg.Consumers = work, 2
				out, err := run(t.Context(), t, q.client, cfg, nil)
				if err != nil {
					t.Fatal(err)
				}
				if out.Verdict != result.OK || *out.Unique != 2000 || *out.Received != 2000 || !out.lost(0) || !out.left(0) {
					t.Errorf("got %+v", out.Run)
				}
				if out.ReceiveLatency.Count != 2000 {
					t.Errorf("latencies of %d messages", out.ReceiveLatency.Count)
				}
				if n := cfg.Progress.Received(); n != 2000 {
					t.Errorf("the progress says that %d were received", n)
				}
				requeued, dropped := *out.Requeued, *out.Dropped
				if (requeued > 0) != (work.Requeue > 0) || (dropped > 0) != (work.Reject > 0) {
					t.Errorf("%d requeued and %d rejected", requeued, dropped)
				}
				if expected := work.Reject * 2000 / (1 - work.Requeue); float64(dropped) < 0.7*expected || float64(dropped) > 1.3*expected {
					t.Errorf("%d rejected, want about %.0f", dropped, expected)
				}
			})
		}
	})
}

// TestWorkTakesItsTime: a consumer handles one message after another.
func TestWorkTakesItsTime(t *testing.T) {
	t.Parallel()
	q := open(t, brokertest.All(t)[0], thump.QueueSpec{})
	cfg := q.config(100)
	cfg.Work = Work{Least: 4 * time.Millisecond, Most: 4 * time.Millisecond}
	out, err := run(t.Context(), t, q.client, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out.Verdict != result.OK || *out.ReceiveSeconds < 0.39 || out.ReceiveLatency.Max < 0.38 {
		t.Errorf("a hundred messages took %v s, and the last %v s", *out.ReceiveSeconds, out.ReceiveLatency.Max)
	}
}

// TestWorkThatTakesLong: while consumers are at work nothing comes, and the run waits for them. With
// a prefetch, the queue has nothing more then.
func TestWorkThatTakesLong(t *testing.T) {
	t.Parallel()
	for name, autoAck := range map[string]bool{"acks": false, "auto-ack": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := open(t, brokertest.All(t)[0], thump.QueueSpec{})
			cfg := q.config(3)
			cfg.To = Queue{Name: q.queue, Prefetch: 10, AutoAck: autoAck}
			const each = idleBeforeCheck * 3 / 2
			cfg.Work = Work{Least: each, Most: each}
			out, err := run(t.Context(), t, q.client, cfg, nil)
			if err != nil {
				t.Fatal(err)
			}
			// The first begins its work when it has come, and the last one when that of two is done.
			if took := *out.ReceiveLatency; out.Verdict != result.OK || took.Max < 2*each.Seconds()-0.1 || out.Totals.Redelivered > 0 {
				t.Errorf("three messages took %v s, and the last began after %v s: %+v", *out.TotalSeconds, took.Max, out.Run)
			}
		})
	}
}
