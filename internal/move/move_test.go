package move

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// dial connects to a broker for a test.
func dial(t *testing.T, b brokertest.Broker) *thump.Client {
	t.Helper()
	urls := []string{b.URL}
	if b.StreamURL != "" {
		urls = append(urls, b.StreamURL)
	}
	client, err := thump.Dial(t.Context(), thump.Config{URLs: urls, Recovery: thump.Recovery{Off: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	return client
}

// queue declares a queue that goes with the test.
func queue(t *testing.T, client *thump.Client, spec thump.QueueSpec) Place {
	t.Helper()
	spec.Name = fmt.Sprintf("%s-%d", t.Name(), time.Now().UnixNano())
	if _, err := client.DeclareQueue(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.DeleteQueue(context.Background(), spec.Name, thump.DeleteOptions{}) })
	return Place{Kind: Queue, Name: spec.Name}
}

// fill publishes messages numbered from 0, with properties of their own.
func fill(t *testing.T, client *thump.Client, to Place, n int) {
	t.Helper()
	pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: to.target("")})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		p := thump.Properties{MessageID: fmt.Sprint(i), Headers: thump.NewTable("n", int32(i), "list", []any{"a", int64(i)})}
		if to.streams() {
			p.Headers.Del("list") // a stream takes none
		}
		if _, err := pub.Publish(t.Context(), thump.Message{Body: fmt.Appendf(nil, "body %d", i), Properties: &p}); err != nil {
			t.Fatal(err)
		}
	}
	if err := pub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// receive takes n messages from a queue.
func receive(t *testing.T, client *thump.Client, from Place, n int) []thump.Delivery {
	t.Helper()
	cfg := thump.ConsumerConfig{From: from.target("")}
	if from.Kind == Queue {
		cfg.AutoAck = true
	}
	con, err := client.Consumer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = con.Close(t.Context()) }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var list []thump.Delivery
	for len(list) < n {
		batch, err := con.Receive(ctx)
		if err != nil {
			t.Fatalf("%d of %d messages have come: %v", len(list), n, err)
		}
		list = append(list, batch.Deliveries...)
	}
	return list
}

func awaitMessages(t *testing.T, client *thump.Client, q Place, want int) {
	t.Helper()
	var got int
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		info, err := client.InspectQueue(t.Context(), q.Name)
		if err != nil {
			t.Fatal(err)
		}
		if got = info.Messages; got == want {
			return
		}
	}
	t.Fatalf("%v holds %d messages, want %d", q, got, want)
}

func TestQueueToQueue(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for _, kinds := range [][2]thump.QueueKind{{thump.Classic, thump.Quorum}, {thump.Quorum, thump.Classic}} {
			client := dial(t, b)
			from, to := queue(t, client, thump.QueueSpec{Kind: kinds[0]}), queue(t, client, thump.QueueSpec{Kind: kinds[1]})
			const n = 3000
			fill(t, client, from, n)
			receipt, err := Run(t.Context(), Job{Source: client, From: from, Target: client, To: to, Message: Copy(), Limit: n})
			if err != nil {
				t.Fatal(err)
			}
			if receipt.Taken != n || receipt.Confirmed != n || receipt.Acked != n || receipt.Left != 0 || receipt.MayBeTwice != 0 {
				t.Errorf("%v to %v: %+v", kinds[0], kinds[1], receipt)
			}
			awaitMessages(t, client, from, 0)
			awaitMessages(t, client, to, n)
			for i, d := range receive(t, client, to, n) {
				if d.MessageID() != fmt.Sprint(i) || d.Header("n") != int32(i) {
					t.Fatalf("message %d has the id %q and the header %v", i, d.MessageID(), d.Header("n"))
				}
			}
		}
	})
}

// TestSomeStay: what a move skips, and what it does not come to, is in the queue afterwards, in
// order, and nothing else is: no ack is forgotten.
func TestSomeStay(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum} {
			t.Run(string(kind), func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(seed, 0))
				client := dial(t, b)
				for range 3 {
					const n = 3000
					from, to := queue(t, client, thump.QueueSpec{Kind: kind}), queue(t, client, thump.QueueSpec{})
					fill(t, client, from, n)
					limit, share := 100+random.IntN(n), 2+random.IntN(20)
					var want []string
					for i := range n {
						if i >= limit || i%share == 0 {
							want = append(want, fmt.Sprint(i))
						}
					}
					receipt, err := Run(t.Context(), Job{
						Source: client, From: from, Target: client, To: to, Message: Copy(), Limit: uint64(limit),
						Skip: func(d *thump.Delivery) (bool, error) { return int(d.Header("n").(int32))%share == 0, nil },
					})
					if err != nil || receipt.Acked != uint64(n-len(want)) {
						t.Fatalf("limit %d, one of %d skipped: %+v, %v", limit, share, receipt, err)
					}
					awaitMessages(t, client, from, len(want))
					for i, d := range receive(t, client, from, len(want)) {
						if d.MessageID() != want[i] {
							t.Fatalf("limit %d, one of %d skipped: message %d of those left has the id %s, and not %s", limit, share, i, d.MessageID(), want[i])
						}
					}
					awaitMessages(t, client, to, n-len(want))
				}
			})
		}
	})
}

// TestLateDeliveries: a queue has nothing ready while what it has sent is still on its way.
// That is moved, too, however long it takes.
func TestLateDeliveries(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum} {
			t.Run(string(kind), func(t *testing.T) {
				t.Parallel()
				near := dial(t, b)
				from, to := queue(t, near, thump.QueueSpec{Kind: kind}), queue(t, near, thump.QueueSpec{})
				const n = 1000
				fill(t, near, from, n)
				far, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL}, DialContext: brokertest.DialLate})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = far.Close(context.Background()) }()
				receipt, err := Run(t.Context(), Job{Source: far, From: from, Target: near, To: to, Message: Copy()})
				if err != nil || receipt.Acked != n {
					t.Errorf("%+v, %v", receipt, err)
				}
				awaitMessages(t, near, from, 0)
				awaitMessages(t, near, to, n)
			})
		}
	})
}
