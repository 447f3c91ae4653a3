package move

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
	"github.com/thumpmq/thump/internal/version"
)

// TestSuperStreams moves from a queue to a super stream, and back to a queue: what has the same
// key is in order.
func TestSuperStreams(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		client := dial(t, b)
		if !version.AtLeast(client.Server().Version, 3, 13) {
			err := client.DeclareSuperStream(t.Context(), thump.SuperStreamSpec{StreamSpec: thump.StreamSpec{Name: "none"}, Partitions: 3})
			if err == nil || !strings.Contains(err.Error(), "3.13") {
				t.Errorf("it has no super streams over the stream protocol, and says %v", err)
			}
			return
		}
		const n, keys = 1000, 7
		from, back := queue(t, client, thump.QueueSpec{}), queue(t, client, thump.QueueSpec{})
		fill(t, client, from, n)
		super := Place{Kind: SuperStream, Name: from.Name + "-super"}
		if err := client.DeclareSuperStream(t.Context(), thump.SuperStreamSpec{StreamSpec: thump.StreamSpec{Name: super.Name}, Partitions: 3}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.DeleteSuperStream(context.Background(), super.Name) })
		keyed := func(d *thump.Delivery) (thump.Message, error) {
			msg, err := Copy("list")(d)
			msg.RoutingKey = fmt.Sprint(d.Header("n").(int32) % keys)
			return msg, err
		}
		for _, job := range []Job{{From: from, To: super, Message: keyed, Limit: n}, {From: super, To: back, Message: Copy()}} {
			job.Source, job.Target = client, client
			receipt, err := Run(t.Context(), job)
			if err != nil || receipt.Taken != n || receipt.Confirmed != n || receipt.Acked != n {
				t.Fatalf("from %v to %v: %+v, %v", job.From, job.To, receipt, err)
			}
		}
		awaitMessages(t, client, from, 0)
		next := make(map[int]int) // by key
		for _, d := range receive(t, client, back, n) {
			i := number(t, &d)
			if want := i%keys + keys*next[i%keys]; i != want {
				t.Fatalf("message %d is where %d has to be", i, want)
			}
			next[i%keys]++
		}
	})
}

// number is the number that fill has given a message.
func number(t *testing.T, d *thump.Delivery) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(d.MessageID(), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPriorities moves queues with priorities, to one with and one without: they come in the
// order in which the source delivers them, with their priorities.
func TestPriorities(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for _, most := range []uint8{0, 5} {
			client := dial(t, b)
			from, to := queue(t, client, thump.QueueSpec{MaxPriority: 5}), queue(t, client, thump.QueueSpec{MaxPriority: most})
			const n, priorities = 600, 4
			pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: from.target("")})
			if err != nil {
				t.Fatal(err)
			}
			for i := range n {
				p := thump.Properties{MessageID: fmt.Sprint(i), Priority: uint8(i % priorities)}
				if _, err := pub.Publish(t.Context(), thump.Message{Properties: &p}); err != nil {
					t.Fatal(err)
				}
			}
			if err := pub.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			receipt, err := Run(t.Context(), Job{Source: client, From: from, Target: client, To: to, Message: Copy(), Limit: n})
			if err != nil || receipt.Taken != n || receipt.Acked != n || receipt.MayBeTwice != 0 {
				t.Fatalf("%+v, %v", receipt, err)
			}
			awaitMessages(t, client, from, 0)
			awaitMessages(t, client, to, n)
			for at, d := range receive(t, client, to, n) {
				const each = n / priorities
				priority := priorities - 1 - at/each
				if i := number(t, &d); i != priority+priorities*(at%each) {
					t.Fatalf("message %d is at %d", i, at)
				}
			}
		}
	})
}

// TestTargetAway: a target that nobody can reach for some seconds, in the middle, is waited for.
func TestTargetAway(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		const n = 5000
		queues := dial(t, b)
		job := Job{Source: queues, From: queue(t, queues, thump.QueueSpec{}), To: queue(t, queues, thump.QueueSpec{Kind: thump.Quorum}), Message: Copy(), Limit: n}
		fill(t, queues, job.From, n)
		var breaks breakable
		var away atomic.Bool
		target, err := thump.Dial(t.Context(), thump.Config{
			URLs: []string{b.URL},
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				if away.Load() {
					return nil, errors.New("the network is away")
				}
				return breaks.dial(ctx, network, address)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = target.Close(context.Background()) })
		job.Target, job.Progress = target, new(Progress)
		var outage sync.WaitGroup
		outage.Go(func() {
			for job.Progress.Confirmed() < 500 {
				time.Sleep(time.Millisecond)
			}
			away.Store(true)
			breaks.cut()
			time.Sleep(3 * time.Second)
			away.Store(false)
		})
		receipt, err := Run(t.Context(), job)
		outage.Wait()
		if err != nil || receipt.Taken != n || receipt.Acked != n || receipt.Left != 0 {
			t.Fatalf("%+v, %v", receipt, err)
		}
		awaitMessages(t, queues, job.From, 0)
		info := inspect(t, queues, job.To)
		ids := make(map[int]bool)
		for _, d := range receive(t, queues, job.To, info.Messages) {
			ids[number(t, &d)] = true
		}
		if doubled := uint64(info.Messages - len(ids)); len(ids) != n || doubled > receipt.MayBeTwice {
			t.Errorf("%d different messages are there, %d of them twice: %+v", len(ids), doubled, receipt)
		}
	})
}

// TestDeadLetteredBack moves to a queue that is soon full and sends what it drops back to the
// source: the move ends all the same, and nothing is lost.
func TestDeadLetteredBack(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum} {
			client := dial(t, b)
			const n, kept = 500, 20
			from := queue(t, client, thump.QueueSpec{Kind: kind})
			fill(t, client, from, n)
			to := queue(t, client, thump.QueueSpec{Kind: thump.Classic, MaxLength: kept, DeadLetterRoutingKey: from.Name})
			receipt, err := Run(t.Context(), Job{Source: client, From: from, Target: client, To: to, Message: Copy(), Limit: n})
			if err != nil || receipt.Taken != n || receipt.Confirmed != n || receipt.Acked != n {
				t.Errorf("%s: %+v, %v", kind, receipt, err)
			}
			awaitMessages(t, client, to, kept)
			awaitMessages(t, client, from, n-kept)
		}
	})
}

// TestTwoMoves: two moves share one queue, and what is moved is moved once.
func TestTwoMoves(t *testing.T) {
	t.Parallel()
	each(t, 4000, thump.QueueSpec{}, func(t *testing.T, job Job) {
		job.Shared, job.Limit = true, 0
		var moves sync.WaitGroup
		var receipts [2]Receipt
		for i := range receipts {
			moves.Go(func() {
				var err error
				if receipts[i], err = Run(t.Context(), job); err != nil {
					t.Error(err)
				}
			})
		}
		moves.Wait()
		if acked := receipts[0].Acked + receipts[1].Acked; acked != 4000 {
			t.Errorf("%d were acked: %+v", acked, receipts)
		}
		awaitMessages(t, job.Source, job.From, 0)
		awaitMessages(t, job.Source, job.To, 4000)
		ids := make(map[int]bool)
		for _, d := range receive(t, job.Source, job.To, 4000) {
			ids[number(t, &d)] = true
		}
		if len(ids) != 4000 {
			t.Errorf("%d different messages are there", len(ids))
		}
	})
}
