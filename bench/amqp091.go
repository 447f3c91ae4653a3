package main

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

// amqp091-go, the official Go client, as its examples use it: a publish per
// message, deferred confirms, a channel of deliveries, an ack per delivery.

// amqp091Share makes its measurements with the stub about as long as the others'.
func amqp091Share(s scenario) int {
	if s.Stub {
		return 5
	}
	return 1
}

func amqp091Channel(t task) (*amqp.Connection, *amqp.Channel, error) {
	connection, err := amqp.Dial(t.URL)
	if err != nil {
		return nil, nil, err
	}
	channel, err := connection.Channel()
	return connection, channel, err
}

func amqp091Sender(t task) (job, error) {
	connection, channel, err := amqp091Channel(t)
	if err != nil {
		return job{}, err
	}
	work := func() error { return amqp091Send(channel, t) }
	if t.Safe {
		if err := channel.Confirm(false); err != nil {
			return job{}, err
		}
		work = func() error { return amqp091SendConfirmed(channel, t) }
	}
	return job{work: work, close: connection.Close}, nil
}

func amqp091Send(channel *amqp.Channel, t task) error {
	ctx := context.Background()
	for i := 1; i <= t.Count; i++ {
		err := channel.PublishWithContext(ctx, "", t.Queue, false, false, amqp.Publishing{
			DeliveryMode: amqp.Transient,
			Body:         fmt.Appendf(nil, "Message %d", i),
		})
		if err != nil {
			return err
		}
	}
	return channel.Close() // its answer says that the broker has read everything
}

// amqp091SendConfirmed keeps a window: when it is full, it waits for the oldest
// confirm before it publishes the next message.
func amqp091SendConfirmed(channel *amqp.Channel, t task) error {
	ctx := context.Background()
	window := make([]*amqp.DeferredConfirmation, t.Window)
	wait := func(slot int) error {
		if confirm := window[slot]; confirm != nil && !confirm.Wait() {
			return errors.New("a message was not confirmed")
		}
		return nil
	}
	for i := 1; i <= t.Count; i++ {
		slot := i % t.Window
		if err := wait(slot); err != nil {
			return err
		}
		confirm, err := channel.PublishWithDeferredConfirmWithContext(ctx, "", t.Queue, false, false, amqp.Publishing{
			DeliveryMode: amqp.Persistent,
			Body:         fmt.Appendf(nil, "Message %d", i),
		})
		if err != nil {
			return err
		}
		window[slot] = confirm
	}
	for slot := range window {
		if err := wait(slot); err != nil {
			return err
		}
	}
	return nil
}

func amqp091Receiver(t task) (job, error) {
	connection, channel, err := amqp091Channel(t)
	if err != nil {
		return job{}, err
	}
	if t.Safe {
		if err := channel.Qos(t.Prefetch, 0, false); err != nil {
			return job{}, err
		}
	}
	return job{
		work: func() error { return amqp091Receive(channel, t) },
		// The channel goes first: its answer says that the broker has the acks.
		close: func() error { return errors.Join(channel.Close(), connection.Close()) },
	}, nil
}

func amqp091Receive(channel *amqp.Channel, t task) error {
	deliveries, err := channel.Consume(t.Queue, consumerTag, !t.Safe, false, false, false, nil)
	if err != nil {
		return err
	}
	check := newBodyCheck(t.Count)
	for d := range deliveries {
		if err := check.take(d.Body); err != nil {
			return err
		}
		if t.Safe {
			if err := d.Ack(false); err != nil {
				return err
			}
		}
		if check.count == t.Count {
			return nil
		}
	}
	return fmt.Errorf("the deliveries ended after %d of %d", check.count, t.Count)
}
