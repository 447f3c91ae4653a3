package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/brokertest"
	"github.com/thumpmq/thump/internal/ledger"
)

// bench is a queue on a real broker, and a client for it.
type bench struct {
	client *thump.Client
	queue  string
}

// open makes a queue of the given kind and limits, which goes with the test.
func open(t *testing.T, b brokertest.Broker, spec thump.QueueSpec) bench {
	t.Helper()
	client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL}})
	if err != nil {
		t.Fatal(err)
	}
	spec.Name = brokertest.QueueName(t)
	if _, err := client.DeclareQueue(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		if _, err := client.DeleteQueue(ctx, spec.Name, thump.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		if err := client.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return bench{client: client, queue: spec.Name}
}

func (b bench) config(count uint64) RunConfig {
	return RunConfig{
		SendConfig: SendConfig{To: Queue{Name: b.queue, Prefetch: 500}, Count: count, Publishers: 1, Window: 1000, Progress: new(Progress)},
		Consumers:  1,
	}
}

// outcome is what came of a run: its record, and what the record is made of.
type outcome struct {
	result.Run
	Totals      ledger.Totals
	Sent        *sender
	First, Last time.Time
	Interrupted bool
}

// run is Run, and checks that the record says what was counted.
func run(ctx context.Context, t *testing.T, client *thump.Client, cfg RunConfig, stop <-chan struct{}) (outcome, error) {
	t.Helper()
	r := newRunner(client, cfg, stop)
	var out outcome
	var err error
	out.Interrupted, err = r.run(ctx, &out.Run)
	out.Totals, out.Sent, out.First, out.Last = r.books.totals(), &r.sent, r.first, r.last
	totals := ledger.Totals{
		Received: *out.Received, Unique: *out.Unique, Duplicated: *out.Duplicated, Reordered: *out.Reordered,
		Corrupted: *out.Corrupted, Unexpected: *out.Unexpected,
		Redelivered: out.Totals.Redelivered, FarthestReorder: out.Totals.FarthestReorder,
		DeliveredAgain: *out.DuplicatedRedelivered, SentAgain: *out.DuplicatedResent,
	}
	counts := thump.Counts{
		Published: *out.Run.Sent, Confirmed: *out.Confirmed, Rejected: *out.Rejected, Returned: *out.Returned, Unknown: *out.Unknown,
		Resent: *out.Resent,
	}
	if totals != out.Totals || counts != r.sent.counts {
		t.Errorf("the record is %+v, want %+v and %+v", out.Run, out.Totals, r.sent.counts)
	}
	want := result.OK
	switch lost := result.Value(out.Lost); {
	case lost+*out.Unexplained()+totals.Corrupted+totals.Unexpected > 0:
		want = result.Violated
	case err != nil && !out.Interrupted || counts.Rejected+counts.Returned+counts.Unknown > 0 && !out.Interrupted:
		want = result.Failed
	case out.Interrupted:
		want = result.Interrupted
	}
	if out.Verdict != want {
		t.Errorf("the verdict is %s, want %s", out.Verdict, want)
	}
	return out, err
}

// lost reports whether n messages, and no more, are known to be lost.
func (out *outcome) lost(n uint64) bool { return out.Lost != nil && *out.Lost == n }

// left reports whether n messages, and no more, are known to be in the queue.
func (out *outcome) left(n uint64) bool { return out.LeftInQueue != nil && *out.LeftInQueue == n }

// publish puts bodies into the queue past the run.
func (b bench) publish(t *testing.T, bodies ...string) {
	t.Helper()
	pub, err := b.client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue(b.queue)})
	if err != nil {
		t.Error(err)
		return
	}
	for _, body := range bodies {
		if _, err := pub.Publish(t.Context(), thump.Message{Body: []byte(body)}); err != nil {
			t.Error(err)
		}
	}
	if err := pub.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRunAccountsForEveryMessage(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum} {
			t.Run(string(kind), func(t *testing.T) {
				q := open(t, b, thump.QueueSpec{Kind: kind})
				cfg := q.config(20001)
				cfg.Publishers, cfg.Consumers = 3, 2
				out, err := run(t.Context(), t, q.client, cfg, nil)
				if err != nil {
					t.Fatal(err)
				}
				want := ledger.Totals{Received: 20001, Unique: 20001}
				if out.Totals != want || !out.lost(0) || !out.left(0) || out.Interrupted {
					t.Errorf("got %+v", out)
				}
				if c := out.Sent.counts; c.Published != 20001 || c.Confirmed != 20001 || c.InFlight != 0 {
					t.Errorf("sent %+v", c)
				}
				if out.Sent.last.Before(out.Sent.first) || out.Last.Before(out.First) || out.First.Before(out.Sent.first) {
					t.Errorf("times %v %v, %v %v", out.Sent.first, out.Sent.last, out.First, out.Last)
				}
			})
		}
	})
}

