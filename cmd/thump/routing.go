package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

const (
	queuesMax = 1000
	keysMax   = 1000
	// expiredSuffix ends the name of the queue for what has expired.
	expiredSuffix = "-expired"
	// queuesWatched is of how many queues the depth is asked once a second, one by one.
	queuesWatched = 50
)

// routingFlags say which queues a command works on, and how the messages of a run come to them. send has
// an exchange and an expiration of its own, in inputFlags.
type routingFlags struct {
	queues   int // 0 for one of that very name
	exchange string
	kind     exchangeTypeFlag
	bindings []string
	keys     keysFlag
	ttl      durationFlag
}

func (f *routingFlags) register(flags *pflag.FlagSet) {
	f.registerQueues(flags)
	flags.StringVar(&f.exchange, "exchange", "", "send through this exchange, which is made if it does not exist, and bound to the queues; other queues that are bound to it get the messages, too")
	f.kind = exchangeTypeFlag(load.Direct)
	flags.Var(&f.kind, "exchange-type", "what the exchange is: direct, topic, fanout, or headers, which is bound with those of --header")
	f.registerKeys(flags, " (default: the queues' names)")
	flags.Var(&f.ttl, "ttl", "let a message expire that waits so long in its queue, like 5s: it goes to another queue, from which run takes it, and counts it as expired")
	flags.StringArrayVar(&f.bindings, "binding-key", nil, "bind all queues with this key, or one of them: KEY=QUEUE; may be repeated (default: the routing keys, by turns)")
}

// registerQueues adds the flag for several queues.
func (f *routingFlags) registerQueues(flags *pflag.FlagSet) {
	flags.IntVar(&f.queues, "queues", 0, `use so many queues, which have a number in the place of %d in the name, or else at its end; messages go to one after another, and consumers are spread over them, at least one each (default: one queue)`)
}

// registerKeys adds the flag for several routing keys. more ends its text.
func (f *routingFlags) registerKeys(flags *pflag.FlagSet, more string) {
	flags.Var(&f.keys, "routing-keys", "the messages' routing keys: a,b,c in turn, or a:80%,b:20% at random"+more)
}

// given reports whether there is more than one queue by its name.
func (f *routingFlags) given() bool { return f.queues > 0 || f.exchange != "" || f.ttl > 0 }

// names are those of the queues.
func (f *routingFlags) names(of string) []string {
	switch pattern := strings.Contains(of, "%d"); {
	case f.queues == 0 || f.queues == 1 && !pattern:
		return []string{of}
	case !pattern:
		of += "-%d"
	}
	names := make([]string, min(max(f.queues, 1), queuesMax)) // check says what is wrong with others
	for i := range names {
		names[i] = strings.ReplaceAll(of, "%d", strconv.Itoa(i+1))
	}
	return names
}

// check says what is wrong with the flags of run, whatever they are for.
func (f *routingFlags) check(given func(string) bool) error {
	for _, flag := range []string{"exchange-type", "routing-keys", "binding-key"} {
		if given(flag) && f.exchange == "" {
			return fmt.Errorf("--%s is for --exchange", flag)
		}
	}
	switch kind := load.ExchangeType(f.kind); {
	case given("exchange") && f.exchange == "":
		return errors.New("--exchange needs a name: to the default exchange messages go without it")
	case len(f.bindings) > 0 && (kind == load.Fanout || kind == load.Headers):
		return fmt.Errorf("--binding-key has no meaning for a %s exchange", kind)
	default:
		return nil
	}
}

// routes are how messages come through the exchange to the queues with these names.
func (f *routingFlags) routes(names []string) (*load.Routes, error) {
	kind := load.ExchangeType(f.kind)
	r := &load.Routes{Exchange: f.exchange, Kind: kind, Keys: load.Keys(f.keys)}
	all := kind == load.Fanout || kind == load.Headers
	switch {
	case r.Keys.Keys == nil && all:
		r.Keys.Keys = []string{""}
	case r.Keys.Keys == nil:
		r.Keys.Keys = names
	}
	switch {
	case all:
		for i := range names {
			r.Bindings = append(r.Bindings, load.Binding{Queue: i})
		}
	case len(f.bindings) == 0:
		for i, key := range r.Keys.Keys {
			r.Bindings = append(r.Bindings, load.Binding{Queue: i % len(names), Key: key})
		}
	default:
		for _, text := range f.bindings {
			bindings, err := parseBinding(text, names)
			if err != nil {
				return nil, err
			}
			r.Bindings = append(r.Bindings, bindings...)
		}
	}
	if err := r.Check(names); err != nil {
		return nil, fmt.Errorf("--exchange: %w", err)
	}
	return r, nil
}

