package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/record"
)

const (
	// prefetchOfExecLines is the default of --prefetch with --exec-lines: a quarter of it is
	// with the command at a time.
	prefetchOfExecLines = 200
	// answerLineMost is how many bytes a line of the command's answers may have.
	answerLineMost = 4 << 10
)

// handler is one command that handles all messages: it has each as a line on its standard
// input, and answers each with a line on its standard output. It is safe for concurrent use.
type handler struct {
	command string
	format  record.Format
	u       *ui

	mu       sync.Mutex // whoever holds it has the command to itself
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	stdout   *bufio.Reader
	lines    []byte
	record   record.Record
	answered uint64
	refused  uint64 // of them requeued or rejected
	failed   error
}

// What the command may answer.
const (
	answerAck     = "ack"
	answerRequeue = "requeue"
	answerReject  = "reject"
)

// startHandler starts the command. The end of ctx kills it.
func startHandler(ctx context.Context, command string, format record.Format, u *ui) (*handler, error) {
	h := &handler{command: command, format: format, u: u, cmd: shellCommand(ctx, command)}
	h.cmd.Stderr = os.Stderr
	apart(h.cmd)
	var err error
	if h.stdin, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h.stdout = bufio.NewReaderSize(stdout, answerLineMost)
	if err := h.cmd.Start(); err != nil {
		return nil, fmt.Errorf("--exec-lines: %s: %w", command, err)
	}
	return h, nil
}

// String is where the messages go.
func (h *handler) String() string { return "the command " + h.command + ", a line each" }

// Write gives the command the deliveries, and waits for its answers. What it answers with requeue
// or reject is settled here, and the others by whoever has called it.
func (h *handler) Write(batch *thump.Batch, deliveries []thump.Delivery) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed == nil && h.u.stopping() {
		return errInterrupted // the command has not got these
	}
	if h.failed == nil {
		h.failed = h.encode(batch, deliveries)
	}
	if h.failed != nil {
		return h.failed
	}
	// It may answer before it has read everything, and a pipe does not hold all that it says.
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = h.stdin.Write(h.lines) // if it has not got all, it does not answer all
	}()
	for i := range deliveries {
		if err := h.answer(&deliveries[i]); err != nil {
			h.failed = fmt.Errorf("--exec-lines: %s: %w; messages without an answer stay where they were", h.command, err)
			_ = h.stdin.Close() // which ends the write
			<-written
			return errors.Join(ackThose(deliveries[:i]), h.failed)
		}
	}
	<-written // it has answered, so it has read, or does not want to
	return nil
}

// encode makes the lines of the deliveries.
func (h *handler) encode(batch *thump.Batch, deliveries []thump.Delivery) error {
	h.lines = h.lines[:0]
	for i := range deliveries {
		d := &deliveries[i]
		if h.format.Layout == record.JSON {
			h.record.Set(d, batch)
		} else {
			h.record.Body = d.Body
			if h.format.Splits(d.Body) {
				return fmt.Errorf("--exec-lines: the body of a message has the end of a line in it, and would be several: --format json keeps it whole (or --delimiter '\\0'); it stays where it was")
			}
		}
		h.lines = h.format.Append(h.lines, &h.record)
	}
	return nil
}

// answer reads the answer to a delivery.
func (h *handler) answer(d *thump.Delivery) error {
	line, err := h.stdout.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return fmt.Errorf("its answer has more than %d bytes", answerLineMost)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("it has ended after %d answers", h.answered)
	case err != nil:
		return err
	}
	switch word := string(bytes.TrimSpace(line)); word {
	case answerAck:
		h.answered++
		return nil
	case answerRequeue:
		err = d.Requeue()
	case answerReject:
		err = d.Reject()
	default:
		return fmt.Errorf("its answer must be %s, %s or %s, and is %.40q", answerAck, answerRequeue, answerReject, word)
	}
	h.answered++
	h.refused++
	if errors.Is(err, thump.ErrStale) { // it comes again
		return nil
	}
	return err
}

// Sync has nothing to wait for: a message that the command has answered is handled.
func (*handler) Sync() error { return nil }

// finish lets the command come to its end, and returns why the receiving ended: ended, or that
// the command failed.
func (h *handler) finish(r *result.Run, ended error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.stdin.Close() // the end of its input
	_, _ = io.Copy(io.Discard, h.stdout)
	err := h.cmd.Wait()
	if err != nil && ended == nil && r.Verdict == result.OK {
		err = fmt.Errorf("--exec-lines: %s: %w, when all messages were answered", h.command, err)
		r.Judge(err, false)
		return err
	}
	return ended
}

// note is what the total says besides.
func (h *handler) note() string {
	if h.refused == 0 {
		return ""
	}
	return fmt.Sprintf("     of %d of them the command did not say ack: they were requeued or rejected\n", h.refused)
}
