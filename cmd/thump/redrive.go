package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/move"
)

// maxRedrivesDefault is enough for every attempt that a person makes, and ends what goes in a
// circle.
const maxRedrivesDefault = 10

func redriveCommand(u *ui) *cobra.Command {
	var cfg redriveConfig
	cmd := &cobra.Command{
		Use:   "redrive DLQ",
		Short: "Send dead letters back to where they came from",
		Long: `redrive takes the dead letters of the queue DLQ and sends each to the exchange that it
was published to, with the routing key that it had, before it died for the first time:
its headers say so (x-death). As thump move does, it acks a message only once the broker
has confirmed it.

What can't go back stays in DLQ, and redrive says why: a message without these headers,
one whose queue or exchange is gone, one that no queue gets any more, and one that was
redriven --max-redrives times already, which the header x-thump-redrives counts. The
headers of its deaths go, and CC; the others are as they were.

An exchange may lead to more queues than the one that a message died in: they get it
again. With --direct it goes to the queue that it died in, and nowhere else.

--dry-run takes nothing: it prints a table of what there is, and what would become of it.
It reads all of them and gives them back, in order. That marks them as
redelivered in a classic queue, and counts as a delivery in a quorum queue before
RabbitMQ 4.3.

It ends when it has taken as many as DLQ held at the beginning, so a message that dies
again at once does not come twice. The first Ctrl-C ends in order.
` + exitCodesHelp,
		Example: `  thump redrive orders.dead --dry-run
  thump redrive orders.dead
  thump redrive orders.dead --direct --count 100 --rate 10
  thump redrive orders.dead --filter 'json.customer == "acme"'
  thump redrive orders.dead --journal redrive.journal`,
		Args: func(cmd *cobra.Command, args []string) error { return cfg.takeNames(cmd, args) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.check(); err != nil {
				return err
			}
			return redrive(cmd.Context(), &cfg, u)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&cfg.dryRun, "dry-run", false, "only say what there is, and what would become of it")
	flags.BoolVar(&cfg.direct, "direct", false, "send each to the queue that it died in, instead of to the exchange that it came from")
	flags.IntVar(&cfg.maxRedrives, "max-redrives", maxRedrivesDefault, "leave what was redriven so often; 0 for no limit")
	flags.Var(&cfg.filter, "filter", "redrive only the messages that this expression is true of (docs/filter.md); the others are held until the end, up to 50,535")
	flags.Var((*countFlag)(&cfg.count), "count", "take at most this many messages")
	flags.Lookup("count").DefValue = ""
	flags.Float64Var(&cfg.rate, "rate", 0, "at most this many messages a second")
	flags.StringVar(&cfg.journal, "journal", "", "remember in this file what was published and confirmed, for a redrive that is started again")
	cfg.maxBody.register(flags)
	cfg.connect.register(flags)
	cfg.recovery.register(flags)
	cfg.output.register(flags)
	return cmd
}

// redriveConfig is what the command line asks redrive for: much of it as move does.
type redriveConfig struct {
	moveConfig
	dryRun      bool
	direct      bool
	maxRedrives int
}

func (cfg *redriveConfig) takeNames(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("%s takes the name of one queue, and got %d", cmd.CommandPath(), len(args))
	}
	cfg.toExchange = "the origins" // none of the flags of a target are there
	return cfg.moveConfig.takeNames(cmd, args)
}

func (cfg *redriveConfig) check() error {
	var wrong error
	if cfg.maxRedrives < 0 {
		wrong = errors.New("--max-redrives must be 0 or more")
	}
	return faults(cfg.moveConfig.check(), wrong)
}