// parseBinding reads KEY, which is for all queues, or KEY=QUEUE.
func parseBinding(text string, names []string) ([]load.Binding, error) {
	queue := -1 // the one with the longest name: both names and keys may have a =
	for i, name := range names {
		if strings.HasSuffix(text, "="+name) && (queue < 0 || len(name) > len(names[queue])) {
			queue = i
		}
	}
	if queue >= 0 {
		return []load.Binding{{Queue: queue, Key: strings.TrimSuffix(text, "="+names[queue])}}, nil
	}
	at := strings.LastIndex(text, "=")
	if at < 0 {
		var all []load.Binding
		for i := range names {
			all = append(all, load.Binding{Queue: i, Key: text})
		}
		return all, nil
	}
	return nil, fmt.Errorf("--binding-key %q: this run has no queue %q", text, text[at+1:])
}

// checkRouting says what is wrong with the flags of run that say which queues there are.
func (cfg *config) checkRouting() error {
	f := &cfg.routing
	wrong := f.check(cfg.given)
	switch {
	case wrong != nil:
		return faults(wrong)
	case !f.given():
	case cfg.superStream != "" || cfg.kind.kind == kindStream:
		return usagef("--queues, --exchange and --ttl are for queues; of streams, --super-stream has several")
	case cfg.kind.kind == kindAll:
		return usagef("--queues, --exchange and --ttl can't go with --kind all: they are for queues")
	case f.ttl > 0 && cfg.work.Reject > 0:
		return usagef("--ttl can't go with --reject: what is rejected would come to where the expired messages do")
	}
	return cfg.checkQueues()
}

// checkQueues says what is wrong with --queues, and with the names of the queues.
func (cfg *config) checkQueues() error {
	f := &cfg.routing
	set, several := cfg.place.(*queueSet)
	var wrong error
	switch {
	case cfg.given("queues") && (f.queues < 1 || f.queues > queuesMax):
		wrong = fmt.Errorf("--queues must be from 1 to %d, not %d", queuesMax, f.queues)
	case f.queues > 0 && cfg.toExchange():
		wrong = errors.New("--queues can't go with --exchange: it says where the messages go")
	case f.queues > 0 && !several:
		wrong = errors.New("--queues is for queues; of streams, --super-stream has several")
	case !several:
	case cfg.receive.Consumers < max(1, f.queues):
		wrong = fmt.Errorf("--consumers %d are fewer than --queues %d: nobody would receive from some", cfg.receive.Consumers, f.queues)
	case slices.ContainsFunc(set.queues, func(q *queue) bool { return len(q.Name) > nameMax }):
		wrong = fmt.Errorf("the names of the queues are longer than the %d bytes that RabbitMQ allows", nameMax)
	}
	return faults(wrong)
}

// queueSet is several queues, or those of a run that has an exchange.
type queueSet struct {
	load.Queues
	cfg     *config
	queues  []*queue
	headers thump.Table // of the messages
	wrong   error

	madeExchange bool // by declare
}

// newQueueSet makes of the flags what they name. What is wrong with them misused says.
func newQueueSet(cfg *config) *queueSet {
	set := &queueSet{cfg: cfg}
	set.Queue, set.Names = cfg.queue, cfg.routing.names(cfg.name)
	switch {
	case len(set.Names) == 1:
		set.Name = set.Names[0]
	case strings.Contains(cfg.name, "%d"):
		set.Name = cfg.name
	default:
		set.Name = cfg.name + "-%d"
	}
	for _, name := range set.Names {
		own := *cfg
		own.name = name // which an error is about
		q := &queue{Queue: cfg.queue, cfg: &own}
		q.Name = name
		set.queues = append(set.queues, q)
	}
	if !cfg.given("consumers") {
		cfg.receive.Consumers = len(set.Names)
	}
	if cfg.routing.exchange != "" {
		set.Routes, set.wrong = cfg.routing.routes(set.Names)
	}
	if cfg.routing.ttl > 0 {
		set.expire(time.Duration(cfg.routing.ttl))
	}
	if p, err := cfg.input.made(); err == nil && p != nil {
		set.headers = p.Headers
	}
	return set
}

