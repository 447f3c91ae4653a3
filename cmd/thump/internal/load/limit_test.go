package load

import (
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/brokertest"
)

// TestLimit: whoever asks in time gets the rate, and what nobody asked for is not made up for.
func TestLimit(t *testing.T) {
	t.Parallel()
	const rate = 1000
	begin := time.Unix(0, 0).UTC()
	l := newLimit(rate, new(Progress))
	now := begin
	var due time.Time
	for range rate {
		due = l.book(1, now)
		now = due.Add(50 * time.Microsecond) // and is a little late
	}
	if took := due.Sub(begin); took < 985*time.Millisecond || took > time.Second {
		t.Errorf("%d messages took %v", rate, took)
	}
	now = now.Add(time.Minute)
	n := 0
	for limit := now.Add(100 * time.Millisecond); !due.After(limit); n++ {
		due = l.book(1, now)
		if due.After(now) {
			now = due
		}
	}
	if n < 100 || n > 115 {
		t.Errorf("%d messages in 100 ms after a minute without any", n)
	}
	if slow := newLimit(1, new(Progress)); !slow.book(1, now).Equal(now) || !slow.book(1, now).Equal(now.Add(time.Second)) {
		t.Error("of one a second, two come at once")
	}
	if l.together() != 1 || newLimit(0, nil) != nil || newLimit(50_000, nil).together() != 50 {
		t.Error("batches are too large or too small")
	}
}

// TestConsumersHaveARate: all together.
func TestConsumersHaveARate(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		q := open(t, b, thump.QueueSpec{})
		cfg := q.config(1000)
		cfg.Consumers, cfg.Work.Rate = 3, 2000
		out, err := run(t.Context(), t, q.client, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		if took := *out.ReceiveSeconds; out.Verdict != result.OK || took < 0.47 {
			t.Errorf("1000 messages at 2000 a second took %v s: %+v", took, out.Run)
		}
		if latest := out.ReceiveLatency.Max; latest < 0.4 { // they were there long before
			t.Errorf("the last was received after %v s", latest)
		}
	})
}
