package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/thumpmq/thump/internal/move"
)

func moveCommand(u *ui) *cobra.Command {
	var cfg moveConfig
	cmd := &cobra.Command{
		Use:   "move FROM TO",
		Short: "Move messages to another queue, exchange, stream or broker, with a receipt",
		Long: `move takes messages from the queue, stream or super stream FROM and publishes them to
TO, which is one of these too, or to --to-exchange. It acks a message only once the
target has confirmed it, so nothing is lost wherever it is killed, and it keeps order,
bodies, headers and properties. Both must exist. The target may be in another vhost or
on another broker, of another version: --to-url.

It ends when it has taken as many messages as FROM held at the beginning; or after
--count; or when nothing has come for --idle; with --follow it goes on until Ctrl-C. A
stream keeps its messages: moving from one copies them, up to where it ends now.

What can't be moved stays where it is, and the last lines say why: what no queue of an
exchange wants, what the target does not accept. Messages that a full target rejects
are published again until there is room; with --on-full end, they stay and move ends.

The last line is the receipt: how many messages were taken, confirmed and acked, how
many are left at the source, and how many may be at the target twice. A message may
be there twice if the connection to the target, or move itself, ended after it was
published and before its confirm came. With --journal FILE a move that was killed
knows, when it is started again, what the target has confirmed, and only acks that;
and it names each message that may be there twice. To a stream nothing is twice then:
the stream drops what it has. docs/moving.md says what else is promised.

The first Ctrl-C ends in order: what is confirmed is acked, and the rest goes back. The
second ends at once.
` + exitCodesHelp,
		Example: `  thump move orders orders-v2
  thump move orders orders --to-url amqp://user:password@other/vhost
  thump move orders --to-exchange events --routing-key replay
  thump move orders archive --journal orders.journal
  thump move events archive --offset 2026-11-23T10:00:00Z
  thump move orders parking --count 1000 --rate 100
  thump move orders parking --filter 'headers.tenant == "acme"'
  thump move orders orders-v2 --follow`,
		Args: func(cmd *cobra.Command, args []string) error { return cfg.takeNames(cmd, args) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.check(); err != nil {
				return err
			}
			return moveMessages(cmd.Context(), &cfg, u)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&cfg.toExchange, "to-exchange", "", "publish to this exchange, with each message's own routing key or --routing-key")
	flags.StringVar(&cfg.key, "routing-key", "", "the routing key for --to-exchange or a super stream (default: each message's own)")
	cfg.to.register(flags)
	flags.Var(&cfg.filter, "filter", "move only the messages that this expression is true of (docs/filter.md); the others are held until the end, up to 50,535 of a queue's")
	flags.Var((*countFlag)(&cfg.count), "count", "take at most this many messages")
	flags.Lookup("count").DefValue = ""
	flags.Var((*durationFlag)(&cfg.idle), "idle", "end when no message has come for this long, like 5s")
	flags.BoolVar(&cfg.follow, "follow", false, "go on with what comes, until Ctrl-C")
	flags.Float64Var(&cfg.rate, "rate", 0, "at most this many messages a second")
	flags.StringVar(&cfg.journal, "journal", "", "remember in this file what was published and confirmed, for a move that is started again")
	flags.Var(&cfg.onFull, "on-full", "when the target rejects a message: wait for room, or end")
	flags.StringArrayVar(&cfg.drop, "drop-header", nil, "move messages without this header, like CC; can be given several times")
	flags.BoolVar(&cfg.dropDeaths, "drop-deaths", false, "move messages without x-death and the other headers of dead-lettering")
	flags.BoolVar(&cfg.anyUserID, "any-user-id", false, "publish messages with the user ids of others; the target's user must have the tag impersonator")
	cfg.maxBody.register(flags)
	flags.Var(&cfg.offset, "offset", "from a stream: begin with the first message, the last chunk, the next message, an offset, a time, or -1000 for the last thousand")
	flags.StringVar(&cfg.consumerName, "consumer-name", "", "from a stream: store under this name what was moved, and begin after it")
	flags.StringVar(&cfg.publisherName, "publisher-name", "", "from a stream to a stream: the target knows messages by this name and their offset, and drops what it has")
	cfg.connect.register(flags)
	cfg.recovery.register(flags)
	cfg.output.register(flags)
	return cmd
}

// moveConfig is what the command line asks move for.
type moveConfig struct {
	flags *pflag.FlagSet
	from  string
	toName

	filter     filterFlag
	count      uint64
	idle       time.Duration
	follow     bool
	rate       float64
	journal    string
	onFull     onFullFlag
	drop       []string
	dropDeaths bool
	anyUserID  bool
	maxBody    maxBodyFlag

	offset        offsetFlag
	consumerName  string
	publisherName string

	connect  connectFlags
	recovery recoveryFlags
	output   outputFlags
}

// toName says where to move to.
type toName struct {
	name       string
	toExchange string
	key        string
	to         toFlags
}

// onFullFlag is what to do when the target is full.
type onFullFlag struct{ end bool }

func (f *onFullFlag) Type() string { return "wait|end" }

func (f *onFullFlag) String() string {
	if f.end {
		return "end"
	}
	return "wait"
}

func (f *onFullFlag) Set(text string) error {
	if text != "wait" && text != "end" {
		return errors.New("must be wait or end")
	}
	f.end = text == "end"
	return nil
}

func (cfg *moveConfig) takeNames(cmd *cobra.Command, args []string) error {
	cfg.flags = cmd.Flags()
	want, what := 2, "FROM and TO"
	if cfg.toExchange != "" {
		want, what = 1, "FROM, and --to-exchange is where to"
	}
	for _, arg := range args {
		if isURL(arg) {
			return misplaced("an argument of " + cmd.CommandPath())
		}
		if arg == "" {
			return usagef("%s: a name is empty", cmd.CommandPath())
		}
	}
	if len(args) != want {
		return usagef("%s takes %s, and got %d names", cmd.CommandPath(), what, len(args))
	}
	cfg.from = args[0]
	if want == 2 {
		cfg.name = args[1]
	}
	return nil
}

// check says what is wrong with the flags.
func (cfg *moveConfig) check() error {
	given := cfg.flags.Changed
	var wrong error
	switch {
	case cfg.follow && cfg.idle > 0:
		wrong = errors.New("--follow can't go with --idle: one of them says when to end")
	case cfg.rate < 0:
		wrong = errors.New("--rate must be more than 0")
	case given("to-exchange") && cfg.toExchange == "":
		wrong = errors.New("--to-exchange is empty")
	case given("journal") && cfg.journal == "":
		wrong = errors.New("--journal is empty")
	case cfg.journal != "" && cfg.consumerName != "":
		wrong = errors.New("--journal can't go with --consumer-name: either remembers what was moved")
	}
	return faults(cfg.connect.check(given), cfg.to.check(given), cfg.recovery.check(given), wrong,
		checkReference("--consumer-name", cfg.consumerName), checkReference("--publisher-name", cfg.publisherName))
}

// moveMessages moves, and prints the receipt.
func moveMessages(ctx context.Context, cfg *moveConfig, u *ui) (err error) {
	starting, started := u.starting(ctx)
	defer started()
	w, err := openMove(starting, u, &cfg.output, &cfg.connect, &cfg.to, &cfg.recovery, "thump move")
	if err != nil {
		return u.orInterrupted(err)
	}
	defer func() { err = w.close(ctx, err) }()
	job, held, err := cfg.job(starting, w)
	if err != nil {
		return u.orInterrupted(err)
	}
	if w.journal = cfg.journal; w.journal != "" {
		if job.Journal, err = move.OpenJournal(cfg.journal, where(w.source, job.From), where(w.target, job.To)); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, job.Journal.Close()) }()
	}
	u.notef("Moving from %s%s to %s\n", where(w.source, job.From), held, where(w.target, job.To))
	receipt, ended := w.run(ctx, job)
	return w.report(ctx, "move", job, receipt, ended)
}

