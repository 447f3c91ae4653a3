package main

import (
	"context"

	"github.com/thumpmq/thump"
)

// thump as a user writes it: the public API, batches, everything else at its
// default.

// thumpBatch is how many messages go into one Publish.
const thumpBatch = 256

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
		work:  func() error { return thumpSend(ctx, publisher, t) },
		close: func() error { return client.Close(ctx) },
	}, nil
}

func thumpSend(ctx context.Context, publisher *thump.Publisher, t task) error {
	mode := thump.Transient
	if t.Safe {
		mode = thump.Persistent
	}
	messages := make([]thump.Message, 0, thumpBatch)
	var bodies []byte
	for next := 1; next <= t.Count; {
		messages, bodies = messages[:0], bodies[:0]
		for len(messages) < thumpBatch && next <= t.Count {
			start := len(bodies)
			bodies = appendBody(bodies, next)
			next++
			messages = append(messages, thump.Message{
				Body:       bodies[start:len(bodies):len(bodies)],
				Properties: thump.Properties{DeliveryMode: mode},
			})
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
			From: thump.Queue(t.Queue), Prefetch: t.Prefetch, AutoAck: !t.Safe,
		})
		if err != nil {
			return err
		}
		return thumpReceive(ctx, consumer, t)
	}
	return job{work: work, close: func() error { return client.Close(ctx) }}, nil
}

func thumpReceive(ctx context.Context, consumer *thump.Consumer, t task) error {
	check := newBodyCheck()
	for batch, err := range consumer.Batches(ctx) {
		if err != nil {
			return err
		}
		for i := range batch.Deliveries {
			if err := check.take(batch.Deliveries[i].Body); err != nil {
				return err
			}
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
