package thump

import (
	"context"
	"errors"
	"fmt"

	"github.com/thumpmq/thump/internal/amqpconn"
	"github.com/thumpmq/thump/internal/amqpproto"
)

// declaration is a queue with its bindings that a publisher or consumer declares for
// itself, on each connection that it makes.
type declaration struct {
	queue     amqpproto.QueueDeclare
	bindings  []amqpproto.QueueBind // of the queue, whatever its name comes to be
	exclusive bool
}

// declaration reads what a ConsumerConfig or PublisherConfig, called config, declares; nil
// for a nil queue.
func (c *Client) declaration(config string, q *QueueSpec, bind []Binding) (*declaration, error) {
	if q == nil {
		if len(bind) > 0 {
			return nil, fmt.Errorf("%s.Bind is of the queue that Declare declares, which is not set", config)
		}
		return nil, nil
	}
	queue, err := c.queueDeclare(*q)
	if err != nil {
		return nil, fmt.Errorf("%s.Declare: %w", config, err)
	}
	d := &declaration{queue: *queue, exclusive: q.Exclusive}
	for i, b := range bind {
		if b.Queue != "" && b.Queue != q.Name || b.Exchange != "" {
			return nil, fmt.Errorf("%s.Bind[%d] leads to %q, and not to the queue that Declare declares", config, i, b.Queue+b.Exchange)
		}
		arguments, err := wireArguments(b.Arguments)
		if err = errors.Join(err, checkFound("Source", b.Source), checkBindingKey("RoutingKey", b.RoutingKey)); err != nil {
			return nil, fmt.Errorf("%s.Bind[%d]: %w", config, i, err)
		}
		d.bindings = append(d.bindings, amqpproto.QueueBind{Exchange: b.Source, RoutingKey: b.RoutingKey, Arguments: arguments})
	}
	return d, nil
}

// on declares the queue and its bindings on a channel, and returns the queue's name.
func (d *declaration) on(ctx context.Context, ch *amqpconn.Channel) (name string, err error) {
	name = d.queue.Queue
	calls := []amqpproto.Method{&d.queue}
	if name != "" { // the bindings can go along
		calls = append(calls, d.binds(name)...)
	}
	answers, err := ch.Calls(ctx, calls...)
	if len(answers) == 0 {
		return "", fmt.Errorf("declaring queue %q: %w", name, err)
	}
	bound := len(answers) - 1
	if name == "" {
		name = answers[0].(*amqpproto.QueueDeclareOk).Queue
		if len(d.bindings) == 0 {
			return name, nil
		}
		answers, err = ch.Calls(ctx, d.binds(name)...)
		bound = len(answers)
	}
	if err != nil {
		return "", fmt.Errorf("binding queue %q to exchange %q: %w", name, d.bindings[bound].Exchange, err)
	}
	return name, nil
}

// binds are the calls that bind the queue, which has that name.
func (d *declaration) binds(name string) []amqpproto.Method {
	calls := make([]amqpproto.Method, len(d.bindings))
	for i, b := range d.bindings {
		b.Queue = name
		calls[i] = &b
	}
	return calls
}
