package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/thumpmq/thump/internal/load"
	"github.com/thumpmq/thump/internal/report"
	"github.com/thumpmq/thump/internal/result"
)

// runConfig is what the command line asks thump run for.
type runConfig struct {
	connect connectFlags
	queue   queueFlags
	send    sendFlags
	receive receiveFlags
	output  outputFlags

	name       string
	private    bool
	keep       bool
	sequential bool

	flags *pflag.FlagSet // which of them were given
}

func runCommand(u *ui) *cobra.Command {
	var cfg runConfig
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Send a million messages through RabbitMQ, receive them, and check every one",
		Long: `run publishes messages to a queue and consumes them at the same time, over the
same API that programs use, and accounts for every one: lost, duplicated,
reordered, corrupted, unexpected. With no flags it sends the tutorial's million
messages through the durable classic queue hello, with confirms and acks.

It connects to --url, else THUMP_URL, else the private broker that is running,
else localhost:5672 as guest; where nobody named one and none answers, it starts
a private broker for the run and removes it afterwards.

The queue has to be empty and without consumers. One that run creates is deleted
when the run is over, unless --keep.

Results and analysis go to standard output, all else to standard error. The
first Ctrl-C stops publishing, waits up to 10 s for confirms and prints the
summary; the second ends at once.
` + exitCodesHelp,
		Example: `  thump run
  thump run --count 10m --quiet --json result.json
  thump run --kind quorum --publishers 4 --consumers 2 --body 1KiB
  thump run --sequential --transient --no-confirms --auto-ack   as in the tutorial
  thump run --url amqp://user:password@host/vhost --queue test`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.flags = cmd.Flags()
			if err := cfg.check(); err != nil {
				return err
			}
			return run(cmd.Context(), &cfg, u)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	cfg.send.register(flags)
	flags.StringVar(&cfg.name, "queue", queueDefault, "the queue")
	cfg.queue.register(flags)
	cfg.receive.register(flags)
	flags.BoolVar(&cfg.sequential, "sequential", false, "send everything before the first message is received")
	cfg.connect.register(flags)
	flags.BoolVar(&cfg.private, "private", false, "start a private broker for this run, whatever else is running")
	flags.BoolVar(&cfg.keep, "keep", false, "keep the queue, and the broker that this run started")
	cfg.output.register(flags)
	return cmd
}

func (cfg *runConfig) check() error {
	var both error
	if cfg.private && cfg.connect.url != "" {
		both = errors.New("--private can't go with --url: one starts a broker, the other names one")
	}
	return faults(both, cfg.connect.check(cfg.flags), checkQueueName(cfg.name), cfg.queue.check(), cfg.send.check(cfg.flags), cfg.receive.check(cfg.flags))
}

// run does what the configuration asks for. Whatever happens, what it has
// created is gone afterwards, unless it is to be kept.
func run(ctx context.Context, cfg *runConfig, u *ui) (err error) {
	u.quiet = cfg.output.quiet
	json, err := openJSON(cfg.output.json)
	if err != nil {
		return err
	}
	defer json.discard()

	starting, started := u.starting(ctx)
	defer started()
	conn, err := cfg.connect.connectOrStart(starting, u, "thump run", cfg.private, cfg.keep)
	if err != nil {
		return orInterrupted(u, err)
	}
	defer func() {
		closing := conn.close(ctx, cfg.keep)
		if err == nil || errors.Is(err, errInterrupted) && closing != nil {
			err = closing
		}
	}()
	queue, err := prepareQueue(starting, conn.client, cfg.name, &cfg.queue, cfg.flags)
	if err == nil {
		err = queue.mustBeOurs()
	}
	if err != nil {
		return orInterrupted(u, err)
	}
	r, ended := cfg.measure(ctx, conn, queue, u)
	leaving := cfg.leave(ctx, conn, queue, u)
	if err := printResult(u, json, r, report.Text(r)); err != nil {
		return err
	}
	if err := verdictError(r, ended); err != nil {
		if leaving != nil {
			u.errorf("thump: %v\n", leaving)
		}
		return err
	}
	return leaving
}

// orInterrupted is err, unless the user has ended what it is the error of.
func orInterrupted(u *ui, err error) error {
	if u.stopping() && errors.Is(err, context.Canceled) {
		return errInterrupted
	}
	return err
}

// measure runs the load and makes the record of it. The error is why the load
// ended early; it is in the record too.
func (cfg *runConfig) measure(ctx context.Context, conn *connection, queue preparedQueue, u *ui) (*result.Result, error) {
	r := newRecord("run", conn, queue)
	var progress load.Progress
	work := load.Config{
		SendConfig: cfg.send.config(queue.name, cfg.queue.transient, &progress),
		Consumers:  cfg.receive.consumers, Prefetch: cfg.receive.prefetch, AutoAck: cfg.receive.autoAck,
		Sequential: cfg.sequential,
	}
	cfg.send.putSettings(&r.Settings, work.LargestBody())
	cfg.receive.putSettings(&r.Settings)
	r.Settings.Sequential = cfg.sequential
	u.notef("%s\n", report.Settings(r))

	done := u.follow(&progress, tracks{send: work.Count, receive: work.Count, confirms: !cfg.send.noConfirms})
	meter := startMeter(conn)
	out, err := load.Run(ctx, conn.client, work, u.interrupted)
	meter.stop(r)
	done()

	putSent(r, out.Sent)
	putTotals(r, out)
	ended := endedBy(err, out.Interrupted)
	r.Judge(ended, out.Interrupted)
	return r, ended
}

// putTotals adds what the run's ledger says.
func putTotals(r *result.Result, out load.Outcome) {
	t := out.Totals
	r.Received, r.Unique, r.Duplicated = &t.Received, &t.Unique, &t.Duplicated
	r.Reordered, r.Corrupted, r.Unexpected = &t.Reordered, &t.Corrupted, &t.Unexpected
	if out.LostKnown {
		r.Lost, r.LostMessages = &out.Lost, []string{}
	}
	if out.LeftKnown {
		r.LeftInQueue = &out.Left
	}
	for _, lost := range out.LostRanges {
		r.LostMessages = append(r.LostMessages, lost.String())
	}
	putDeliveryTimes(r, out.First, out.Last)
	if first := out.Sent.First; !first.IsZero() {
		last := out.Sent.Last
		if out.Last.After(last) {
			last = out.Last
		}
		r.TotalSeconds = seconds(last.Sub(first))
		held := out.Sent.Counts.Published - min(out.Sent.Counts.Published, out.Sent.ReceivedMeanwhile)
		r.BacklogAtSendEnd = &held
	}
}

// leave deletes the queue that the run has created, or says how to reach what
// it keeps.
func (cfg *runConfig) leave(ctx context.Context, conn *connection, queue preparedQueue, u *ui) error {
	if cfg.keep {
		u.notef("\nKept: the queue %s%s\n", queue.name, conn.howToReach())
		return nil
	}
	if !queue.created || conn.started {
		return nil // not ours, or gone with its broker
	}
	return deleteQueue(ctx, conn, queue.name)
}

// printResult writes the record and its text to where they belong.
func printResult(u *ui, json *jsonFile, r *result.Result, text string) error {
	if json.stdout() {
		u.notef("\n%s", text)
	} else {
		u.notef("\n")
		u.printf("%s", text)
	}
	return json.write(u, r)
}
