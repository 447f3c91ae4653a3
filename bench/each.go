package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/thumpmq/thump"
)

// In the scenario "each" a message's sender waits for its confirm before it sends the
// next one, as a service does that answers a request once its message is safe: many
// goroutines at a time, or for comparison one.

const (
	thumpEach    = "thump-each"
	amqp091Each  = "amqp091-each"
	amqp091Alone = "amqp091-alone" // one goroutine

	eachGoroutines = 1000
)

func waiting(s scenario) bool { return s.Each }

// aloneShare makes the measurement of one goroutine about as long as the others'.
func aloneShare(scenario) int { return 20 }

// spreadOver has goroutines send messages 1 to count, each one message after the other.
func spreadOver(goroutines, count int, send func(body []byte) error) error {
	errs := make([]error, goroutines)
	var senders sync.WaitGroup
	for g := range goroutines {
		senders.Go(func() {
			for i := g + 1; i <= count; i += goroutines {
				if errs[g] = send(fmt.Appendf(nil, "Message %d", i)); errs[g] != nil {
					return
				}
			}
		})
	}
	senders.Wait()
	return errors.Join(errs...)
}

func thumpEachSender(t task) (job, error) {
	ctx := context.Background()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{t.URL}})
	if err != nil {
		return job{}, err
	}
	publisher, err := client.Publisher(ctx, thump.PublisherConfig{To: thump.Queue(t.Queue)})
	if err != nil {
		return job{}, err
	}
	work := func() error {
		return spreadOver(eachGoroutines, t.Count, func(body []byte) error {
			return publisher.Send(ctx, thump.Message{Body: body})
		})
	}
	return job{work: work, close: func() error { return client.Close(ctx) }}, nil
}

func amqp091EachSender(t task) (job, error)  { return amqp091Waiting(t, eachGoroutines) }
func amqp091AloneSender(t task) (job, error) { return amqp091Waiting(t, 1) }

func amqp091Waiting(t task, goroutines int) (job, error) {
	connection, channel, err := amqp091Channel(t)
	if err != nil {
		return job{}, err
	}
	if err := channel.Confirm(false); err != nil {
		return job{}, err
	}
	ctx := context.Background()
	work := func() error {
		return spreadOver(goroutines, t.Count, func(body []byte) error {
			confirm, err := channel.PublishWithDeferredConfirmWithContext(ctx, "", t.Queue, false, false, amqp.Publishing{
				DeliveryMode: amqp.Persistent, Body: body,
			})
			if err == nil && !confirm.Wait() {
				err = errors.New("a message was not confirmed")
			}
			return err
		})
	}
	return job{work: work, close: connection.Close}, nil
}
