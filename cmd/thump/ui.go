package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/thumpmq/thump/internal/printable"
)

// ui is where a command talks to its user. What was asked for goes to stdout, all
// else to stderr. A write that fails stops the command as Ctrl-C does: there is no
// point in working for a summary that nobody can read.
type ui struct {
	stdout, stderr *output
	terminal       *os.File // stderr if it is a terminal, for bars; else nil
	quiet          bool     // no settings, no progress
	data           bool     // stdout has messages: the answer goes to stderr
	unattended     bool     // nobody waits: no command is run, and no input read
	warned         bool     // that passwords go over the network in clear

	stopOnce sync.Once
	// interrupted is closed when the command is to end in order.
	interrupted chan struct{}
	signal      atomic.Pointer[os.Signal] // the first that came
}

func newUI(stdout, stderr *os.File) *ui {
	u := &ui{interrupted: make(chan struct{})}
	u.stdout = &output{w: stdout, name: "standard output", failed: u.stop}
	u.stderr = &output{w: stderr, name: "standard error", failed: u.stop}
	// A terminal that does not know its width, as in some containers, has no room
	// for bars.
	if terminalWidth(stderr) > 0 && obeysEscapes(stderr) {
		u.terminal = stderr
	}
	return u
}

func (u *ui) stop() { u.stopOnce.Do(func() { close(u.interrupted) }) }

func (u *ui) stopping() bool {
	select {
	case <-u.interrupted:
		return true
	default:
		return false
	}
}

const (
	// orderlyTimeout is how long a command may finish in order after SIGTERM or SIGHUP.
	// Then it ends at once, as with a second Ctrl-C.
	orderlyTimeout = 4 * time.Second
	// endTimeout is when the process exits after one of these, whatever still waits for
	// something. Who sends them sends SIGKILL next: docker stop after 10 s.
	endTimeout = 8 * time.Second
)

// catchInterrupts makes Ctrl-C, and the signals that end a process, stop the command:
// the first in order, the second at once, by ending the returned context. The third
// kills the process, as if it were not caught. Call release when the command is over.
func (u *ui) catchInterrupts() (ctx context.Context, release func()) {
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it ignored
		signal.Notify(signals, syscall.SIGHUP)
	}
	// A closed pipe must be an error of the write: to die of the signal would end
	// without a summary. The signal is caught and not ignored, because programs that
	// are started inherit what is ignored.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	go func() {
		var late <-chan time.Time
		select {
		case first := <-signals:
			message := "finishing; Ctrl-C again ends at once"
			if first != os.Interrupt {
				message = fmt.Sprintf("finishing, within %v", endTimeout)
				late = time.After(orderlyTimeout)
				time.AfterFunc(endTimeout, func() { os.Exit(u.interruptedCode()) })
			}
			u.signal.Store(&first)
			u.stop()
			go u.errorf("\nthump: %s\n", message) // which waits for as long as nobody reads
		case <-over:
			return
		}
		select {
		case <-signals:
		case <-late:
		case <-over:
			return
		}
		signal.Stop(signals)
		cancel()
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel()
		close(over)
	}
}

// interruptedCode is the exit code of a command that a signal has ended: that of a shell.
func (u *ui) interruptedCode() int {
	if first := u.signal.Load(); first != nil {
		if number, ok := (*first).(syscall.Signal); ok {
			return exitSignal + int(number)
		}
	}
	return exitInterrupted
}

// starting returns a context for what comes before the work itself. The first Ctrl-C
// ends it.
func (u *ui) starting(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-u.interrupted:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// patienceAfterStop is how long, after the first Ctrl-C, a write of messages may still wait
// for somebody to take them.
const patienceAfterStop = time.Second

// patient returns a context for such a write.
func (u *ui) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-u.interrupted:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(patienceAfterStop):
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// orInterrupted returns err, or errInterrupted if the user ended what failed with
// err.
func (u *ui) orInterrupted(err error) error {
	if u.stopping() && errors.Is(err, context.Canceled) {
		return errInterrupted
	}
	return err
}

// printf writes the answer. outputError tells if the write failed, here and in
// errorf.
func (u *ui) printf(format string, args ...any) { _, _ = fmt.Fprintf(u.stdout, format, args...) }

// errorf writes what the user must see and is not the answer.
func (u *ui) errorf(format string, args ...any) { _, _ = fmt.Fprintf(u.stderr, format, args...) }

// notef writes what the user may want to know, unless --quiet is given.
func (u *ui) notef(format string, args ...any) {
	if !u.quiet {
		u.errorf(format, args...)
	}
}

// outputError is the first write that failed, or nil.
func (u *ui) outputError() error { return errors.Join(u.stdout.failure(), u.stderr.failure()) }

// untilEnded writes to w, and waits for that until ctx ends: nobody may read. Then nothing
// more is written to standard output, which w may be.
func (u *ui) untilEnded(ctx context.Context, w io.Writer) io.Writer { return untilEnded{ctx, w, u} }

type untilEnded struct {
	ctx context.Context
	w   io.Writer
	u   *ui
}

func (e untilEnded) Write(p []byte) (int, error) {
	n, err := interruptibly(e.ctx, func() (int, error) { return e.w.Write(p) })
	if err != nil && e.ctx.Err() != nil {
		e.u.stdout.abandoned.Store(true)
	}
	return n, err
}

// output is what a terminal may show: whatever it is given, it writes text and nothing
// that a terminal would obey, and leaves only line breaks and tabs as they are. It
// remembers that a write failed, so that its callers need not check.
type output struct {
	w      io.Writer
	name   string
	failed func()

	// abandoned says that a write is not waited for any more; it may hold mu for ever.
	abandoned atomic.Bool

	mu  sync.Mutex
	cut []byte // the begin of a character whose rest has not come yet
	err error
}

// errAbandoned is the error of a write after one that is not waited for any more.
var errAbandoned = errors.New("nobody reads it")

// Write writes p, or does nothing once a write has failed.
func (o *output) Write(p []byte) (int, error) {
	if o.abandoned.Load() {
		return 0, errAbandoned
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	text := append(o.cut, p...)
	whole := wholeRunes(text)
	o.cut = slices.Clone(text[whole:])
	if o.write(text[:whole]); o.err != nil {
		return 0, o.err
	}
	return len(p), nil
}

// wholeRunes is how many bytes of text there are before a character at its end that is
// not all there.
func wholeRunes(text []byte) int {
	for start := len(text) - 1; start >= 0 && start >= len(text)-utf8.UTFMax; start-- {
		if utf8.RuneStart(text[start]) {
			if !utf8.FullRune(text[start:]) {
				return start
			}
			break
		}
	}
	return len(text)
}

// write writes text as it is to be shown.
func (o *output) write(text []byte) {
	if o.err != nil || len(text) == 0 {
		return
	}
	if _, err := io.WriteString(o.w, printable.Lines(string(text))); err != nil {
		// An os.PathError would name /dev/stdout. Our name is clearer.
		if cause, ok := errors.AsType[*os.PathError](err); ok {
			err = cause.Err
		}
		o.err = fmt.Errorf("writing to %s: %w", o.name, err)
		o.failed()
	}
}

// redirect makes o write to w.
func (o *output) redirect(w io.Writer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.w = w
}

// failure is the first write that failed, or nil. It is asked for at the end: a character
// that is still not whole is written as it is.
func (o *output) failure() error {
	if o.abandoned.Load() {
		return nil // it was interrupted, which is known
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.write(o.cut)
	o.cut = nil
	return o.err
}