// expire lets messages expire, into one more queue.
func (s *queueSet) expire(ttl time.Duration) {
	if s.wrong == nil && s.Routes != nil && s.Routes.Copies() > 1 {
		s.wrong = errors.New("--ttl can't go with an exchange that copies messages: nobody could tell which copy has expired")
		return
	}
	s.TTL, s.Expired = ttl, strings.ReplaceAll(s.Name, "%d", "all")+expiredSuffix
	for _, q := range s.queues {
		q.TTL, q.Expired = s.TTL, s.Expired
	}
	q := &queue{Queue: s.cfg.queue, cfg: s.cfg}
	q.Name = s.Expired
	s.queues = append(s.queues, q)
}

// String names all that the run has made, or found.
func (s *queueSet) String() string {
	text := s.Queues.String()
	if s.Expired != "" {
		text += ", the queue " + s.Expired
	}
	if s.Routes != nil {
		text += ", the exchange " + s.Routes.Exchange
	}
	return text
}

func (*queueSet) window() int          { return windowOfQueue }
func (*queueSet) blocksSilently() bool { return false }

func (s *queueSet) misused(given func(string) bool) error {
	return faults(s.wrong, s.queues[0].misused(given))
}

func (s *queueSet) describe(settings *result.Settings) {
	s.queues[0].describe(settings)
	settings.Queue = s.Name
}

func (*queueSet) checkDisk(*connection, *load.SendConfig, *result.Settings) error { return nil }

func (s *queueSet) declare(ctx context.Context, client *thump.Client, settings *result.Settings) error {
	s.madeExchange = false // an earlier run may have made it
	if err := load.Together(len(s.queues), func(i int) error { return s.queues[i].look(ctx, client) }); err != nil {
		return err
	}
	if s.cfg.alone { // before anything is made
		if err := s.checkUnused(); err != nil {
			return err
		}
	}
	routed, err := s.lookAtExchange(ctx, client)
	if err != nil {
		return err
	}
	if err := s.make(ctx, client, settings); err != nil {
		return err
	}
	if s.Routes == nil {
		return nil
	}
	settings.ExchangeExisted = routed
	return s.route(ctx, client, routed)
}

// make makes the queues, some at a time, and notes in settings what is true of all.
func (s *queueSet) make(ctx context.Context, client *thump.Client, settings *result.Settings) error {
	each := make([]result.Settings, len(s.queues))
	err := load.Together(len(s.queues), func(i int) error {
		each[i].Kind = settings.Kind
		return s.queues[i].make(ctx, client, &each[i])
	})
	for i := range each {
		if each[i].Durable != nil {
			settings.Durable = each[i].Durable
		}
		if each[i].Kind == result.UnknownKind {
			settings.Kind = result.UnknownKind
		}
	}
	return err
}

// lookAtExchange reports whether the exchange exists. Between it and a queue that exists, too, there may
// be bindings that nobody sees. They bring the queue more copies, unless it gets every message anyway.
func (s *queueSet) lookAtExchange(ctx context.Context, client *thump.Client) (exists bool, err error) {
	if s.Routes == nil {
		return false, nil
	}
	if err := client.InspectExchange(ctx, s.Routes.Exchange); err != nil {
		if thump.IsNotFound(err) {
			err = nil
		}
		return false, err
	}
	for _, q := range s.queues[:len(s.Names)] {
		if q.exists && s.Routes.Copies() < len(s.Names) {
			return true, fmt.Errorf("the exchange %q and the queue %q were both there before: bindings between them could bring this run's messages there once more; nothing was touched (use another --queue or another --exchange)", s.Routes.Exchange, q.Name)
		}
	}
	return true, nil
}

