package move

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// TestStreams moves from a queue to a stream, from that to a super stream, and back to a
// queue: everything is there, in order. A copy that is made again, with a publisher's name,
// doubles nothing.
func TestStreams(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		ctx := t.Context()
		client := dial(t, b)
		const n = 1000
		from, back := queue(t, client, thump.QueueSpec{Kind: thump.Classic}), queue(t, client, thump.QueueSpec{Kind: thump.Classic})
		fill(t, client, from, n)
		var streams []Place
		for _, kind := range []string{"one", "copy"} {
			p := Place{Kind: Stream, Name: fmt.Sprintf("%s-%s", from.Name, kind)}
			if err := client.DeclareStream(ctx, thump.StreamSpec{Name: p.Name}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = client.DeleteStream(context.Background(), p.Name) })
			streams = append(streams, p)
		}
		run := func(job Job, want uint64) {
			t.Helper()
			job.Source, job.Target, job.Message = client, client, Copy("list")
			receipt, err := Run(ctx, job)
			if err != nil {
				t.Fatal(err)
			}
			if receipt.Taken != want || receipt.Confirmed != want || receipt.Acked != want {
				t.Errorf("from %v to %v: %+v", job.From, job.To, receipt)
			}
		}
		run(Job{From: from, To: streams[0], Limit: n}, n)
		awaitMessages(t, client, from, 0)
		run(Job{From: streams[0], To: streams[1], PublisherName: "copy"}, n)
		// The next one begins where that ended.
		fill(t, client, streams[0], 10)
		time.Sleep(2 * time.Second) // what ends now is by the broker's clock
		run(Job{From: streams[0], To: streams[1], PublisherName: "copy"}, 10)
		run(Job{From: streams[1], To: back}, n+10)
		for i, d := range receive(t, client, back, n+10) {
			if want := fmt.Sprint(i % n); d.MessageID() != want {
				t.Fatalf("message %d has the id %q, want %q", i, d.MessageID(), want)
			}
		}
	})
}
