package move

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// each runs a test against every broker, with two queues, the first of which holds n
// messages.
func each(t *testing.T, n int, to thump.QueueSpec, f func(t *testing.T, job Job)) {
	t.Helper()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		client := dial(t, b)
		from := queue(t, client, thump.QueueSpec{Kind: thump.Classic})
		fill(t, client, from, n)
		f(t, Job{Source: client, From: from, Target: client, To: queue(t, client, to), Message: Copy(), Limit: uint64(n)})
	})
}

// TestUnroutable: what no queue wants stays, in order, and the rest is moved.
func TestUnroutable(t *testing.T) {
	t.Parallel()
	each(t, 100, thump.QueueSpec{}, func(t *testing.T, job Job) {
		queue := job.To.Name
		job.To = Place{Kind: Exchange}
		job.Message = func(d *thump.Delivery) (thump.Message, error) {
			msg, err := Copy()(d)
			msg.RoutingKey = queue
			if d.Header("n").(int32)%2 == 0 {
				msg.RoutingKey = queue + "-nowhere"
			}
			return msg, err
		}
		receipt, err := Run(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		if receipt.Taken != 100 || receipt.Confirmed != 50 || receipt.Acked != 50 || receipt.Left != 50 || len(receipt.Reasons) != 1 {
			t.Errorf("%+v", receipt)
		}
		awaitMessages(t, job.Source, job.From, 50)
		for i, d := range receive(t, job.Source, job.From, 50) {
			if d.MessageID() != fmt.Sprint(2*i) {
				t.Fatalf("message %d of those left has the id %s", i, d.MessageID())
			}
		}
	})
}

// TestAllUnroutable: a move that nothing can take part in ends.
func TestAllUnroutable(t *testing.T) {
	t.Parallel()
	const n = prefetch - room + 1000
	each(t, n, thump.QueueSpec{}, func(t *testing.T, job Job) {
		job.To = Place{Kind: Exchange}
		job.Key = job.From.Name + "-nowhere"
		receipt, err := Run(t.Context(), job)
		if !errors.Is(err, ErrTooManyLeft) {
			t.Errorf("the error is %v", err)
		}
		if receipt.Confirmed != 0 || receipt.Acked != 0 || receipt.Left != receipt.Taken {
			t.Errorf("%+v", receipt)
		}
		awaitMessages(t, job.Source, job.From, n)
	})
}

// TestFullTarget: what a full target rejects is published again until there is room.
func TestFullTarget(t *testing.T) {
	t.Parallel()
	each(t, 500, thump.QueueSpec{Kind: thump.Classic, MaxLength: 50, Overflow: thump.RejectPublish}, func(t *testing.T, job Job) {
		job.Progress = new(Progress)
		ran := make(chan Receipt)
		go func() {
			receipt, err := Run(context.Background(), job)
			if err != nil {
				t.Error(err)
			}
			ran <- receipt
		}()
		for deadline := time.Now().Add(time.Minute); job.Progress.Full() == 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("nothing was rejected")
			}
		}
		ids := make(map[string]int)
		for _, d := range receive(t, job.Target, job.To, 500) {
			ids[d.MessageID()]++
		}
		receipt := <-ran
		if receipt.Taken != 500 || receipt.Confirmed != 500 || receipt.Acked != 500 || receipt.Left != 0 || len(ids) != 500 {
			t.Errorf("%d different messages have come: %+v", len(ids), receipt)
		}
		awaitMessages(t, job.Source, job.From, 0)
	})
}

// TestGiveUpWhenFull: what a full target rejects stays, and the move ends.
func TestGiveUpWhenFull(t *testing.T) {
	t.Parallel()
	each(t, 500, thump.QueueSpec{Kind: thump.Classic, MaxLength: 50, Overflow: thump.RejectPublish}, func(t *testing.T, job Job) {
		job.GiveUpWhenFull = true
		receipt, err := Run(t.Context(), job)
		if !errors.Is(err, ErrFull) {
			t.Errorf("the error is %v", err)
		}
		if receipt.Confirmed < 50 || receipt.Acked != receipt.Confirmed || receipt.Left != receipt.Taken-receipt.Confirmed {
			t.Errorf("%+v", receipt)
		}
		awaitMessages(t, job.Source, job.From, 500-int(receipt.Acked))
		awaitMessages(t, job.Target, job.To, int(receipt.Acked))
	})
}

// TestStop: a move that is stopped acks what is confirmed, and the rest goes back.
func TestStop(t *testing.T) {
	t.Parallel()
	each(t, 1000, thump.QueueSpec{Kind: thump.Classic}, func(t *testing.T, job Job) {
		stop := make(chan struct{})
		job.Stop, job.Rate, job.Progress = stop, 200, new(Progress)
		go func() {
			for job.Progress.Confirmed() == 0 {
				time.Sleep(10 * time.Millisecond)
			}
			close(stop)
		}()
		receipt, err := Run(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		if receipt.Confirmed == 0 || receipt.Confirmed == 1000 || receipt.Acked != receipt.Confirmed {
			t.Errorf("%+v", receipt)
		}
		awaitMessages(t, job.Source, job.From, 1000-int(receipt.Acked))
		awaitMessages(t, job.Target, job.To, int(receipt.Acked))
	})
}

// TestSourceDeleted: a source that goes in the middle ends the move, with an error.
func TestSourceDeleted(t *testing.T) {
	t.Parallel()
	each(t, 1000, thump.QueueSpec{Kind: thump.Classic}, func(t *testing.T, job Job) {
		job.Rate, job.Progress = 200, new(Progress)
		go func() {
			for job.Progress.Confirmed() == 0 {
				time.Sleep(10 * time.Millisecond)
			}
			_, _ = job.Source.DeleteQueue(context.Background(), job.From.Name, thump.DeleteOptions{})
		}()
		_, err := Run(t.Context(), job)
		if err == nil || !strings.Contains(err.Error(), job.From.Name) {
			t.Errorf("the error is %v", err)
		}
	})
}
