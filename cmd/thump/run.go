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
	places  placeFlags
	send    sendFlags
	receive receiveFlags
	stream  streamSendFlags
	output  outputFlags

	name         string // --queue
	consumerName string
	private      bool
	keep         bool
	sequential   bool

	flags *pflag.FlagSet // which of them were given
}

func runCommand(u *ui) *cobra.Command {
	var cfg runConfig
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Send a million messages through RabbitMQ, receive them, and check every one",
		Long: `run publishes messages to a queue or stream and consumes them at the same time,
over the same API that programs use, and accounts for every one: lost, duplicated,
reordered, corrupted, unexpected. With no flags it sends the tutorial's million
messages through the durable classic queue hello, with confirms and acks.

It connects to --url, else THUMP_URL, else the private broker that is running,
else localhost:5672 as guest; where nobody named one and none answers, it starts
a private broker for the run and removes it afterwards.

A queue has to be empty and without consumers. One that run creates is deleted
when the run is over, unless --keep.

With --kind stream the messages go through the stream --queue, over RabbitMQ's
stream protocol, many to an entry (--sub-entry). Every one of --consumers gets
every message and is judged by itself; the counts are sums. Of a stream that is
there already, the run receives what it sends itself. What the stream takes on the
broker's disk is told first, and refused where there is no room and the broker is
thump's own; --stream-max-bytes lets a stream that is made drop its oldest, read or
not. With --super-stream the messages are spread over --partitions streams by a
hash of their number, and their order is judged within each.

With --kind all the same messages go through a classic queue, a quorum queue and
a stream (--queue with the kind at its end), one after another, and one table has
all three. Its JSON is an object with version, verdict (the worst) and runs, the
three records; the exit code is that of the worst.

Results and analysis go to standard output, all else to standard error. The
first Ctrl-C stops publishing, waits up to 10 s for confirms and prints the
summary; the second ends at once.
` + exitCodesHelp,
		Example: `  thump run
  thump run --count 10m --quiet --json result.json
  thump run --kind quorum --publishers 4 --consumers 2 --body 1KiB
  thump run --kind stream --count 100m
  thump run --kind stream --count 1g --stream-max-bytes 10GB
  thump run --kind stream --sub-entry 1 --consumers 3
  thump run --super-stream orders --partitions 3
  thump run --kind all
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
	flags.StringVar(&cfg.name, "queue", queueDefault, "the queue, or with --kind stream the stream")
	cfg.places.registerQueue(flags, kindClassic, kindQuorum, kindStream, kindAll)
	cfg.receive.register(flags)
	flags.BoolVar(&cfg.sequential, "sequential", false, "send everything before the first message is received")
	cfg.places.registerSuperStream(flags)
	cfg.stream.register(flags)
	registerConsumerName(flags, &cfg.consumerName)
	cfg.connect.register(flags)
	flags.BoolVar(&cfg.private, "private", false, "start a private broker for this run, whatever else is running")
	flags.BoolVar(&cfg.keep, "keep", false, "keep the queue or stream, and the broker that this run started")
	cfg.output.register(flags)
	return cmd
}

func (cfg *runConfig) check() error {
	var both error
	switch {
	case cfg.private && (cfg.connect.url != "" || cfg.connect.streamURL != ""):
		both = errors.New("--private can't go with --url or --stream-url: one starts a broker, the others name one")
	case cfg.places.superStream != "" && cfg.flags.Changed("queue"):
		both = errors.New("--queue can't go with --super-stream: each is a name")
	}
	place := cfg.place()
	kinds := wrongKind(cfg.flags, place.Streams())
	if cfg.places.kind.kind == kindAll {
		kinds = wrongForAll(cfg.flags)
	}
	return faults(both, cfg.connect.check(cfg.flags), cfg.places.check(place, cfg.flags), kinds,
		cfg.send.check(cfg.flags), cfg.receive.check(cfg.flags), cfg.stream.check(), checkReference("--consumer-name", cfg.consumerName))
}

// place is what the run goes through.
func (cfg *runConfig) place() load.Place { return cfg.places.place(cfg.name) }

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
	if cfg.places.kind.kind == kindAll {
		return runAll(ctx, cfg, conn, json, u)
	}
	done, err := cfg.once(ctx, conn, u)
	if err != nil {
		return orInterrupted(u, err)
	}
	if err := printResult(u, json, done.record, report.Text(done.record)); err != nil {
		return err
	}
	if err := verdictError(done.record, done.ended); err != nil {
		if done.leaving != nil {
			u.errorf("thump: %v\n", done.leaving)
		}
		return err
	}
	return done.leaving
}

// done is a run that is over.
type done struct {
	record  *result.Result
	ended   error // why it ended early
	leaving error // why what it has made is still there
}

// once runs the load through one queue or stream, which it makes where it is
// not there, and deletes again. The error is why the run could not begin.
func (cfg *runConfig) once(ctx context.Context, conn *connection, u *ui) (done, error) {
	starting, started := u.starting(ctx)
	defer started()
	room, err := cfg.disk(conn)
	if err != nil {
		return done{}, err
	}
	place, err := cfg.places.prepare(starting, conn.client, cfg.place(), cfg.flags, true)
	if err == nil {
		err = place.mustBeOurs()
	}
	if err != nil {
		return done{}, err
	}
	r, ended := cfg.measure(ctx, conn, &place, room, u)
	return done{record: r, ended: ended, leaving: cfg.leave(ctx, conn, &place, u)}, nil
}

// disk looks whether there is room for what is to be sent through a stream.
func (cfg *runConfig) disk(conn *connection) (disk, error) {
	if !cfg.place().Streams() {
		return disk{}, nil
	}
	return diskFor(conn, cfg.work(nil).SendConfig, &cfg.places)
}

// work is the load.
func (cfg *runConfig) work(progress *load.Progress) load.Config {
	work := load.Config{
		SendConfig: cfg.send.config(cfg.place(), cfg.flags, progress),
		Consumers:  cfg.receive.consumers, Prefetch: cfg.receive.prefetch, AutoAck: cfg.receive.autoAck,
		Sequential: cfg.sequential, ConsumerName: cfg.consumerName,
	}
	work.Transient = cfg.places.transient
	if work.To.Streams() {
		work.Stream = cfg.stream.config()
	}
	return work
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
func (cfg *runConfig) measure(ctx context.Context, conn *connection, place *prepared, room disk, u *ui) (*result.Result, error) {
	r := newRecord("run", conn, place)
	var progress load.Progress
	work := cfg.work(&progress)
	work.Fresh = place.created
	cfg.putSettings(&r.Settings, &work)
	received := work.Count
	if work.To.Streams() {
		received *= uint64(work.Consumers)
		room.put(&r.Settings)
		putMaxBytes(&r.Settings, &cfg.places, place)
	}
	u.notef("%s\n", report.Settings(r))

	done := u.follow(&progress, tracks{send: work.Count, receive: received, confirms: !work.NoConfirms, streams: work.To.Streams()})
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

// putSettings adds the settings of the load.
func (cfg *runConfig) putSettings(s *result.Settings, work *load.Config) {
	cfg.send.putSettings(s, &work.SendConfig)
	cfg.receive.putSettings(s)
	s.Sequential = cfg.sequential
	if work.To.Streams() {
		cfg.stream.putSettings(s)
		s.ConsumerName = cfg.consumerName
	}
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
		received := out.Sent.ReceivedMeanwhile
		if r.Settings.Streams() {
			received /= uint64(r.Settings.Consumers)
		}
		held := out.Sent.Counts.Published - min(out.Sent.Counts.Published, received)
		r.BacklogAtSendEnd = &held
	}
}

// leave deletes what the run has created, or says how to reach what it keeps.
func (cfg *runConfig) leave(ctx context.Context, conn *connection, place *prepared, u *ui) error {
	if cfg.keep {
		u.notef("\nKept: the %s%s\n", place.words(), conn.howToReach())
		return nil
	}
	if !place.created || conn.started {
		return nil // not ours, or gone with its broker
	}
	return place.remove(ctx, conn.client)
}

// printResult writes the record and its text to where they belong.
func printResult(u *ui, json *jsonFile, r record, text string) error {
	if json.stdout() {
		u.notef("\n%s", text)
	} else {
		u.notef("\n")
		u.printf("%s", text)
	}
	return json.write(u, r)
}
