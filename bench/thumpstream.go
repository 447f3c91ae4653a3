package main

import (
	"context"
	"encoding/binary"

	"github.com/thumpmq/thump"
)

// thumpUnchecked is thump, counting the messages that it receives without a look
// at them: what it is faster is the price of the check.
const thumpUnchecked = "thump-unchecked"

func thumpUncheckedReceiver(t task) (job, error) { return thumpStreamReceiver(t, false) }

// thumpStreamBatch is how many messages go into one Publish.
const thumpStreamBatch = 1000

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
		work:  func() error { return thumpStreamSend(ctx, publisher, t) },
		close: func() error { return client.Close(ctx) },
	}, nil
}

func thumpStreamSend(ctx context.Context, publisher *thump.Publisher, t task) error {
	messages := make([]thump.Message, thumpStreamBatch)
	source := bodiesFrom(1)
	var bodies []byte
	for next := 1; next <= t.Count; {
		bodies = bodies[:0]
		n := min(thumpStreamBatch, t.Count-next+1)
		for i := range n {
			start := len(bodies)
			bodies = source.append(bodies)
			messages[i].Body = bodies[start:len(bodies):len(bodies)]
		}
		if _, err := publisher.Publish(ctx, messages[:n]...); err != nil {
			return err
		}
		next += n
	}
	return publisher.Flush(ctx)
}

func thumpStreamReceiver(t task, checked bool) (job, error) {
	ctx := context.Background()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{t.URL}})
	if err != nil {
		return job{}, err
	}
	work := func() error {
		consumer, err := client.Consumer(ctx, thump.ConsumerConfig{From: thump.Stream(t.Queue)})
		if err != nil {
			return err
		}
		if checked {
			return thumpStreamReceive(ctx, consumer, t)
		}
		return thumpStreamCount(ctx, consumer, t)
	}
	return job{work: work, close: func() error { return client.Close(ctx) }}, nil
}

func thumpStreamReceive(ctx context.Context, consumer *thump.Consumer, t task) error {
	check := newBodyCheck()
	for batch, err := range consumer.Batches(ctx) {
		if err != nil {
			return err
		}
		if err := check.takeAll(batch.Deliveries); err != nil {
			return err
		}
		if check.count >= t.Count {
			break
		}
	}
	return nil
}

// takeAll is take for a batch. thump hands out many at a time, and whoever looks
// at all of them can make use of it.
func (c *bodyCheck) takeAll(deliveries []thump.Delivery) error {
	for len(deliveries) > 0 {
		n := c.expected.skip(deliveries)
		c.count += n
		if n == len(deliveries) {
			return nil
		}
		// Past two words, or wrong.
		if err := c.take(deliveries[n].Body); err != nil {
			return err
		}
		deliveries = deliveries[n+1:]
	}
	return nil
}

// skip goes on as long as the deliveries are as expected, with the words in
// registers, and returns how many were.
func (w *bodyWords) skip(deliveries []thump.Delivery) (n int) {
	if w.size == 0 {
		return 0
	}
	first, last, size := w.first, w.last, w.size
	for ok := true; ok && n < len(deliveries); n++ {
		body := deliveries[n].Body
		if len(body) != size || len(body) < wordBytes || binary.BigEndian.Uint64(body) != first ||
			binary.BigEndian.Uint64(body[len(body)-wordBytes:]) != last {
			break
		}
		last, ok = increment(last, size-wordBytes)
	}
	w.number += n
	w.spell()
	return n
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
