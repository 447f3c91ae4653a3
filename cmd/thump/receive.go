package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/thumpmq/thump/internal/load"
	"github.com/thumpmq/thump/internal/report"
	"github.com/thumpmq/thump/internal/result"
)

// receiveConfig is what the command line asks thump receive for.
type receiveConfig struct {
	oneQueue
	receive receiveFlags
	count   countFlag
	idle    idleFlag
}

func receiveCommand(u *ui) *cobra.Command {
	var cfg receiveConfig
	cmd := &cobra.Command{
		Use:   "receive [QUEUE]",
		Short: "Receive messages from a queue: the tutorial's consumer",
		Long: `receive consumes messages from QUEUE (hello where none is given), acks and
counts them, until Ctrl-C, until --count messages have come, or until none has
come for --idle. Then it prints how many there were, and the time from the first
to the last.

A queue that is there is used as it is. A new one is durable, unless --transient:
the tutorial's own programs make and expect a transient queue.

Of messages like the tutorial's, "Message 1", it also says which numbers came
twice or are missing. That is for your information: what was sent, receive can't
know; thump run can.

With --count no more than that many messages are taken off the queue. The first
Ctrl-C ends in order, with the total; the second at once.
` + exitCodesHelp,
		Example: `  thump receive
  thump receive --transient              from the tutorial's producer
  thump receive orders --count 1000
  thump receive --idle 5s --json -`,
		Args: atMostOneQueue,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.flags, cfg.name = cmd.Flags(), queueArgument(args)
			if err := cfg.check(); err != nil {
				return err
			}
			return receive(cmd.Context(), &cfg, u)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.Var(&cfg.count, "count", "end after so many messages (default: no end)")
	flags.Lookup("count").DefValue = ""
	flags.Var(&cfg.idle, "idle", "end when no message has come for so long, like 5s (default: never)")
	cfg.receive.register(flags)
	cfg.queue.register(flags)
	cfg.connect.register(flags)
	cfg.output.register(flags)
	return cmd
}

func (cfg *receiveConfig) check() error {
	var both error
	if cfg.count > 0 && cfg.receive.autoAck {
		both = errors.New("--count can't go with --auto-ack: the broker then sends, and forgets, as many as it likes")
	}
	return faults(both, cfg.connect.check(cfg.flags), checkQueueName(cfg.name), cfg.queue.check(), cfg.receive.check(cfg.flags))
}

// receive does what the configuration asks for.
func receive(ctx context.Context, cfg *receiveConfig, u *ui) error {
	return cfg.run(ctx, u, "receive", func(conn *connection, queue preparedQueue) (*result.Result, string, error) {
		r, got, ended := cfg.measure(ctx, conn, queue, u)
		return r, receivedText(r, got), ended
	})
}

func (cfg *receiveConfig) measure(ctx context.Context, conn *connection, queue preparedQueue, u *ui) (*result.Result, load.Received, error) {
	r := newRecord("receive", conn, queue)
	cfg.receive.putSettings(&r.Settings)
	r.Settings.Count = uint64(cfg.count)
	u.notef("%s\n [*] Waiting for messages. To exit press CTRL+C\n", report.Settings(r))

	var progress load.Progress
	done := u.follow(&progress, tracks{receive: uint64(cfg.count)})
	meter := startMeter(conn)
	got, err := load.Receive(ctx, conn.client, load.ReceiveConfig{
		Queue: queue.name, Consumers: cfg.receive.consumers, Prefetch: cfg.receive.prefetch,
		AutoAck: cfg.receive.autoAck, Count: uint64(cfg.count), Idle: time.Duration(cfg.idle), Progress: &progress,
	}, u.interrupted)
	meter.stop(r)
	done()

	r.Received = &got.Tally.Received
	putDeliveryTimes(r, got.First, got.Last)
	r.TotalSeconds = r.ReceiveSeconds
	interrupted := u.stopping() && (cfg.count == 0 || got.Tally.Received < uint64(cfg.count))
	ended := endedBy(err, interrupted)
	r.Judge(ended, interrupted)
	return r, got, ended
}

// receivedText is the last line of the tutorial's consumer, and what the
// numbers in the messages tell.
func receivedText(r *result.Result, got load.Received) string {
	tally := got.Tally
	text := fmt.Sprintf(" [x] Received a total of %d messages in %.2f seconds\n", tally.Received, result.Value(r.ReceiveSeconds))
	if tally.Numbered == 0 || tally.Partial {
		return text
	}
	text += fmt.Sprintf("     %d of them were numbered, up to %d: %d repeated, %d missing", tally.Numbered, tally.Highest, tally.Repeated, tally.Missing())
	return text + "\n"
}
