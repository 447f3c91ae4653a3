package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/thumpmq/thump"
)

// notImplemented is the broker's answer to a condition that it knows nothing of (AMQP
// 0-9-1, reply codes).
const notImplemented = 540

func queueDeclareCommand(u *ui) *cobra.Command {
	m := manage{u: u}
	var spec thump.QueueSpec
	kind := kindFlag{kind: kindClassic, of: []string{kindClassic, kindQuorum}}
	var overflow, strategy string
	var arguments []string
	cmd := &cobra.Command{
		Use:   "declare QUEUE",
		Short: "Make a queue, or find out whether it is as it should be",
		Long: `declare makes a queue. One that exists already and has these settings stays as it is; one
with others is an error, and stays as well. A stream is made by thump stream declare.

Settings that have no flag are an --argument, whose value is a number, true, false, or else
a text.
` + exitCodesHelp,
		Example: `  thump queue declare orders --kind quorum --delivery-limit 5 --dead-letter-exchange orders.dead
  thump queue declare recent --max-length 1000 --message-ttl 1h
  thump queue declare orders --argument x-queue-leader-locator=balanced`,
		Args: takesNames(1, 1),
		PreRunE: func(_ *cobra.Command, args []string) (err error) {
			spec.Name, spec.Kind = args[0], thump.QueueKind(kind.kind)
			spec.Overflow, spec.DeadLetterStrategy = thump.Overflow(overflow), thump.DeadLetterStrategy(strategy)
			spec.Arguments, err = parseArguments(arguments)
			return err
		},
		RunE: m.connected(func(ctx context.Context, s *manager, _ []string) error {
			return s.declare(ctx, spec)
		}),
	}
	flags := m.register(cmd)
	flags.Var(&kind, "kind", "the kind of queue")
	flags.BoolVar(&spec.Transient, "transient", false, "make a queue that a restart of the broker removes")
	flags.BoolVar(&spec.AutoDelete, "auto-delete", false, "let the broker delete it when its last consumer goes")
	flags.DurationVar(&spec.MessageTTL, "message-ttl", 0, "how long a message stays, like 1h (default: for ever)")
	flags.DurationVar(&spec.Expires, "expires", 0, "let the broker delete it when nobody has used it for this long")
	flags.Int64Var(&spec.MaxLength, "max-length", 0, "the most ready messages (default: no limit)")
	flags.Int64Var(&spec.MaxLengthBytes, "max-length-bytes", 0, "the most bytes in their bodies (default: no limit)")
	flags.StringVar(&overflow, "overflow", "", "what happens above the limit: drop-head, reject-publish or reject-publish-dlx (default: drop-head)")
	flags.StringVar(&spec.DeadLetterExchange, "dead-letter-exchange", "", "the exchange for messages that are rejected, expire or overflow")
	flags.StringVar(&spec.DeadLetterRoutingKey, "dead-letter-routing-key", "", "the routing key for those; without an exchange it is a queue's name")
	flags.StringVar(&strategy, "dead-letter-strategy", "", "quorum: at-most-once or at-least-once (default: at-most-once)")
	flags.IntVar(&spec.DeliveryLimit, "delivery-limit", 0, "quorum: how often a message may come back; -1 for no limit (default: the broker's)")
	flags.BoolVar(&spec.SingleActiveConsumer, "single-active-consumer", false, "one consumer at a time, the others stand by")
	flags.Uint8Var(&spec.MaxPriority, "max-priority", 0, "classic: the highest priority of messages (default: no priorities)")
	flags.StringArrayVar(&arguments, "argument", nil, "another argument, NAME=VALUE; may be repeated")
	return cmd
}

// parseArguments takes NAME=VALUE, several times.
func parseArguments(list []string) (thump.Table, error) {
	var t thump.Table
	for _, text := range list {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, usagef("--argument must be NAME=VALUE, and is %q", text)
		}
		t.Set(name, argumentOf(value))
	}
	return t, nil
}

func argumentOf(text string) any {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	if text == "true" || text == "false" {
		return text == "true"
	}
	return text
}

func (s *manager) declare(ctx context.Context, spec thump.QueueSpec) error {
	_, err := s.conn.client.InspectQueue(ctx, spec.Name)
	if err != nil && !thump.IsNotFound(err) {
		return err
	}
	created := err != nil
	info, err := s.conn.client.DeclareQueue(ctx, spec)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("The queue %q is there already, and is as it should be.\n", spec.Name)
	if created {
		text = fmt.Sprintf("Declared the queue %q.\n", spec.Name)
	}
	return s.answer(ctx, text, queuesRecord{Version: queuesVersion, Queues: []queueRecord{{
		Name: spec.Name, Kind: string(spec.Kind), Created: created,
		Ready: new(int64(info.Messages)), Consumers: new(int64(info.Consumers)),
	}}})
}

