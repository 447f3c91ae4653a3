package move

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/thumpmq/thump"
)

// Kind is what messages are moved from or to.
type Kind uint8

// The kinds.
const (
	Queue Kind = iota
	Stream
	SuperStream
	Exchange // only to move to
)

// Place is what messages are moved from or to.
type Place struct {
	Kind Kind
	Name string
}

// String names the place for settings and errors: `queue "orders"`.
func (p Place) String() string { return p.target("").String() }

// streams reports whether the place keeps what was read, and is reached over the stream
// protocol.
func (p Place) streams() bool { return p.Kind == Stream || p.Kind == SuperStream }

// target is the place for package thump. An exchange gets the routing key.
func (p Place) target(key string) thump.Target {
	switch p.Kind {
	case Stream:
		return thump.Stream(p.Name)
	case SuperStream:
		return thump.SuperStream(p.Name)
	case Exchange:
		return thump.Exchange(p.Name, key)
	default:
		return thump.Queue(p.Name)
	}
}

// streamTimeout bounds a question over the stream protocol, which may have an address that
// nobody can reach from here.
const streamTimeout = 10 * time.Second

// Find finds out what has a name: a stream, a super stream or a queue. Where the broker
// can't be reached over the stream protocol, only a queue can be found. IsNotFound is
// true of the error if nothing has the name.
func Find(ctx context.Context, client *thump.Client, name string) (Place, error) {
	p, streamErr := findStream(ctx, client, name)
	if streamErr == nil {
		return p, nil
	}
	if ctx.Err() != nil {
		return Place{}, ctx.Err()
	}
	if _, err := client.InspectQueue(ctx, name); err != nil {
		if thump.IsNotFound(err) {
			err = notFound(ctx, client, name, err)
		}
		return Place{}, err
	}
	if thump.IsNotFound(streamErr) {
		return Place{Kind: Queue, Name: name}, nil
	}
	// What can't be asked over the stream protocol may be a stream all the same, which
	// AMQP would read from its end on, for ever.
	_, err := client.DeclareQueue(ctx, thump.QueueSpec{Name: name, Kind: thump.Classic})
	if refused, ok := errors.AsType[*thump.BrokerError](err); ok && strings.Contains(refused.Text, "'stream'") {
		return Place{}, fmt.Errorf("%q is a stream, and the stream protocol can't be reached: %w", name, streamErr)
	}
	return Place{Kind: Queue, Name: name}, nil
}

func findStream(ctx context.Context, client *thump.Client, name string) (Place, error) {
	ctx, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	_, err := client.InspectStream(ctx, name)
	if err == nil {
		return Place{Kind: Stream, Name: name}, nil
	}
	if !thump.IsNotFound(err) {
		return Place{}, err
	}
	if _, err := client.Partitions(ctx, name); err != nil {
		return Place{}, err
	}
	return Place{Kind: SuperStream, Name: name}, nil
}

// notFound says what else has the name, where something has.
func notFound(ctx context.Context, client *thump.Client, name string, err error) error {
	if client.InspectExchange(ctx, name) == nil {
		return fmt.Errorf("%q is an exchange, and no queue or stream has that name: %w", name, err)
	}
	return fmt.Errorf("no queue or stream has the name %q: %w", name, err)
}
