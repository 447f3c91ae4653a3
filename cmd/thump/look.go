package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/dump"
	"github.com/thumpmq/thump/internal/version"
)

// look is what peek and dump read, and how.
type look struct {
	command string
	flags   *pflag.FlagSet

	name     string // of a queue, a stream or a super stream
	isStream bool   // --stream says so
	isSuper  bool   // --super-stream does
	offset   offsetFlag
	until    untilFlag
	filter   filterFlag
	connect  connectFlags
	recovery recoveryFlags
	quiet    bool
}

// register adds the flags that peek and dump have in common.
func (l *look) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&l.isStream, "stream", false, "the name is a stream's: don't ask over AMQP what it is")
	flags.BoolVar(&l.isSuper, "super-stream", false, "the name is a super stream's, even if there is a queue of that name")
	flags.Var(&l.offset, "offset", "stream: begin with the first message, the last chunk, an offset, a time, or -1000 for the last thousand")
	flags.Var(&l.until, "until", `stream: end with what was stored up to this time, or "now"`)
	flags.Var(&l.filter, "filter", "only the messages that this expression is true of (docs/filter.md)")
	l.connect.register(flags)
	l.recovery.register(flags)
	flags.BoolVarP(&l.quiet, "quiet", "q", false, "print only the answer, no notes and no progress")
}

// check says what is wrong with the command line.
func (l *look) check(cmd *cobra.Command, name string) error {
	l.command, l.flags, l.name = cmd.CommandPath(), cmd.Flags(), name
	switch {
	case isURL(name):
		return misplaced("an argument of " + l.command)
	case name == "":
		return usagef("the queue or stream needs a name")
	case len(name) > nameMax:
		return usagef("the name is %d bytes long, RabbitMQ allows %d", len(name), nameMax)
	}
	var wrong error
	switch {
	case l.isStream && l.isSuper:
		wrong = errors.New("--stream can't go with --super-stream: it is one or the other")
	case l.offset.text == "next":
		wrong = fmt.Errorf("--offset next is for what is to come, and %s reads what is there: use thump receive --stream", l.command)
	}
	return faults(l.connect.check(l.flags.Changed), l.recovery.check(l.flags.Changed), wrong)
}

// open connects. Whoever opens must close.
func (l *look) open(ctx context.Context, u *ui) (*connection, error) {
	u.quiet = l.quiet
	conn, err := l.connect.connect(ctx, u, manner{name: l.command, recovery: l.recovery.recovery()})
	return conn, u.orInterrupted(err)
}

// closeLooked closes a connection; the error is err, or else why that failed.
func closeLooked(ctx context.Context, u *ui, conn *connection, err error) error {
	timeout := cleanupTimeout
	if u.stopping() {
		timeout = goodbyeTimeout
	}
	if closing := conn.close(ctx, false, timeout); err == nil {
		return closing
	}
	return err
}

// find finds out what the name is.
func (l *look) find(ctx context.Context, client *thump.Client) (dump.Definition, error) {
	switch {
	case l.isStream:
		if _, err := client.InspectStream(ctx, l.name); err != nil {
			return dump.Definition{}, err
		}
		return dump.Definition{Name: l.name, Kind: dump.Stream, Partial: "it was named as a stream, and not asked for over AMQP"}, nil
	case l.isSuper:
		return dump.DescribeSuperStream(ctx, client, l.name)
	}
	d, err := dump.Describe(ctx, client, l.name)
	if thump.IsNotFound(err) {
		return l.findOther(ctx, client, err)
	}
	if err != nil || d.Streams() != nil {
		return d, err
	}
	for _, flag := range []string{"offset", "until", "last"} {
		if f := l.flags.Lookup(flag); f != nil && f.Changed {
			return d, usagef("--%s is for streams, and %q is a queue", flag, l.name)
		}
	}
	return d, nil
}

