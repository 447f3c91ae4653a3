package thump

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thumpmq/thump/internal/amqpconn"
	"github.com/thumpmq/thump/internal/amqpproto"
)

// QueueInfo is a queue as the broker described it. A quorum queue whose leader is down, or does
// not answer for two seconds, is described as one without messages and consumers.
type QueueInfo struct {
	Name      string
	Messages  int // ready; those delivered and not settled are not counted
	Consumers int
}

// DeclareQueue makes a queue, or checks that the one of that name has these
// settings; one with others is a *BrokerError with code 406.
func (c *Client) DeclareQueue(ctx context.Context, q QueueSpec) (QueueInfo, error) {
	if q.Exclusive {
		return QueueInfo{}, withPrefix(fmt.Errorf("declaring queue %q: QueueSpec.Exclusive is for ConsumerConfig.Declare: such a queue belongs to the consumer's connection", q.Name))
	}
	m, err := c.queueDeclare(q)
	if err != nil {
		return QueueInfo{}, withPrefix(err)
	}
	info, err := c.declareQueue(ctx, "declaring", m)
	return info, withPrefix(err)
}

// queueDeclare is the method that declares a queue, or every fault of the spec.
func (c *Client) queueDeclare(q QueueSpec) (*amqpproto.QueueDeclare, error) {
	if err := checkNoURL("the name of a queue", q.Name); err != nil {
		return nil, err
	}
	all, err := q.arguments()
	if err = errors.Join(err, q.check(c.vhost(), all), q.supported(c.server.Version)); err != nil {
		return nil, fmt.Errorf("declaring queue %q: %w", q.Name, mistake(err))
	}
	arguments, err := wireArguments(all)
	if err != nil {
		return nil, fmt.Errorf("declaring queue %q: %w", q.Name, err)
	}
	return &amqpproto.QueueDeclare{
		Queue: q.Name, Durable: !q.Transient, AutoDelete: q.AutoDelete, Exclusive: q.Exclusive, Arguments: arguments,
	}, nil
}

// InspectQueue describes a queue, and does not make it (a passive declare). For a
// queue that does not exist, IsNotFound is true of the error.
func (c *Client) InspectQueue(ctx context.Context, name string) (QueueInfo, error) {
	if err := checkName("queue", name); err != nil {
		return QueueInfo{}, withPrefix(mistake(err))
	}
	info, err := c.declareQueue(ctx, "inspecting", &amqpproto.QueueDeclare{Queue: name, Passive: true})
	return info, withPrefix(err)
}

// A quorum queue whose leader does not answer the broker within statTimeout is described as one
// without messages and consumers (stat/2 of rabbit_quorum_queue.erl). On a busy machine that is
// often so. An answer that may be such a one is not believed before it was given statTries times.
const (
	statTimeout = 250 * time.Millisecond
	statTries   = 8
)

// declareQueue sends a declare and reads what it says about the queue.
func (c *Client) declareQueue(ctx context.Context, doing string, m *amqpproto.QueueDeclare) (QueueInfo, error) {
	name := m.Queue
	var info QueueInfo
	err := c.onChannel(ctx, func(ch *amqpconn.Channel) (err error) {
		info, err = declareOn(ctx, ch, m)
		return err
	})
	if err != nil {
		return QueueInfo{}, fmt.Errorf("%s queue %q: %w", doing, name, toPublic(err))
	}
	return info, nil
}

// declareOn is declareQueue on a channel.
func declareOn(ctx context.Context, ch *amqpconn.Channel, m *amqpproto.QueueDeclare) (info QueueInfo, err error) {
	for range statTries {
		began := time.Now()
		r, err := ch.Call(ctx, m)
		if err != nil {
			return QueueInfo{}, err
		}
		ok := r.(*amqpproto.QueueDeclareOk)
		info = QueueInfo{Name: ok.Queue, Messages: int(ok.MessageCount), Consumers: int(ok.ConsumerCount)}
		if info.Messages > 0 || info.Consumers > 0 || time.Since(began) < statTimeout {
			break
		}
		m = &amqpproto.QueueDeclare{Queue: info.Name, Passive: true}
	}
	return info, nil
}

// PurgeQueue drops the queue's ready messages and returns their number. For a queue that
// does not exist, IsNotFound is true of the error; for a stream it is a *BrokerError with
// code 540.
func (c *Client) PurgeQueue(ctx context.Context, name string) (int, error) {
	if err := checkName("queue", name); err != nil {
		return 0, withPrefix(mistake(err))
	}
	r, err := c.ask(ctx, &amqpproto.QueuePurge{Queue: name}, "purging queue %q", name)
	if err != nil {
		return 0, withPrefix(err)
	}
	return int(r.(*amqpproto.QueuePurgeOk).MessageCount), nil
}

