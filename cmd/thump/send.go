package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/report"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

func sendCommand(u *ui) *cobra.Command {
	var cfg config
	cmd := &cobra.Command{
		Use:   "send [QUEUE] [FILE...|-]",
		Short: "Send messages to a queue, stream or exchange: a file's, standard input's, or made up",
		Long: `send publishes messages to QUEUE (hello if you name none), to the stream --stream,
to the super stream --super-stream or to the exchange --exchange, and waits until
the broker has confirmed every one.

The messages are those of FILE, of standard input for -, and of standard input too if
it is a pipe or a file and no FILE is named. Otherwise, or with --generate, send makes
messages up, as the tutorial's producer does: a million, or --count. Then --body is
their size, and --publishers how many send them. --priority, --routing-keys, --ttl and --queues
are for these, too: what priorities and keys they have, how soon they expire, and through
how many queues they go, one after another. To an exchange they go with --generate.

A file .ndjson, .jsonl or .json has a record in each line, as thump receive writes
them: a message with all its properties (docs/format.md). Of any other, and of standard
input, each line is a body. --format says otherwise. A record goes where you say, and
not where it was; with --to-original it does. --header, --property and --routing-key
are for every message. What the broker rejects or returns is added to --rejects.

A queue that exists is used as it is. A new one is durable, unless you give
--transient: the tutorial's own programs create and expect a transient queue. With
--priority a new classic queue has as many levels. An exchange must exist.

A stream that does not exist is created. It keeps everything, unless you give
--stream-max-bytes. Each message has an entry of its own, which every client reads.
With --sub-entry 500, small messages go many times as fast, but not every client
reads entries that messages share. With --compression, only readers that speak the
stream protocol can read them; AMQP readers cannot. A super stream's messages go to
its partitions by a hash of their routing key, or of their number if they have none.

It goes on through an outage: it connects again, and sends again what was not
confirmed, which the broker may then have twice. When the broker has been away for
--give-up, 60 s unless you say otherwise, it fails, and says how many messages were
not confirmed; with --no-recovery it does so when a connection is lost.

The first Ctrl-C stops publishing and waits up to 10 s for confirms, 3 s while none
comes. The second ends at once.
` + exitCodesHelp,
		Example: `  thump send                             a million messages that are made up
  seq 1000 | thump send numbers
  thump send orders orders.ndjson        what thump receive has written
  thump send orders lines.txt --header tenant=acme --property content_type=text/plain
  thump send --exchange events --routing-key eu.de events.txt
  thump send --to-original dead.ndjson --rejects still-dead.ndjson
  tail -f app.log | thump send logs -
  thump send orders orders.ndjson.zst --rate 500
  thump send --transient                 to the tutorial's consumer
  thump send orders --generate --count 10k --body 1KiB
  thump send orders --generate --count 10k --priority 0..9 --ttl 1h
  thump send 'orders-%d' --queues 10 --generate --count 10k
  thump send --exchange events --generate --count 10k --routing-keys eu.de:80%,us.ny:20%
  thump send --stream events events.ndjson
  thump send --stream events --generate --count 100m --sub-entry 500
  thump send --super-stream orders --partitions 3 orders.ndjson`,
		Args: noURLs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cfg.chooseInput(cmd, args); err != nil {
				return err
			}
			if err := faults(cfg.checkPlace(), cfg.checkSending(), cfg.checkQueues(), cfg.checkPriority(), cfg.checkKeys(), cfg.checkTTL()); err != nil {
				return err
			}
			return send(cmd.Context(), &cfg, u)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	cfg.sendFlags(flags)
	cfg.latencyOfSend(flags)
	cfg.input.register(flags)
	cfg.routing.registerKeys(flags, ", with --exchange or --super-stream")
	cfg.priorityFlag(flags)
	cfg.input.registerTTL(flags)
	cfg.routing.registerQueues(flags)
	cfg.kindFlags(flags, "create a queue of this kind", kindClassic, kindQuorum)
	cfg.streamFlag(flags)
	cfg.superStreamFlags(flags)
	cfg.publishFlags(flags, subEntryOfSend)
	cfg.connect.register(flags)
	cfg.recovery.register(flags)
	cfg.output.register(flags)
	cfg.result.register(flags)
	return cmd
}

// noURLs refuses a URL as an argument: it has a flag of its own, and may have a password.
func noURLs(cmd *cobra.Command, args []string) error {
	if slices.ContainsFunc(args, isURL) {
		return misplaced("an argument of " + cmd.CommandPath())
	}
	return nil
}

// atMostOneQueue refuses a second argument.
func atMostOneQueue(cmd *cobra.Command, args []string) error {
	if err := noURLs(cmd, args); err != nil {
		return err
	}
	if len(args) > 1 {
		return usagef("%s takes one queue, and got %d", cmd.CommandPath(), len(args))
	}
	return nil
}

// chooseQueueOrStream chooses the place for send and receive, which take the queue as
// an argument.
func (cfg *config) chooseQueueOrStream(cmd *cobra.Command, args []string) error {
	cfg.command, cfg.flags, cfg.queueName = cmd.CommandPath(), cmd.Flags(), queueDefault
	if len(args) > 0 {
		cfg.queueName = args[0]
		if cfg.streamName+cfg.superStream != "" {
			return usagef("%s takes one queue or stream, and got the queue %q and a stream", cmd.CommandPath(), cfg.queueName)
		}
	}
	cfg.choosePlace(cfg.queueName)
	return nil
}

// chooseInput chooses the place and the files for send: the first argument is the queue,
// unless a flag names another place.
func (cfg *config) chooseInput(cmd *cobra.Command, args []string) error {
	cfg.flags = cmd.Flags()
	var queue []string
	if !cfg.toExchange() && cfg.streamName+cfg.superStream == "" && len(args) > 0 {
		queue, args = args[:1], args[1:]
		if len(args) == 0 && looksLikeFile(queue[0]) {
			return usagef("%q is a file: which queue is it for? (%s QUEUE %[1]s)", queue[0], cmd.CommandPath())
		}
	}
	if err := cfg.chooseQueueOrStream(cmd, queue); err != nil {
		return err
	}
	if err := cfg.input.choose(args, cfg.given, cfg.connect.fromStdin()); err != nil {
		return usageError{err}
	}
	if len(cfg.input.files) > 0 {
		if cfg.input.toOriginal && cfg.streamName+cfg.superStream != "" {
			return usagef("--to-original can't go with a stream: each record says where it goes")
		}
		if !cfg.given("count") {
			cfg.send.Count = 0
		}
		cfg.input.count = cfg.send.Count
	}
	return nil
}

// checkKeys says what is wrong with the routing keys.
func (cfg *config) checkKeys() error {
	one, several, flag := cfg.input.routingKey != "", cfg.given("routing-keys"), "routing-key"
	if several {
		flag = "routing-keys"
	}
	switch {
	case cfg.given("exchange") && cfg.input.exchange == "":
		return errors.New("--exchange needs a name: to the default exchange messages go without it")
	case (one || several) && !cfg.toExchange() && cfg.superStream == "":
		return fmt.Errorf("--%s is for --exchange and --super-stream: a message to a queue has the queue's name", flag)
	case one && several:
		return errors.New("--routing-keys can't go with --routing-key: each says which keys the messages have")
	default:
		return nil
	}
}

// checkTTL says what is wrong with send's --ttl.
func (cfg *config) checkTTL() error {
	if cfg.input.ttl > 0 && cfg.streamName+cfg.superStream != "" {
		return errors.New("--ttl is for queues: a stream keeps its messages")
	}
	return nil
}

// toExchange reports whether the messages go to exchanges, and not to one queue or stream.
func (cfg *config) toExchange() bool { return cfg.input.toOriginal || cfg.input.exchange != "" }

// looksLikeFile reports whether an argument is a file rather than the name of a queue: it is
// there, and its name has a dot or a folder in it.
func looksLikeFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular() && strings.ContainsAny(name, "./"+string(os.PathSeparator))
}

