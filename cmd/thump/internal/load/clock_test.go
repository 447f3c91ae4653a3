package load

import (
	"bytes"
	"context"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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
		cs := clocks{client: q.client, waited: func(*senderClock, []took) {}}
		r := cs.of(t.Context(), name.String())
		<-r.read
		if first := r.first; !first.ok || r.own || !r.due || first.offset.Abs() > first.uncertainty || first.uncertainty <= 0 {
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
		if r := cs.of(t.Context(), k.name.String()); !r.own || !r.latest.Load().ok || r.latest.Load().offset != 0 {
			t.Errorf("this machine's own is %+v", r)
		}
		k.close(t.Context())
		cs.refresh(t.Context(), r, again.at.Add(time.Hour)) // nobody answers any more
		cs.all.Wait()
		if gone := r.latest.Load(); gone.offset != again.offset || gone.uncertainty != again.uncertainty || gone.at != again.at.Add(time.Hour) || gone.again != 1 {
			t.Errorf("without an answer: %+v after %+v", gone, again)
		}
		name.queue += "x" // nobody has that
		nobodys := cs.of(t.Context(), name.String())
		cs.all.Wait()
		if got := nobodys.latest.Load(); got.ok {
			t.Errorf("nobody has answered, and it is %+v", got)
		}
	})
}

// TestLatencyWhileAClockIsRead: far from the broker it takes seconds to read a clock, and no message
// seems to take longer for that. Two receivers get the same messages; one has to read their clock, and
// the other knows it.
func TestLatencyWhileAClockIsRead(t *testing.T) {
	t.Parallel()
	const delay, count, apart = 50 * time.Millisecond, 400, 5 * time.Millisecond
	b := brokertest.All(t)[0]
	far, err := thump.Dial(t.Context(), thump.Config{URLs: []string{delayed(t, b.URL, delay)}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = far.Close(context.WithoutCancel(t.Context())) }()
	var queues [2]bench
	var pubs [2]*thump.Publisher
	var received [2]result.Run
	var all sync.WaitGroup
	for i := range queues {
		q := open(t, b, thump.QueueSpec{})
		queues[i] = q
		all.Go(func() {
			_, err := Receive(t.Context(), far, ReceiveConfig{
				From: Queue{Name: q.queue, Prefetch: count}, Consumers: 1, Count: count, Latency: true, Progress: new(Progress),
			}, &received[i], nil)
			if err != nil {
				t.Error(err)
			}
		})
		if pubs[i], err = q.client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue(q.queue)}); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = pubs[i].Close(context.WithoutCancel(t.Context())) }()
		for {
			info, err := q.client.InspectQueue(t.Context(), q.queue)
			if err != nil {
				t.Fatal(err)
			}
			if info.Consumers > 0 {
				break
			}
			time.Sleep(delay)
		}
	}
	k := keepClock(t.Context(), queues[0].client, true)
	defer k.close(context.WithoutCancel(t.Context()))
	names := [2]clockName{k.name, k.name}
	names[0].machine = "elsewhere"
	for range count {
		for i, pub := range pubs {
			headers := thump.NewTable(sentHeader, time.Now().UnixMicro(), clockHeader, names[i].String())
			if _, err := pub.Publish(t.Context(), thump.Message{Properties: &thump.Properties{Headers: headers}}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(apart)
	}
	all.Wait()
	for i, r := range received {
		if l := r.ReceiveLatency; l == nil || l.Count != count || *r.Untimed != 0 || (l.ClockOffsetSeconds == nil) != (i == 1) {
			t.Fatalf("receiver %d: %+v, %d untimed", i, l, *r.Untimed)
		}
	}
	read, known := received[0].ReceiveLatency, received[1].ReceiveLatency
	t.Logf("half within %v s where the clock is read, and within %v s where it is known", read.P50, known.P50)
	// Each question takes two delays, so all of them take forty.
	if read.P50 > known.P50+10*delay.Seconds() {
		t.Error("the latency is that of the reading")
	}
	offset, uncertainty := *read.ClockOffsetSeconds, *read.ClockUncertaintySeconds
	if math.Abs(offset) > uncertainty || uncertainty < delay.Seconds() {
		t.Errorf("this machine's own clock is %v s ahead, to within %v s", offset, uncertainty)
	}

	// Who has received everything before the clock is read waits for that.
	headers := thump.NewTable(sentHeader, time.Now().UnixMicro(), clockHeader, names[0].String())
	if _, err := pubs[0].Publish(t.Context(), thump.Message{Properties: &thump.Properties{Headers: headers}}); err != nil {
		t.Fatal(err)
	}
	var one result.Run
	_, err = Receive(t.Context(), far, ReceiveConfig{
		From: Queue{Name: queues[0].queue, Prefetch: 1}, Consumers: 1, Count: 1, Latency: true, Progress: new(Progress),
	}, &one, nil)
	if err != nil || *one.Untimed != 0 || one.ReceiveLatency == nil || one.ReceiveLatency.ClockUncertaintySeconds == nil {
		t.Errorf("of a single message: %+v, %v", one.ReceiveLatency, err)
	}
}

// delayed returns the URL of a broker as if it were far away: what it and its clients say takes so
// long.
func delayed(t *testing.T, brokerURL string, delay time.Duration) string {
	t.Helper()
	return brokertest.Relay(t, brokerURL, func(to, from net.Conn) { carryLate(to, from, delay) })
}

// carryLate writes to one connection what it reads from the other, each piece so much later, until
// either ends.
func carryLate(to, from net.Conn, delay time.Duration) {
	type piece struct {
		data []byte
		due  time.Time
	}
	pieces := make(chan piece, 10_000)
	go func() {
		defer func() { _ = to.Close() }()
		for p := range pieces {
			time.Sleep(time.Until(p.due))
			_, _ = to.Write(p.data) // the reading ends where this does
		}
	}()
	defer close(pieces)
	for buffer := make([]byte, 64<<10); ; {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		pieces <- piece{bytes.Clone(buffer[:n]), time.Now().Add(delay)}
	}
}

// TestWaitingForAClock: what waits is bounded. Who has more waits as well, and nothing is dropped.
func TestWaitingForAClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &senderClock{read: make(chan struct{}), waiting: make([]took, waitingMost-1)}
		if !s.await(time.Second) {
			t.Error("there was room, and it did not wait")
		}
		over := false
		go func() {
			over = !s.await(2 * time.Second)
		}()
		synctest.Wait()
		if over {
			t.Error("more waits than there is room for")
		}
		waited := s.wasRead(&reading{ok: true})
		synctest.Wait()
		if len(waited) != waitingMost || waited[waitingMost-1] != (took{time.Second, 1}) || !over {
			t.Errorf("%d have waited, the last %+v; the one for which there was no room no longer waits: %t", len(waited), waited[len(waited)-1], over)
		}
		if s.await(time.Second) {
			t.Error("it waits for a clock that was read")
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
		thump.NewTable(sentHeader, int64(1), clockHeader, "elsewhere/"+clockQueue+"gone/due"),
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
	if err != nil || *r.Untimed != 6 || r.ReceiveLatency.Count != 2 || r.ReceiveLatency.Early < 1 {
		t.Errorf("%d untimed, %+v, %v", *r.Untimed, r.ReceiveLatency, err)
	}
}