func queueDeleteCommand(u *ui) *cobra.Command {
	m := manage{u: u}
	cmd := &cobra.Command{
		Use:   "delete QUEUE...",
		Short: "Delete queues",
		Long: `delete deletes queues. It refuses one that has messages or consumers, unless you say
--force, and then deletes none of them. It asks first; where there is no terminal it needs --yes.

For a classic queue RabbitMQ itself sees to it that it is empty and unused when it goes. For
a quorum queue RabbitMQ knows no such conditions: thump looks right before.
` + exitCodesHelp,
		Example: `  thump queue delete old
  thump queue delete old older --force --yes`,
		Args: takesNames(1, namesMax),
		RunE: m.connected(func(ctx context.Context, s *manager, args []string) error {
			return s.deleteQueues(ctx, args)
		}),
	}
	flags := m.register(cmd)
	flags.BoolVar(&m.force, "force", false, "delete queues that have messages or consumers, too")
	m.registerDestructive(flags)
	return cmd
}

func (s *manager) deleteQueues(ctx context.Context, names []string) error {
	var contents []string
	for _, name := range names {
		info, err := s.deletable(ctx, name)
		if err != nil {
			return err
		}
		contents = append(contents, contentOf(info))
	}
	if err := s.u.confirm(ctx, s.yes, "Delete "+strings.Join(contents, ", ")+"?"); err != nil {
		return err
	}
	record := queuesRecord{Version: queuesVersion}
	var text strings.Builder
	for _, name := range names {
		messages, err := s.deleteQueue(ctx, name)
		if err != nil {
			s.u.printf("%s", text.String()) // what is done
			return err
		}
		fmt.Fprintf(&text, "Deleted the queue %q, with %s.\n", name, several(messages, "message"))
		record.Queues = append(record.Queues, queueRecord{Name: name, Ready: new(int64(messages)), Deleted: true})
	}
	return s.answer(ctx, text.String(), record)
}

// contentOf is a queue in a question.
func contentOf(info thump.QueueInfo) string {
	return fmt.Sprintf("the queue %q, with %s and %s", info.Name, several(info.Messages, "ready message"), several(info.Consumers, "consumer"))
}

// deletable describes a queue, or says why it is not to be deleted.
func (s *manager) deletable(ctx context.Context, name string) (thump.QueueInfo, error) {
	info, err := s.inspect(ctx, name)
	switch {
	case err != nil:
		return info, err
	case s.isStream(ctx, name):
		return info, fmt.Errorf("%q is a stream, not a queue: use thump stream delete %[1]s", name)
	case !s.force && (info.Messages > 0 || info.Consumers > 0):
		return info, fmt.Errorf("%s, is in use; nothing was deleted (--force deletes it all the same)", contentOf(info))
	}
	return info, nil
}

// isStream reports whether a queue is known to be a stream. Streams may have an address that
// nobody can reach from here, and then nothing is known.
func (s *manager) isStream(ctx context.Context, name string) bool {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err := s.conn.client.InspectStream(ctx, name)
	return err == nil
}

func (s *manager) deleteQueue(ctx context.Context, name string) (int, error) {
	messages, err := s.conn.client.DeleteQueue(ctx, name, thump.DeleteOptions{IfUnused: !s.force, IfEmpty: !s.force})
	refused, ok := errors.AsType[*thump.BrokerError](err)
	if !ok || refused.Code != notImplemented {
		return messages, err
	}
	if _, err := s.deletable(ctx, name); err != nil {
		return 0, err
	}
	// A quorum queue that is too busy to answer has no messages, says RabbitMQ.
	message, found, err := s.conn.client.GetUnacked(ctx, name)
	if err == nil && found {
		err = errors.Join(fmt.Errorf("the queue %q has messages; nothing was deleted (--force deletes it all the same)", name), message.Release())
	}
	if err != nil {
		return 0, err
	}
	return s.conn.client.DeleteQueue(ctx, name, thump.DeleteOptions{})
}

func queuePurgeCommand(u *ui) *cobra.Command {
	m := manage{u: u}
	cmd := &cobra.Command{
		Use:   "purge QUEUE",
		Short: "Throw away all ready messages of a queue",
		Long: `purge throws away the messages that are ready in a queue. What consumers hold unacked stays.
It asks first; where there is no terminal it needs --yes.
` + exitCodesHelp,
		Example: `  thump queue purge orders
  thump queue purge orders --yes --json -`,
		Args: takesNames(1, 1),
		RunE: m.connected(func(ctx context.Context, s *manager, args []string) error {
			return s.purge(ctx, args[0])
		}),
	}
	m.registerDestructive(m.register(cmd))
	return cmd
}

