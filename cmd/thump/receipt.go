package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/thumpmq/thump/internal/record"
)

// receiptFlags say what receive does with what it receives.
type receiptFlags struct {
	output  string
	discard bool
	exec    string
	lines   string // --exec-lines
	failure failureFlag
	add     bool
	split   splitFlag
	layout  formatFlags
	filter  filterFlag
	others  othersFlag
}

func (f *receiptFlags) register(flags *pflag.FlagSet) {
	flags.StringVarP(&f.output, "output", "o", "-", `write the messages to this file, which must not exist; "-" for standard output`)
	flags.BoolVar(&f.discard, "discard", false, "throw the messages away, and count them")
	flags.StringVar(&f.exec, "exec", "", "run this command of the shell for each message, with its body on standard input (a record with --format json); the message is acked when the command succeeds")
	flags.StringVar(&f.lines, "exec-lines", "", "run this command of the shell once, with a message on each line of its standard input; it answers each with a line: ack, requeue or reject")
	f.failure = failureStop
	flags.Var(&f.failure, "on-failure", "what becomes of a message whose --exec fails: it stays and receive stops, or it is requeued or rejected")
	f.layout.register(flags)
	flags.BoolVar(&f.add, "append", false, "add to the file, if it exists: records or lines that are not compressed; a last line without an end is what a kill has left of a message, and is cut off")
	flags.Var(&f.filter, "filter", "take only the messages that this expression is true of (docs/filter.md)")
	f.others = othersLeave
	flags.Var(&f.others, "others", "with --filter, what becomes of the other messages of a queue: they are held until the end and go back, or they are thrown away, too")
	flags.Var(&f.split, "split", "begin another file when one has this size; --output then has a number in it, like 'orders-%04d.ndjson'")
}

// toFile reports whether the messages go to a file.
func (f *receiptFlags) toFile() bool { return !f.discard && f.output != "-" }

// prefetch is the default of --prefetch.
func (f *receiptFlags) prefetch() int {
	switch {
	case f.holds():
		return prefetchMax // what goes back is held meanwhile
	case f.exec != "":
		return prefetchOfExec
	case f.lines != "":
		return prefetchOfExecLines
	case f.toFile():
		return prefetchOfFile
	default:
		return prefetchDefault
	}
}

// batch is how many messages a command has at a time, whatever may be held besides; 0 for any
// number.
func (f *receiptFlags) batch() int {
	switch {
	case f.exec != "":
		return 1 // which is acked when its command has succeeded
	case f.lines != "":
		return batchOfExecLines
	default:
		return 0
	}
}

// numbered is a name with a place for one number in it.
var numbered = regexp.MustCompile(`^[^%]*%0?[0-9]*d[^%]*$`)