// job finds out what the names stand for. held says how many messages there are.
func (cfg *moveConfig) job(ctx context.Context, w *movement) (job move.Job, held string, err error) {
	job = move.Job{
		Source: w.source.client, Target: w.target.client, NoRecovery: cfg.recovery.off, GiveUp: cfg.recovery.giveUp,
		Message: move.Copy(cfg.dropped()...), Limit: cfg.count, Idle: cfg.idle, Follow: cfg.follow, Rate: cfg.rate,
		GiveUpWhenFull: cfg.onFull.end, AnyUserID: cfg.anyUserID, MaxMessageBytes: int(cfg.maxBody),
		Skip: cfg.filter.skip(), Start: cfg.offset.start, ConsumerName: cfg.consumerName, PublisherName: cfg.publisherName,
	}
	if job.From, err = move.Find(ctx, w.source.client, cfg.from); err != nil {
		return job, "", err
	}
	if job.From.Kind == move.SuperStream && cfg.journal != "" {
		return job, "", usagef("--journal can't go with a super stream: move its partitions one by one")
	}
	if job.From.Kind == move.Queue {
		if err := checkStays(ctx, w.source.client, cfg.from); err != nil {
			return job, "", err
		}
	}
	if err := cfg.findTarget(ctx, w, &job); err != nil {
		return job, "", err
	}
	if job.From == job.To && w.sameVhost() {
		return job, "", usagef("the source is the target: %s", job.From)
	}
	if job.From.Kind != move.Queue {
		return job, "", nil
	}
	for _, flag := range []string{"offset", "consumer-name", "publisher-name"} {
		if cfg.flags.Changed(flag) {
			return job, "", usagef("--%s is for streams, and %s is none", flag, job.From)
		}
	}
	if err := w.takeFromQueue(ctx, &job); err != nil {
		return job, "", err
	}
	return cfg.limit(ctx, w, job)
}

