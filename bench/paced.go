package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/thumpmq/thump"
)

// The peers in the scenarios with a rate: the same clients, settings and schedule.

// Roles of a child there.
const (
	rolePacedSend    = "paced-send"
	rolePacedReceive = "paced-receive"
)

func thumpPacedSender(t task) (job, error) {
	ctx := context.Background()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{t.URL}})
	if err != nil {
		return job{}, err
	}
	var out *departures
	publisher, err := client.Publisher(ctx, thump.PublisherConfig{
		To: thump.Queue(t.Queue), Window: t.Window,
		OnOutcomes: func(outcomes []thump.Outcome) {
			now := time.Now().UnixNano()
			for i := range outcomes {
				out.confirmed(int(outcomes[i].Ref), now)
			}
		},
	})
	if err != nil {
		return job{}, err
	}
	work := func() error {
		out = newDepartures(t)
		if err := thumpPacedPublish(ctx, publisher, out); err != nil {
			return err
		}
		return out.err()
	}
	return job{
		work: work, timings: func() *timings { return out.timings() },
		close: func() error { return client.Close(ctx) },
	}, nil
}

// thumpPacedPublish publishes what is due with one call.
func thumpPacedPublish(ctx context.Context, publisher *thump.Publisher, out *departures) error {
	messages := make([]thump.Message, thumpBatch)
	bodies := make([]byte, thumpBatch*timedBytes)
	for sent := 0; sent < out.count; {
		last := out.next(sent, thumpBatch)
		for i := range messages[:last-sent] {
			number := sent + 1 + i
			body := bodies[i*timedBytes : (i+1)*timedBytes]
			putTimed(body, out.due(number), number)
			messages[i].Body, messages[i].Ref = body, uint64(number)
		}
		if _, err := publisher.Publish(ctx, messages[:last-sent]...); err != nil {
			return err
		}
		sent = last
	}
	return publisher.Flush(ctx)
}

func thumpPacedReceiver(t task) (job, error) {
	ctx := context.Background()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{t.URL}})
	if err != nil {
		return job{}, err
	}
	in := &arrivals{latencies: newLatencies(t.Warm)}
	work := func() error {
		consumer, err := client.Consumer(ctx, thump.ConsumerConfig{
			From: thump.Queue(t.Queue), Tag: consumerTag, Prefetch: t.Prefetch, ReuseBuffers: true,
		})
		if err != nil {
			return err
		}
		return thumpPacedReceive(ctx, consumer, in, t.Count)
	}
	return job{work: work, timings: in.timings, close: func() error { return client.Close(ctx) }}, nil
}

func thumpPacedReceive(ctx context.Context, consumer *thump.Consumer, in *arrivals, count int) error {
	for batch, err := range consumer.Batches(ctx) {
		if err != nil {
			return err
		}
		now := time.Now().UnixNano()
		for i := range batch.Deliveries {
			if err := in.add(batch.Deliveries[i].Body, now); err != nil {
				return err
			}
		}
		if err := batch.Ack(); err != nil {
			return err
		}
		if in.count >= count {
			break
		}
	}
	return nil
}

func amqp091PacedSender(t task) (job, error) {
	connection, channel, err := amqp091Channel(t)
	if err != nil {
		return job{}, err
	}
	if err := channel.Confirm(false); err != nil {
		return job{}, err
	}
	var out *departures
	work := func() error {
		out = newDepartures(t)
		return amqp091PacedPublish(channel, out, t)
	}
	return job{work: work, timings: func() *timings { return out.timings() }, close: connection.Close}, nil
}

// amqp091PacedPublish has another goroutine wait for the confirms, one after the other. Its
// queue of them is the window.
func amqp091PacedPublish(channel *amqp.Channel, out *departures, t task) error {
	ctx := context.Background()
	window := make(chan *amqp.DeferredConfirmation, t.Window)
	all := make(chan error, 1)
	go func() {
		var refused error
		number := 0
		for confirm := range window {
			number++
			if !confirm.Wait() {
				refused = errors.New("a message was not confirmed")
			}
			out.confirmed(number, time.Now().UnixNano())
		}
		all <- refused
	}()
	body := make([]byte, timedBytes)
	for sent := 0; sent < out.count; {
		last := out.next(sent, out.count)
		for ; sent < last; sent++ {
			putTimed(body, out.due(sent+1), sent+1)
			confirm, err := channel.PublishWithDeferredConfirmWithContext(ctx, "", t.Queue, false, false, amqp.Publishing{
				DeliveryMode: amqp.Persistent, Body: body,
			})
			if err != nil {
				return err
			}
			window <- confirm
		}
	}
	close(window)
	return errors.Join(<-all, out.err())
}

func amqp091PacedReceiver(t task) (job, error) {
	connection, channel, err := amqp091Channel(t)
	if err != nil {
		return job{}, err
	}
	if err := channel.Qos(t.Prefetch, 0, false); err != nil {
		return job{}, err
	}
	in := &arrivals{latencies: newLatencies(t.Warm)}
	return job{
		work: func() error { return amqp091PacedReceive(channel, in, t) }, timings: in.timings,
		close: func() error { return errors.Join(channel.Close(), connection.Close()) }, // as amqp091Receiver
	}, nil
}

func amqp091PacedReceive(channel *amqp.Channel, in *arrivals, t task) error {
	deliveries, err := channel.Consume(t.Queue, consumerTag, false, false, false, false, nil)
	if err != nil {
		return err
	}
	for d := range deliveries {
		if err := in.add(d.Body, time.Now().UnixNano()); err != nil {
			return err
		}
		if err := d.Ack(false); err != nil {
			return err
		}
		if in.count == t.Count {
			return nil
		}
	}
	return fmt.Errorf("the deliveries ended after %d of %d", in.count, t.Count)
}