func (f *receiptFlags) check(cfg *config) error {
	var errs []error
	wrong := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(cfg.given("others") && f.filter.filter == nil, "--others is for --filter")
	wrong(cfg.given("others") && cfg.streamName+cfg.superStream != "", "--others is for a queue: a stream keeps its messages")
	wrong(f.filter.filter != nil && cfg.queue.AutoAck, "--filter can't go with --auto-ack: the broker then drops what it sends")
	wrong(f.holds() && cfg.routing.queues > 0, "--filter can't go with --queues, unless --others discard: what it leaves is held until the end, in one queue")
	wrong(f.holds() && cfg.work.Requeue > 0, "--filter can't go with --requeue, unless --others discard: what it leaves is held until the end, and what is given back comes again at once")
	if f.discard {
		for _, flag := range []string{"output", "exec", "exec-lines", "on-failure", "format", "delimiter", "compress", "append", "split"} {
			wrong(cfg.given(flag), "--%s can't go with --discard: nothing is written", flag)
		}
		return faults(errs...)
	}
	for _, flag := range []string{"work", "consume-rate"} {
		wrong(cfg.given(flag), "--%s is for --discard: whatever gets the messages takes its own time", flag)
	}
	for _, flag := range []string{"requeue", "reject"} {
		wrong(cfg.given(flag), "--%s is for --discard: what was written is acked, and a command decides by itself (--on-failure, --exec-lines)", flag)
	}
	if f.exec != "" {
		for _, flag := range []string{"output", "exec-lines", "delimiter", "compress", "append", "split", "auto-ack"} {
			wrong(cfg.given(flag), "--%s can't go with --exec: a command gets each message", flag)
		}
		wrong(f.failure != failureStop && cfg.streamName+cfg.superStream != "", "--on-failure %s is for queues: a stream keeps its messages", f.failure)
		return faults(errs...)
	}
	wrong(cfg.given("on-failure"), "--on-failure is for --exec")
	if f.lines != "" {
		return faults(append(errs, f.checkLines(cfg))...)
	}
	format, compression := f.layout.of(f.output)
	wrong(cfg.queue.AutoAck, "--auto-ack can't go without --discard: messages are acked when they are written")
	wrong(f.output == "", "--output needs the name of a file")
	wrong(f.output == "-" && cfg.output.json == "-", "--json - can't go without --output FILE or --discard: the messages go to standard output")
	wrong(f.add && f.output == "-", "--append is for a file, and the messages go to standard output")
	wrong(f.add && (compression != record.None || format.Layout == record.Raw || format.Layout == record.LengthPrefixed),
		"--append is for records and lines that are not compressed: only there can be seen where the last message ends")
	wrong(f.add && f.split > 0, "--append can't go with --split")
	wrong(f.split > 0 && !numbered.MatchString(f.output), "--split needs a name with a number in it, like --output 'orders-%%04d.ndjson'")
	wrong(f.split == 0 && strings.Contains(f.output, "%") && numbered.MatchString(f.output), "--output %q has a place for a number, and there is no --split", f.output)
	if err := f.layout.check(); err != nil {
		errs = append(errs, err)
	}
	return faults(errs...)
}

// checkLines says what can't go with --exec-lines.
func (f *receiptFlags) checkLines(cfg *config) error {
	for _, flag := range []string{"output", "compress", "append", "split", "auto-ack"} {
		if cfg.given(flag) {
			return fmt.Errorf("--%s can't go with --exec-lines: a command gets the messages", flag)
		}
	}
	if format, _ := f.layout.of("-"); format.Layout != record.JSON && format.Layout != record.Lines {
		return fmt.Errorf("--format %s can't go with --exec-lines: its command gets a line for each message", format.Layout)
	}
	return f.layout.check()
}

// runs reports whether a command handles the messages.
func (f *receiptFlags) runs() bool { return f.exec+f.lines != "" }

// holds reports whether messages that are not wanted are held until the end.
func (f *receiptFlags) holds() bool { return f.filter.filter != nil && f.others == othersLeave }

// prefetchOfFile is the default of --prefetch for a file: what may come while the disk syncs.
const prefetchOfFile = 10_000

// open opens where the messages go; nil if they are thrown away.
func (f *receiptFlags) open(ctx context.Context, u *ui) (receiver, error) {
	if f.discard {
		return nil, nil
	}
	if f.exec != "" {
		u.data, u.terminal = true, nil // standard output and standard error are the command's too
		format, _ := f.layout.of("-")
		return &executor{command: f.exec, onFailure: f.failure, format: format, ctx: ctx, u: u}, nil
	}
	if f.lines != "" {
		u.terminal = nil // standard error is the command's too
		format, _ := f.layout.of("-")
		return startHandler(ctx, f.lines, format, u)
	}
	files := outputFiles{name: f.output, layout: f.layout, add: f.add, splitAt: uint64(f.split)}
	if f.output == "-" {
		u.data = true
		if term.IsTerminal(int(os.Stdout.Fd())) {
			if _, compression := f.layout.of("-"); compression != record.None {
				return nil, usageError{errors.New("what is compressed is nothing for a terminal: use --output FILE")}
			}
			files.terminal, u.terminal = u.stdout, nil // bars would be in between
		}
	}
	out, err := openOutlet(ctx, files, os.Stdout)
	if err != nil {
		return nil, fmt.Errorf("--output: %w", err)
	}
	return out, nil
}
