package thump

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/thumpmq/thump/internal/amqpconn"
	"github.com/thumpmq/thump/internal/amqpproto"
)

// QueueKind is a queue type of RabbitMQ (x-queue-type).
type QueueKind string

// The queue kinds.
const (
	Classic QueueKind = "classic"
	Quorum  QueueKind = "quorum"
)

// QueueSpec is a queue to declare. The zero value of everything but Name is a
// durable, shared queue of the vhost's default kind, which is classic unless an
// operator changed it.
type QueueSpec struct {
	Name       string // empty: the broker makes one up
	Kind       QueueKind
	Transient  bool // not durable: gone when the broker restarts
	AutoDelete bool // gone when its last consumer goes
	Arguments  Table
}

// QueueInfo is a queue as the broker described it.
type QueueInfo struct {
	Name      string
	Messages  int // ready; those delivered and not settled are not counted
	Consumers int
}

// DeclareQueue makes a queue, or makes sure that it is there just so. A queue
// that is there with other settings is a *BrokerError with code 406.
func (c *Client) DeclareQueue(ctx context.Context, q QueueSpec) (QueueInfo, error) {
	arguments := q.Arguments
	if q.Kind != "" {
		// In memory of its own: the caller's table must not change.
		arguments = append(slices.Clip(arguments), Field{Key: "x-queue-type", Value: string(q.Kind)})
	}
	return c.declareQueue(ctx, "declaring", &amqpproto.QueueDeclare{
		Queue: q.Name, Durable: !q.Transient, AutoDelete: q.AutoDelete, Arguments: arguments,
	})
}

// InspectQueue asks for a queue without making it (a passive declare). IsNotFound
// tells whether the error is that it is not there.
func (c *Client) InspectQueue(ctx context.Context, name string) (QueueInfo, error) {
	return c.declareQueue(ctx, "inspecting", &amqpproto.QueueDeclare{Queue: name, Passive: true})
}

func (c *Client) declareQueue(ctx context.Context, doing string, m *amqpproto.QueueDeclare) (QueueInfo, error) {
	r, err := c.ask(ctx, m, "%s queue %q", doing, m.Queue)
	if err != nil {
		return QueueInfo{}, err
	}
	ok := r.(*amqpproto.QueueDeclareOk)
	return QueueInfo{Name: ok.Queue, Messages: int(ok.MessageCount), Consumers: int(ok.ConsumerCount)}, nil
}

// PurgeQueue drops the queue's ready messages and returns their number.
func (c *Client) PurgeQueue(ctx context.Context, name string) (int, error) {
	r, err := c.ask(ctx, &amqpproto.QueuePurge{Queue: name}, "purging queue %q", name)
	if err != nil {
		return 0, err
	}
	return int(r.(*amqpproto.QueuePurgeOk).MessageCount), nil
}

// DeleteOptions are conditions without which nothing is deleted.
type DeleteOptions struct {
	IfUnused bool // no consumers, or no bindings
	IfEmpty  bool // no messages; for queues only
}

// DeleteQueue deletes a queue and returns the number of messages that were in
// it. To delete one that is not there is no error.
func (c *Client) DeleteQueue(ctx context.Context, name string, o DeleteOptions) (int, error) {
	r, err := c.ask(ctx, &amqpproto.QueueDelete{Queue: name, IfUnused: o.IfUnused, IfEmpty: o.IfEmpty}, "deleting queue %q", name)
	if err != nil {
		return 0, err
	}
	return int(r.(*amqpproto.QueueDeleteOk).MessageCount), nil
}

// ExchangeSpec is an exchange to declare. The zero value of everything but Name
// is a durable direct exchange.
type ExchangeSpec struct {
	Name       string
	Kind       string // "direct" (default), "fanout", "topic", "headers", or a plugin's
	Transient  bool   // not durable: gone when the broker restarts
	AutoDelete bool   // gone when its last binding goes
	Internal   bool   // for bindings only, not for publishers
	Arguments  Table
}

// DeclareExchange makes an exchange, or makes sure that it is there just so.
func (c *Client) DeclareExchange(ctx context.Context, e ExchangeSpec) error {
	if e.Kind == "" {
		e.Kind = "direct"
	}
	_, err := c.ask(ctx, &amqpproto.ExchangeDeclare{
		Exchange: e.Name, Type: e.Kind, Durable: !e.Transient, AutoDelete: e.AutoDelete,
		Internal: e.Internal, Arguments: e.Arguments,
	}, "declaring exchange %q", e.Name)
	return err
}