// route makes the exchange, unless it exists, and its bindings. A binding of what was there before both
// stays: nobody can tell whether it was there, too.
func (s *queueSet) route(ctx context.Context, client *thump.Client, exists bool) error {
	err := client.DeclareExchange(ctx, thump.ExchangeSpec{Name: s.Routes.Exchange, Kind: string(s.Routes.Kind)})
	s.madeExchange = !exists && (err == nil || ctx.Err() != nil) // else the broker may still make it
	if err != nil && (!exists || !onlyDiffers(err)) {
		return err
	}
	return load.Together(len(s.Routes.Bindings), func(i int) error {
		b := s.Routes.Bindings[i]
		binding := thump.Binding{Source: s.Routes.Exchange, Queue: s.Names[b.Queue], RoutingKey: b.Key}
		if s.Routes.Kind == load.Headers {
			binding.Arguments = s.headers
		}
		return client.Bind(ctx, binding)
	})
}

// onlyDiffers reports whether an exchange that exists was refused for what is nothing to a run, such as
// auto-delete: the broker compares the type first.
func onlyDiffers(err error) bool {
	differs, ok := errors.AsType[*thump.BrokerError](err)
	return ok && differs.Code == preconditionFailed && !strings.Contains(differs.Text, "inequivalent arg 'type'")
}

func (s *queueSet) find(ctx context.Context, client *thump.Client, settings *result.Settings) error {
	return s.declare(ctx, client, settings)
}

func (s *queueSet) checkUnused() error {
	for _, q := range s.queues {
		if err := q.checkUnused(); err != nil {
			return err
		}
	}
	return nil
}

func (s *queueSet) watched() watched {
	if len(s.Names) > queuesWatched {
		return watched{}
	}
	return watched{s.Names, func(ctx context.Context, client *thump.Client) (sum uint64, err error) {
		for _, q := range s.queues[:len(s.Names)] {
			depth, err := q.watched().depth(ctx, client)
			if err != nil {
				return 0, err
			}
			sum += depth
		}
		return sum, nil
	}}
}

func (s *queueSet) remove(ctx context.Context, client *thump.Client) error {
	errs := []error{load.Together(len(s.queues), func(i int) error { return s.queues[i].remove(ctx, client) })}
	if s.madeExchange {
		if err := client.DeleteExchange(ctx, s.Routes.Exchange, thump.DeleteOptions{}); err != nil {
			errs = append(errs, fmt.Errorf("the exchange %q, which this run created, is still there: %w", s.Routes.Exchange, err))
		}
	}
	return errors.Join(errs...)
}

// exchangeTypeFlag is a type of exchange.
type exchangeTypeFlag load.ExchangeType

func (f *exchangeTypeFlag) Type() string   { return "type" }
func (f *exchangeTypeFlag) String() string { return string(*f) }

func (f *exchangeTypeFlag) Set(text string) error {
	if !slices.Contains(load.ExchangeTypes(), load.ExchangeType(text)) {
		return errors.New("must be direct, topic, fanout or headers")
	}
	*f = exchangeTypeFlag(text)
	return nil
}

// keysFlag is routing keys: in turn, or with shares.
type keysFlag load.Keys

func (f *keysFlag) Type() string   { return "keys" }
func (f *keysFlag) String() string { return f.Text }

func (f *keysFlag) Set(text string) error {
	keys := load.Keys{Text: text}
	if strings.Contains(text+",", "%,") {
		var err error
		if keys.Keys, keys.Shares, err = parseShares(text, keysMax); err != nil {
			return err
		}
	} else {
		for key := range strings.SplitSeq(text, ",") {
			keys.Keys = append(keys.Keys, strings.TrimSpace(key))
		}
	}
	if len(keys.Keys) > keysMax {
		return fmt.Errorf("%d keys are more than %d", len(keys.Keys), keysMax)
	}
	for _, key := range keys.Keys {
		if key == "" || len(key) > nameMax {
			return fmt.Errorf("%q is no routing key: it must have from 1 to %d bytes", key, nameMax)
		}
	}
	*f = keysFlag(keys)
	return nil
}
