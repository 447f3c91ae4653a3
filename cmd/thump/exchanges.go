package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/management"
	"github.com/thumpmq/thump/internal/printable"
)

// exchangesRecord is what the commands about exchanges write as JSON.
type exchangesRecord struct {
	Version   int              `json:"version"`
	Exchanges []exchangeRecord `json:"exchanges"`
}

// exchangeRecord is an exchange. What is not known is left out.
type exchangeRecord struct {
	Name       string               `json:"name"` // "" for the default one
	Type       string               `json:"type,omitempty"`
	Durable    *bool                `json:"durable,omitempty"`
	AutoDelete *bool                `json:"auto_delete,omitempty"`
	Internal   *bool                `json:"internal,omitempty"`
	Arguments  management.Arguments `json:"arguments,omitempty"`
	Policy     string               `json:"policy,omitempty"`

	Bindings []management.Route `json:"bindings,omitempty"`

	// What the command has done.
	Created bool `json:"created,omitempty"`
	Deleted bool `json:"deleted,omitempty"`
}

func exchangeRecordOf(e management.Exchange) exchangeRecord {
	return exchangeRecord{
		Name: e.Name, Type: e.Kind, Durable: &e.Durable, AutoDelete: &e.AutoDelete, Internal: &e.Internal,
		Arguments: e.Arguments, Policy: e.Policy,
	}
}

func exchangeCommand(u *ui) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exchange",
		Short: "Exchanges: list, show, declare, delete",
		Long: `exchange lists exchanges, shows what one leads to, makes and removes them. thump queue bind
and unbind bind a queue to one. What destroys something asks first, and needs --yes where
there is no terminal.
` + exitCodesHelp,
		Example: `  thump exchange list
  thump exchange show events
  thump exchange declare events --type topic
  thump exchange delete events`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(exchangeListCommand(u), exchangeShowCommand(u), exchangeDeclareCommand(u), exchangeDeleteCommand(u))
	return cmd
}

func exchangeListCommand(u *ui) *cobra.Command {
	m := manage{u: u}
	cmd := &cobra.Command{
		Use:   "list [PATTERN...]",
		Short: "List the exchanges of a vhost",
		Long: `list lists the exchanges of the URL's vhost, or those that one of the patterns fits, in which
* stands for anything. It asks RabbitMQ's management API, because AMQP has no question
for this. The default exchange, which has no name, is (default).
` + exitCodesHelp,
		Example: `  thump exchange list
  thump exchange list 'events.*' --json - | jq -r '.exchanges[].name'`,
		RunE: m.disconnected(func(ctx context.Context, s *manager, args []string) error {
			return s.listExchanges(ctx, args)
		}),
	}
	m.registerManagement(m.register(cmd))
	return cmd
}

func (s *manager) listExchanges(ctx context.Context, patterns []string) error {
	api, vhost, err := s.management()
	if err != nil {
		return err
	}
	exchanges, err := api.Exchanges(ctx, vhost, literal(patterns))
	if err != nil {
		return withAdvice(err, "; thump exchange show NAME works without it")
	}
	record := exchangesRecord{Version: queuesVersion, Exchanges: []exchangeRecord{}}
	var rows [][]string
	fits := anyOf(patterns)
	for _, e := range exchanges {
		if !fits(e.Name) {
			continue
		}
		r := exchangeRecordOf(e)
		record.Exchanges = append(record.Exchanges, r)
		rows = append(rows, []string{r.shownName(), r.features()})
	}
	if len(rows) == 0 {
		s.u.errorf("none in vhost %q\n", vhost)
		return s.answer(ctx, "", record)
	}
	return s.answer(ctx, table([]column{{heading: "NAME"}, {heading: "TYPE"}}, rows), record)
}

