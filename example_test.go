package thump_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/thumpmq/thump"
)

// The examples without output need a broker: they are compiled and not run. What
// they do, the conformance suite does.

func Example_publish() {
	ctx := context.Background()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{"amqp://guest:guest@localhost:5672"}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close(ctx) }() // what was sent has been flushed
	if _, err := client.DeclareQueue(ctx, thump.QueueSpec{Name: "hello"}); err != nil {
		log.Fatal(err)
	}

	pub, err := client.Publisher(ctx, thump.PublisherConfig{To: thump.Queue("hello")})
	if err != nil {
		log.Fatal(err)
	}
	// Send waits for the outcomes of its messages; its error says what was not confirmed.
	if err := pub.Send(ctx, thump.Message{Body: []byte("Message 1")}); err != nil {
		log.Fatal(err)
	}
}

// Send is for any number of goroutines, and tells each about its own messages.
func ExamplePublisher_Send() {
	ctx := context.Background()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{"amqp://guest:guest@localhost:5672"}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close(ctx) }() // every Send has returned
	pub, err := client.Publisher(ctx, thump.PublisherConfig{To: thump.Exchange("orders", "new")})
	if err != nil {
		log.Fatal(err)
	}

	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			err := pub.Send(ctx, thump.Message{Body: fmt.Appendf(nil, "order %d", i)})
			outcomes, ok := errors.AsType[*thump.OutcomeError](err)
			switch {
			case err == nil: // confirmed
			case errors.Is(err, thump.ErrNotSent):
				log.Printf("order %d never left: %v", i, err)
			case ok && outcomes.Unknown > 0:
				log.Printf("order %d may or may not have arrived: %v", i, err)
			default:
				log.Printf("order %d was refused: %v", i, err)
			}
		})
	}
	group.Wait()
}

// Publish does not wait for the broker: it returns once its messages are in the window of
// messages in flight. Done tells what became of one, Flush that all have their outcome.
func ExamplePublisher_Publish() {
	ctx := context.Background()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{"amqp://guest:guest@localhost:5672"}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close(ctx) }() // what was sent has been flushed
	pub, err := client.Publisher(ctx, thump.PublisherConfig{To: thump.Queue("hello")})
	if err != nil {
		log.Fatal(err)
	}
	for i := range 1_000_000 {
		m := thump.Message{Body: fmt.Appendf(nil, "Message %d", i+1), Done: func(o thump.Outcome) {
			if o.Status != thump.Confirmed {
				log.Printf("message %d was %v %s", i+1, o.Status, o.Text)
			}
		}}
		if _, err := pub.Publish(ctx, m); err != nil {
			log.Fatal(err)
		}
	}
	if err := pub.Flush(ctx); err != nil {
		log.Fatal(err)
	}
}

func Example_consume() {
	ctx := context.Background()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{"amqp://guest:guest@localhost:5672"}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close(ctx) }() // what was not acked goes back to the queue

	con, err := client.Consumer(ctx, thump.ConsumerConfig{From: thump.Queue("hello"), Prefetch: 2000})
	if err != nil {
		log.Fatal(err)
	}
	for batch, err := range con.Batches(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		for _, d := range batch.Deliveries {
			fmt.Printf("%s\n", d.Body)
		}
		if err := batch.Ack(); err != nil {
			log.Fatal(err)
		}
	}
}

