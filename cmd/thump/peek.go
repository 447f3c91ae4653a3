package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/dump"
	"github.com/thumpmq/thump/internal/printable"
	"github.com/thumpmq/thump/internal/record"
)

const peekDefault = 10

// peekConfig is what the command line asks peek for.
type peekConfig struct {
	look
	count countFlag
	last  countFlag
	all   bool
	json  bool
	full  int64 // the number or offset of one message; -1 for none
}

func peekCommand(u *ui) *cobra.Command {
	cfg := peekConfig{count: peekDefault}
	cmd := &cobra.Command{
		Use:   "peek QUEUE|STREAM",
		Short: "Look at the messages of a queue or stream, and leave them there",
		Long: `peek shows the first messages of a queue or a stream, 10 unless -n or --all says
otherwise, and leaves all of them where they are, in their order. It finds out by
itself which of the two the name is, or whether it is a super stream's.

A stream is read from --offset on, or its --last messages; that changes nothing. So is each
partition of a super stream, one after another: -n, --offset, --last and --full are for each.

A queue's messages are taken unacked, up to as many as are asked for, shown, and given
back when all are shown; nobody else gets them meanwhile. Afterwards they are marked as
redelivered. A quorum queue of RabbitMQ 4.3 or later counts no delivery for that; an
older one does, and drops or dead-letters messages that came back more often than its
delivery limit says, 20 times by default since RabbitMQ 4.0. peek says what it changes
before it reads. What the consumers of a queue hold unacked can't be seen. With --filter
all messages up to the last that is shown are taken.

Ctrl-C, a connection that is lost, and a process that is killed lose nothing: the broker
gives the messages back.

A message is a few lines. What is no text is shown as escapes, and a long body is cut;
--full N shows all of message N, which is the offset for a stream. --json prints
records, one a line, with all there is: docs/format.md describes them.
` + exitCodesHelp,
		Example: `  thump peek orders
  thump peek orders -n 100 --json
  thump peek orders --full 3                  all of the third message
  thump peek orders --filter 'json.total > 100'
  thump peek events --last 5
  thump peek --super-stream orders --last 5   of each partition
  thump peek events --offset 2026-11-23T10:00:00Z -n 20`,
		Args: takesNames(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cfg.check(cmd, args[0]); err != nil {
				return err
			}
			return peek(cmd.Context(), &cfg, u)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.VarP(&cfg.count, "count", "n", "how many messages to show (1000000, 10k, 1m)")
	flags.BoolVar(&cfg.all, "all", false, "show all that are there")
	flags.Var(&cfg.last, "last", "stream: show this many of the last messages")
	flags.Lookup("last").DefValue = ""
	flags.Int64Var(&cfg.full, "full", -1, "show all of one message: the first of a queue is 1; of a stream its offset")
	flags.Lookup("full").DefValue = ""
	flags.BoolVar(&cfg.json, "json", false, "print the messages as records, a line of JSON each")
	cfg.register(cmd)
	return cmd
}

func (cfg *peekConfig) check(cmd *cobra.Command, name string) error {
	given := cmd.Flags().Changed
	var wrong error
	switch {
	case cfg.all && given("count"):
		wrong = fmt.Errorf("--all can't go with --count")
	case given("last") && (given("offset") || cfg.all || given("count") || given("full")):
		wrong = fmt.Errorf("--last says where to begin and how many to show: it can't go with --offset, --count, --all or --full")
	case given("full") && (cfg.all || given("count") || given("offset")):
		wrong = fmt.Errorf("--full shows one message: it can't go with --count, --all or --offset")
	case given("full") && cfg.full < 0:
		wrong = fmt.Errorf("--full must be the number of a message, not %d", cfg.full)
	}
	return faults(cfg.look.check(cmd, name), wrong)
}

// peek shows messages.
func peek(ctx context.Context, cfg *peekConfig, u *ui) (err error) {
	starting, started := u.starting(ctx)
	defer started()
	conn, err := cfg.open(starting, u)
	if err != nil {
		return err
	}
	defer func() { err = closeLooked(ctx, u, conn, err) }()
	definition, err := cfg.find(starting, conn.client)
	if err != nil {
		return u.orInterrupted(err)
	}
	if err := u.disturbs(starting, conn.client, definition); err != nil {
		return u.orInterrupted(err)
	}
	patient, given := u.patient(ctx)
	defer given()
	p := peeker{cfg: cfg, u: u, out: u.untilEnded(patient, u.stdout)}
	if streams := definition.Streams(); streams != nil {
		err = p.streams(ctx, conn.client, streams)
	} else {
		err = p.queue(ctx, conn.client, definition)
	}
	if err == nil && cfg.full >= 0 && p.shown == 0 {
		err = fmt.Errorf("there is no message %d in %q", cfg.full, cfg.name)
	}
	if err == nil {
		u.notef("%s shown.\n", messages(p.shown))
	}
	return u.ended(err)
}

// peeker shows messages as they come.
type peeker struct {
	cfg   *peekConfig
	u     *ui
	out   io.Writer
	seen  int64 // of a queue
	shown uint64
	here  uint64 // of them from this queue or stream
	back  int    // the highest delivery count
	line  []byte
}

func (p *peeker) most() uint64 {
	switch {
	case p.cfg.all:
		return 0
	case p.cfg.last > 0:
		return uint64(p.cfg.last)
	default:
		return uint64(p.cfg.count)
	}
}

func (p *peeker) queue(ctx context.Context, client *thump.Client, d dump.Definition) error {
	most := p.most()
	if p.cfg.full == 0 {
		return usagef("--full 0: the first message of a queue is 1")
	}
	if p.cfg.full > 0 {
		most = uint64(p.cfg.full)
	}
	if p.cfg.filter.filter != nil && p.cfg.full < 0 {
		most = 0 // what is not shown does not count
	}
	_, err := dump.Browse(ctx, client, dump.Browsing{
		Queue: d.Name, Most: most, Interrupted: p.u.interrupted,
		Each: func(delivery *thump.Delivery) error {
			p.seen++
			count, _ := delivery.DeliveryCount()
			p.back = max(p.back, count)
			if p.cfg.full >= 0 && p.seen != p.cfg.full {
				return nil
			}
			return p.look(nil, delivery)
		},
	})
	if limit := deliveryLimit(client.Server(), d); dump.Counts(client.Server()) && d.Kind == thump.Quorum && limit > 0 && p.back > 0 {
		p.u.notef("A message was given back %d times before: after %d it is dropped or dead-lettered.\n", p.back, limit)
	}
	return err
}

// streams shows messages of streams, one after another.
func (p *peeker) streams(ctx context.Context, client *thump.Client, streams []string) error {
	ends, err := dump.StreamEnds(ctx, client, streams, p.u.interrupted)
	if err != nil {
		return err
	}
	for i, stream := range streams {
		if ends[i] == nil {
			continue
		}
		if err := p.stream(ctx, client, stream, *ends[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *peeker) stream(ctx context.Context, client *thump.Client, stream string, end dump.End) error {
	p.here = 0
	r := dump.Reading{
		Stream: stream, From: p.cfg.offset.begin(), End: end, Until: p.cfg.until.time, Interrupted: p.u.interrupted,
		Each: p.look,
	}
	switch {
	case p.cfg.full >= 0:
		offset := uint64(p.cfg.full)
		r.From, r.End.Offset = dump.Begin{Start: thump.FromOffset(offset), Offset: offset}, min(end.Offset, offset)
	case p.cfg.last > 0:
		r.From.Start = thump.FromOffset(end.Offset - min(end.Offset, uint64(p.cfg.last)-1))
	}
	_, err := dump.ReadStream(ctx, client, r)
	return err
}

// look shows a message that is wanted. The error says when there are enough of them.
func (p *peeker) look(batch *thump.Batch, d *thump.Delivery) error {
	if p.cfg.filter.filter != nil {
		if wanted, err := p.cfg.filter.filter.Match(d); !wanted || err != nil {
			return err
		}
	}
	if err := p.show(batch, d); err != nil {
		return err
	}
	if p.here == p.most() {
		return dump.ErrEnough
	}
	return nil
}

// show prints a message.
func (p *peeker) show(batch *thump.Batch, d *thump.Delivery) error {
	var r record.Record
	r.Set(d, batch)
	p.shown++
	p.here++
	if p.cfg.json {
		p.line = record.Append(p.line[:0], &r)
		_, err := p.out.Write(p.line)
		return err
	}
	title := fmt.Sprintf("message %d", p.seen)
	if r.Stream != "" {
		title = fmt.Sprintf("offset %d", r.Offset)
	}
	if r.Stream != "" && r.Stream != p.cfg.name { // a partition
		title += " of " + printable.Text(r.Stream)
	}
	p.line = p.line[:0]
	if p.shown > 1 {
		p.line = append(p.line, '\n')
	}
	p.line = append(p.line, messageText(title, &r, p.cfg.full >= 0)...)
	_, err := p.out.Write(p.line)
	return err
}
