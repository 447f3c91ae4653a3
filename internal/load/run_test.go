package load

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/thumpmq/thump"
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

func (b bench) config(count uint64) Config {
	return Config{
		SendConfig: SendConfig{To: Place{Name: b.queue}, Count: count, Publishers: 1, Window: 1000, Progress: new(Progress)},
		Consumers:  1, Prefetch: 500,
	}
}

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
		for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum} {
			t.Run(string(kind), func(t *testing.T) {
				q := open(t, b, thump.QueueSpec{Kind: kind})
				cfg := q.config(20001)
				cfg.Publishers, cfg.Consumers = 3, 2
				out, err := Run(t.Context(), q.client, cfg, nil)
				if err != nil {
					t.Fatal(err)
				}
				want := ledger.Totals{Received: 20001, Unique: 20001}
				if out.Totals != want || out.Lost != 0 || !out.LostKnown || out.Left != 0 || out.Interrupted {
					t.Errorf("got %+v", out)
				}
				if c := out.Sent.Counts; c.Published != 20001 || c.Confirmed != 20001 || c.InFlight != 0 {
					t.Errorf("sent %+v", c)
				}
				if out.Sent.Last.Before(out.Sent.First) || out.Last.Before(out.First) || out.First.Before(out.Sent.First) {
					t.Errorf("times %v %v, %v %v", out.Sent.First, out.Sent.Last, out.First, out.Last)
				}
			})
		}
	})
}

// TestRunSeesWhatTheBrokerDrops uses a queue that confirms messages and drops
// the oldest over its limit, as it is documented to: loss from a real broker.
func TestRunSeesWhatTheBrokerDrops(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		q := open(t, b, thump.QueueSpec{Arguments: thump.Table{{Key: "x-max-length", Value: 100}}})
		cfg := q.config(1000)
		cfg.Sequential = true
		out, err := Run(t.Context(), q.client, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		if out.Lost != 900 || !out.LostKnown || out.Totals.Unique != 100 {
			t.Errorf("got %+v, want 900 lost and 100 received", out)
		}
		if len(out.LostRanges) != 1 || out.LostRanges[0] != (ledger.Range{First: 1, Last: 900}) {
			t.Errorf("lost %v, want 1-900", out.LostRanges)
		}
	})
}