func exchangeShowCommand(u *ui) *cobra.Command {
	m := manage{u: u}
	cmd := &cobra.Command{
		Use:   "show EXCHANGE",
		Short: "Show an exchange: what it is, and what it leads to",
		Long: `show tells whether there is an exchange of this name and, where the management API is
reachable, what it is, and which queues and exchanges it leads to.
` + exitCodesHelp,
		Example: `  thump exchange show events
  thump exchange show events --json - | jq '.exchanges[0].bindings'`,
		Args: takesNames(1, 1),
		RunE: m.connected(func(ctx context.Context, s *manager, args []string) error {
			return s.showExchange(ctx, args[0])
		}),
	}
	m.registerManagement(m.register(cmd))
	return cmd
}

func (s *manager) showExchange(ctx context.Context, name string) error {
	if err := s.exchangeExists(ctx, name); err != nil {
		return err
	}
	record := exchangeRecord{Name: name}
	api, vhost, err := s.management()
	if err != nil {
		return err
	}
	e, err := api.Exchange(ctx, vhost, name)
	if err == nil {
		record = exchangeRecordOf(e)
		record.Bindings, err = api.Routes(ctx, vhost, name)
	}
	if err != nil {
		s.u.errorf("thump: the rest is not known: %v\n", withAdvice(err, ""))
	}
	return s.answer(ctx, record.text(), exchangesRecord{Version: queuesVersion, Exchanges: []exchangeRecord{record}})
}

// exchangeExists is an error that says so if there is no such exchange.
func (s *manager) exchangeExists(ctx context.Context, name string) error {
	err := s.conn.client.InspectExchange(ctx, name)
	if thump.IsNotFound(err) {
		return fmt.Errorf("the exchange %q does not exist", name)
	}
	return err
}

// shownName is the name for people: the default exchange has none.
func (r *exchangeRecord) shownName() string {
	if r.Name == "" {
		return "(default)"
	}
	return r.Name
}

// features says in a few words what an exchange is.
func (r *exchangeRecord) features() string {
	words := []string{r.Type}
	for _, is := range []struct {
		value *bool
		want  bool
		word  string
	}{{r.Durable, false, "transient"}, {r.AutoDelete, true, "auto-delete"}, {r.Internal, true, "internal"}} {
		if is.value != nil && *is.value == is.want {
			words = append(words, is.word)
		}
	}
	return strings.Join(words, ", ")
}

// text is what show prints.
func (r *exchangeRecord) text() string {
	var b strings.Builder
	line := func(what, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-10s %s\n", what, printable.Text(value))
		}
	}
	line("name", r.shownName())
	line("type", r.features())
	line("policy", r.Policy)
	for _, key := range sortedKeys(r.Arguments) {
		line("argument", fmt.Sprintf("%s = %v", key, r.Arguments[key]))
	}
	for _, route := range r.Bindings {
		parts := []string{fmt.Sprintf("%s %q, routing key %q", route.To, route.Destination, route.RoutingKey)}
		for _, key := range sortedKeys(route.Arguments) {
			parts = append(parts, fmt.Sprintf("%s = %v", key, route.Arguments[key]))
		}
		line("leads to", strings.Join(parts, ", "))
	}
	return b.String()
}

func exchangeDeclareCommand(u *ui) *cobra.Command {
	m := manage{u: u}
	var spec thump.ExchangeSpec
	var alternate string
	var arguments []string
	cmd := &cobra.Command{
		Use:   "declare EXCHANGE",
		Short: "Make an exchange, or find out whether it is as it should be",
		Long: `declare makes an exchange. One that exists already and has these settings stays as it is;
one with others is an error, and stays as well.

Settings that have no flag are an --argument, whose value is a number, true, false, or else
a text.
` + exitCodesHelp,
		Example: `  thump exchange declare events --type topic
  thump exchange declare orders --type fanout --alternate-exchange unrouted
  thump exchange declare spread --type x-consistent-hash`,
		Args: takesNames(1, 1),
		PreRunE: func(_ *cobra.Command, args []string) (err error) {
			spec.Name = args[0]
			if spec.Arguments, err = parseArguments(arguments); err == nil && alternate != "" {
				spec.Arguments.Set("alternate-exchange", alternate)
			}
			return err
		},
		RunE: m.connected(func(ctx context.Context, s *manager, _ []string) error {
			return s.declareExchange(ctx, spec)
		}),
	}
	flags := m.register(cmd)
	flags.StringVar(&spec.Kind, "type", "direct", "how it routes: direct, fanout, topic, headers, or the type of a plugin")
	flags.BoolVar(&spec.Transient, "transient", false, "make an exchange that a restart of the broker removes")
	flags.BoolVar(&spec.AutoDelete, "auto-delete", false, "let the broker delete it when its last binding goes")
	flags.BoolVar(&spec.Internal, "internal", false, "for bindings only: nobody can publish to it")
	flags.StringVar(&alternate, "alternate-exchange", "", "the exchange that gets what this one can't route")
	flags.StringArrayVar(&arguments, "argument", nil, "another argument, NAME=VALUE; may be repeated")
	return cmd
}

