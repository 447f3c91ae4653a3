package main

import (
	"context"

	"github.com/thumpmq/thump"
)

// thump as a user writes it: the public API, in batches, and everything else at
// its default.

// thumpBatch is how many messages go into one Publish to a queue, thumpStreamBatch
// how many to a stream.
const (
	thumpBatch       = 256
	thumpStreamBatch = 1000
)

func thumpSender(t task) (job, error) {
	if t.Stream {
		return thumpStreamSender(t)
	}
	ctx := context.Background()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{t.URL}})
	if err != nil {
		return job{}, err
	}
	publisher, err := client.Publisher(ctx, thump.PublisherConfig{
		To: thump.Queue(t.Queue), Window: t.Window, NoConfirms: !t.Safe, DropUnroutable: !t.Safe,
	})
	if err != nil {
		return job{}, err
	}
	return job{
		work:  func() error { return thumpPublish(ctx, publisher, t) },
		close: func() error { return client.Close(ctx) },
	}, nil
}

// thumpPublish publishes t.Count messages to a queue or a stream.
func thumpPublish(ctx context.Context, publisher *thump.Publisher, t task) error {
	size, properties := thumpBatch, &thump.Properties{DeliveryMode: thump.Transient}
	switch {
	case t.Stream:
		size, properties = thumpStreamBatch, nil
	case t.Safe:
		properties = nil // Persistent
	}
	messages := make([]thump.Message, size)
	for i := range messages {
		messages[i].Properties = properties
	}
	bodies := bodyRun{format: tutorial()}
	for next := 1; next <= t.Count; next += len(messages) {
		messages = messages[:min(len(messages), t.Count-next+1)]
		bodies.fill(messages, next)
		if t.Account {
			for i := range messages {
				messages[i].Ref = uint64(next + i)
			}
		}
		if _, err := publisher.Publish(ctx, messages...); err != nil {
			return err
		}
	}
	return publisher.Flush(ctx)
}

func thumpReceiver(t task) (job, error) {
	if t.Stream {
		return thumpStreamReceiver(t, true)
	}
	ctx := context.Background()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{t.URL}})
	if err != nil {
		return job{}, err
	}
	work := func() error {
		consumer, err := client.Consumer(ctx, thump.ConsumerConfig{
			From: thump.Queue(t.Queue), Tag: consumerTag, Prefetch: t.Prefetch, AutoAck: !t.Safe, ReuseBuffers: true,
		})
		if err != nil {
			return err
		}
		return thumpReceive(ctx, consumer, t)
	}
	return job{work: work, close: func() error { return client.Close(ctx) }}, nil
}

// thumpReceive receives t.Count messages from a queue or a stream.
func thumpReceive(ctx context.Context, consumer *thump.Consumer, t task) error {
	check := newBodyCheck(t.Count)
	for batch, err := range consumer.Batches(ctx) {
		if err != nil {
			return err
		}
		for i := range batch.Deliveries {
			check.add(batch.Deliveries[i].Body)
		}
		if err := check.err(); err != nil {
			return err
		}
		if t.Safe {
			if err := batch.Ack(); err != nil {
				return err
			}
		}
		if check.count >= t.Count {
			break
		}
	}
	return nil
}