func TestRunTellsRejectedFromLost(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		q := open(t, b, thump.QueueSpec{Arguments: thump.Table{
			{Key: "x-max-length", Value: 100}, {Key: "x-overflow", Value: "reject-publish"},
		}})
		cfg := q.config(1000)
		cfg.Sequential = true
		out, err := Run(t.Context(), q.client, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := out.Sent.Counts
		if c.Rejected == 0 || c.Confirmed+c.Rejected != 1000 {
			t.Errorf("sent %+v, want some rejected and the others confirmed", c)
		}
		if out.Lost != 0 || !out.LostKnown || out.Totals.Unique != c.Confirmed {
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
	out, err := Run(t.Context(), q.client, cfg, nil)
	thief.Wait()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d stolen", stolen)
	if out.Lost != uint64(stolen) || !out.LostKnown || out.Totals.Unique+out.Lost != 50000 {
		t.Errorf("got %+v, want %d lost", out, stolen)
	}
}

func TestRunSeesForeignMessages(t *testing.T) {
	b := brokertest.All(t)[0]
	q := open(t, b, thump.QueueSpec{})
	cfg := q.config(30000)
	var other sync.WaitGroup
	other.Go(func() {
		for cfg.Progress.Received() < 1000 && t.Context().Err() == nil {
			time.Sleep(time.Millisecond)
		}
		q.publish(t, "Message 1", "hello", "Message 1x", "Message 30001", "")
	})
	out, err := Run(t.Context(), q.client, cfg, nil)
	other.Wait()
	if err != nil {
		t.Fatal(err)
	}
	want := ledger.Totals{Received: 30005, Unique: 30000, Duplicated: 1, Corrupted: 1, Unexpected: 3}
	if out.Totals != want || out.Lost != 0 {
		t.Errorf("got %+v, want %+v and none lost", out.Totals, want)
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

func TestRunWhenTheConnectionsBreak(t *testing.T) {
	b := brokertest.All(t)[0]
	q := open(t, b, thump.QueueSpec{})
	// The order in which a run connects: the client, the consumer, the publisher.
	for name, which := range map[string]int{"consumer": 1, "publisher": 2} {
		t.Run(name, func(t *testing.T) {
			var cut cutter
			client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL}, DialContext: cut.dial})
			if err != nil {
				t.Fatal(err)
			}
			defer shut(t, client)
			cfg := q.config(10_000_000)
			go func() {
				for cfg.Progress.Received() < 5000 && t.Context().Err() == nil {
					time.Sleep(time.Millisecond)
				}
				cut.mu.Lock()
				defer cut.mu.Unlock()
				cut.conns[which].Close()
			}()
			out, err := Run(t.Context(), client, cfg, nil)
			if err == nil {
				t.Fatal("no error")
			}
			t.Log(err)
			c := out.Sent.Counts
			if c.Published != c.Confirmed+c.Rejected+c.Returned+c.Unknown {
				t.Errorf("%+v does not add up", c)
			}
			if out.Lost != 0 || out.Totals.Unexpected != 0 || out.Totals.Corrupted != 0 || out.Interrupted {
				t.Errorf("got %+v", out)
			}
			if name == "publisher" && (!out.LostKnown || out.Left != 0) {
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
		out, err := Run(t.Context(), q.client, cfg, stop)
		if err != nil {
			t.Fatal(err)
		}
		c := out.Sent.Counts
		if !out.Interrupted || c.Confirmed != c.Published || c.Published < 5000 || !out.LostKnown || out.Lost != 0 ||
			out.Totals.Unique+out.Left != c.Confirmed {
			t.Errorf("sequential %t: got %+v", sequential, out)
		}
		if n, err := q.client.PurgeQueue(t.Context(), q.queue); err != nil || uint64(n) != out.Left {
			t.Errorf("sequential %t: %d messages left, %v; the run says %d", sequential, n, err, out.Left)
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
	out, err := Run(ctx, q.client, cfg, nil)
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
	cfg.To.Name += "-which-is-not-there"
	var mu sync.Mutex
	var numbers []uint64
	cfg.Unconfirmed = func(n []uint64) {
		mu.Lock()
		defer mu.Unlock()
		numbers = append(numbers, n...)
	}
	sent, err := Send(t.Context(), q.client, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if sent.Counts.Returned != 1000 || sent.Counts.Confirmed != 0 || len(numbers) != 1000 {
		t.Errorf("sent %+v, %d unconfirmed", sent.Counts, len(numbers))
	}
}

func TestSendRefusesWhatTheBrokerWould(t *testing.T) {
	b := brokertest.All(t)[0]
	q := open(t, b, thump.QueueSpec{})
	cfg := q.config(1000).SendConfig
	cfg.BodyBytes = 130 << 20
	sent, err := Send(t.Context(), q.client, cfg, nil)
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("136314880")) {
		t.Errorf("got %v, want an error that names the size", err)
	}
	if sent.Counts.Published != 0 || !sent.First.IsZero() {
		t.Errorf("sent %+v", sent)
	}
}

func TestReceiveTakesNoMoreThanCount(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum} {
			q := open(t, b, thump.QueueSpec{Kind: kind})
			if _, err := Send(t.Context(), q.client, q.config(5000).SendConfig, nil); err != nil {
				t.Fatal(err)
			}
			left := 5000
			for _, count := range []int{1, 7, 1000, 1234} {
				got, err := Receive(t.Context(), q.client, ReceiveConfig{
					From: Place{Name: q.queue}, Consumers: 3, Prefetch: 400, Count: uint64(count), Progress: new(Progress),
				}, nil)
				if err != nil {
					t.Fatal(err)
				}
				left -= count
				if got.Total() != uint64(count) {
					t.Errorf("%s: received %d, want %d", kind, got.Total(), count)
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
		From: Place{Name: q.queue}, Consumers: 1, Prefetch: 100, Idle: 300 * time.Millisecond, Progress: new(Progress),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := ledger.TallyCounts{Received: 4, Numbered: 3, Repeated: 1, Highest: 4}
	if got.Tallies[0] != want {
		t.Errorf("got %+v, want %+v", got.Tallies[0], want)
	}
	if took := time.Since(begin); took < 300*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	q.awaitMessages(t, 0)
}
