package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/management"
	"github.com/thumpmq/thump/internal/printable"
)

// queuesRecord is what the commands about queues and streams write as JSON.
type queuesRecord struct {
	Version int           `json:"version"`
	Queues  []queueRecord `json:"queues"`
}

const queuesVersion = 1

// queueRecord is a queue or a stream. What is not known is left out.
type queueRecord struct {
	Name       string               `json:"name"`
	Kind       string               `json:"kind,omitempty"`
	Durable    *bool                `json:"durable,omitempty"`
	AutoDelete *bool                `json:"auto_delete,omitempty"`
	Exclusive  *bool                `json:"exclusive,omitempty"`
	Arguments  management.Arguments `json:"arguments,omitempty"`
	Policy     string               `json:"policy,omitempty"`
	State      string               `json:"state,omitempty"`
	Leader     string               `json:"leader,omitempty"`

	Messages  *int64 `json:"messages,omitempty"`
	Ready     *int64 `json:"ready,omitempty"`
	Unacked   *int64 `json:"unacked,omitempty"`
	Bytes     *int64 `json:"bytes,omitempty"`
	Consumers *int64 `json:"consumers,omitempty"`

	Bindings []management.Binding `json:"bindings,omitempty"`

	// What the command has done.
	Created bool   `json:"created,omitempty"`
	Deleted bool   `json:"deleted,omitempty"`
	Purged  *int64 `json:"purged,omitempty"` // messages
}

func recordOf(q management.Queue) queueRecord {
	return queueRecord{
		Name: q.Name, Kind: q.Kind, Durable: &q.Durable, AutoDelete: &q.AutoDelete, Exclusive: &q.Exclusive,
		Arguments: q.Arguments, Policy: q.Policy, State: q.State, Leader: cmp.Or(q.Leader, q.Node),
		Messages: q.Messages, Ready: q.Ready, Unacked: q.Unacked, Bytes: q.MessageBytes, Consumers: q.Consumers,
	}
}

func queueCommand(u *ui) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "Queues: list, show, declare, delete, purge, bind, unbind",
		Long: `queue lists queues, shows one, makes and removes them, and binds them to exchanges.
What destroys something asks first, and needs --yes where there is no terminal.
thump stream does the same for streams.
` + exitCodesHelp,
		Example: `  thump queue list
  thump queue show orders
  thump queue declare orders --kind quorum
  thump queue delete orders`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(listCommand(u, "queue"), queueShowCommand(u), queueDeclareCommand(u),
		queueDeleteCommand(u), queuePurgeCommand(u), bindCommand(u, true), bindCommand(u, false))
	return cmd
}

// listCommand lists queues or streams: what says which.
func listCommand(u *ui, what string) *cobra.Command {
	m := manage{u: u}
	cmd := &cobra.Command{
		Use:   "list [PATTERN...]",
		Short: fmt.Sprintf("List the %ss of a vhost", what),
		Long: fmt.Sprintf(`list lists the %[1]ss of the URL's vhost, or those that one of the patterns fits, in which
* stands for anything. It asks RabbitMQ's management API, because AMQP has no question
for this; what that counts is up to 5 s old.
`, what) + exitCodesHelp,
		Example: fmt.Sprintf(`  thump %[1]s list
  thump %[1]s list 'orders.*' --json - | jq -r '.queues[].name'`, what),
		RunE: m.disconnected(func(ctx context.Context, s *manager, args []string) error {
			return s.list(ctx, what == "stream", args)
		}),
	}
	m.registerManagement(m.register(cmd))
	return cmd
}

func (s *manager) list(ctx context.Context, streams bool, patterns []string) error {
	api, vhost, err := s.management()
	if err != nil {
		return err
	}
	queues, err := api.Queues(ctx, vhost, literal(patterns))
	if err != nil {
		return withAdvice(err, "; thump queue show NAME works without it")
	}
	record := queuesRecord{Version: queuesVersion, Queues: []queueRecord{}}
	var rows [][]string
	fits := anyOf(patterns)
	for _, q := range queues {
		if (q.Kind == kindStream) != streams || !fits(q.Name) {
			continue
		}
		record.Queues = append(record.Queues, recordOf(q))
		r := record.Queues[len(record.Queues)-1]
		rows = append(rows, []string{r.Name, number(r.Ready), number(r.Unacked), number(r.Consumers), r.features()})
	}
	if len(rows) == 0 {
		s.u.errorf("none in vhost %q\n", vhost)
		return s.answer(ctx, "", record)
	}
	return s.answer(ctx, table([]column{
		{heading: "NAME"}, {heading: "READY", right: true}, {heading: "UNACKED", right: true}, {heading: "CONSUMERS", right: true}, {heading: "KIND"},
	}, rows), record)
}

// anyOf returns a function that reports whether a name fits one of the patterns, or
// whether there are none.
func anyOf(patterns []string) func(name string) bool {
	var all []*regexp.Regexp
	for _, p := range patterns {
		all = append(all, regexp.MustCompile(`(?s)^`+strings.ReplaceAll(regexp.QuoteMeta(p), `\*`, `.*`)+`$`))
	}
	return func(name string) bool {
		return len(all) == 0 || slices.ContainsFunc(all, func(p *regexp.Regexp) bool { return p.MatchString(name) })
	}
}

