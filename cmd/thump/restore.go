package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/dump"
)

// restoreConfig is what the command line asks restore for.
type restoreConfig struct {
	file, target string
	kind         kindFlag
	add          bool
	partial      bool
	skip         bool
	maxBody      maxBodyFlag
	connect      connectFlags
	recovery     recoveryFlags
	quiet        bool
}

func restoreCommand(u *ui) *cobra.Command {
	cfg := restoreConfig{kind: kindFlag{of: []string{kindClassic, kindQuorum, kindStream}}}
	cmd := &cobra.Command{
		Use:   "restore FILE [QUEUE|STREAM]",
		Short: "Put the messages of a dump back into a queue or stream",
		Long: `restore publishes the messages of a dump (see thump dump) in order, with their bodies,
properties and headers, to the queue or stream that it is of, or to the one that you
name. It reads the file through first: one that is cut short or damaged is refused. It
succeeds once the broker has confirmed every message.

A queue or stream that is not there is made as the dump says, or of another --kind. One
that holds messages is refused; --add puts the dump's after them.

The dump of a super stream goes into a super stream, each message into the partition that it
was in, in order. One that is there must have the same partitions. With --kind it goes into a
queue or stream, one partition after another. Into a super stream goes no other dump: restore
it to a queue or stream, and thump move that to the super stream, which gets each message by
its routing key.

The broker stamps what it stores: a stream's offsets and times are new. Where messages came
through exchanges, they go through one that restore makes for the purpose and deletes
afterwards, so that they keep their routing keys and reach this queue alone. A user id in a
message must be your own, unless you may impersonate.

When a restore to a stream is interrupted or killed, run it again: it goes on where it was,
and doubles nothing. Of a restore to a queue, what was confirmed stays there.
` + exitCodesHelp,
		Example: `  thump restore orders.dump.zst
  thump restore orders.dump.zst orders-copy --kind quorum
  thump restore events.dump.zst events-2 --url amqp://user:password@other-host
  thump restore super.dump.zst             with its partitions
  thump restore super.dump.zst all --kind stream`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usagef("thump restore takes a file and at most one queue or stream, and got %d arguments", len(args))
			}
			if slices.ContainsFunc(args, isURL) {
				return misplaced("an argument of thump restore")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.file = args[0]
			if len(args) > 1 {
				if cfg.target = args[1]; cfg.target == "" || len(cfg.target) > nameMax {
					return usagef("the name of a queue or stream has from 1 to %d bytes, not %d", nameMax, len(cfg.target))
				}
			}
			if err := faults(cfg.connect.check(cmd.Flags().Changed), cfg.recovery.check(cmd.Flags().Changed)); err != nil {
				return err
			}
			return restore(cmd.Context(), &cfg, u)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.Var(&cfg.kind, "kind", "make a queue of this kind, or a stream, if it is not there (default: as the dump says)")
	flags.BoolVar(&cfg.add, "add", false, "put the messages after those that are there")
	flags.BoolVar(&cfg.partial, "partial", false, "put back what there is of a dump that is cut short")
	flags.BoolVar(&cfg.skip, "skip-bad", false, "leave out messages that can't be published, and count them")
	cfg.maxBody.register(flags)
	cfg.connect.register(flags)
	cfg.recovery.register(flags)
	flags.BoolVarP(&cfg.quiet, "quiet", "q", false, "print only the answer, no notes and no progress")
	return cmd
}

// restore verifies a dump and puts its messages back.
func restore(ctx context.Context, cfg *restoreConfig, u *ui) (err error) {
	u.quiet = cfg.quiet
	contents, err := readThrough(cfg.file, u)
	switch {
	case errors.Is(err, dump.ErrCutShort) && !cfg.partial:
		return fmt.Errorf("%s: %w; nothing was put back, and --partial puts back the %d messages that are there", cfg.file, err, contents.Messages)
	case err != nil && !errors.Is(err, dump.ErrCutShort):
		return err
	}
	starting, started := u.starting(ctx)
	defer started()
	conn, err := cfg.connect.connect(starting, u, manner{name: "thump restore", recovery: cfg.recovery.recovery()})
	if err != nil {
		return u.orInterrupted(err)
	}
	defer func() { err = closeLooked(ctx, u, conn, err) }()
	to, err := cfg.prepare(starting, conn.client, contents, u)
	if err != nil {
		return u.orInterrupted(err)
	}
	return cfg.putBack(ctx, conn.client, contents, to, u)
}

// prepare makes the queue, stream or super stream, or finds out what the one that is there is.
func (cfg *restoreConfig) prepare(ctx context.Context, client *thump.Client, contents dump.Contents, u *ui) (dump.Definition, error) {
	of := contents.Header.Queue
	if of.Kind == dump.SuperStream && cfg.kind.kind == "" {
		return cfg.prepareSuperStream(ctx, client, contents, u)
	}
	to := of
	to.Name, to.Partitions = cmp.Or(cfg.target, of.Name), nil
	if cfg.kind.kind != "" {
		to.Kind = thump.QueueKind(cfg.kind.kind)
	}
	there, err := dump.Describe(ctx, client, to.Name)
	switch {
	case thump.IsNotFound(err) && cfg.kind.kind == "" && client.InspectExchange(ctx, to.Name) == nil && isSuperStream(ctx, client, to.Name):
		return to, fmt.Errorf("%q is a super stream, and the dump of %s %q does not say which partition a message is for: restore it to a queue or stream, and thump move that to %[1]q, which gets each message by its routing key", to.Name, kindText(of), of.Name)
	case thump.IsNotFound(err):
		return to, cfg.make(ctx, client, of, &to, u)
	case err != nil:
		return there, err
	case cfg.kind.kind != "" && there.Kind != to.Kind:
		return there, fmt.Errorf("%q is there already, as %s: --kind is for a new one", to.Name, kindText(there))
	}
	return there, cfg.checkEmpty(ctx, client, contents, there, u)
}

// prepareSuperStream is prepare for the dump of a super stream that goes into one.
func (cfg *restoreConfig) prepareSuperStream(ctx context.Context, client *thump.Client, contents dump.Contents, u *ui) (dump.Definition, error) {
	to := contents.Header.Queue
	if err := to.Rename(cmp.Or(cfg.target, to.Name)); err != nil {
		return to, err
	}
	there, err := to.IsThere(ctx, client)
	if err != nil {
		return to, err
	}
	if !there && cfg.target != "" {
		if _, err := client.InspectQueue(ctx, to.Name); err == nil {
			return to, fmt.Errorf("%q is no super stream, as the dump is of: with --kind all messages go into that queue or stream, one partition after another", to.Name)
		}
	}
	if err := cfg.checkEmpty(ctx, client, contents, to, u); err != nil || there {
		return to, err
	}
	if err := to.Declare(ctx, client); err != nil {
		return to, err
	}
	u.notef("Made %s %q.\n", kindText(to), to.Name)
	return to, nil
}

// make makes the queue or stream.
func (cfg *restoreConfig) make(ctx context.Context, client *thump.Client, of dump.Definition, to *dump.Definition, u *ui) error {
	if to.Kind == "" {
		return fmt.Errorf("the dump does not know what kind the queue %q had (%s): say --kind", of.Name, of.Partial)
	}
	if slices.ContainsFunc(of.Partitions, func(p dump.Partition) bool { return len(p.Arguments) > 0 }) {
		u.notef("The limits of the partitions are left out: %s %q has none.\n", kindText(*to), to.Name)
	}
	if to.Kind != of.Kind {
		to.Transient, to.AutoDelete = to.Transient && to.Kind == thump.Classic, to.AutoDelete && to.Kind != dump.Stream
		if left := to.Fit(); len(left) > 0 {
			u.notef("Left out, because %s has no such arguments: %s\n", kindText(*to), strings.Join(left, ", "))
		}
	}
	if err := to.Declare(ctx, client); err != nil {
		return err
	}
	u.notef("Made %s %q.\n", kindText(*to), to.Name)
	return nil
}

// checkEmpty refuses what holds messages, unless they may be added to.
func (cfg *restoreConfig) checkEmpty(ctx context.Context, client *thump.Client, contents dump.Contents, there dump.Definition, u *ui) error {
	held := ""
	if streams := there.Streams(); streams != nil {
		begun, end, err := inStreams(ctx, client, contents, streams)
		switch {
		case err != nil:
			return err
		case begun == contents.Messages && begun > 0:
			u.notef("All messages of this dump were put into %s already: nothing is put into it again.\n", kindText(there))
			return nil
		case begun > 0:
			u.notef("A restore of this dump was cut short after %s: going on there.\n", messages(begun))
			return nil
		}
		held = end
	} else {
		info, err := client.InspectQueue(ctx, there.Name)
		if err != nil {
			return err
		}
		if info.Messages > 0 {
			held = fmt.Sprintf("the queue %q holds %d messages", there.Name, info.Messages)
		}
	}
	if held == "" {
		return nil
	}
	if !cfg.add {
		return fmt.Errorf("%s: --add puts the dump's after them", held)
	}
	u.notef("Note: %s already.\n", held)
	return nil
}

// inStreams looks what is in streams, of which some may be still to make: how many messages of the
// dump they have had, and which of them, the first one, holds any.
func inStreams(ctx context.Context, client *thump.Client, contents dump.Contents, streams []string) (begun uint64, held string, err error) {
	var made []string
	for _, stream := range streams {
		n, err := dump.Begun(ctx, client, stream, contents)
		if thump.IsNotFound(err) {
			continue
		}
		if err != nil {
			return 0, "", err
		}
		begun += n
		made = append(made, stream)
	}
	if begun > 0 {
		return begun, "", nil
	}
	ends, err := dump.StreamEnds(ctx, client, made, nil)
	for i, end := range ends {
		if end != nil {
			return 0, fmt.Sprintf("the stream %q holds messages, up to offset %d", made[i], end.Offset), err
		}
	}
	return 0, "", err
}

// putBack publishes the messages.
func (cfg *restoreConfig) putBack(ctx context.Context, client *thump.Client, contents dump.Contents, to dump.Definition, u *ui) error {
	progress := new(dump.Progress)
	progress.Total.Store(contents.Messages)
	stop := u.count(progress, "restored")
	var restored dump.Restored
	err := withDump(cfg.file, func(in io.Reader) (err error) {
		restored, err = dump.Restore(ctx, client, dump.Restoring{
			From: in, Contents: contents, To: to, SkipUnpublishable: cfg.skip, MaxMessageBytes: int(cfg.maxBody),
			Progress: progress, Interrupted: u.interrupted,
		})
		return err
	})
	stop()
	text := fmt.Sprintf("%d of %d messages are confirmed by %s %q", restored.Confirmed, contents.Messages, kindText(to), to.Name)
	if restored.There > 0 {
		text += fmt.Sprintf(", which had %d before", restored.There)
	}
	if restored.Skipped > 0 {
		text += fmt.Sprintf("; %d left out, the first: %s", restored.Skipped, restored.WhySkipped)
	}
	if restored.Resent > 0 {
		text += fmt.Sprintf("; %d may be there twice, because the connection was lost", restored.Resent)
	}
	if restored.Unknown > 0 {
		text += fmt.Sprintf("; %d more may be there: their confirms have not come", restored.Unknown)
	}
	if err != nil {
		u.errorf("%s\n", text)
		return u.ended(err)
	}
	u.printf("%s\n", text)
	return nil
}
