package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/report"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

func runCommand(u *ui) *cobra.Command {
	var cfg config
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Send a million messages through RabbitMQ, receive them, and check every one",
		Long: `run publishes messages to a queue or stream and consumes them at the same time,
over the same API that programs use; what it receives is in buffers that are used
again (ReuseBuffers). It accounts for every one: lost, duplicated, reordered,
corrupted, unexpected. Without flags it sends the tutorial's million messages through
the durable classic queue hello, with confirms and acks.

It connects where the flags or the environment say (see thump --help), else to the
private broker that is running, else to localhost:5672 as guest. If you name none and
none answers, it starts a private broker for the run and removes it afterwards; with
--private it always does.

A queue must be empty and have no consumers. If run creates it, run deletes it
afterwards, unless you give --keep.

It goes on through an outage: it connects again, sends again what was not confirmed,
and says in the end what that has cost. A message that came twice because it was sent
or delivered again is no fault; one that came twice for no such reason is. When the
broker has been away for --give-up, 60 s unless you say otherwise, the run fails; with
--no-recovery it does so when a connection is lost.

With --rate it sends so many messages a second, each when it is due, and says how long
messages took from then to their confirm and to their receipt; --duration ends it.
With --find-max it looks for the highest rate at which a condition holds. --scenario reads
all of this from a file.

With --kind stream the messages go through the stream --queue, over RabbitMQ's
stream protocol, many to an entry, since it is run itself that reads them; with
--sub-entry 1 each has its own entry, as thump send has it. Each of the --consumers
receives every message and is judged by itself; the counts are sums. If the stream
exists already, the run receives only what it sends itself. The disk space needed is
printed first. If the broker is thump's own and the space is not free, the run is
refused; with --stream-max-bytes a new stream keeps less, and drops its oldest
messages, read or not. With --super-stream the messages are spread over --partitions
streams by a hash of their number, and their order is judged within each.

With --repeat it does so several times, and prints how far the runs are apart. With
--versus it puts another configuration beside its own, by turns, and says which
differences noise explains. --fail-if says what must not be: a figure, an operator and a
limit (docs/results.md); if it is, run ends with exit code 4.

With --kind all the same messages go through a classic queue, a quorum queue and a
stream (--queue with the kind at its end), one after another, and one table shows
all three. The JSON then has three runs. Its verdict and the exit code are those of
the worst run.

Results and analysis go to standard output, all else to standard error. The first
Ctrl-C stops publishing, waits up to 10 s for confirms (3 s while none comes) and
prints the summary. The second ends at once.
` + exitCodesHelp,
		Example: `  thump run
  thump run --count 10m --quiet --json result.json
  thump run --rate 5k --duration 30s
  thump run --rate 1k..20k:60s --arrivals poisson
  thump run --rate 500 --duration 30s --poll
  thump run --kind quorum --publishers 4 --consumers 2 --body 1KiB
  thump run --kind stream --count 100m
  thump run --kind stream --count 1g --stream-max-bytes 10GB
  thump run --kind stream --sub-entry 1 --consumers 3
  thump run --super-stream orders --partitions 3
  thump run --kind all
  thump run --html run.html --fail-if 'receive_rate<50k'
  thump run --repeat 5 --versus '--prefetch 1'
  thump run --find-max 'p99<20ms'
  thump run --scenario morning.yaml --html morning.html
  thump run --sequential --transient --no-confirms --auto-ack   as in the tutorial
  thump run --url amqp://user:password@host/vhost --queue test`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.command, cfg.flags = cmd.CommandPath(), cmd.Flags()
			if err := cfg.readScenario(); err != nil {
				return usageError{err}
			}
			cfg.choosePlace(cfg.queueName)
			if err := faults(cfg.checkRun(), cfg.checkRouting(), cfg.several.check(), cfg.checkPlace(), cfg.checkSending(), cfg.checkReceiving(), cfg.checkWork(), cfg.checkFindMax()); err != nil {
				return err
			}
			each, err := cfg.configurations()
			if err != nil {
				return faults(err)
			}
			return run(cmd.Context(), &cfg, each, u)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	cfg.loadFlags(flags)
	flags.StringVar(&cfg.scenario, "scenario", "", "read what to send and receive from this file (YAML), by the names of the flags; those that are given win")
	cfg.several.register(flags)
	flags.Var(&cfg.findMax, "find-max", "find the highest rate at which this holds, nothing is lost and the queue does not grow: p99<20ms; may be given more than once")
	cfg.connect.register(flags)
	cfg.recovery.register(flags)
	flags.BoolVar(&cfg.private, "private", false, "start a private broker for this run, whatever else is running")
	flags.BoolVar(&cfg.keep, "keep", false, "keep the queue or stream, and the broker that this run started")
	cfg.output.register(flags)
	cfg.result.register(flags)
	return cmd
}

// loadFlags adds the flags that say what run sends and receives, and through what.
func (cfg *config) loadFlags(flags *pflag.FlagSet) {
	cfg.alone = true
	cfg.sendFlags(flags)
	cfg.input.registerProperties(flags)
	cfg.priorityFlag(flags)
	flags.StringVar(&cfg.queueName, "queue", queueDefault, "the queue, or with --kind stream the stream")
	cfg.routing.register(flags)
	cfg.kindFlags(flags, `what to send through; "all" is the first three, one after another`, kindClassic, kindQuorum, kindStream, kindAll)
	cfg.receiveFlags(flags)
	cfg.workFlags(flags)
	flags.BoolVar(&cfg.sequential, "sequential", false, "send everything before the first message is received")
	cfg.superStreamFlags(flags)
	cfg.publishFlags(flags, subEntryOfRun)
	cfg.consumerNameFlag(flags)
}