// TestRunSeesWhatTheBrokerDrops uses a queue that confirms messages and drops
// the oldest over its limit, as it is documented to: loss from a real broker.
func TestRunSeesWhatTheBrokerDrops(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		q := open(t, b, thump.QueueSpec{Arguments: thump.Table{{Key: "x-max-length", Value: 100}}})
		cfg := q.config(1000)
		cfg.Sequential = true
		out, err := run(t.Context(), t, q.client, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !out.lost(900) || out.Totals.Unique != 100 {
			t.Errorf("got %+v, want 900 lost and 100 received", out)
		}
		if !slices.Equal(out.LostMessages, []string{"1-900"}) {
			t.Errorf("lost %v, want 1-900", out.LostMessages)
		}
	})
}

func TestRunTellsRejectedFromLost(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		q := open(t, b, thump.QueueSpec{Arguments: thump.Table{
			{Key: "x-max-length", Value: 100}, {Key: "x-overflow", Value: "reject-publish"},
		}})
		cfg := q.config(1000)
		cfg.Sequential = true
		out, err := run(t.Context(), t, q.client, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := out.Sent.counts
		if c.Rejected == 0 || c.Confirmed+c.Rejected != 1000 {
			t.Errorf("sent %+v, want some rejected and the others confirmed", c)
		}
		if !out.lost(0) || out.Totals.Unique != c.Confirmed {
			t.Errorf("got %+v with %d confirmed, want none lost", out, c.Confirmed)
		}
	})
}

func TestRunSeesStolenMessages(t *testing.T) {
	b := brokertest.All(t)[0]
	q := open(t, b, thump.QueueSpec{})
	cfg := q.config(50000)
	stolen := 0
	var thief sync.WaitGroup
	thief.Go(func() {
		for stolen < 3 && t.Context().Err() == nil && cfg.Progress.Received() < 40000 {
			if _, ok, err := q.client.Get(t.Context(), q.queue); ok {
				stolen++
			} else if err != nil {
				t.Error(err)
				return
			}
		}
	})
	out, err := run(t.Context(), t, q.client, cfg, nil)
	thief.Wait()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d stolen", stolen)
	if !out.lost(uint64(stolen)) || out.Totals.Unique+uint64(stolen) != 50000 {
		t.Errorf("got %+v, want %d lost", out, stolen)
	}
}

// TestRunSeesForeignMessages: what others have published into the queue is counted, and goes back.
func TestRunSeesForeignMessages(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for name, how := range map[string]struct {
			count uint64
			set   func(*RunConfig)
		}{
			"acks":       {5000, func(*RunConfig) {}},
			"sequential": {1000, func(cfg *RunConfig) { cfg.Sequential = true }},
			"works":      {1000, func(cfg *RunConfig) { cfg.Work = Work{Requeue: 0.2, Reject: 0.5, Most: 100 * time.Microsecond} }},
			"polls": {300, func(cfg *RunConfig) {
				cfg.To = Queue{Name: cfg.To.(Queue).Name, Poll: true, PollInterval: 5 * time.Millisecond}
			}},
		} {
			for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum} {
				t.Run(name+"/"+string(kind), func(t *testing.T) {
					t.Parallel()
					q := open(t, b, thump.QueueSpec{Kind: kind})
					cfg := q.config(how.count)
					cfg.Consumers = 2
					how.set(&cfg)
					beyond := fmt.Sprint("Message ", how.count+1)
					q.publish(t, "Message 1", "hello", "Message 1x", beyond, "")
					out, err := run(t.Context(), t, q.client, cfg, nil)
					if err != nil {
						t.Fatal(err)
					}
					got := out.Totals
					if got.Received != how.count+5 || got.Unique != how.count || got.Duplicated != 1 || got.Corrupted != 1 || got.Unexpected != 3 {
						t.Errorf("got %+v, want %d messages once, and five others", got, how.count)
					}
					if result.Value(out.Lost) != 0 || out.Verdict != result.Violated {
						t.Errorf("got %+v", out.Run)
					}
					q.awaitMessages(t, 4)
					if left := q.bodies(t); !slices.Equal(left, slices.Sorted(slices.Values([]string{"", "hello", "Message 1x", beyond}))) {
						t.Errorf("the queue holds %q", left)
					}
				})
			}
		}
	})
}