// DeleteExchange deletes an exchange. To delete one that is not there is no
// error.
func (c *Client) DeleteExchange(ctx context.Context, name string, o DeleteOptions) error {
	_, err := c.ask(ctx, &amqpproto.ExchangeDelete{Exchange: name, IfUnused: o.IfUnused}, "deleting exchange %q", name)
	return err
}

// Binding joins the exchange Source to a queue or to another exchange, one of
// which must be set.
type Binding struct {
	Source     string
	Queue      string
	Exchange   string
	RoutingKey string
	Arguments  Table
}

// Bind makes a binding.
func (c *Client) Bind(ctx context.Context, b Binding) error {
	return c.changeBinding(ctx, b, "binding %q to exchange %q",
		&amqpproto.QueueBind{Queue: b.Queue, Exchange: b.Source, RoutingKey: b.RoutingKey, Arguments: b.Arguments},
		&amqpproto.ExchangeBind{Destination: b.Exchange, Source: b.Source, RoutingKey: b.RoutingKey, Arguments: b.Arguments})
}

// Unbind removes a binding.
func (c *Client) Unbind(ctx context.Context, b Binding) error {
	return c.changeBinding(ctx, b, "unbinding %q from exchange %q",
		&amqpproto.QueueUnbind{Queue: b.Queue, Exchange: b.Source, RoutingKey: b.RoutingKey, Arguments: b.Arguments},
		&amqpproto.ExchangeUnbind{Destination: b.Exchange, Source: b.Source, RoutingKey: b.RoutingKey, Arguments: b.Arguments})
}

// changeBinding asks for the change that fits where the binding leads.
func (c *Client) changeBinding(ctx context.Context, b Binding, doing string, queue, exchange amqpproto.Method) error {
	if (b.Queue == "") == (b.Exchange == "") {
		return errors.New("thump: a binding leads to a queue or to an exchange: set one of Queue and Exchange")
	}
	m := queue
	if b.Exchange != "" {
		m = exchange
	}
	_, err := c.ask(ctx, m, doing, b.Queue+b.Exchange, b.Source)
	return err
}

// Get takes one message from the front of a queue and acks it (basic.get with
// no-ack); ok is false when the queue is empty. The delivery owns its bytes. It
// is slow: to receive many, use a Consumer.
func (c *Client) Get(ctx context.Context, queue string) (d Delivery, ok bool, err error) {
	err = c.onChannel(ctx, func(ch *amqpconn.Channel) error {
		got, found, err := ch.Get(ctx, queue, true)
		ok = found
		d = Delivery{
			Body: got.Body, Exchange: got.Exchange, RoutingKey: got.RoutingKey,
			Redelivered: got.Redelivered, properties: got.Properties,
		}
		return err
	})
	if err != nil {
		return Delivery{}, false, fmt.Errorf("thump: getting from queue %q: %w", queue, public(err))
	}
	return d, ok, nil
}

// ask sends one method on a channel of its own, because the broker closes the
// channel on every refusal.
func (c *Client) ask(ctx context.Context, m amqpproto.Method, doing string, what ...any) (amqpproto.Method, error) {
	var reply amqpproto.Method
	err := c.onChannel(ctx, func(ch *amqpconn.Channel) error {
		r, err := ch.Call(ctx, m)
		reply = r
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("thump: %s: %w", fmt.Sprintf(doing, what...), public(err))
	}
	return reply, nil
}

func (c *Client) onChannel(ctx context.Context, do func(*amqpconn.Channel) error) error {
	conn, err := c.topology(ctx)
	if err != nil {
		return err
	}
	ch, err := conn.Channel(ctx)
	if err != nil {
		return err
	}
	if err := do(ch); err != nil {
		// After a refusal the channel is closed already; after a cancelled
		// call it must not stay behind.
		_ = ch.Close(ctx)
		return err
	}
	return ch.Close(ctx)
}

// topology returns the client's own connection, a new one if that has died.
func (c *Client) topology(ctx context.Context) (*amqpconn.Conn, error) {
	c.mu.Lock()
	conn, closed := c.control, c.closed
	c.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if conn != nil && conn.Err() == nil {
		return conn, nil
	}
	fresh, _, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	conn, err = c.adopt(fresh)
	if conn != fresh {
		goodbye(ctx, fresh)
	}
	return conn, err
}

// adopt makes fresh the client's own connection, unless somebody was quicker.
func (c *Client) adopt(fresh *amqpconn.Conn) (*amqpconn.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if c.control == nil || c.control.Err() != nil {
		c.control = fresh
	}
	return c.control, nil
}