// literal is what every name that fits has in it: the broker then lists no others.
func literal(patterns []string) string {
	longest := ""
	if len(patterns) == 1 {
		for part := range strings.SplitSeq(patterns[0], "*") {
			if len(part) > len(longest) {
				longest = part
			}
		}
	}
	return longest
}

func number(n *int64) string {
	if n == nil {
		return "?"
	}
	return strconv.FormatInt(*n, 10)
}

func queueShowCommand(u *ui) *cobra.Command {
	m := manage{u: u}
	cmd := &cobra.Command{
		Use:   "show QUEUE",
		Short: "Show a queue: what it holds, what it is, what leads to it",
		Long: `show tells how many messages are ready in a queue, and how many consumers it has. Where
the management API is reachable it also tells what the queue is, and what is bound to it.
` + exitCodesHelp,
		Example: `  thump queue show orders
  thump queue show orders --json - | jq '.queues[0].ready'`,
		Args: takesNames(1, 1),
		RunE: m.connected(func(ctx context.Context, s *manager, args []string) error {
			return s.show(ctx, args[0])
		}),
	}
	m.registerManagement(m.register(cmd))
	return cmd
}

func (s *manager) show(ctx context.Context, name string) error {
	info, err := s.inspect(ctx, name)
	if err != nil {
		return err
	}
	record := queueRecord{Name: name}
	api, vhost, err := s.management()
	if err != nil {
		return err
	}
	q, err := api.Queue(ctx, vhost, name)
	if err == nil {
		record = recordOf(q)
		record.Bindings, err = api.Bindings(ctx, vhost, name)
	}
	if err != nil {
		s.u.errorf("thump: the rest is not known: %v\n", withAdvice(err, ""))
	}
	// AMQP's numbers are those of now, and the others are some seconds old.
	record.Messages, record.Ready, record.Consumers = nil, new(int64(info.Messages)), new(int64(info.Consumers))
	return s.answer(ctx, record.text(), queuesRecord{Version: queuesVersion, Queues: []queueRecord{record}})
}

// inspect describes a queue over AMQP.
func (s *manager) inspect(ctx context.Context, name string) (thump.QueueInfo, error) {
	info, err := s.conn.client.InspectQueue(ctx, name)
	if thump.IsNotFound(err) {
		return info, fmt.Errorf("the queue %q does not exist", name)
	}
	return info, err
}

// text is what show prints.
func (r *queueRecord) text() string {
	var b strings.Builder
	line := func(what, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-10s %s\n", what, printable.Text(value))
		}
	}
	line("name", r.Name)
	line("kind", r.features())
	line("ready", number(r.Ready))
	if r.Unacked != nil {
		line("unacked", number(r.Unacked))
	}
	line("consumers", number(r.Consumers))
	if r.Bytes != nil {
		line("bytes", number(r.Bytes))
	}
	line("leader", r.Leader)
	line("state", r.State)
	line("policy", r.Policy)
	for _, key := range sortedKeys(r.Arguments) {
		if key != "x-queue-type" {
			line("argument", fmt.Sprintf("%s = %v", key, r.Arguments[key]))
		}
	}
	for _, binding := range r.Bindings {
		if binding.Source != "" {
			line("bound to", describeBinding(binding))
		}
	}
	return b.String()
}

func describeBinding(b management.Binding) string {
	parts := []string{fmt.Sprintf("exchange %q, routing key %q", b.Source, b.RoutingKey)}
	for _, key := range sortedKeys(b.Arguments) {
		parts = append(parts, fmt.Sprintf("%s = %v", key, b.Arguments[key]))
	}
	return strings.Join(parts, ", ")
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// features says in a few words what a queue is.
func (r *queueRecord) features() string {
	words := []string{r.Kind}
	if r.Durable != nil && !*r.Durable {
		words = append(words, "transient")
	}
	if r.AutoDelete != nil && *r.AutoDelete {
		words = append(words, "auto-delete")
	}
	if r.Exclusive != nil && *r.Exclusive {
		words = append(words, "exclusive")
	}
	return strings.Join(words, ", ")
}

// namesMax is how many names a command takes at once.
const namesMax = 1000

// takesNames takes so many names of queues, streams and exchanges.
func takesNames(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error { return checkNames(cmd, args, least, most) }
}

func checkNames(cmd *cobra.Command, args []string, least, most int) error {
	if len(args) < least || len(args) > most {
		return usagef("%s needs %s (see %s --help)", cmd.CommandPath(), strings.TrimPrefix(cmd.Use, cmd.Name()+" "), cmd.CommandPath())
	}
	for _, name := range args {
		switch {
		case isURL(name):
			return misplaced("an argument of " + cmd.CommandPath())
		case name == "":
			return usageError{errors.New("a name is empty")}
		case len(name) > nameMax:
			return usagef("the name is %d bytes long, RabbitMQ allows %d", len(name), nameMax)
		}
	}
	return nil
}