// TestRunAmongForeignMessages: as many as a consumer may hold end the run, and all of them go back.
func TestRunAmongForeignMessages(t *testing.T) {
	t.Parallel()
	q := open(t, brokertest.All(t)[0], thump.QueueSpec{})
	cfg := q.config(1000)
	cfg.To = Queue{Name: q.queue, Prefetch: 5}
	q.publish(t, slices.Repeat([]string{"hello"}, 100)...)
	out, err := run(t.Context(), t, q.client, cfg, nil)
	if err == nil || !strings.Contains(err.Error(), "5 messages are held that are not wanted") || out.Verdict != result.Violated {
		t.Errorf("got %v, %+v", err, out.Run)
	}
	foreign := 0
	for _, body := range q.bodies(t) {
		if body == "hello" {
			foreign++
		}
	}
	if foreign != 100 {
		t.Errorf("%d of 100 foreign messages are there", foreign)
	}
}

// bodies takes what the queue holds, and returns it in alphabetical order.
func (b bench) bodies(t *testing.T) (all []string) {
	t.Helper()
	for {
		d, ok, err := b.client.Get(t.Context(), b.queue)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			slices.Sort(all)
			return all
		}
		all = append(all, string(d.Body))
	}
}

// cutter dials, and can break the connections that it has dialled.
type cutter struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (c *cutter) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conn)
	return conn, err
}

func shut(t *testing.T, client *thump.Client) {
	t.Helper()
	if err := client.Close(context.Background()); err != nil {
		t.Log(err) // its publishers and consumers had ended otherwise
	}
}

// TestRunWhenTheConnectionsBreak is about a run that is not to go on then.
func TestRunWhenTheConnectionsBreak(t *testing.T) {
	b := brokertest.All(t)[0]
	q := open(t, b, thump.QueueSpec{})
	// The order in which a run connects: the client, the consumer, the publisher.
	for name, which := range map[string]int{"consumer": 1, "publisher": 2} {
		t.Run(name, func(t *testing.T) {
			var cut cutter
			client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL}, DialContext: cut.dial, Recovery: thump.Recovery{Off: true}})
			if err != nil {
				t.Fatal(err)
			}
			defer shut(t, client)
			cfg := q.config(10_000_000)
			cfg.Recovery.Off = true
			go func() {
				for cfg.Progress.Received() < 5000 && t.Context().Err() == nil {
					time.Sleep(time.Millisecond)
				}
				cut.mu.Lock()
				defer cut.mu.Unlock()
				cut.conns[which].Close()
			}()
			out, err := run(t.Context(), t, client, cfg, nil)
			if err == nil {
				t.Fatal("no error")
			}
			t.Log(err)
			c := out.Sent.counts
			if c.Published != c.Confirmed+c.Rejected+c.Returned+c.Unknown {
				t.Errorf("%+v does not add up", c)
			}
			if result.Value(out.Lost) != 0 || out.Totals.Unexpected != 0 || out.Totals.Corrupted != 0 || out.Interrupted {
				t.Errorf("got %+v", out)
			}
			if name == "publisher" && (out.Lost == nil || !out.left(0)) {
				t.Errorf("what was confirmed was not received: %+v", out)
			}
			if _, err := q.client.PurgeQueue(t.Context(), q.queue); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRunStops(t *testing.T) {
	b := brokertest.All(t)[0]
	q := open(t, b, thump.QueueSpec{})
	for _, sequential := range []bool{false, true} {
		cfg := q.config(10_000_000)
		cfg.Sequential = sequential
		stop := make(chan struct{})
		go func() {
			for cfg.Progress.Confirmed() < 5000 && t.Context().Err() == nil {
				time.Sleep(time.Millisecond)
			}
			close(stop)
		}()
		out, err := run(t.Context(), t, q.client, cfg, stop)
		if err != nil {
			t.Fatal(err)
		}
		c := out.Sent.counts
		if !out.Interrupted || c.Confirmed != c.Published || c.Published < 5000 || !out.lost(0) ||
			!out.left(c.Confirmed-out.Totals.Unique) {
			t.Errorf("sequential %t: got %+v", sequential, out)
		}
		if n, err := q.client.PurgeQueue(t.Context(), q.queue); err != nil || !out.left(uint64(n)) {
			t.Errorf("sequential %t: %d messages left, %v; the run says %d", sequential, n, err, result.Value(out.LeftInQueue))
		}
	}
}

func TestRunGivesUpWhenTheContextEnds(t *testing.T) {
	b := brokertest.All(t)[0]
	q := open(t, b, thump.QueueSpec{})
	cfg := q.config(10_000_000)
	ctx, cancel := context.WithCancel(t.Context())
	var canceled time.Time
	go func() {
		for cfg.Progress.Received() < 5000 && t.Context().Err() == nil {
			time.Sleep(time.Millisecond)
		}
		canceled = time.Now()
		cancel()
	}()
	out, err := run(ctx, t, q.client, cfg, nil)
	if took := time.Since(canceled); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	if err == nil || !errors.Is(err, context.Canceled) || !out.Interrupted {
		t.Errorf("got %v, interrupted %t", err, out.Interrupted)
	}
}

func TestSendToNoQueueIsReturned(t *testing.T) {
	b := brokertest.All(t)[0]
	q := open(t, b, thump.QueueSpec{})
	cfg := q.config(1000).SendConfig
	cfg.To = Queue{Name: q.queue + "-which-is-not-there"}
	var mu sync.Mutex
	var numbers []uint64
	cfg.Unconfirmed = func(n []uint64) {
		mu.Lock()
		defer mu.Unlock()
		numbers = append(numbers, n...)
	}
	var sent result.Run
	if err := Send(t.Context(), q.client, cfg, &sent, nil); err != nil {
		t.Fatal(err)
	}
	if *sent.Returned != 1000 || *sent.Confirmed != 0 || len(numbers) != 1000 || sent.Verdict != result.Failed {
		t.Errorf("sent %+v, %d unconfirmed", sent, len(numbers))
	}
}

func TestSendRefusesWhatTheBrokerWould(t *testing.T) {
	b := brokertest.All(t)[0]
	q := open(t, b, thump.QueueSpec{})
	cfg := q.config(1000).SendConfig
	cfg.BodyBytes = 130 << 20
	var sent result.Run
	err := Send(t.Context(), q.client, cfg, &sent, nil)
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("136314880")) {
		t.Errorf("got %v, want an error that names the size", err)
	}
	if *sent.Sent != 0 || sent.SendSeconds != nil || sent.Verdict != result.Failed {
		t.Errorf("sent %+v", sent)
	}
}

