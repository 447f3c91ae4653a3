package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/thumpmq/thump/internal/load"
	"github.com/thumpmq/thump/internal/report"
	"github.com/thumpmq/thump/internal/result"
)

// receiveConfig is what the command line asks thump receive for.
type receiveConfig struct {
	onePlace
	receive receiveFlags
	stream  streamReceiveFlags
	count   countFlag
	idle    idleFlag
}

func receiveCommand(u *ui) *cobra.Command {
	var cfg receiveConfig
	cmd := &cobra.Command{
		Use:   "receive [QUEUE]",
		Short: "Receive messages from a queue or stream: the tutorial's consumer",
		Long: `receive consumes messages from QUEUE (hello where none is given), from the
stream --stream or from the super stream --super-stream, and counts them, until
Ctrl-C, until --count messages have come, or until none has come for --idle. Then
it prints how many there were, and the time from the first to the last.

A queue that is there is used as it is. A new one is durable, unless --transient:
the tutorial's own programs make and expect a transient queue. Messages are acked,
and gone from the queue then.

A stream has to be there, and keeps its messages: receive reads them from
--offset on, until --until where that is given. Each of several --consumers reads
all of them, and --count is then for each. With --consumer-name the offset of what
was received is stored, and the next one of that name goes on behind it.

Of messages like the tutorial's, "Message 1", it also says which numbers came
twice or are missing. That is for your information: what was sent, receive can't
know; thump run can.

With --count no more than that many messages are taken off the queue. The first
Ctrl-C ends in order, with the total; the second at once.
` + exitCodesHelp,
		Example: `  thump receive
  thump receive --transient              from the tutorial's producer
  thump receive orders --count 1000
  thump receive --idle 5s --json -
  thump receive --stream events --until now          everything that is there
  thump receive --stream events --offset -1000       the last thousand, and what comes
  thump receive --stream events --offset 2026-11-23T10:00:00Z --until 2026-11-23T11:00:00Z
  thump receive --stream events --consumer-name billing --idle 2s`,
		Args: atMostOneQueue,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := faults(cfg.setPlace(cmd, args)); err != nil {
				return err
			}
			if err := cfg.checkAll(); err != nil {
				return err
			}
			return cfg.run(cmd.Context(), u, "receive", &cfg)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.Var(&cfg.count, "count", "end after so many messages (default: no end)")
	flags.Lookup("count").DefValue = ""
	flags.Var(&cfg.idle, "idle", "end when no message has come for so long, like 5s (default: never)")
	cfg.receive.register(flags)
	cfg.places.registerQueue(flags, kindClassic, kindQuorum)
	cfg.places.registerStream(flags)
	cfg.places.registerSuperStream(flags)
	cfg.stream.register(flags)
	cfg.connect.register(flags)
	cfg.output.register(flags)
	return cmd
}

func (cfg *receiveConfig) checkAll() error {
	var both error
	if cfg.count > 0 && cfg.receive.autoAck {
		both = errors.New("--count can't go with --auto-ack: the broker then sends, and forgets, as many as it likes")
	}
	return faults(both, cfg.check(), cfg.receive.check(cfg.flags), checkReference("--consumer-name", cfg.stream.name))
}

// begin looks whether what is to be read can be there: to wait for a stream, or
// for an offset far beyond its end, is a mistake in a name or a number.
func (cfg *receiveConfig) begin(ctx context.Context, conn *connection) (prepared, error) {
	place, err := cfg.places.prepare(ctx, conn.client, cfg.place, cfg.flags, false)
	if err != nil || cfg.stream.offset.offset == 0 {
		return place, err
	}
	end, err := load.End(ctx, conn.client, cfg.place)
	if err == nil && cfg.stream.offset.offset > end {
		err = fmt.Errorf("offset %d is beyond the end of the %s, which is at %d (--offset next is what comes from now on)", cfg.stream.offset.offset, place.words(), end)
	}
	return place, err
}

func (cfg *receiveConfig) measure(ctx context.Context, conn *connection, place *prepared, u *ui) (*result.Result, string, error) {
	r := newRecord("receive", conn, place)
	cfg.receive.putSettings(&r.Settings)
	r.Settings.Count = uint64(cfg.count)
	var progress load.Progress
	work := load.ReceiveConfig{
		From: cfg.place, Consumers: cfg.receive.consumers, Prefetch: cfg.receive.prefetch,
		AutoAck: cfg.receive.autoAck, Count: uint64(cfg.count), Idle: time.Duration(cfg.idle), Progress: &progress,
	}
	total := work.Count
	if cfg.place.Streams() {
		work.Stream = cfg.stream.config()
		total *= uint64(work.Consumers)
		cfg.stream.putSettings(&r.Settings)
		putMaxBytes(&r.Settings, &cfg.places, place)
	}
	u.notef("%s\n [*] Waiting for messages. To exit press CTRL+C\n", report.Settings(r))

	done := u.follow(&progress, tracks{receive: total})
	meter := startMeter(conn)
	got, err := load.Receive(ctx, conn.client, work, u.interrupted)
	meter.stop(r)
	done()

	r.Received = new(got.Total())
	putDeliveryTimes(r, got.First, got.Last)
	r.TotalSeconds = r.ReceiveSeconds
	interrupted := u.stopping() && (total == 0 || *r.Received < total)
	ended := endedBy(err, interrupted)
	r.Judge(ended, interrupted)
	return r, receivedText(r, got), ended
}

// receivedText is the last line of the tutorial's consumer, and what the
// numbers in the messages tell.
func receivedText(r *result.Result, got load.Received) string {
	var b strings.Builder
	fmt.Fprintf(&b, " [x] Received a total of %d messages in %.2f seconds\n", result.Value(r.Received), result.Value(r.ReceiveSeconds))
	for i, tally := range got.Tallies {
		if tally.Numbered == 0 || tally.Partial {
			continue
		}
		who := ""
		if len(got.Tallies) > 1 {
			who = fmt.Sprintf("consumer %d: ", i+1)
		}
		fmt.Fprintf(&b, "     %s%d of them were numbered, up to %d: %d repeated, %d missing\n", who, tally.Numbered, tally.Highest, tally.Repeated, tally.Missing())
	}
	return b.String()
}
