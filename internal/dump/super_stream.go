package dump

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/thumpmq/thump"
)

// SuperStream is the kind of a super stream: an exchange, and streams that are bound to it, its
// partitions.
const SuperStream thump.QueueKind = "super-stream"

// partitionsMost is how many partitions RabbitMQ allows (rabbit_stream_manager.erl).
const partitionsMost = 1000

// Partition is a stream of a super stream.
type Partition struct {
	thump.Partition
	Arguments thump.Table // as in Definition
}

// DescribeSuperStream is Describe for a super stream. What its partitions are bound with is
// known as far as Client.InspectSuperStream says it; where it is not, the definition is Partial.
func DescribeSuperStream(ctx context.Context, client *thump.Client, name string) (Definition, error) {
	d := Definition{Name: name, Kind: SuperStream}
	info, err := client.InspectSuperStream(ctx, name)
	if err != nil {
		return d, err
	}
	// What exists is not changed by this, and refused if it is of another kind: that routes
	// otherwise, so a key that leads to a partition is not what it is bound with.
	another := client.DeclareExchange(ctx, exchangeOf(name))
	routesOtherwise := isPreconditionFailed(another)
	for _, p := range info.Partitions {
		stream, err := Describe(ctx, client, p.Name)
		if thump.IsNotFound(err) || ctx.Err() != nil {
			return d, err
		}
		if routesOtherwise {
			p.BindingKey, p.Known = "", false
		}
		d.Partitions = append(d.Partitions, Partition{Partition: p, Arguments: stream.Arguments})
		switch {
		case d.Partial != "":
		case another != nil:
			d.Partial = another.Error()
		case err != nil:
			d.Partial = err.Error()
		case stream.Partial != "":
			d.Partial = stream.Partial
		case !p.Known:
			d.Partial = fmt.Sprintf("no one says what the partition %q is bound with: it is not called %s-KEY for a single binding key", p.Name, name)
		}
	}
	return d, nil
}

// exchangeOf is the exchange of a super stream, as RabbitMQ makes it (rabbit_stream_manager.erl).
func exchangeOf(superStream string) thump.ExchangeSpec {
	return thump.ExchangeSpec{Name: superStream, Kind: "direct", Arguments: thump.NewTable("x-super-stream", true)}
}

// isPreconditionFailed reports whether the broker has said that what exists is something else.
func isPreconditionFailed(err error) bool {
	refused, ok := errors.AsType[*thump.BrokerError](err)
	return ok && refused.Protocol == thump.AMQP091 && refused.Code == 406
}

// Streams are the names of the streams that it consists of: a stream itself, or the partitions of a
// super stream in their order; none of a queue.
func (d *Definition) Streams() []string {
	switch d.Kind {
	case Stream:
		return []string{d.Name}
	case SuperStream:
		names := make([]string, len(d.Partitions))
		for i, p := range d.Partitions {
			names[i] = p.Name
		}
		return names
	default:
		return nil
	}
}

// Rename gives it another name, and a super stream's partitions those that go with it.
func (d *Definition) Rename(name string) error {
	partitions := slices.Clone(d.Partitions)
	for i := range partitions {
		p := &partitions[i]
		end, named := strings.CutPrefix(p.Name, d.Name+"-")
		if !named && name != d.Name {
			return fmt.Errorf("the partition %q is not called after its super stream %q, so there is no name for it under %q", p.Name, d.Name, name)
		}
		if named {
			p.Name = name + "-" + end
		}
	}
	d.Name, d.Partitions = name, partitions
	return nil
}