// feed returns the messages of the files; nil where there are none.
func (cfg *config) feed(u *ui) (*feed, error) {
	if len(cfg.input.files) == 0 {
		return nil, nil
	}
	to := destination{
		own: cfg.input.toOriginal, ownKey: cfg.toExchange() || cfg.superStream != "", spread: cfg.superStream != "",
		stream: cfg.streamName+cfg.superStream != "", transient: cfg.queue.Transient, exchange: cfg.input.exchange,
	}
	if !cfg.toExchange() && cfg.streamName+cfg.superStream == "" {
		to.routingKey = cfg.name
	}
	return newFeed(&cfg.input, to, u)
}

// send publishes, and prints what became of the messages.
func send(ctx context.Context, cfg *config, u *ui) (err error) {
	starting, started := u.starting(ctx)
	defer started()
	o, err := cfg.open(starting, u, cfg.connect.connect)
	if err != nil {
		return err
	}
	defer func() { err = o.close(ctx, err) }()

	from, err := cfg.feed(u)
	if err != nil {
		return err
	}
	conn, work := o.conn, cfg.sending()
	if from != nil {
		work.Feed, work.Publishers = from, 1
	}
	r := conn.newRun("send", cfg.place)
	work.Describe(&r.Settings)
	cfg.recovery.describe(&r.Settings)
	conn.listener.progress.Store(work.Progress)
	if from == nil { // else nobody knows how much it will be
		if err := cfg.place.checkDisk(conn, &work, &r.Settings); err != nil {
			return err
		}
	}
	if err := cfg.place.declare(starting, conn.client, &r.Settings); err != nil {
		return u.orInterrupted(err)
	}
	u.notef("%s\n", report.Settings(r))

	watching := o.watch(ctx, cfg, r, work.Progress)
	done := u.follow(work.Progress, tracks{latest: watching.Latest, send: work.Count, sends: true, confirms: work.To.Confirms(), blocksSilently: cfg.place.blocksSilently()})
	ended := load.Send(ctx, conn.client, work, r, u.interrupted)
	watching.stop(ctx, r)
	done()
	if from != nil {
		ended = from.finish(r, ended)
	}
	o.save.writer().End(r)

	return o.finish(ctx, sentText(r), result.New(r), verdictError(r, ended))
}

