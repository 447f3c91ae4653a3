package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/thumpmq/thump/internal/load"
	"github.com/thumpmq/thump/internal/report"
	"github.com/thumpmq/thump/internal/result"
)

// sendConfig is what the command line asks thump send for.
type sendConfig struct {
	oneQueue
	send sendFlags
}

func sendCommand(u *ui) *cobra.Command {
	var cfg sendConfig
	cmd := &cobra.Command{
		Use:   "send [QUEUE]",
		Short: "Send messages to a queue: the tutorial's producer",
		Long: `send publishes messages to QUEUE (hello where none is given) and waits until the
broker has confirmed every one.

A queue that is there is used as it is. A new one is durable, unless --transient:
the tutorial's own programs make and expect a transient queue.

The first Ctrl-C stops publishing and waits up to 10 s for confirms; the second
ends at once.
` + exitCodesHelp,
		Example: `  thump send
  thump send --transient                 to the tutorial's consumer
  thump send orders --count 10k --body 1KiB
  thump send --url amqp://user:password@host/vhost hello`,
		Args: atMostOneQueue,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.flags, cfg.name = cmd.Flags(), queueArgument(args)
			if err := faults(cfg.connect.check(cfg.flags), checkQueueName(cfg.name), cfg.queue.check(), cfg.send.check(cfg.flags)); err != nil {
				return err
			}
			return send(cmd.Context(), &cfg, u)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	cfg.send.register(flags)
	cfg.queue.register(flags)
	cfg.connect.register(flags)
	cfg.output.register(flags)
	return cmd
}

// send does what the configuration asks for.
func send(ctx context.Context, cfg *sendConfig, u *ui) error {
	return cfg.run(ctx, u, "send", func(conn *connection, queue preparedQueue) (*result.Result, string, error) {
		r, ended := cfg.measure(ctx, conn, queue, u)
		return r, sentText(r), ended
	})
}

func (cfg *sendConfig) measure(ctx context.Context, conn *connection, queue preparedQueue, u *ui) (*result.Result, error) {
	r := newRecord("send", conn, queue)
	var progress load.Progress
	work := cfg.send.config(queue.name, cfg.queue.transient, &progress)
	cfg.send.putSettings(&r.Settings, work.LargestBody())
	u.notef("%s\n", report.Settings(r))

	done := u.follow(&progress, tracks{send: work.Count, confirms: !cfg.send.noConfirms})
	meter := startMeter(conn)
	sent, err := load.Send(ctx, conn.client, work, u.interrupted)
	meter.stop(r)
	done()

	putSent(r, sent)
	r.TotalSeconds = r.SendSeconds
	interrupted := u.stopping() && sent.Counts.Published < work.Count
	ended := endedBy(err, interrupted)
	r.Judge(ended, interrupted)
	return r, ended
}

// sentText is the last line of the tutorial's producer, and what it leaves out.
func sentText(r *result.Result) string {
	sent := result.Value(r.Sent)
	text := fmt.Sprintf(" [x] Sent %d messages in %.2f seconds", sent, result.Value(r.SendSeconds))
	if !r.Settings.Confirms {
		return text + "\n"
	}
	if confirmed := result.Value(r.Confirmed); confirmed != sent {
		return text + fmt.Sprintf(", %d confirmed, %d rejected, %d returned, %d unknown\n",
			confirmed, result.Value(r.Rejected), result.Value(r.Returned), result.Value(r.Unknown))
	}
	return text + ", all confirmed\n"
}
