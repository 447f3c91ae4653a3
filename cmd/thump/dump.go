package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/thumpmq/thump/internal/dump"
)

// dumpConfig is what the command line asks dump for.
type dumpConfig struct {
	look
	file   string
	force  bool
	verify bool
	resume bool
}

func dumpCommand(u *ui) *cobra.Command {
	var cfg dumpConfig
	cmd := &cobra.Command{
		Use:   "dump QUEUE|STREAM FILE",
		Short: "Keep the messages of a queue or stream as a file, and take nothing away",
		Long: `dump writes the messages that a queue, a stream or a super stream holds when it begins to
FILE, with what it was declared with, their number and a digest. thump restore puts them
back. A FILE that ends in .zst or .gz is compressed. It appears under its name once it
is whole; one that exists is replaced only with --force. "-" is standard output.

A stream is read from --offset to its end, or to --until, which changes nothing. So is each
partition of a super stream, one after another.

A queue's messages are taken unacked, written, and given back in order at the end; nobody
else gets them meanwhile, and the broker keeps in memory that they are taken. Afterwards
they are marked as redelivered, and a quorum queue before RabbitMQ 4.3 has counted a
delivery of each. RabbitMQ takes messages back that are unacked for 30 minutes: a dump that
takes longer fails, and changes nothing else. What the queue's own consumers hold unacked
is not in the dump.

dump --verify FILE reads a file through, and says what is in it. A file that is cut short
or damaged is an error.

Ctrl-C, a connection that is lost, and a process that is killed lose nothing: the broker
gives the messages back, and there is no FILE. With --resume what was read of a stream
stays, in FILE.part, and the same command goes on from there. docs/dump.md says what is in a file.
` + exitCodesHelp,
		Example: `  thump dump orders orders.dump.zst
  thump dump events events.dump.zst --offset 2026-11-23T00:00:00Z --until now
  thump dump events events.dump.zst --resume
  thump dump --super-stream orders orders.dump.zst
  thump dump orders acme.dump --filter 'headers.tenant == "acme"'
  thump dump --verify orders.dump.zst`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case cfg.verify && len(args) != 1:
				return usagef("thump dump --verify takes one file, and got %d", len(args))
			case !cfg.verify && len(args) != 2:
				return usagef("thump dump takes a queue or stream and a file, and got %d arguments", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if cfg.verify {
				u.quiet = cfg.quiet
				return verify(args[0], u)
			}
			cfg.file = args[1]
			if isURL(cfg.file) {
				return misplaced("an argument of thump dump")
			}
			if err := cfg.check(cmd, args[0]); err != nil {
				return err
			}
			return save(cmd.Context(), &cfg, u)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&cfg.force, "force", false, "replace a file that exists")
	flags.BoolVar(&cfg.resume, "resume", false, "stream: keep what there is in FILE.part when it is interrupted or killed, and go on from there")
	flags.BoolVar(&cfg.verify, "verify", false, "read a dump through, and say what is in it")
	cfg.register(cmd)
	return cmd
}

// save makes a dump.
func save(ctx context.Context, cfg *dumpConfig, u *ui) (err error) {
	starting, started := u.starting(ctx)
	defer started()
	if cfg.file == "-" {
		cfg.file = "/dev/stdout"
	}
	_, open := descriptor(cfg.file)
	if info, err := os.Stat(cfg.file); err == nil && info.Mode().IsRegular() && !cfg.force && !open {
		return fmt.Errorf("%s: it exists; --force replaces it", cfg.file)
	}
	out, err := createFile(starting, cfg.file, u.stdout, u.stderr)
	if err != nil {
		return u.orInterrupted(err)
	}
	defer out.discard()
	if cfg.resume && out.out != nil {
		return usagef("--resume needs a file: %s is none", cfg.file)
	}
	conn, err := cfg.open(starting, u)
	if err != nil {
		return err
	}
	defer func() { err = closeLooked(ctx, u, conn, err) }()
	definition, err := cfg.find(starting, conn.client)
	if err != nil {
		return u.orInterrupted(err)
	}
	if cfg.resume && definition.Streams() == nil {
		return usagef("--resume is for streams, and %q is a queue: all of it is read and given back at once", cfg.name)
	}
	if definition.Partial != "" {
		u.notef("Not all is known of what %q was declared with: %s\n", cfg.name, definition.Partial)
	}
	if err := u.disturbs(starting, conn.client, definition); err != nil {
		return u.orInterrupted(err)
	}
	patient, given := u.patient(ctx)
	defer given()
	saving := dump.Saving{
		From: definition, Out: u.untilEnded(patient, out), Compression: dump.Compression(cfg.file),
		Begin: cfg.offset.begin(), Until: cfg.until.time, Skip: cfg.filter.skip(), Progress: new(dump.Progress), Interrupted: u.interrupted,
		Begins: func(n uint64) { cfg.begins(u, definition, n) },
	}
	keep := out.keep
	if cfg.resume {
		part, failed := openPart(cfg.file)
		if failed != nil {
			return failed
		}
		keep = part.keep
		cfg.goOn(&saving, part, u)
		defer func() {
			if err != nil {
				u.errorf("What there is of the dump is in %s: the same with --resume goes on from there.\n", part.suspend())
			}
		}()
	}
	stop := u.count(saving.Progress, "dumped")
	trailer, err := dump.Save(ctx, conn.client, saving)
	stop()
	if err == nil {
		err = keep()
	}
	if err != nil {
		return u.ended(err)
	}
	cfg.tell(u, definition, trailer, saving.Progress.Total.Load(), out.out == io.Writer(u.stdout))
	return nil
}

// begins says how much there is to read.
func (cfg *dumpConfig) begins(u *ui, d dump.Definition, n uint64) {
	some := messages(n)
	if d.Streams() != nil {
		some = "up to " + some // some offsets have none, and what is before --offset is not known
	}
	u.notef("Dumping %s of %s %q to %s.\n", some, kindText(d), cfg.name, cfg.file)
}

// goOn lets a dump go on from what there is of it.
func (cfg *dumpConfig) goOn(s *dump.Saving, part *partFile, u *ui) {
	s.Out, s.Resumable, s.Old = part, true, part.reader()
	s.Copied = func(n uint64) error {
		u.notef("Going on after %s.\n", messages(n))
		return part.copied()
	}
}

// tell says what is in the dump. total is how many messages were there at the beginning.
func (cfg *dumpConfig) tell(u *ui, d dump.Definition, end dump.Trailer, total uint64, toStdout bool) {
	if d.Streams() == nil && cfg.filter.filter == nil && end.Messages < total {
		u.notef("%s were there at the beginning: others have taken some meanwhile.\n", messages(total))
	}
	answer := u.printf
	if toStdout {
		answer = u.notef
	}
	answer("%s of %s %q are in %s\nsha256 of the messages: %s\n", messages(end.Messages), kindText(d), cfg.name, cfg.file, end.MessagesSHA256)
}

// kindText is what a definition is of.
func kindText(d dump.Definition) string {
	switch d.Kind {
	case dump.Stream:
		return "the stream"
	case dump.SuperStream:
		return "the super stream"
	case "":
		return "the queue"
	default:
		return fmt.Sprintf("the %s queue", d.Kind)
	}
}

// verify reads a dump through.
func verify(name string, u *ui) error {
	contents, err := readThrough(name, u)
	if errors.Is(err, dump.ErrCutShort) {
		return fmt.Errorf("%s: %w; thump restore --partial puts back the %d messages that are there", name, err, contents.Messages)
	}
	if err != nil {
		return err
	}
	u.printf("%s", contentsText(contents))
	return nil
}

// readThrough verifies a dump file. With dump.ErrCutShort the contents are those that are
// there.
func readThrough(name string, u *ui) (contents dump.Contents, err error) {
	err = withDump(name, func(in io.Reader) error {
		progress := new(dump.Progress)
		defer u.count(progress, "verified")()
		contents, err = dump.Verify(in, progress, u.interrupted)
		return err
	})
	switch {
	case errors.Is(err, dump.ErrInterrupted):
		return contents, errInterrupted
	case err != nil && !errors.Is(err, dump.ErrCutShort):
		return contents, fmt.Errorf("%s: %w", name, err)
	}
	return contents, err
}

// withDump opens a dump file for read.
func withDump(name string, read func(io.Reader) error) error {
	if isURL(name) {
		return misplaced("an argument of thump restore or dump --verify")
	}
	in, err := os.Open(name)
	if err != nil {
		return errors.Unwrap(err)
	}
	defer in.Close()
	info, err := in.Stat()
	switch {
	case err != nil:
		return err
	case info.Mode()&fs.ModeType != 0:
		return errors.New("it is no file; a dump is read twice")
	}
	return read(in)
}

// contentsText says what is in a dump.
func contentsText(c dump.Contents) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s of %s %q, %d bytes of bodies\nsha256 of the messages: %s\n",
		messages(c.Messages), kindText(c.Header.Queue), c.Header.Queue.Name, c.BodyBytes, c.Digest)
	for _, p := range c.Header.Queue.Partitions {
		fmt.Fprintf(&text, "%s in the partition %q\n", messages(c.InPartition[p.Name]), p.Name)
	}
	if c.Unpublishable > 0 {
		fmt.Fprintf(&text, "%d of them can't be put back into a queue, %d not into a stream; the first: %s\n", c.Unpublishable, c.UnpublishableToStream, c.Why)
	}
	return text.String()
}
