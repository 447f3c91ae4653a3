package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/term"
)

// ui is the command's way to its user. What was asked for goes to stdout, all
// else to stderr. A write that fails stops the command, as the user would with
// Ctrl-C: a summary that nobody can read is no reason to go on.
type ui struct {
	stdout, stderr *output
	terminal       *os.File // stderr where it is a terminal, for bars; else nil
	quiet          bool     // no settings, no progress

	stopOnce sync.Once
	// interrupted is closed when the command is to end in order.
	interrupted chan struct{}
}

func newUI(stdout, stderr *os.File) *ui {
	u := &ui{interrupted: make(chan struct{})}
	u.stdout = &output{w: stdout, name: "standard output", failed: u.stop}
	u.stderr = &output{w: stderr, name: "standard error", failed: u.stop}
	// A terminal that doesn't know its width, as in some containers, has no
	// room for bars.
	if width, _, err := term.GetSize(int(stderr.Fd())); err == nil && width > 0 {
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

// hearInterrupts makes Ctrl-C, and the signals that end a process, stop the
// command: the first in order, the second at once, by ending the context that
// is returned. A third kills the process as if nobody listened. Call release
// when the command is over.
func (u *ui) hearInterrupts() (ctx context.Context, release func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// A closed pipe is to be an error of the write: dying of the signal would
	// leave a private broker behind. Caught rather than ignored, because what
	// is ignored stays so in the programs that are started.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	go func() {
		select {
		case <-signals:
			u.stop()
			u.errorf("\nthump: ending in order; Ctrl-C again ends at once\n")
		case <-ctx.Done():
			return
		}
		select {
		case <-signals:
			signal.Stop(signals)
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel()
	}
}

// starting returns a context for what comes before the real work: the first
// Ctrl-C ends it.
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

// printf writes the answer. Like errorf it leaves a write that fails to
// outputError.
func (u *ui) printf(format string, args ...any) { _, _ = fmt.Fprintf(u.stdout, format, args...) }

// errorf writes what the user must see although it is not the answer.
func (u *ui) errorf(format string, args ...any) { _, _ = fmt.Fprintf(u.stderr, format, args...) }

// notef writes what the user may want to know, unless told to be quiet.
func (u *ui) notef(format string, args ...any) {
	if !u.quiet {
		u.errorf(format, args...)
	}
}

// outputError is the first write that failed, or nil.
func (u *ui) outputError() error { return errors.Join(u.stdout.failure(), u.stderr.failure()) }

// output remembers that a write failed, so that no caller has to look.
type output struct {
	w      io.Writer
	name   string
	failed func()

	mu  sync.Mutex
	err error
}

// Write writes p, or does nothing once a write has failed.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(p)
	if err != nil {
		// The path in an os.PathError is /dev/stdout: the name says it better.
		if cause, ok := errors.AsType[*os.PathError](err); ok {
			err = cause.Err
		}
		o.err = fmt.Errorf("writing to %s: %w", o.name, err)
		o.failed()
	}
	return n, o.err
}

func (o *output) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}
