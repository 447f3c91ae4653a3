package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/thumpmq/thump"
)

// preconditionFailed is the broker's reply code to a declaration that differs
// from what is there (AMQP 0-9-1, 406).
const preconditionFailed = 406

// preparedQueue is a queue that is there, and what is known of it.
type preparedQueue struct {
	name    string
	created bool // by this command
	found   thump.QueueInfo

	// kind is empty and durable nil when the queue was there and it is not
	// known what it is.
	kind    thump.QueueKind
	durable *bool
}

// prepareQueue makes the queue where it is not there. One that is there is used
// as it is; but where the user has said what it should be, in changed flags, it
// has to be that.
func prepareQueue(ctx context.Context, client *thump.Client, name string, f *queueFlags, flags *pflag.FlagSet) (preparedQueue, error) {
	wanted := thump.QueueSpec{Name: name, Kind: thump.QueueKind(f.kind), Transient: f.transient}
	known := preparedQueue{name: name, kind: wanted.Kind, durable: new(!f.transient)}

	info, err := client.InspectQueue(ctx, name)
	switch {
	case err == nil:
		known.found = info
	case thump.IsNotFound(err):
		known.created = true
	default:
		return preparedQueue{}, err
	}
	// Declaring what is there changes nothing, and tells whether it is as
	// wanted: AMQP has no other way to ask.
	_, err = client.DeclareQueue(ctx, wanted)
	differs, ok := errors.AsType[*thump.BrokerError](err)
	switch {
	case err == nil:
		return known, nil
	case !ok || differs.Code != preconditionFailed || known.created:
		return preparedQueue{}, err
	case flags.Changed("kind") || flags.Changed("transient"):
		return preparedQueue{}, fmt.Errorf("the queue %q is there already and is not as --kind and --transient say: %w", name, err)
	default:
		return preparedQueue{name: name, found: info}, nil
	}
}

// mustBeOurs refuses a queue that others use: their messages would be counted
// as the run's, and taken from them.
func (q preparedQueue) mustBeOurs() error {
	switch {
	case q.found.Messages > 0:
		return fmt.Errorf("the queue %q already holds %d messages, which are not this run's; nothing was touched (another --queue, or thump receive %[1]s to empty it)", q.name, q.found.Messages)
	case q.found.Consumers > 0:
		return fmt.Errorf("the queue %q already has %d consumers, which would take this run's messages; nothing was touched (another --queue helps)", q.name, q.found.Consumers)
	default:
		return nil
	}
}

// deleteQueue deletes a queue that this command created.
func deleteQueue(ctx context.Context, conn *connection, name string) error {
	ctx, cancel := context.WithTimeout(ctx, cleanupTimeout)
	defer cancel()
	if _, err := conn.client.DeleteQueue(ctx, name, thump.DeleteOptions{}); err != nil {
		return fmt.Errorf("the queue %q, which this run created, is still there: %w", name, err)
	}
	return nil
}
