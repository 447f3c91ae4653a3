package load

import (
	"context"
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

// fill publishes that many messages to the queue.
func (b bench) fill(t *testing.T, count uint64) {
	t.Helper()
	if err := Send(t.Context(), b.client, b.config(count).SendConfig, new(result.Run), nil); err != nil {
		t.Fatal(err)
	}
}

// receive receives with consumers at work. A receive that never ends fails.
func (b bench) receive(t *testing.T, cfg ReceiveConfig) result.Run {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cfg.Progress = new(Progress)
	var got result.Run
	if _, err := Receive(ctx, b.client, cfg, &got, nil); err != nil {
		t.Fatalf("%v, after %d were received", err, *got.Received)
	}
	return got
}

// TestReceiveAtWork: a receive counts what its consumers keep, takes no more than that off the queue, and
// what it says was rejected was.
func TestReceiveAtWork(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		dead := open(t, b, thump.QueueSpec{})
		q := open(t, b, thump.QueueSpec{DeadLetterRoutingKey: dead.queue})
		q.fill(t, 400)
		got := q.receive(t, ReceiveConfig{
			From: Queue{Name: q.queue, Prefetch: 100}, Consumers: 3, Count: 300, Work: Work{Most: 50 * time.Microsecond, Requeue: 0.4, Reject: 0.3},
		})
		if *got.Received != 300 || *got.Requeued == 0 || *got.Dropped == 0 {
			t.Errorf("%d received, %d given back, %d rejected", *got.Received, *got.Requeued, *got.Dropped)
		}
		q.awaitMessages(t, 100)
		dead.awaitMessages(t, int(*got.Dropped))
	})
}

// TestReceiveGivesBackTheLast: consumers who give most of it back receive as many as there are, or as they
// are to: none of them keeps from the others what is missing to the count.
func TestReceiveGivesBackTheLast(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for name, from := range map[string]Queue{
			"one at a time": {Prefetch: 1}, "all at once": {Prefetch: 500}, "polls": {Poll: true, PollInterval: time.Millisecond},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				q := open(t, b, thump.QueueSpec{})
				from.Name = q.queue
				left := 0
				for _, count := range []uint64{1, 3, 20, 20, 20, 100} {
					for _, more := range []uint64{0, 5} {
						q.fill(t, count+more)
						cfg := ReceiveConfig{From: from, Consumers: 4, Count: count + uint64(left), Work: Work{Requeue: 0.7}}
						got := q.receive(t, cfg)
						if left = int(more); *got.Received != cfg.Count {
							t.Errorf("%d of %d received", *got.Received, cfg.Count)
						}
						q.awaitMessages(t, left)
					}
				}
			})
		}
	})
}

// TestIdleWhileAtWork: a consumer that takes its time is not idle, and neither is one that may not take more yet.
func TestIdleWhileAtWork(t *testing.T) {
	t.Parallel()
	const idle = 200 * time.Millisecond
	for name, work := range map[string]Work{"work": {Least: 3 * idle, Most: 3 * idle}, "rate": {Rate: 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := open(t, brokertest.All(t)[0], thump.QueueSpec{})
			q.fill(t, 4)
			got := q.receive(t, ReceiveConfig{From: Queue{Name: q.queue, Prefetch: 10}, Consumers: 1, Idle: idle, Work: work})
			if *got.Received != 4 {
				t.Errorf("%d of 4 received", *got.Received)
			}
		})
	}
}