func (s *manager) declareExchange(ctx context.Context, spec thump.ExchangeSpec) error {
	err := s.conn.client.InspectExchange(ctx, spec.Name)
	if err != nil && !thump.IsNotFound(err) {
		return err
	}
	created := err != nil
	if err := s.conn.client.DeclareExchange(ctx, spec); err != nil {
		return err
	}
	text := fmt.Sprintf("The exchange %q is there already, and is as it should be.\n", spec.Name)
	if created {
		text = fmt.Sprintf("Declared the exchange %q.\n", spec.Name)
	}
	return s.answer(ctx, text, exchangesRecord{Version: queuesVersion, Exchanges: []exchangeRecord{{
		Name: spec.Name, Type: spec.Kind, Created: created,
	}}})
}

func exchangeDeleteCommand(u *ui) *cobra.Command {
	m := manage{u: u}
	cmd := &cobra.Command{
		Use:   "delete EXCHANGE...",
		Short: "Delete exchanges",
		Long: `delete deletes exchanges. One that leads to queues or other exchanges is refused, unless you
say --force: whoever publishes to it would be refused then. It asks first; where there is no
terminal it needs --yes. Those before one that is refused are deleted, which it says.
` + exitCodesHelp,
		Example: `  thump exchange delete old
  thump exchange delete old older --force --yes`,
		Args: takesNames(1, namesMax),
		RunE: m.connected(func(ctx context.Context, s *manager, args []string) error {
			return s.deleteExchanges(ctx, args)
		}),
	}
	flags := m.register(cmd)
	flags.BoolVar(&m.force, "force", false, "delete exchanges that lead somewhere, too")
	m.registerDestructive(flags)
	return cmd
}

func (s *manager) deleteExchanges(ctx context.Context, names []string) error {
	for _, name := range names {
		if err := s.exchangeExists(ctx, name); err != nil {
			return fmt.Errorf("%w; nothing was deleted", err)
		}
	}
	if err := s.u.confirm(ctx, s.yes, fmt.Sprintf("Delete the exchange %s?", quoted(names))); err != nil {
		return err
	}
	record := exchangesRecord{Version: queuesVersion}
	var text strings.Builder
	for _, name := range names {
		err := s.conn.client.DeleteExchange(ctx, name, thump.DeleteOptions{IfUnused: !s.force})
		if refused, ok := errors.AsType[*thump.BrokerError](err); ok && refused.Code == preconditionFailed {
			err = fmt.Errorf("the exchange %q leads somewhere, and was not deleted (--force deletes it all the same)", name)
		}
		if err != nil {
			s.u.printf("%s", text.String()) // what is done
			return err
		}
		fmt.Fprintf(&text, "Deleted the exchange %q.\n", name)
		record.Exchanges = append(record.Exchanges, exchangeRecord{Name: name, Deleted: true})
	}
	return s.answer(ctx, text.String(), record)
}

// quoted is names in a question.
func quoted(names []string) string {
	var list []string
	for _, name := range names {
		list = append(list, fmt.Sprintf("%q", name))
	}
	return strings.Join(list, ", ")
}