// IsThere reports whether a super stream is there as d says; if it is not, Declare makes it. What else
// has its name is an error, and so is a super stream with other partitions. One whose making was cut
// short is not there: all of its streams are, and not yet bound.
func (d *Definition) IsThere(ctx context.Context, client *thump.Client) (bool, error) {
	switch err := client.InspectExchange(ctx, d.Name); {
	case thump.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, err
	}
	info, err := client.InspectSuperStream(ctx, d.Name)
	if err == nil {
		if same := d.checkBindings(info); same || ctx.Err() != nil {
			return same, ctx.Err()
		}
	}
	made, failed := d.streamsThere(ctx, client)
	switch {
	case failed != nil:
		return false, failed
	case made && (err != nil || d.begins(info)):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("%q is an exchange, and no super stream: %w", d.Name, err)
	}
	return false, fmt.Errorf("the super stream %q is there with other partitions: it has %.1000s, and the dump %.1000s", d.Name, bindingsText(info.Partitions), bindingsText(d.bindings()))
}

// checkBindings reports whether a super stream has the partitions that d says, in their order. Keys
// that either does not know are not compared.
func (d *Definition) checkBindings(info thump.SuperStreamInfo) bool {
	return slices.EqualFunc(d.bindings(), info.Partitions, sameBinding)
}

// begins reports whether a super stream has some of the partitions that d says, and no other.
func (d *Definition) begins(info thump.SuperStreamInfo) bool {
	return len(info.Partitions) < len(d.Partitions) && !slices.ContainsFunc(info.Partitions, func(p thump.Partition) bool {
		return !slices.ContainsFunc(d.bindings(), func(q thump.Partition) bool { return sameBinding(q, p) })
	})
}

func sameBinding(p, q thump.Partition) bool {
	return p.Name == q.Name && (p.BindingKey == q.BindingKey || !p.Known || !q.Known)
}

// bindings are the partitions, as they are bound.
func (d *Definition) bindings() []thump.Partition {
	bindings := make([]thump.Partition, len(d.Partitions))
	for i, p := range d.Partitions {
		bindings[i] = p.Partition
	}
	return bindings
}

// bindingsText is partitions as an error shows them: `"orders-0" (key "0"), "orders-1"`.
func bindingsText(partitions []thump.Partition) string {
	texts := make([]string, len(partitions))
	for i, p := range partitions {
		texts[i] = fmt.Sprintf("%q", p.Name)
		if p.Known {
			texts[i] += fmt.Sprintf(" (key %q)", p.BindingKey)
		}
	}
	return strings.Join(texts, ", ")
}

// streamsThere reports whether all of the streams are there.
func (d *Definition) streamsThere(ctx context.Context, client *thump.Client) (bool, error) {
	for _, name := range d.Streams() {
		switch _, err := client.InspectStream(ctx, name); {
		case thump.IsNotFound(err):
			return false, nil
		case err != nil:
			return false, err
		}
	}
	return true, nil
}

// Declare makes what d says, where it is not there. A super stream is made piece by piece, since
// RabbitMQ has a command for it only since 3.13, and none for partitions of which each has limits of its
// own: first all streams, by which IsThere knows one that was not made to its end.
func (d *Definition) Declare(ctx context.Context, client *thump.Client) error {
	if d.Kind != SuperStream {
		_, err := client.DeclareQueue(ctx, d.Spec())
		return err
	}
	for _, p := range d.Partitions {
		if !p.Known {
			return fmt.Errorf("what the partition %q was bound with is not known (%s): make the super stream %q with the partitions %q, and restore then", p.Name, d.Partial, d.Name, d.Streams())
		}
	}
	for _, p := range d.Partitions {
		stream := Definition{Name: p.Name, Kind: Stream, Arguments: p.Arguments}
		if err := stream.Declare(ctx, client); err != nil {
			return err
		}
	}
	if err := client.DeclareExchange(ctx, exchangeOf(d.Name)); err != nil {
		return err
	}
	for i, p := range d.Partitions {
		if err := client.Bind(ctx, thump.Binding{
			Source: d.Name, Queue: p.Name, RoutingKey: p.BindingKey, Arguments: thump.NewTable("x-stream-partition-order", int64(i)),
		}); err != nil {
			return err
		}
	}
	return nil
}
