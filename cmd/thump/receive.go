package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/report"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

func receiveCommand(u *ui) *cobra.Command {
	var cfg config
	cmd := &cobra.Command{
		Use:   "receive [QUEUE]",
		Short: "Receive messages from a queue or stream, to standard output or a file",
		Long: `receive consumes messages from QUEUE (hello if you name none), from the stream
--stream or from the super stream --super-stream, and writes them to standard output
or to --output FILE. It ends with Ctrl-C, after --count messages, or when none has
come for --idle. Then it says how many there were, and the time from the first to the
last.

A message is acked, which removes it from a queue, once it is written and, in a file,
on the disk. Where writing fails, because a disk is full or nobody reads a pipe any
more, what was not written stays in the queue. (What is in the pipe is written: before
"| head" give a --count.) After a kill, what was written last may be in both.

A file .ndjson, .jsonl or .json gets a record in each line: a message with all its
properties, which thump send takes (docs/format.md). In any other, and on standard
output, each body is a line. --format says otherwise. A terminal shows a line for each
message, and escapes what is not text.

With --exec a command gets each message on its standard input, and the message is
acked when the command succeeds; --on-failure says what becomes of others.
With --exec-lines one command gets all messages, a line each, and answers each, in order,
with a line on its standard output: ack, requeue or reject. That is done with the message.
What has no answer when the command ends stays in the queue.

With --filter receive takes the messages that an expression is true of, and --count is
of those. A stream's others are passed over. Those of a queue are held until receive
ends, for which nobody else gets them, and go back to their places: with an end, such as
--idle, and up to --prefetch of them, 65535 by default. (A quorum queue before
RabbitMQ 4.3 puts them at its end if it has no delivery limit.) RabbitMQ takes messages
back that are unacked for 30 minutes, and they come again. --others discard throws them
away instead.

With --discard messages are only counted, and gone. If they are like the tutorial's,
"Message 1", it also says how many numbers came twice or are missing. This is for your
information: receive cannot know what was sent; thump run can. With it, consumers do as those
of run can: with --work each message takes its time, with --consume-rate all together take
so many a second, and a share is given back (--requeue), which does not count, or rejected
(--reject).

A queue that exists is used as it is. A new one is durable, unless you give
--transient: the tutorial's own programs create and expect a transient queue.

With --queues the consumers are spread over several queues, one each or more; --count is of
all together.

A stream must exist. It keeps its messages: receive reads them from --offset on, up
to --until if you give it. Each of several --consumers reads all of them, and
--count is for each. With --consumer-name the offset of what was received is stored,
and the next consumer with that name continues after it.

It goes on through an outage: it connects again, and the broker delivers again what it
has no ack for, which then counts twice. When the broker has been away for --give-up,
60 s unless you say otherwise, it fails; with --no-recovery it does so when a
connection is lost.

With --count it takes no more than that many messages off the queue. The first
Ctrl-C ends in order and prints the total. The second ends at once.
` + exitCodesHelp,
		Example: `  thump receive orders                   shows them as they come
  thump receive orders --count 10 > ten.txt
  thump receive orders --output orders.ndjson --idle 5s
  thump receive orders --output orders.ndjson.zst --idle 5s
  thump receive orders --output 'orders-%04d.ndjson' --split 1GB
  thump receive orders --format json | jq .headers
  thump receive orders --exec ./handle --on-failure reject
  thump receive orders --exec-lines 'while read -r m; do ./handle "$m" && echo ack || echo reject; done'
  thump receive orders --filter 'headers.tenant == "acme"' --idle 2s -o acme.ndjson
  thump receive orders --delimiter '\0' | xargs -0 -n 1 ./print
  thump receive orders --discard --count 1000
  thump receive orders --discard --consumers 4 --work 5ms --requeue 1% --idle 10s
  thump receive 'orders-%d' --queues 10 --discard --idle 2s
  thump receive --transient --discard    from the tutorial's producer
  thump receive --stream events --until now          everything that is there
  thump receive --stream events --offset -1000       the last thousand, and what comes
  thump receive --stream events --offset 2026-11-23T10:00:00Z --until 2026-11-23T11:00:00Z
  thump receive --stream events --consumer-name billing --idle 2s`,
		Args: atMostOneQueue,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("prefetch") {
				cfg.queue.Prefetch = cfg.receipt.prefetch()
			}
			if err := cfg.chooseQueueOrStream(cmd, args); err != nil {
				return err
			}
			if err := faults(cfg.checkCount(), cfg.checkPlace(), cfg.checkReceiving(), cfg.checkQueues(), cfg.checkWork(), cfg.receipt.check(&cfg), cfg.result.checkReceive()); err != nil {
				return err
			}
			return receive(cmd.Context(), &cfg, u)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	cfg.receipt.register(flags)
	cfg.endFlags(flags)
	cfg.receiveFlags(flags)
	cfg.routing.registerQueues(flags)
	cfg.workFlags(flags)
	cfg.latencyOfReceive(flags)
	cfg.kindFlags(flags, "create a queue of this kind", kindClassic, kindQuorum)
	cfg.streamFlag(flags)
	cfg.superStreamFlags(flags)
	cfg.rangeFlags(flags)
	cfg.consumerNameFlag(flags)
	cfg.connect.register(flags)
	cfg.recovery.register(flags)
	cfg.output.register(flags)
	cfg.result.register(flags)
	return cmd
}

// checkCount refuses a count that cannot be kept to.
func (cfg *config) checkCount() error {
	if cfg.receive.Count > 0 && cfg.queue.AutoAck {
		return errors.New("--count can't go with --auto-ack: the broker then sends, and drops, as many as it likes")
	}
	return nil
}

// receive consumes, and prints what came.
func receive(ctx context.Context, cfg *config, u *ui) (err error) {
	starting, started := u.starting(ctx)
	defer started()
	o, err := cfg.open(starting, u, cfg.connect.connect)
	if err != nil {
		return err
	}
	defer func() { err = o.close(ctx, err) }()

	conn, work := o.conn, cfg.receiving()
	r := conn.newRun("receive", cfg.place)
	work.Describe(&r.Settings)
	cfg.recovery.describe(&r.Settings)
	conn.listener.progress.Store(work.Progress)
	if err := cfg.place.find(starting, conn.client, &r.Settings); err != nil {
		return u.orInterrupted(err)
	}
	if work.Selection, err = cfg.selection(starting, conn.client, u); err != nil {
		return u.orInterrupted(err)
	}
	patient, given := u.patient(ctx)
	defer given()
	if cfg.receipt.runs() {
		patient = ctx // the first Ctrl-C lets a command finish
	}
	out, err := cfg.receipt.open(patient, u)
	if err != nil {
		return u.orInterrupted(err)
	}
	if out != nil {
		work.Output, r.Settings.Output = out, out.String()
		work.Patient, work.MaxBatch = cfg.receipt.runs(), cfg.receipt.batch()
	}
	u.notef("%s\n [*] Waiting for messages. To exit press CTRL+C\n", report.Settings(r))

	watching := o.watch(ctx, cfg, r, work.Progress)
	done := u.follow(work.Progress, tracks{latest: watching.Latest, receive: work.Total()})
	tallies, ended := load.Receive(ctx, conn.client, work, r, u.interrupted)
	watching.stop(ctx, r)
	done()
	if out != nil {
		ended = out.finish(r, ended)
		tallies = nil // the messages are the user's, and not the tutorial's
	}
	o.save.writer().End(r)

	text := receivedText(r, tallies)
	if out != nil {
		text += out.note()
	}
	text += cfg.othersText(work.Selection)
	return o.finish(ctx, text, result.New(r), verdictError(r, ended))
}

// receivedText is the last line of the tutorial's consumer, and what the numbers in
// the messages tell; "" where it could not begin.
func receivedText(r *result.Run, tallies []load.Tally) string {
	if r.Verdict == result.Failed && result.Value(r.Received) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, " [x] Received a total of %d messages in %.2f seconds\n", result.Value(r.Received), result.Value(r.ReceiveSeconds))
	for _, line := range report.GivenBack(r) {
		b.WriteString("     " + line + "\n")
	}
	b.WriteString(latencyText(r))
	b.WriteString(survivedText(r))
	for i, tally := range tallies {
		if tally.Numbered == 0 || tally.Partial {
			continue
		}
		who := ""
		if len(tallies) > 1 {
			who = fmt.Sprintf("consumer %d: ", i+1)
		}
		fmt.Fprintf(&b, "     %s%d of them were numbered, up to %d: %d repeated, %d missing\n", who, tally.Numbered, tally.Highest, tally.Repeated, tally.Missing())
	}
	return b.String()
}
