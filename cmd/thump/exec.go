package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/record"
)

// prefetchOfExec is the default of --prefetch with --exec: few, because what waits for one
// consumer's command no other consumer gets.
const prefetchOfExec = 4

// executor lets a command handle each message, which it has on its standard input.
type executor struct {
	command   string
	onFailure failureFlag
	format    record.Format
	ctx       context.Context // its end ends a command
	u         *ui

	failed atomic.Uint64 // messages that were requeued or rejected
}

// String is where the messages go.
func (e *executor) String() string { return "the command " + e.command }

// Write runs the command for each delivery. A delivery whose command fails is settled here,
// and the others by whoever has called it.
func (e *executor) Write(batch *thump.Batch, deliveries []thump.Delivery) error {
	for i := range deliveries {
		d := &deliveries[i]
		if e.u.stopping() { // for these no command has begun
			return errors.Join(ackThose(deliveries[:i]), errInterrupted)
		}
		err := e.run(batch, d)
		switch {
		case err == nil:
			continue
		case e.interrupted(err), e.onFailure == failureStop:
			return errors.Join(ackThose(deliveries[:i]), fmt.Errorf("--exec: %s: %w; its message stays where it was", e.command, err))
		case e.onFailure == failureRequeue:
			err = d.Requeue()
		default:
			err = d.Reject()
		}
		e.failed.Add(1)
		if err != nil && !errors.Is(err, thump.ErrStale) { // which comes again
			return err
		}
	}
	return nil
}

// ackThose acks deliveries whose commands have succeeded. What has gone stale comes again, and
// what was requeued or rejected is settled.
func ackThose(deliveries []thump.Delivery) error {
	for i := range deliveries {
		if err := deliveries[i].Ack(); err != nil && !errors.Is(err, thump.ErrSettled) && !errors.Is(err, thump.ErrStale) {
			return err
		}
	}
	return nil
}

// signalWait is how long a signal may take to this process after it has ended a command, of
// those that are sent to both: by whoever stops a service, or a shell script.
const signalWait = time.Second

// interrupted reports whether a command that failed did so while receive ends. Its message is
// not the reason then.
func (e *executor) interrupted(err error) bool {
	if signaled(err) {
		select {
		case <-e.u.interrupted:
		case <-e.ctx.Done():
		case <-time.After(signalWait):
		}
	}
	return e.u.stopping() || e.ctx.Err() != nil
}

// Sync has nothing to wait for: a command that has ended has done its work.
func (*executor) Sync() error { return nil }

// run runs the command for one delivery.
func (e *executor) run(batch *thump.Batch, d *thump.Delivery) error {
	input := d.Body
	if e.format.Layout == record.JSON {
		var r record.Record
		r.Set(d, batch)
		input = e.format.Append(nil, &r)
	}
	cmd := shellCommand(e.ctx, e.command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), os.Stdout, os.Stderr
	apart(cmd)
	return cmd.Run()
}

// finish returns why the receiving ended.
func (*executor) finish(_ *result.Run, ended error) error { return ended }

// note is what the total says besides.
func (e *executor) note() string {
	if failed := e.failed.Load(); failed > 0 {
		return fmt.Sprintf("     of %d of them the command failed, and they were %s\n", failed, e.onFailure.done())
	}
	return ""
}

// shellCommand is a command line for the shell.
func shellCommand(ctx context.Context, command string) *exec.Cmd {
	shell, flag := "sh", "-c"
	if runtime.GOOS == "windows" {
		shell, flag = "cmd", "/c"
	}
	cmd := exec.CommandContext(ctx, shell, flag, command)
	cmd.WaitDelay = time.Second // for what it has started
	return cmd
}

// receiver is where receive puts messages: an outlet or an executor.
type receiver interface {
	load.Output
	fmt.Stringer
	// finish ends it, and returns why the receiving ended.
	finish(r *result.Run, ended error) error
	// note is what the total says besides.
	note() string
}

// failureFlag is what becomes of a message whose command fails.
type failureFlag string

const (
	failureStop    failureFlag = "stop"
	failureRequeue failureFlag = "requeue"
	failureReject  failureFlag = "reject"
)

func (f *failureFlag) String() string { return string(*f) }
func (f *failureFlag) Type() string   { return "stop|requeue|reject" }

func (f *failureFlag) Set(text string) error {
	switch failureFlag(strings.ToLower(text)) {
	case failureStop, failureRequeue, failureReject:
		*f = failureFlag(strings.ToLower(text))
		return nil
	default:
		return errors.New("must be stop, requeue or reject")
	}
}

// done is what was done with the message.
func (f failureFlag) done() string {
	if f == failureRequeue {
		return "requeued"
	}
	return "rejected"
}