func TestReceiveTakesNoMoreThanCount(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum} {
			q := open(t, b, thump.QueueSpec{Kind: kind})
			if err := Send(t.Context(), q.client, q.config(5000).SendConfig, new(result.Run), nil); err != nil {
				t.Fatal(err)
			}
			left := 5000
			for _, count := range []int{1, 7, 1000, 1234} {
				var got result.Run
				if _, err := Receive(t.Context(), q.client, ReceiveConfig{
					From: Queue{Name: q.queue, Prefetch: 400}, Consumers: 3, Count: uint64(count), Progress: new(Progress),
				}, &got, nil); err != nil {
					t.Fatal(err)
				}
				left -= count
				if *got.Received != uint64(count) || got.Verdict != result.OK {
					t.Errorf("%s: received %d, want %d", kind, *got.Received, count)
				}
				q.awaitMessages(t, left)
			}
		}
	})
}

// awaitMessages waits until the queue holds n messages: what a closed channel
// gives back takes the broker a moment.
func (b bench) awaitMessages(t *testing.T, n int) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		info, err := b.client.InspectQueue(t.Context(), b.queue)
		if err != nil {
			t.Fatal(err)
		}
		if info.Messages == n {
			return
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("the queue holds %d messages, want %d", info.Messages, n)
		}
	}
}

func TestReceiveEndsWhenIdle(t *testing.T) {
	b := brokertest.All(t)[0]
	q := open(t, b, thump.QueueSpec{})
	q.publish(t, "Message 1", "Message 1", "Message 4", "else")
	begin := time.Now()
	got, err := Receive(t.Context(), q.client, ReceiveConfig{
		From: Queue{Name: q.queue, Prefetch: 100}, Consumers: 1, Idle: time.Second, Progress: new(Progress),
	}, new(result.Run), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := ledger.TallyCounts{Received: 4, Numbered: 3, Repeated: 1, Highest: 4}
	if got[0] != want {
		t.Errorf("got %+v, want %+v", got[0], want)
	}
	if took := time.Since(begin); took < time.Second {
		t.Errorf("it took %v", took)
	}
	q.awaitMessages(t, 0)
}
