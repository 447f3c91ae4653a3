package load

import (
	"sync"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/brokertest"
)

// polled is a run whose consumers poll.
func (b bench) polled(count uint64, interval time.Duration) RunConfig {
	cfg := b.config(count)
	cfg.To, cfg.Consumers = Queue{Name: b.queue, Poll: true, PollInterval: interval}, 2
	return cfg
}

// TestRunPolls: consumers that ask for each message get all of them, and each answer is counted.
func TestRunPolls(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for name, work := range map[string]Work{"acks": {}, "works": {Requeue: 0.2, Reject: 0.1, Most: 100 * time.Microsecond, Rate: 5000}} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum} {
					q := open(t, b, thump.QueueSpec{Kind: kind})
					cfg := q.polled(1000, 5*time.Millisecond)
					cfg.Work = work
					out, err := run(t.Context(), t, q.client, cfg, nil)
					if err != nil || out.Verdict != result.OK || *out.Unique != 1000 || !out.lost(0) || !out.left(0) {
						t.Fatalf("%s: %v, %+v", kind, err, out.Run)
					}
					if answered := *out.Gets - *out.EmptyGets; answered != 1000+result.Value(out.Requeued) || *out.EmptyGets == 0 {
						t.Errorf("%s: asked %d times, %d in vain, for 1000 messages and %d again", kind, *out.Gets, *out.EmptyGets, result.Value(out.Requeued))
					}
				}
			})
		}
	})
}

// TestRunPollsThroughOutages: the connections break again and again, and what was asked for comes all
// the same.
func TestRunPollsThroughOutages(t *testing.T) {
	const count = 4000
	b := brokertest.All(t)[0]
	for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum} {
		t.Run(string(kind), func(t *testing.T) {
			var l line
			cfg := open(t, b, thump.QueueSpec{Kind: kind}).polled(count, 5*time.Millisecond)
			cfg.Window = 100 // it is sent too soon otherwise
			client := over(t, b, &l, &cfg)
			var cuts sync.WaitGroup
			cuts.Go(func() {
				for received := uint64(count / 8); received < count; received += count / 8 {
					await(t, cfg.Progress, received)
					l.cut(2)
				}
			})
			out, err := run(t.Context(), t, client, cfg, nil)
			cuts.Wait()
			if err != nil || out.Verdict != result.OK || !out.lost(0) || out.Totals.Unique != count {
				t.Errorf("it ended with %v: %+v", err, out.Run)
			}
			if *out.Outages == 0 {
				t.Errorf("nothing was survived: %+v", out.Run)
			}
			t.Logf("%d outages, asked %d times, %d in vain, %d duplicated, of those %d sent again and %d delivered again", *out.Outages,
				*out.Gets, *out.EmptyGets, *out.Duplicated, *out.DuplicatedResent, *out.DuplicatedRedelivered)
		})
	}
}

// TestReceivePollsNoMoreThanCount: several consumers ask, and together take what they are to.
func TestReceivePollsNoMoreThanCount(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		q := open(t, b, thump.QueueSpec{})
		if err := Send(t.Context(), q.client, q.config(500).SendConfig, new(result.Run), nil); err != nil {
			t.Fatal(err)
		}
		left := 500
		for _, count := range []int{1, 7, 100} {
			var got result.Run
			if _, err := Receive(t.Context(), q.client, ReceiveConfig{
				From: Queue{Name: q.queue, Poll: true, PollInterval: time.Second}, Consumers: 3, Count: uint64(count), Progress: new(Progress),
			}, &got, nil); err != nil {
				t.Fatal(err)
			}
			left -= count
			if *got.Received != uint64(count) || got.Verdict != result.OK || *got.Gets > uint64(count)+3 {
				t.Errorf("received %d and asked %d times, want %d", *got.Received, *got.Gets, count)
			}
			q.awaitMessages(t, left)
		}
	})
}