// checkRun refuses flags of run that contradict each other.
func (cfg *config) checkRun() error {
	priority := cfg.checkPriority()
	switch {
	case priority != nil:
		return priority
	case cfg.private && cfg.connect.given():
		return errors.New("--private can't go with a flag that names a broker: --url, --url-file, --url-command or --stream-url")
	case cfg.expires():
		return errors.New("--property expiration is not for run: what expires can't be told from what is lost; --ttl lets messages expire")
	case cfg.superStream != "" && cfg.given("queue"):
		return errors.New("--queue can't go with --super-stream: each is a name")
	default:
		return nil
	}
}

// expires reports whether messages are to have a time to live.
func (cfg *config) expires() bool {
	p, err := cfg.input.made()
	return err == nil && p != nil && p.Expiration != 0
}

// run sends, receives and checks, once or as each configuration says, and prints what it found.
// Whatever happens, what it has created is gone afterwards, unless it is to be kept.
func run(ctx context.Context, cfg *config, each []*config, u *ui) (err error) {
	starting, started := u.starting(ctx)
	defer started()
	o, err := cfg.open(starting, u, func(ctx context.Context, u *ui, how manner) (*connection, error) {
		return cfg.connect.connectOrStart(ctx, u, how, cfg.private, cfg.keep)
	})
	if err != nil {
		return err
	}
	defer func() { err = o.close(ctx, err) }()
	if len(cfg.findMax) > 0 {
		return findMax(ctx, cfg, o, u)
	}
	if len(each) > 1 || cfg.several.several() {
		return runSeveral(ctx, cfg, each, o, u)
	}

	one := runThrough(ctx, cfg, o, u)
	if !one.began {
		one.sayCleanup(u)
		return u.orInterrupted(one.ended)
	}
	r := one.record
	if err := o.finish(ctx, report.Text(r), result.New(r), verdictError(r, one.ended)); err != nil {
		one.sayCleanup(u)
		return err
	}
	return one.cleanupErr
}

// recordError is the error that a command with several runs ends with. failed is that
// of the first run that was not ok.
func recordError(rec *result.Record, failed error) error {
	switch rec.Verdict {
	case result.Violated:
		return errViolated
	case result.Interrupted:
		return errInterrupted
	default:
		return failed
	}
}

// finished is a run that is over.
type finished struct {
	record     *result.Run
	began      bool
	ended      error // why it did not begin, or ended early
	cleanupErr error // why what it has made is still there
}

// sayCleanup says why what the run has made is still there, where another error is the answer.
func (f *finished) sayCleanup(u *ui) {
	if f.cleanupErr != nil {
		u.errorf("%s\n", errorText(f.cleanupErr))
	}
}

// runThrough runs the load through one queue or stream. It makes that if it does not
// exist, and deletes again what it has made.
func runThrough(ctx context.Context, cfg *config, o *opened, u *ui) finished {
	conn := o.conn
	starting, started := u.starting(ctx)
	defer started()
	work := load.RunConfig{SendConfig: cfg.sending(), Consumers: cfg.receive.Consumers, Sequential: cfg.sequential, Work: cfg.work, Recovery: cfg.recovery.recovery()}
	r := conn.newRun("run", cfg.place)
	work.Describe(&r.Settings)
	cfg.recovery.describe(&r.Settings)
	conn.listener.progress.Store(work.Progress)
	if err := cfg.place.checkDisk(conn, &work.SendConfig, &r.Settings); err != nil {
		r.Judge(err, false)
		return finished{record: r, ended: err}
	}
	err := cfg.place.declare(starting, conn.client, &r.Settings)
	if err == nil {
		err = cfg.place.checkUnused()
	}
	if err != nil {
		r.Judge(err, false)
		return finished{record: r, ended: err, cleanupErr: cfg.undo(ctx, conn, r, u)}
	}
	u.notef("%s\n", report.Settings(r))

	watching := o.watch(ctx, cfg, r, work.Progress)
	readers := uint64(work.To.Readers(work.Consumers))
	done := u.follow(work.Progress, tracks{
		latest: watching.Latest,
		send:   work.Count, receive: work.Count * readers, readers: readers, sends: true, receives: true,
		confirms: work.To.Confirms(), blocksSilently: cfg.place.blocksSilently(),
	})
	ended := load.Run(ctx, conn.client, work, r, u.interrupted)
	watching.stop(ctx, r)
	done()
	o.save.writer().End(r)
	return finished{record: r, began: true, ended: ended, cleanupErr: cfg.cleanUp(ctx, conn, r, u)}
}

// cleanUp deletes what the run has created, or says how to reach what it keeps.
func (cfg *config) cleanUp(ctx context.Context, conn *connection, r *result.Run, u *ui) error {
	if cfg.keep {
		u.notef("\nKept: the %s%s\n", cfg.place, conn.howToReach())
		return nil
	}
	return cfg.undo(ctx, conn, r, u)
}

// undo deletes what the run has created.
func (cfg *config) undo(ctx context.Context, conn *connection, r *result.Run, u *ui) error {
	if conn.started && !cfg.again {
		return nil // it is gone with its broker
	}
	timeout := cleanupTimeout
	// Even what ends at once cleans up. A broker that has not answered before will hardly
	// do so now.
	if ctx.Err() != nil || u.stopping() && result.Value(r.Unknown) > 0 {
		ctx, timeout = context.WithoutCancel(ctx), hastyCleanupTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return cfg.place.remove(ctx, conn.client)
}
