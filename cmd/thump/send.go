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
	onePlace
	send   sendFlags
	stream streamSendFlags
	disk   disk
}

func sendCommand(u *ui) *cobra.Command {
	var cfg sendConfig
	cmd := &cobra.Command{
		Use:   "send [QUEUE]",
		Short: "Send messages to a queue or stream: the tutorial's producer",
		Long: `send publishes messages to QUEUE (hello where none is given), to the stream
--stream or to the super stream --super-stream, and waits until the broker has
confirmed every one.

A queue that is there is used as it is. A new one is durable, unless --transient:
the tutorial's own programs make and expect a transient queue.

A stream that is not there is made, and keeps everything unless
--stream-max-bytes. Its messages share entries (--sub-entry), which every reader
of the stream can read; what --compression compresses only those can that speak
the stream protocol, AMQP readers cannot. A super stream's messages go to its
partitions by a hash of their number.

The first Ctrl-C stops publishing and waits up to 10 s for confirms; the second
ends at once.
` + exitCodesHelp,
		Example: `  thump send
  thump send --transient                 to the tutorial's consumer
  thump send orders --count 10k --body 1KiB
  thump send --stream events --count 100m
  thump send --stream events --sub-entry 1000 --compression zstd --body 1KiB
  thump send --super-stream orders --partitions 3
  thump send --url amqp://user:password@host/vhost hello`,
		Args: atMostOneQueue,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := faults(cfg.setPlace(cmd, args)); err != nil {
				return err
			}
			if err := faults(cfg.check(), cfg.send.check(cfg.flags), cfg.stream.check()); err != nil {
				return err
			}
			return cfg.run(cmd.Context(), u, "send", &cfg)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	cfg.send.register(flags)
	cfg.places.registerQueue(flags, kindClassic, kindQuorum)
	cfg.places.registerStream(flags)
	cfg.places.registerSuperStream(flags)
	cfg.stream.register(flags)
	cfg.connect.register(flags)
	cfg.output.register(flags)
	return cmd
}

// begin looks first whether there is room for what is to be sent.
func (cfg *sendConfig) begin(ctx context.Context, conn *connection) (prepared, error) {
	if cfg.place.Streams() {
		var err error
		if cfg.disk, err = diskFor(conn, cfg.work(nil), &cfg.places); err != nil {
			return prepared{}, err
		}
	}
	return cfg.places.prepare(ctx, conn.client, cfg.place, cfg.flags, true)
}

// work is what is to be sent.
func (cfg *sendConfig) work(progress *load.Progress) load.SendConfig {
	work := cfg.send.config(cfg.place, cfg.flags, progress)
	work.Transient = cfg.places.transient
	if cfg.place.Streams() {
		work.Stream = cfg.stream.config()
	}
	return work
}

func (cfg *sendConfig) measure(ctx context.Context, conn *connection, place *prepared, u *ui) (*result.Result, string, error) {
	r := newRecord("send", conn, place)
	var progress load.Progress
	work := cfg.work(&progress)
	cfg.send.putSettings(&r.Settings, &work)
	if cfg.place.Streams() {
		cfg.stream.putSettings(&r.Settings)
		cfg.disk.put(&r.Settings)
		putMaxBytes(&r.Settings, &cfg.places, place)
	}
	u.notef("%s\n", report.Settings(r))

	done := u.follow(&progress, tracks{send: work.Count, confirms: !work.NoConfirms, streams: work.To.Streams()})
	meter := startMeter(conn)
	sent, err := load.Send(ctx, conn.client, work, u.interrupted)
	meter.stop(r)
	done()

	putSent(r, sent)
	r.TotalSeconds = r.SendSeconds
	interrupted := u.stopping() && sent.Counts.Published < work.Count
	ended := endedBy(err, interrupted)
	r.Judge(ended, interrupted)
	return r, sentText(r), ended
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
