package load

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/brokertest"
)

// TestClockThroughTheBroker reads this machine's own clock as if it were another's: the
// difference is nothing, within what it says that it may be off by.
func TestClockThroughTheBroker(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		q := open(t, b, thump.QueueSpec{})
		k := keepClock(t.Context(), q.client, true)
		name := k.name
		name.machine = "elsewhere"
		cs := clocks{client: q.client}
		r := cs.of(t.Context(), name.String())
		if first := r.first; !r.ok || r.own || !r.due || first.offset.Abs() > first.uncertainty || first.uncertainty <= 0 {
			t.Errorf("got %+v", r)
		}
		t.Logf("%v ahead, to within %v", r.first.offset, r.first.uncertainty)
		if _, ok := r.drift(); ok {
			t.Error("it drifts between one reading")
		}
		// The clock is read again when that is due, and what it is ahead by then holds.
		cs.refresh(t.Context(), r, r.first.at.Add(clockEvery-1))
		cs.all.Wait()
		if r.latest.Load() != r.first {
			t.Error("it was read again at once")
		}
		cs.refresh(t.Context(), r, r.first.at.Add(clockEvery))
		cs.all.Wait()
		again := r.latest.Load()
		if drift, ok := r.drift(); !ok || drift.Abs() > r.first.uncertainty+again.uncertainty || !again.at.After(r.first.at) || again.uncertainty < r.first.uncertainty {
			t.Errorf("read again: %+v after %+v", again, r.first)
		}
		if cs.of(t.Context(), name.String()) != r {
			t.Error("it asked again")
		}
		if r := cs.of(t.Context(), k.name.String()); !r.ok || !r.own || r.latest.Load().offset != 0 {
			t.Errorf("this machine's own is %+v", r)
		}
		k.close(t.Context())
		cs.refresh(t.Context(), r, again.at.Add(time.Hour)) // nobody answers any more
		cs.all.Wait()
		if gone := r.latest.Load(); gone.offset != again.offset || gone.uncertainty != again.uncertainty || gone.at != again.at.Add(time.Hour) || gone.again != 1 {
			t.Errorf("without an answer: %+v after %+v", gone, again)
		}
		name.queue += "x" // nobody has that
		if r := cs.of(t.Context(), name.String()); r.ok {
			t.Errorf("nobody has answered, and it is %+v", r)
		}
	})
}

func TestClockNames(t *testing.T) {
	for _, want := range []clockName{{"a", "", false}, {"a", clockQueue + "b", true}} {
		if got, ok := parseClockName(want.String()); !ok || got != want {
			t.Errorf("%v is %v, %t", want, got, ok)
		}
	}
	for _, text := range []string{"", "/", "//", "a", "a/b", "a/orders/due", "/" + clockQueue + "b/due", strings.Repeat("a", 300) + "//"} {
		if got, ok := parseClockName(text); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// TestLatencyBetweenProcesses sends with Latency, at a rate and without, and receives: each
// message's latency is there. Those that do not say when they were sent are counted.
func TestLatencyBetweenProcesses(t *testing.T) {
	t.Parallel()
	q := open(t, brokertest.All(t)[0], thump.QueueSpec{})
	for name, schedule := range map[string]*Schedule{"at a rate": mustParse(t, "2k:500ms"), "as fast as possible": nil} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			q.publish(t, "no header", "none either")
			cfg := q.config(1000).SendConfig
			cfg.Latency, cfg.Schedule, cfg.Publishers = true, schedule, 2
			var sent, received result.Run
			var sending sync.WaitGroup
			sending.Go(func() {
				if err := Send(t.Context(), q.client, cfg, &sent, nil); err != nil {
					t.Error(err)
				}
			})
			_, err := Receive(t.Context(), q.client, ReceiveConfig{
				From: cfg.To, Consumers: 1, Count: 1002, Latency: true, Progress: new(Progress),
			}, &received, nil)
			sending.Wait()
			if err != nil {
				t.Fatal(err)
			}
			l := received.ReceiveLatency
			if l == nil || l.Count != 1000 || *received.Untimed != 2 || l.FromIntended != (schedule != nil) || l.ClockOffsetSeconds != nil || l.Early != 0 {
				t.Fatalf("got %+v, %d untimed", l, *received.Untimed)
			}
			if l.Max > time.Since(begin).Seconds()*1.01 || l.Max <= 0 {
				t.Errorf("the slowest took %v s", l.Max)
			}
		})
	}
}

// TestStampsOfOthers: a header is what anybody writes.
func TestStampsOfOthers(t *testing.T) {
	t.Parallel()
	q := open(t, brokertest.All(t)[0], thump.QueueSpec{})
	pub, err := q.client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue(q.queue)})
	if err != nil {
		t.Fatal(err)
	}
	own := clockName{machine: thisMachine()}.String()
	headers := []thump.Table{
		thump.NewTable(sentHeader, "yesterday", clockHeader, own),
		thump.NewTable(sentHeader, int64(1)),
		thump.NewTable(sentHeader, int64(1), clockHeader, int64(1)),
		thump.NewTable(sentHeader, int64(1), clockHeader, "elsewhere//due"),
		thump.NewTable(sentHeader, int64(1), clockHeader, "elsewhere/orders/due"),
		thump.NewTable(sentHeader, time.Now().Add(time.Hour).UnixMicro(), clockHeader, own),
		thump.NewTable(sentHeader, int64(-1<<63), clockHeader, own),
	}
	for _, h := range headers {
		if _, err := pub.Publish(t.Context(), thump.Message{Properties: &thump.Properties{Headers: h}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := pub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var r result.Run
	_, err = Receive(t.Context(), q.client, ReceiveConfig{
		From: Queue{Name: q.queue, Prefetch: 100}, Consumers: 1, Count: uint64(len(headers)), Latency: true, Progress: new(Progress),
	}, &r, nil)
	if err != nil || *r.Untimed != 5 || r.ReceiveLatency.Count != 2 || r.ReceiveLatency.Early < 1 {
		t.Errorf("%d untimed, %+v, %v", *r.Untimed, r.ReceiveLatency, err)
	}
}
