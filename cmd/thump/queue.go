package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/load"
)

// Codes of the broker's answer to a declaration that differs from what is there:
// AMQP 0-9-1's reply code, and the stream protocol's response code.
const (
	preconditionFailed       = 406
	preconditionFailedStream = 17
)

// prepareQueue makes the queue where it is not there.
func prepareQueue(ctx context.Context, client *thump.Client, place load.Place, f *placeFlags, flags *pflag.FlagSet) (prepared, error) {
	wanted := thump.QueueSpec{Name: place.Name, Kind: thump.QueueKind(f.kind.kind), Transient: f.transient}
	known := prepared{place: place, kind: f.kind.kind, durable: new(!f.transient)}

	info, err := client.InspectQueue(ctx, place.Name)
	switch {
	case err == nil:
		known.found = info
	case thump.IsNotFound(err):
		known.created = true
	default:
		return prepared{}, err
	}
	// Declaring what is there changes nothing, and tells whether it is as
	// wanted: AMQP has no other way to ask.
	_, err = client.DeclareQueue(ctx, wanted)
	differs, ok := errors.AsType[*thump.BrokerError](err)
	switch {
	case err == nil:
		return known, nil
	case !ok || differs.Code != preconditionFailed || known.created:
		return prepared{}, err
	case flags.Changed("kind") || flags.Changed("transient"):
		return prepared{}, fmt.Errorf("the queue %q is there already and is not as --kind and --transient say: %w", place.Name, err)
	default:
		return prepared{place: place, found: info}, nil
	}
}

// mustBeOurs refuses a queue that others use: their messages would be counted
// as the run's, and taken from them. A stream takes nothing from anybody.
func (p *prepared) mustBeOurs() error {
	switch {
	case p.found.Messages > 0:
		return fmt.Errorf("the queue %q already holds %d messages, which are not this run's; nothing was touched (another --queue, or thump receive %[1]s to empty it)", p.place.Name, p.found.Messages)
	case p.found.Consumers > 0:
		return fmt.Errorf("the queue %q already has %d consumers, which would take this run's messages; nothing was touched (another --queue helps)", p.place.Name, p.found.Consumers)
	default:
		return nil
	}
}