func redrive(ctx context.Context, cfg *redriveConfig, u *ui) (err error) {
	starting, started := u.starting(ctx)
	defer started()
	w, err := openMove(starting, u, &cfg.output, &cfg.connect, &cfg.to, &cfg.recovery, "thump redrive")
	if err != nil {
		return u.orInterrupted(err)
	}
	defer func() { err = w.close(ctx, err) }()
	client := w.source.client
	from, err := move.Find(starting, client, cfg.from)
	if err != nil {
		return u.orInterrupted(err)
	}
	if from.Kind != move.Queue {
		return usagef("%s is no queue: dead letters of a stream stay in it, and can be moved with thump move", from)
	}
	if err := checkStays(starting, client, cfg.from); err != nil {
		return u.orInterrupted(err)
	}
	redriver := move.NewRedriver(client, cfg.maxRedrives, cfg.direct)
	if cfg.dryRun {
		return survey(starting, cfg, w, redriver)
	}
	job := move.Job{
		From: from, Target: client, To: move.Place{Kind: move.Exchange}, Limit: cfg.count, Rate: cfg.rate,
		NoRecovery: cfg.recovery.off, GiveUp: cfg.recovery.giveUp, GiveUpWhenFull: cfg.onFull.end, MaxMessageBytes: int(cfg.maxBody),
		Skip: cfg.filter.skip(), HoldMany: true, Message: func(d *thump.Delivery) (thump.Message, error) { return redriver.Message(ctx, d) },
	}
	if err := w.takeFromQueue(starting, &job); err != nil {
		return u.orInterrupted(err)
	}
	job, held, err := cfg.limit(starting, w, job)
	if err != nil {
		return u.orInterrupted(err)
	}
	if w.journal = cfg.journal; w.journal != "" {
		if job.Journal, err = move.OpenJournal(cfg.journal, where(w.source, from), "where it came from"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, job.Journal.Close()) }()
	}
	u.notef("Redriving from %s%s to where they came from\n", where(w.source, from), held)
	receipt, ended := w.run(ctx, job)
	return w.report(ctx, "redrive", job, receipt, ended)
}

// survey prints what a redrive would do.
func survey(ctx context.Context, cfg *redriveConfig, w *movement, redriver *move.Redriver) error {
	info, err := w.source.client.InspectQueue(ctx, cfg.from)
	if err != nil {
		return w.u.orInterrupted(err)
	}
	limit := uint64(info.Messages)
	if cfg.count > 0 {
		limit = min(limit, cfg.count)
	}
	groups, err := move.Survey(ctx, w.source.client, cfg.from, redriver, limit, cfg.filter.skip())
	if err != nil {
		return w.u.orInterrupted(err)
	}
	if w.json == nil || w.json.out != io.Writer(w.u.stdout) {
		w.u.printf("%s", surveyText(groups, info.Messages))
	}
	if w.json == nil {
		return nil
	}
	record := surveyRecord{Version: result.Version, Command: "redrive", DryRun: true, Queue: cfg.from, Messages: info.Messages, Groups: groups}
	if err := w.json.fillJSON(ctx, &record); err != nil {
		return w.u.orInterrupted(fmt.Errorf("--json: %w", err))
	}
	return nil
}

// surveyText is the table of a dry run.
func surveyText(groups []move.Group, held int) string {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "COUNT\tREASON\tDIED IN\tEXCHANGE\tKEY\tOLDEST\tWHAT BECOMES OF IT")
	read := uint64(0)
	for _, g := range groups {
		read += g.Count
		oldest, fate := "-", "goes back"
		if !g.Oldest.IsZero() {
			oldest = g.Oldest.UTC().Format(time.DateTime)
		}
		if g.Stays != "" {
			fate = "stays: " + g.Stays
		}
		_, _ = fmt.Fprintf(table, "%d\t%s\t%s\t%q\t%s\t%s\t%s\n", g.Count, cell(g.Reason), cell(g.Queue), g.Exchange, cell(g.Key), oldest, fate)
	}
	_ = table.Flush()
	for _, g := range groups {
		fmt.Fprintf(&b, "for instance, %s from %s: %s\n", cell(g.Reason), cell(g.Queue), g.Sample)
	}
	fmt.Fprintf(&b, "Dead letters that were read: %d of %d; nothing was taken\n", read, held)
	return b.String()
}

// cell is a text in a table: never empty, and without what ends a cell.
func cell(text string) string {
	if text == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' {
			return ' '
		}
		return r
	}, text)
}

// surveyRecord is what a dry run writes as JSON.
type surveyRecord struct {
	Version  int          `json:"version"`
	Command  string       `json:"command"`
	DryRun   bool         `json:"dry_run"`
	Queue    string       `json:"queue"`
	Messages int          `json:"messages"`
	Groups   []move.Group `json:"groups"`
}