// sentText is the last line of the tutorial's producer, and what the tutorial leaves
// out; "" where it could not begin.
func sentText(r *result.Run) string {
	sent := result.Value(r.Sent)
	if r.Verdict == result.Failed && sent == 0 {
		return ""
	}
	text := fmt.Sprintf(" [x] Sent %d messages in %.2f seconds", sent, result.Value(r.SendSeconds))
	if !r.Settings.Confirms {
		return text + "\n" + survivedText(r)
	}
	if confirmed := result.Value(r.Confirmed); confirmed != sent {
		text += fmt.Sprintf(", %d confirmed, %d rejected, %d returned, %d unknown\n",
			confirmed, result.Value(r.Rejected), result.Value(r.Returned), result.Value(r.Unknown))
	} else {
		text += ", all confirmed\n"
	}
	if skipped := result.Value(r.Skipped); skipped > 0 {
		text += fmt.Sprintf("     %d more could not be read or sent, and were skipped\n", skipped)
	}
	if s := &r.Settings; s.Rate != "" {
		text += latencyText(r)
	}
	return text + survivedText(r)
}

// latencyText is lines about how long messages took; "" where that is not known.
func latencyText(r *result.Run) string {
	var text strings.Builder
	for _, line := range report.Latency(r) {
		text.WriteString("     " + line + "\n")
	}
	return text.String()
}

// survivedText is a line about the outages of a command; "" if there were none.
func survivedText(r *result.Run) string {
	if survived := report.Survived(r); survived != "" {
		return "     " + survived + "\n"
	}
	return ""
}