// Outcomes say what became of each message; Ref tells which one it was.
func ExamplePublisherConfig_outcomes() {
	ctx := context.Background()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{"amqp://guest:guest@localhost:5672"}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close(ctx) }() // the publisher has said all there is

	pub, err := client.Publisher(ctx, thump.PublisherConfig{
		To: thump.Exchange("orders", "new"),
		OnOutcomes: func(outcomes []thump.Outcome) {
			for _, o := range outcomes {
				if o.Status != thump.Confirmed {
					log.Printf("message %d was %v %s", o.Ref, o.Status, o.Text)
				}
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := pub.Publish(ctx, thump.Message{Ref: 1, Body: []byte("an order")}); err != nil {
		log.Fatal(err)
	}
	if err := pub.Close(ctx); err != nil {
		log.Fatal(err)
	}
}

// An OutcomeError counts what was not confirmed. Unknown is not refused: the
// broker may have stored those messages.
func ExampleOutcomeError() {
	var err error = &thump.OutcomeError{
		Target: `queue "hello"`, Published: 1000, Unknown: 12,
		Err: &thump.BrokerError{Code: 320, Text: "CONNECTION_FORCED - Closed via management plugin"},
	}
	if outcomes, ok := errors.AsType[*thump.OutcomeError](err); ok {
		fmt.Println(outcomes.Unknown, "messages may or may not have arrived")
	}
	if broker, ok := errors.AsType[*thump.BrokerError](err); ok {
		fmt.Println("the broker said", broker.Code)
	}
	fmt.Println(err)
	// Output:
	// 12 messages may or may not have arrived
	// the broker said 320
	// thump: publishing to queue "hello": 12 of 1000 messages not confirmed (0 rejected, 0 returned, 12 unknown): the broker answered 320 CONNECTION_FORCED - Closed via management plugin
}

// A stream keeps what it has: every consumer gets all of it, from where it asks
// to begin. After a restart, this one goes on after what it had acked.
func ExampleStream() {
	ctx := context.Background()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{"rabbitmq-stream://guest:guest@localhost:5552/"}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close(ctx) }() // what was sent has been flushed
	if err := client.DeclareStream(ctx, thump.StreamSpec{Name: "events", MaxBytes: 20 << 30}); err != nil {
		log.Fatal(err)
	}

	pub, err := client.Publisher(ctx, thump.PublisherConfig{To: thump.Stream("events")})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := pub.Publish(ctx, thump.Message{Body: []byte("an event")}); err != nil {
		log.Fatal(err)
	}
	if err := pub.Flush(ctx); err != nil {
		log.Fatal(err)
	}

	con, err := client.Consumer(ctx, thump.ConsumerConfig{
		From:   thump.Stream("events"),
		Stream: thump.StreamConsuming{Name: "my program", Start: thump.FromFirst()},
	})
	if err != nil {
		log.Fatal(err)
	}
	for batch, err := range con.Batches(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		for _, d := range batch.Deliveries {
			fmt.Printf("%d: %s\n", d.Offset, d.Body)
		}
		if err := batch.Ack(); err != nil { // its offset is stored before long
			log.Fatal(err)
		}
	}
}

// What was stored in the last hour, and then the loop ends.
func ExampleStreamConsuming() {
	ctx := context.Background()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{"rabbitmq-stream://guest:guest@localhost:5552/"}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close(ctx) }() // nothing was published

	now := time.Now()
	con, err := client.Consumer(ctx, thump.ConsumerConfig{
		From:   thump.Stream("events"),
		Stream: thump.StreamConsuming{Start: thump.FromTime(now.Add(-time.Hour)), Until: now},
	})
	if err != nil {
		log.Fatal(err)
	}
	count := 0
	for batch, err := range con.Batches(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		count += len(batch.Deliveries)
	}
	fmt.Println(count, "events in the last hour")
}

// A publisher with a Name may publish again the messages whose outcome it does not know:
// the stream stores each publishing id once. A program that numbers what it
// publishes finds out where it was.
func ExampleStreamPublishing() {
	ctx := context.Background()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{"rabbitmq-stream://guest:guest@localhost:5552/"}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close(ctx) }() // what was sent has been flushed

	pub, err := client.Publisher(ctx, thump.PublisherConfig{
		To:     thump.Stream("events"),
		Stream: thump.StreamPublishing{Name: "import of 23 November", Compression: thump.Zstd},
	})
	if err != nil {
		log.Fatal(err)
	}
	lines := []string{"the first line of a file", "the second", "the third"}
	for line := pub.LastPublishingID(); line < uint64(len(lines)); line++ {
		m := thump.Message{PublishingID: line + 1, Body: []byte(lines[line])}
		if _, err := pub.Publish(ctx, m); err != nil {
			log.Fatal(err)
		}
	}
	if err := pub.Close(ctx); err != nil {
		log.Fatal(err)
	}
}

// Messages with the same routing key go to the same partition, in order; the
// consumer reads all partitions.
func ExampleSuperStream() {
	ctx := context.Background()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{"rabbitmq-stream://guest:guest@localhost:5552/"}})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Close(ctx) }() // what was sent has been flushed
	orders := thump.SuperStreamSpec{StreamSpec: thump.StreamSpec{Name: "orders"}, Partitions: 3}
	if err := client.DeclareSuperStream(ctx, orders); err != nil {
		log.Fatal(err)
	}
	pub, err := client.Publisher(ctx, thump.PublisherConfig{To: thump.SuperStream("orders")})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := pub.Publish(ctx, thump.Message{RoutingKey: "customer 17", Body: []byte("an order")}); err != nil {
		log.Fatal(err)
	}
	if err := pub.Flush(ctx); err != nil {
		log.Fatal(err)
	}
}

func ExampleParseURL() {
	e, err := thump.ParseURL("amqps://app:s%40cret@broker.example/orders?heartbeat=30")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(e.Host, e.Port, e.Vhost, e.Heartbeat)
	fmt.Println(e) // never shows the password

	_, err = thump.ParseURL("amqp://app:s%40cret@broker.example/?prefetch=10")
	fmt.Println(err)
	// Output:
	// broker.example 5671 orders 30s
	// amqps://app:***@broker.example:5671/orders
	// thump: URL amqp://app:***@broker.example:5672: unknown parameter "prefetch"
}

func ExampleTable() {
	headers := thump.NewTable("tenant", "acme", "attempt", 3)
	attempt, ok := headers.Get("attempt")
	fmt.Println(attempt, ok)
	headers.Set("attempt", 4)
	headers.Del("tenant")
	fmt.Println(headers)
	// Output:
	// 3 true
	// [{attempt 4}]
}

func ExampleTarget() {
	fmt.Println(thump.Queue("hello"))
	fmt.Println(thump.Exchange("orders", "new"))
	fmt.Println(thump.Stream("events"))
	fmt.Println(thump.SuperStream("orders"))
	// Output:
	// queue "hello"
	// exchange "orders"
	// stream "events"
	// super stream "orders"
}

func ExampleStart() {
	fmt.Println(thump.FromFirst(), thump.FromOffset(1200), thump.FromLast(100), thump.FromNext())
	fmt.Println(thump.FromTime(time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)))
	// Output:
	// first 1200 -100 next
	// 2026-11-23T10:00:00Z
}

func ExampleParseCompression() {
	c, err := thump.ParseCompression("zstd")
	fmt.Println(c, err, c == thump.Zstd)
	// Output: zstd <nil> true
}