func (s *manager) purge(ctx context.Context, name string) error {
	info, err := s.inspect(ctx, name)
	if err != nil {
		return err
	}
	if err := s.u.confirm(ctx, s.yes, fmt.Sprintf("Throw away %s of the queue %q?", several(info.Messages, "ready message"), name)); err != nil {
		return err
	}
	messages, err := s.conn.client.PurgeQueue(ctx, name)
	if refused, ok := errors.AsType[*thump.BrokerError](err); ok && refused.Code == notImplemented {
		return fmt.Errorf("%q is a stream, and a stream can't be purged: %w", name, err)
	}
	if err != nil {
		return err
	}
	return s.answer(ctx, fmt.Sprintf("Threw away %s of the queue %q.\n", several(messages, "message"), name),
		queuesRecord{Version: queuesVersion, Queues: []queueRecord{{Name: name, Purged: new(int64(messages))}}})
}

// bindCommand binds a queue to an exchange, or unbinds it.
func bindCommand(u *ui, bind bool) *cobra.Command {
	m := manage{u: u}
	var binding thump.Binding
	var headers []string
	var kind string
	cmd := &cobra.Command{
		Use:   "bind QUEUE EXCHANGE",
		Short: "Let an exchange route messages to a queue",
		Long: `bind makes a binding from EXCHANGE to QUEUE, or leaves the one that is there. Both must
exist; --exchange-type makes the exchange, durable, if it does not.
` + exitCodesHelp,
		Example: `  thump queue bind orders events --routing-key 'order.#'
  thump queue bind orders events --exchange-type topic --routing-key 'order.#'
  thump queue bind orders by-header --header tenant=acme --header x-match=all`,
		Args: takesNames(2, 2),
		PreRunE: func(_ *cobra.Command, args []string) error {
			binding.Queue, binding.Source = args[0], args[1]
			for _, text := range headers {
				key, value, err := parseHeader(text)
				if err != nil {
					return usageError{err}
				}
				binding.Arguments.Set(key, value)
			}
			return nil
		},
		RunE: m.connected(func(ctx context.Context, s *manager, _ []string) error {
			return s.bind(ctx, bind, binding, kind)
		}),
	}
	flags := m.register(cmd)
	flags.StringVar(&binding.RoutingKey, "routing-key", "", "the routing key of the binding; for a topic exchange a pattern")
	flags.StringArrayVar(&headers, "header", nil, "an argument of the binding, KEY=TEXT, or KEY:=VALUE for a number or true, as a headers exchange takes them; may be repeated")
	if bind {
		flags.StringVar(&kind, "exchange-type", "", "make the exchange if it does not exist: direct, fanout, topic or headers")
		return cmd
	}
	cmd.Use, cmd.Short = "unbind QUEUE EXCHANGE", "Remove a binding"
	cmd.Long = `unbind removes the binding from EXCHANGE to QUEUE with this routing key and these headers. If
there is none, nothing happens. The messages in the queue stay.
` + exitCodesHelp
	cmd.Example = `  thump queue unbind orders events --routing-key 'order.#'`
	return cmd
}

func (s *manager) bind(ctx context.Context, bind bool, b thump.Binding, kind string) error {
	client, did, change := s.conn.client, "Bound", s.conn.client.Bind
	if !bind {
		did, change = "Unbound", client.Unbind
	}
	if kind != "" {
		if err := client.DeclareExchange(ctx, thump.ExchangeSpec{Name: b.Source, Kind: kind}); err != nil {
			return err
		}
	}
	if err := change(ctx, b); err != nil {
		if thump.IsNotFound(err) && bind && kind == "" {
			return fmt.Errorf("%w (--exchange-type makes the exchange, thump queue declare the queue)", err)
		}
		return err
	}
	return s.answer(ctx, fmt.Sprintf("%s the queue %q and the exchange %q, routing key %q.\n", did, b.Queue, b.Source, b.RoutingKey), bindingRecord{
		Version: queuesVersion, Queue: b.Queue, Exchange: b.Source, RoutingKey: b.RoutingKey, Bound: bind,
	})
}

// bindingRecord is what bind and unbind write as JSON.
type bindingRecord struct {
	Version    int    `json:"version"`
	Queue      string `json:"queue"`
	Exchange   string `json:"exchange"`
	RoutingKey string `json:"routing_key"`
	Bound      bool   `json:"bound"`
}