// findTarget finds out what to move to, and whether it is there.
func (cfg *moveConfig) findTarget(ctx context.Context, w *movement, job *move.Job) (err error) {
	job.Key, job.KeepKeys = cfg.key, !cfg.flags.Changed("routing-key")
	if cfg.toExchange != "" {
		job.To = move.Place{Kind: move.Exchange, Name: cfg.toExchange}
		return w.target.client.InspectExchange(ctx, cfg.toExchange)
	}
	if job.To, err = move.Find(ctx, w.target.client, cfg.name); err != nil {
		return fmt.Errorf("the target: %w", err)
	}
	if job.To.Kind != move.SuperStream {
		if !job.KeepKeys {
			return usagef("--routing-key is for exchanges and super streams, and %s is none", job.To)
		}
		job.KeepKeys = false // a queue's key is its name
	}
	return nil
}

// limit is for a queue: it takes no more than what is there now, unless it is told to.
func (cfg *moveConfig) limit(ctx context.Context, w *movement, job move.Job) (move.Job, string, error) {
	info, err := w.settledQueue(ctx, cfg.from, cfg.journal != "")
	if err != nil {
		return job, "", err
	}
	if info.Consumers > 0 {
		if cfg.journal != "" {
			return job, "", fmt.Errorf("%s has %d consumers: with --journal no one else may take messages from it", job.From, info.Consumers)
		}
		w.u.errorf("thump: warning: %s has %d other consumers, which take messages too\n", job.From, info.Consumers)
		job.Shared = true
	}
	if !cfg.follow && cfg.idle == 0 {
		there := uint64(info.Messages)
		if job.Limit == 0 || job.Limit > there {
			job.Limit = there
		}
		job.NothingNew = there == 0
	}
	return job, fmt.Sprintf(", which holds %d messages,", info.Messages), nil
}

// dropped are the headers that messages are moved without.
func (cfg *moveConfig) dropped() []string {
	if !cfg.dropDeaths {
		return cfg.drop
	}
	return append(move.DeathHeaders(), cfg.drop...)
}
