package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

const windowOfQueue = 10_000

// Codes of the broker's answer to a declaration that differs from what exists: AMQP
// 0-9-1's reply code, and the stream protocol's response code.
const (
	preconditionFailed       = 406
	preconditionFailedStream = 17
)

// queue is a classic or quorum queue that a command works on.
type queue struct {
	load.Queue
	cfg *config

	found   thump.QueueInfo // before declare
	exists  bool            // before declare
	created bool            // by declare
}

func (*queue) window() int { return windowOfQueue }

func (*queue) misused(given func(string) bool) error {
	var errs []error
	for _, flag := range []string{
		"stream-max-bytes", "stream-url", "sub-entry", "compression", "publisher-name", "consumer-name", "offset", "until",
	} {
		if given(flag) {
			errs = append(errs, fmt.Errorf("--%s is for streams, and this is a queue", flag))
		}
	}
	return faults(errs...)
}

func (*queue) blocksSilently() bool { return false }

func (q *queue) describe(s *result.Settings) {
	s.Queue, s.Kind = q.Name, result.Kind(q.cfg.kind.kind)
}

// checkDisk accepts everything: what a queue takes depends on how soon its messages
// are acked, and RabbitMQ drops them then.
func (*queue) checkDisk(*connection, *load.SendConfig, *result.Settings) error { return nil }

func (q *queue) declare(ctx context.Context, client *thump.Client, s *result.Settings) error {
	if err := q.look(ctx, client); err != nil {
		return err
	}
	return q.make(ctx, client, s)
}

// look is the part of declare that makes nothing.
func (q *queue) look(ctx context.Context, client *thump.Client) (err error) {
	q.created = false // an earlier run may have made it
	q.found, err = client.InspectQueue(ctx, q.Name)
	q.exists = err == nil
	if thump.IsNotFound(err) {
		return q.cfg.refuseExchange(ctx, client, q.Name)
	}
	return err
}

// make is the other part.
func (q *queue) make(ctx context.Context, client *thump.Client, s *result.Settings) (err error) {
	// To declare a queue that exists changes nothing, and tells whether it is as
	// wanted. AMQP has no other way to ask.
	for _, spec := range q.specs(q.exists, client.Server().Version) {
		if _, err = client.DeclareQueue(ctx, spec); err == nil {
			break
		}
	}
	differs, ok := errors.AsType[*thump.BrokerError](err)
	switch {
	case err == nil:
		q.created, s.Durable = !q.exists, new(!q.Transient)
		return nil
	case ctx.Err() != nil:
		q.created = !q.exists // the broker may have made it, or be about to
		return err
	case !ok || differs.Code != preconditionFailed || !q.exists:
		return err
	}
	if err := q.cfg.refuseStream(ctx, client, differs); err != nil {
		return err
	}
	flags := []string{"kind", "transient"}
	if q.cfg.alone {
		flags = append(flags, "priority", "ttl")
	}
	var wanted []string
	for _, flag := range flags {
		if q.cfg.given(flag) {
			wanted = append(wanted, "--"+flag)
		}
	}
	if len(wanted) > 0 {
		return fmt.Errorf("the queue %q exists already and is not as %s would have it: %w", q.Name, strings.Join(wanted, ", "), err)
	}
	s.Kind = result.UnknownKind
	return nil
}

// specs are the queue as it is wanted, and if it exists, as it may be besides. What a quorum queue
// drops because it went back too often would be lost, so one for --requeue is made without a limit.
func (q *queue) specs(exists bool, version string) []thump.QueueSpec {
	spec := thump.QueueSpec{Name: q.Name, Kind: thump.QueueKind(q.cfg.kind.kind), Transient: q.Transient}
	if q.Expired != "" {
		spec.MessageTTL, spec.DeadLetterRoutingKey = q.TTL, q.Expired
	}
	if spec.Kind == thump.Classic && (q.cfg.alone || !exists) {
		spec.MaxPriority = q.cfg.send.Priorities.Highest()
	}
	if spec.Kind != thump.Quorum || !limitsDelivery(version) {
		return []thump.QueueSpec{spec}
	}
	unlimited := spec
	unlimited.DeliveryLimit = -1
	switch {
	case exists:
		return []thump.QueueSpec{unlimited, spec}
	case q.cfg.work.Requeue > 0:
		return []thump.QueueSpec{unlimited}
	default:
		return []thump.QueueSpec{spec}
	}
}

// limitsDelivery reports whether a broker of that version lets messages of a quorum queue go back
// only so often, unless the queue says otherwise. Before 4.0 none did, and none could be told not to.
func limitsDelivery(version string) bool {
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n >= 4
}

func (q *queue) find(ctx context.Context, client *thump.Client, s *result.Settings) error {
	return q.declare(ctx, client, s)
}

// checkUnused: a run would count the messages of others as its own, and take them.
func (q *queue) checkUnused() error {
	switch {
	case q.found.Messages > 0:
		return fmt.Errorf("the queue %q already holds messages (%d), which are not this run's; nothing was touched (use another --queue, or empty it with thump receive %[1]s --discard)", q.Name, q.found.Messages)
	case q.found.Consumers > 0:
		return fmt.Errorf("the queue %q already has consumers (%d), which would take this run's messages; nothing was touched (use another --queue)", q.Name, q.found.Consumers)
	default:
		return nil
	}
}

func (q *queue) watched() watched {
	return watched{[]string{q.Name}, func(ctx context.Context, client *thump.Client) (uint64, error) {
		info, err := client.InspectQueue(ctx, q.Name)
		return uint64(max(0, info.Messages)), err
	}}
}

func (q *queue) remove(ctx context.Context, client *thump.Client) error {
	if !q.created {
		return nil
	}
	if _, err := client.DeleteQueue(ctx, q.Name, thump.DeleteOptions{}); err != nil {
		return stillThere(q, err)
	}
	return nil
}
