package main

import (
	"errors"
	"fmt"

	"github.com/rabbitmq/rabbitmq-stream-go-client/pkg/amqp"
	"github.com/rabbitmq/rabbitmq-stream-go-client/pkg/message"
	"github.com/rabbitmq/rabbitmq-stream-go-client/pkg/stream"
)

// rabbitmq-stream-go-client, the official Go client for streams, twice: with its
// defaults, used as in its first example; and raised, with what its documentation
// offers for speed.
const (
	streamGo       = "stream-go-client"
	streamGoRaised = "stream-go-raised"
)

const streamGoModule = "github.com/rabbitmq/rabbitmq-stream-go-client"

// streamGoShare makes its measurements about as long as the others'. By default it
// sets the sockets' buffers to 8192 bytes, and so waits for nearly every write, its
// own or the broker's. Publishing gets slower for the first 40,000 messages or so.
func streamGoShare(s scenario) int {
	switch {
	case s.Receives:
		return 50 * s.Times
	case s.SubEntries:
		return 5 * s.Times
	default:
		return 20 * s.Times
	}
}

// streamGoRaisedShare makes it --stream-count messages in every scenario.
func streamGoRaisedShare(s scenario) int { return s.Times }

const (
	// streamGoBuffer leaves the size of the sockets' buffers to the system, as the
	// client's "best practices" advise.
	streamGoBuffer = -1
	// streamGoBatch is how many messages go into one BatchSend, streamGoSubEntries
	// how many sub-entry batches.
	streamGoBatch      = 1000
	streamGoSubEntries = 10
)

func streamGoSender(t task) (job, error)         { return streamGoSend(t, false) }
func streamGoRaisedSender(t task) (job, error)   { return streamGoSend(t, true) }
func streamGoReceiver(t task) (job, error)       { return streamGoReceive(t, false) }
func streamGoRaisedReceiver(t task) (job, error) { return streamGoReceive(t, true) }

func streamGoEnvironment(t task, raised bool) (*stream.Environment, error) {
	options := stream.NewEnvironmentOptions().SetUri(t.URL)
	if raised {
		options.SetWriteBuffer(streamGoBuffer).SetReadBuffer(streamGoBuffer)
	}
	return stream.NewEnvironment(options)
}

func streamGoSend(t task, raised bool) (job, error) {
	environment, err := streamGoEnvironment(t, raised)
	if err != nil {
		return job{}, err
	}
	options := stream.NewProducerOptions()
	if t.SubEntry > 0 {
		options.SetSubEntrySize(t.SubEntry)
	}
	producer, err := environment.NewProducer(t.Queue, options)
	if err != nil {
		return job{}, err
	}
	confirmed := make(chan error, 1)
	go func() { confirmed <- streamGoConfirms(producer.NotifyPublishConfirmation(), t.Count) }()
	send := streamGoSendEach
	if raised {
		send = streamGoSendBatches
	}
	work := func() error {
		if err := send(producer, t); err != nil {
			return err
		}
		return <-confirmed
	}
	return job{work: work, close: func() error { return errors.Join(producer.Close(), environment.Close()) }}, nil
}

// streamGoConfirms returns when that many messages are confirmed.
func streamGoConfirms(confirms stream.ChannelPublishConfirm, count int) error {
	for statuses := range confirms {
		for _, status := range statuses {
			if !status.IsConfirmed() {
				return fmt.Errorf("message %d was not confirmed: %w", status.GetPublishingId(), status.GetError())
			}
			count--
		}
		if count == 0 {
			return nil
		}
	}
	return fmt.Errorf("the confirms ended with %d to come", count)
}

func streamGoMessage(i int) *amqp.AMQP10 {
	const room = 16 // bytes, for "Message 99999999"
	return amqp.NewMessage(appendBody(make([]byte, 0, room), i))
}

func streamGoSendEach(producer *stream.Producer, t task) error {
	for i := range t.Count {
		if err := producer.Send(streamGoMessage(i + 1)); err != nil {
			return err
		}
	}
	return nil
}

func streamGoSendBatches(producer *stream.Producer, t task) error {
	size := streamGoBatch
	if t.SubEntry > 0 {
		size = streamGoSubEntries * t.SubEntry
	}
	for next := 1; next <= t.Count; {
		n := min(size, t.Count-next+1)
		batch := make([]message.StreamMessage, n)
		for i := range batch {
			batch[i] = streamGoMessage(next + i)
		}
		if err := producer.BatchSend(batch); err != nil {
			return err
		}
		next += n
	}
	return nil
}

func streamGoReceive(t task, raised bool) (job, error) {
	environment, err := streamGoEnvironment(t, raised)
	if err != nil {
		return job{}, err
	}
	var consumer *stream.Consumer
	work := func() error {
		check := newBodyCheck(t.Count)
		done := make(chan error, 1)
		handle := func(_ stream.ConsumerContext, m *amqp.Message) {
			if check.count == t.Count {
				return // the stream goes on
			}
			err := check.take(m.GetData())
			if err != nil || check.count == t.Count {
				done <- err
				check.count = t.Count
			}
		}
		// The example turns off the check of the chunks' CRC.
		options := stream.NewConsumerOptions().SetOffset(stream.OffsetSpecification{}.First()).SetCRCCheck(false)
		consumer, err = environment.NewConsumer(t.Queue, handle, options)
		if err != nil {
			return err
		}
		return <-done
	}
	return job{work: work, close: func() error { return errors.Join(consumer.Close(), environment.Close()) }}, nil
}