// findOther finds out what the name is that is no queue's.
func (l *look) findOther(ctx context.Context, client *thump.Client, noQueue error) (dump.Definition, error) {
	if isSuperStream(ctx, client, l.name) {
		return dump.DescribeSuperStream(ctx, client, l.name)
	}
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if client.InspectExchange(asking, l.name) == nil {
		return dump.Definition{}, fmt.Errorf("%q is an exchange, and no queue has that name: %s is for queues and streams", l.name, l.command)
	}
	if ctx.Err() != nil { // it was not found out
		return dump.Definition{}, ctx.Err()
	}
	return dump.Definition{}, noQueue
}

// disturbs tells what reading a queue changes.
func (u *ui) disturbs(ctx context.Context, client *thump.Client, d dump.Definition) error {
	if d.Streams() != nil {
		return nil
	}
	info, err := client.InspectQueue(ctx, d.Name)
	if err != nil {
		return err
	}
	if d.AutoDelete && info.Consumers == 0 {
		return goesWithUs(d.Name)
	}
	counts := d.Kind != thump.Classic && dump.Counts(client.Server())
	what := fmt.Sprintf("What is read of the queue %q is given back, and then marked as redelivered", d.Name)
	switch {
	case counts && d.Kind == thump.Quorum:
		what += "; this quorum queue also counts a delivery of each message" + limitText(client.Server(), d)
	case counts:
		what += "; if it is a quorum queue, that counts a delivery of each message as well"
	}
	u.notef("%s.\n", what)
	if info.Consumers > 0 {
		u.notef("The queue has consumers (%d): what they hold unacked is not seen here, and what is read here they get later, perhaps out of order.\n", info.Consumers)
	}
	return nil
}

// goesWithUs is the error for a queue that RabbitMQ deletes with its last consumer, where
// that would be thump.
func goesWithUs(queue string) error {
	return fmt.Errorf("the queue %q is auto-delete, and has no consumer: RabbitMQ would delete it after this, with the messages that stay in it or go back", queue)
}

// checkStays refuses such a queue.
func checkStays(ctx context.Context, client *thump.Client, queue string) error {
	d, err := dump.Describe(ctx, client, queue)
	if err != nil || !d.AutoDelete {
		return err
	}
	info, err := client.InspectQueue(ctx, queue)
	if err == nil && info.Consumers == 0 {
		err = goesWithUs(queue)
	}
	return err
}

// limitText is what becomes of messages that were delivered too often.
func limitText(server thump.ServerInfo, d dump.Definition) string {
	if limit := deliveryLimit(server, d); limit > 0 {
		return fmt.Sprintf(", and drops or dead-letters one that comes back more than %d times", limit)
	}
	return ""
}

// deliveryLimit is how often a message of a quorum queue may come back; 0 if there is no
// limit. A policy may say something else.
func deliveryLimit(server thump.ServerInfo, d dump.Definition) int64 {
	const byDefault = 20 // since RabbitMQ 4.0
	given, found := d.Arguments.Get("x-delivery-limit")
	limit, _ := given.(int64)
	switch {
	case found:
		return max(0, limit)
	case version.Before(server.Version, 4, 0):
		return 0
	default:
		return byDefault
	}
}

// ended is the error of what was read, as the user is told it.
func (u *ui) ended(err error) error {
	if errors.Is(err, dump.ErrInterrupted) {
		return errInterrupted
	}
	return u.orInterrupted(err)
}

// countEvery is how often the progress of a dump or a restore is told.
const countEvery = 2 * time.Second

// count tells how far something is, until the function that it returns is called.
func (u *ui) count(p *dump.Progress, done string) (stop func()) {
	if u.quiet {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(countEvery)
		defer tick.Stop()
		for begin := time.Now(); ; {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			n, total := p.Messages.Load(), p.Total.Load()
			rate := float64(n) / time.Since(begin).Seconds()
			if total == 0 {
				u.errorf(" [.] %s %d messages, %.0f a second\n", done, n, rate)
				continue
			}
			u.errorf(" [.] %s %d of %d messages (%d %%), %.0f a second\n", done, n, total, 100*min(n, total)/total, rate)
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

// messages is a number of messages in words.
func messages(n uint64) string { return several(n, "message") }

// several is a number of things, in words.
func several[N int | uint64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