// DeleteOptions are conditions without which nothing is deleted.
type DeleteOptions struct {
	IfUnused bool // a queue without consumers, an exchange without bindings
	IfEmpty  bool // no messages; for queues only
}

// DeleteQueue deletes a queue and returns the number of messages that were in
// it. Deleting a queue that does not exist is no error. A condition that is not met is a
// *BrokerError with code 406; for quorum queues RabbitMQ knows no conditions, and the
// code is 540.
func (c *Client) DeleteQueue(ctx context.Context, name string, o DeleteOptions) (int, error) {
	if err := checkName("queue", name); err != nil {
		return 0, withPrefix(mistake(err))
	}
	r, err := c.ask(ctx, &amqpproto.QueueDelete{Queue: name, IfUnused: o.IfUnused, IfEmpty: o.IfEmpty}, "deleting queue %q", name)
	if err != nil {
		return 0, withPrefix(err)
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

// DeclareExchange makes an exchange, or checks that the one of that name has these
// settings; one with others is a *BrokerError with code 406.
func (c *Client) DeclareExchange(ctx context.Context, e ExchangeSpec) error {
	setDefault(&e.Kind, "direct")
	if err := errors.Join(checkNewName("exchange", e.Name), checkText("ExchangeSpec.Kind", e.Kind)); err != nil {
		return withPrefix(mistake(err))
	}
	arguments, err := wireArguments(e.Arguments)
	if err != nil {
		return withPrefix(fmt.Errorf("declaring exchange %q: %w", e.Name, err))
	}
	_, err = c.ask(ctx, &amqpproto.ExchangeDeclare{
		Exchange: e.Name, Type: e.Kind, Durable: !e.Transient, AutoDelete: e.AutoDelete,
		Internal: e.Internal, Arguments: arguments,
	}, "declaring exchange %q", e.Name)
	return withPrefix(err)
}

// InspectExchange returns nil if there is an exchange of that name, and does not make it
// (a passive declare). If there is none, IsNotFound is true of the error.
func (c *Client) InspectExchange(ctx context.Context, name string) error {
	_, err := c.ask(ctx, &amqpproto.ExchangeDeclare{Exchange: name, Type: "direct", Passive: true}, "inspecting exchange %q", name)
	return withPrefix(err)
}

// DeleteExchange deletes an exchange. Deleting one that does not exist is no error. With
// IfUnused, one that has bindings is a *BrokerError with code 406; RabbitMQ's own
// exchanges (amq.) can't be deleted, which is code 403.
func (c *Client) DeleteExchange(ctx context.Context, name string, o DeleteOptions) error {
	if err := checkName("exchange", name); err != nil {
		return withPrefix(mistake(err))
	}
	_, err := c.ask(ctx, &amqpproto.ExchangeDelete{Exchange: name, IfUnused: o.IfUnused}, "deleting exchange %q", name)
	return withPrefix(err)
}

// Binding leads from the exchange Source to a Queue or to another Exchange: one
// of the two must be set.
type Binding struct {
	Source     string
	Queue      string
	Exchange   string
	RoutingKey string
	Arguments  Table
}

// Bind makes a binding; one that is there already is no error. Where the exchange or the
// queue does not exist, IsNotFound is true of the error. From the default exchange nothing
// can be bound: that is a *BrokerError with code 403.
func (c *Client) Bind(ctx context.Context, b Binding) error {
	return withPrefix(c.changeBinding(ctx, b, "binding %q to exchange %q", func(arguments amqpproto.Table) (queue, exchange amqpproto.Method) {
		return &amqpproto.QueueBind{Queue: b.Queue, Exchange: b.Source, RoutingKey: b.RoutingKey, Arguments: arguments},
			&amqpproto.ExchangeBind{Destination: b.Exchange, Source: b.Source, RoutingKey: b.RoutingKey, Arguments: arguments}
	}))
}

// Unbind removes a binding. One that is not there is no error, and neither is a queue or
// exchange that does not exist.
func (c *Client) Unbind(ctx context.Context, b Binding) error {
	return withPrefix(c.changeBinding(ctx, b, "unbinding %q from exchange %q", func(arguments amqpproto.Table) (queue, exchange amqpproto.Method) {
		return &amqpproto.QueueUnbind{Queue: b.Queue, Exchange: b.Source, RoutingKey: b.RoutingKey, Arguments: arguments},
			&amqpproto.ExchangeUnbind{Destination: b.Exchange, Source: b.Source, RoutingKey: b.RoutingKey, Arguments: arguments}
	}))
}

// changeBinding sends the method for a queue or the one for an exchange,
// whichever the binding leads to.
func (c *Client) changeBinding(ctx context.Context, b Binding, doing string, methods func(arguments amqpproto.Table) (queue, exchange amqpproto.Method)) error {
	if err := b.check(); err != nil {
		return mistake(err)
	}
	arguments, err := wireArguments(b.Arguments)
	if err != nil {
		return fmt.Errorf(doing+": %w", b.Queue+b.Exchange, b.Source, err)
	}
	m, exchange := methods(arguments)
	if b.Exchange != "" {
		m = exchange
	}
	_, err = c.ask(ctx, m, doing, b.Queue+b.Exchange, b.Source)
	return err
}

// check lists what is wrong with a binding before it is sent.
func (b *Binding) check() error {
	if (b.Queue == "") == (b.Exchange == "") {
		return errors.New("a binding leads to a queue or to an exchange: set one of Queue and Exchange")
	}
	return errors.Join(
		checkFound("Binding.Source", b.Source), checkFound("Binding.Queue", b.Queue),
		checkFound("Binding.Exchange", b.Exchange), checkBindingKey("Binding.RoutingKey", b.RoutingKey))
}

// Get takes one message from the front of a queue and acks it, once it is in hand:
// where ctx ends before that, the message stays in the queue (a quorum queue may
// count that as a delivery). ok is false when the queue is empty. The delivery owns
// its bytes. Get is slow, since it opens a channel for each message: to receive many, use a
// Consumer, with ConsumerConfig.Poll where they are to be asked for.
func (c *Client) Get(ctx context.Context, queue string) (d Delivery, ok bool, err error) {
	d, ok, err = c.GetUnacked(ctx, queue)
	if !ok || err != nil {
		return d, ok, err
	}
	if err := d.Ack(); err != nil {
		return Delivery{}, false, err // it is in the queue again
	}
	d.hold = nil
	return d, true, nil
}

// GetUnacked is Get for a caller who settles the delivery: with Ack once it is
// handled, or otherwise as any delivery. Until then the message is not in the queue
// and not gone. It goes back, and settling it fails, when this client is closed or
// its connection is lost, and when the broker has waited too long (its
// consumer_timeout, 30 minutes by default).
//
// Each delivery that is not settled holds a channel of the client's connection,
// which has some 2,000: the calls of this client wait while there is none left.
func (c *Client) GetUnacked(ctx context.Context, queue string) (d Delivery, ok bool, err error) {
	if err := checkName("queue", queue); err != nil {
		return Delivery{}, false, withPrefix(mistake(err))
	}
	d, ok, err = c.get(ctx, queue)
	if err != nil {
		return Delivery{}, false, withPrefix(fmt.Errorf("getting from queue %q: %w", queue, toPublic(err)))
	}
	return d, ok, nil
}

// get takes a message on a channel of its own, which ends when that is settled.
func (c *Client) get(ctx context.Context, queue string) (Delivery, bool, error) {
	conn, err := c.topology.get(ctx)
	if err != nil {
		return Delivery{}, false, err
	}
	ch, err := conn.Channel(ctx)
	if err != nil {
		return Delivery{}, false, err
	}
	got, ok, err := ch.Get(ctx, queue, false)
	if err != nil || !ok {
		ch.Leave() // what came meanwhile goes back to the queue
		return Delivery{}, false, err
	}
	from := &consumeLink{ch: ch}
	from.unsettled.of = Queue(queue).String()
	from.unsettled.send = func(how settlement, multiple bool, tags ...uint64) error {
		defer ch.Leave()
		return from.settle(how, multiple, tags...)
	}
	b := &Batch{hold: &hold{}}
	b.Deliveries = []Delivery{{
		Body: got.Body, Exchange: got.Exchange, RoutingKey: got.RoutingKey,
		Redelivered: got.Redelivered, properties: got.Properties, tag: got.Tag, hold: b.hold,
	}}
	b.Deliveries[0].setFormat()
	from.unsettled.add(b, 0)
	return b.Deliveries[0], true, nil
}

// ask sends one method on a channel of its own, because the broker closes the
// channel on every refusal. The error says what was being done.
func (c *Client) ask(ctx context.Context, m amqpproto.Method, doing string, what ...any) (amqpproto.Method, error) {
	var reply amqpproto.Method
	err := c.onChannel(ctx, func(ch *amqpconn.Channel) error {
		r, err := ch.Call(ctx, m)
		reply = r
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fmt.Sprintf(doing, what...), toPublic(err))
	}
	return reply, nil
}

// onChannel calls do with a channel that is opened for it and closed after it.
func (c *Client) onChannel(ctx context.Context, do func(*amqpconn.Channel) error) error {
	conn, err := c.topology.get(ctx)
	if err != nil {
		return err
	}
	ch, err := conn.Channel(ctx)
	if err != nil {
		return err
	}
	if err := do(ch); err != nil {
		// After a refusal the channel is closed already; after a cancelled
		// call it must not stay open.
		_ = ch.Close(ctx)
		return err
	}
	return ch.Close(ctx)
}
