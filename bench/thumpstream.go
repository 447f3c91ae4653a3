package main

import (
	"context"

	"github.com/thumpmq/thump"
)

// thumpUnchecked is thump, but counts what it receives without checking it. How
// much faster it is, is the price of the check.
const thumpUnchecked = "thump-unchecked"

func thumpUncheckedReceiver(t task) (job, error) { return thumpStreamReceiver(t, false) }

func thumpStreamSender(t task) (job, error) {
	ctx := context.Background()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{t.URL}})
	if err != nil {
		return job{}, err
	}
	publisher, err := client.Publisher(ctx, thump.PublisherConfig{
		To: thump.Stream(t.Queue), Window: t.Window, Stream: thump.StreamPublishing{SubEntry: max(1, t.SubEntry)},
	})
	if err != nil {
		return job{}, err
	}
	return job{
		work:  func() error { return thumpPublish(ctx, publisher, t) },
		close: func() error { return client.Close(ctx) },
	}, nil
}

func thumpStreamReceiver(t task, checked bool) (job, error) {
	ctx := context.Background()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{t.URL}})
	if err != nil {
		return job{}, err
	}
	work := func() error {
		consumer, err := client.Consumer(ctx, thump.ConsumerConfig{From: thump.Stream(t.Queue), ReuseBuffers: true})
		if err != nil {
			return err
		}
		if checked {
			return thumpReceive(ctx, consumer, t)
		}
		return thumpStreamCount(ctx, consumer, t)
	}
	return job{work: work, close: func() error { return client.Close(ctx) }}, nil
}

func thumpStreamCount(ctx context.Context, consumer *thump.Consumer, t task) error {
	count := 0
	for batch, err := range consumer.Batches(ctx) {
		if err != nil {
			return err
		}
		count += len(batch.Deliveries)
		if count >= t.Count {
			break
		}
	}
	return nil
}
