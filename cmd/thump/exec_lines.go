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
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/record"
)

const (
	// prefetchOfExecLines is the default of --prefetch with --exec-lines, and batchOfExecLines
	// how many messages are with the command at a time.
	prefetchOfExecLines = 200
	batchOfExecLines    = 50
	// pieceMost is about how many bytes of messages are with it at a time, but for a single
	// message that is longer.
	pieceMost = 1 << 20
	// writeMost is how many bytes are written to it at a time: a message counts as given once
	// they are.
	writeMost = 64 << 10
	// answerLineMost is how many bytes a line of the command's answers may have.
	answerLineMost = 4 << 10
	// answersAhead is how many answers are read before anybody wants them.
	answersAhead = 64
)

// handler is one command that handles all messages: it has each as a line on its standard
// input, and answers each with a line on its standard output. It is safe for concurrent use.
type handler struct {
	command string
	format  record.Format
	u       *ui

	cmd     *exec.Cmd
	stdin   io.WriteCloser
	answers chan answer   // closed when no more come
	exited  chan struct{} // closed when the command has ended
	err     error         // how; there once exited is closed

	mu       sync.Mutex // whoever holds it has the command to itself
	lines    []byte
	ends     []int // of each message in lines
	record   record.Record
	answered uint64
	refused  uint64 // of them requeued or rejected
	failed   error
}

// answer is a line that the command has said: one of these words, or why it is none.
type answer struct {
	word string
	err  error
}

// What the command may answer.
const (
	answerAck     = "ack"
	answerRequeue = "requeue"
	answerReject  = "reject"
)

// startHandler starts the command. The end of ctx kills it.
func startHandler(ctx context.Context, command string, format record.Format, u *ui) (*handler, error) {
	h := &handler{
		command: command, format: format, u: u, cmd: shellCommand(ctx, command),
		answers: make(chan answer, answersAhead), exited: make(chan struct{}),
	}
	apart(h.cmd)
	var err error
	if h.stdin, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, theirs, err := os.Pipe() // and not StdoutPipe, which the end of the command closes
	if err != nil {
		return nil, err
	}
	h.cmd.Stdout, h.cmd.Stderr = theirs, os.Stderr
	err = h.cmd.Start()
	_ = theirs.Close() // the command has its own
	if err != nil {
		_ = stdout.Close()
		return nil, fmt.Errorf("--exec-lines: %s: %w", command, err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		h.readAnswers(stdout)
	}()
	go h.wait(stdout, read)
	return h, nil
}

// readAnswers reads what the command says until that ends.
func (h *handler) readAnswers(stdout io.Reader) {
	defer close(h.answers)
	lines := bufio.NewReaderSize(stdout, answerLineMost)
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			h.answers <- answer{err: fmt.Errorf("its answer has more than %d bytes", answerLineMost)}
		case err != nil: // it has ended
			return
		default:
			h.answers <- parseAnswer(line)
		}
	}
}

func parseAnswer(line []byte) answer {
	switch word := bytes.TrimSpace(line); string(word) {
	case answerAck:
		return answer{word: answerAck}
	case answerRequeue:
		return answer{word: answerRequeue}
	case answerReject:
		return answer{word: answerReject}
	default:
		return answer{err: fmt.Errorf("its answer must be %s, %s or %s, and is %.40q", answerAck, answerRequeue, answerReject, word)}
	}
}

// wait waits for the end of the command, and then for its last answers: not for long, as what
// it has started, and left to itself, may hold the pipe.
func (h *handler) wait(stdout io.Closer, read <-chan struct{}) {
	h.err = h.cmd.Wait()
	close(h.exited)
	select {
	case <-read:
	case <-time.After(h.cmd.WaitDelay):
	}
	_ = stdout.Close()
}

// String is where the messages go.
func (h *handler) String() string { return "the command " + h.command + ", a line each" }

// Write gives the command the deliveries, waits for its answers, and settles each delivery as
// it is answered.
func (h *handler) Write(batch *thump.Batch, deliveries []thump.Delivery) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed == nil && h.u.stopping() {
		return errInterrupted // the command has not got these
	}
	for len(deliveries) > 0 && h.failed == nil {
		n, err := h.encode(batch, deliveries)
		if err == nil {
			err = h.give(deliveries[:n])
		}
		h.failed = err
		deliveries = deliveries[n:]
	}
	return h.failed
}

// encode makes the lines of a piece of the deliveries, and returns how many are in it. It is an
// error if the first one can't be a line.
func (h *handler) encode(batch *thump.Batch, deliveries []thump.Delivery) (int, error) {
	h.ends = h.ends[:0]
	for i := range deliveries {
		d := &deliveries[i]
		if h.format.Layout == record.JSON {
			h.record.Set(d, batch)
		} else {
			h.record.Body = d.Body
			if h.format.Splits(d.Body) && i == 0 {
				return 0, errors.New("--exec-lines: the body of a message has the end of a line in it, and would be several: --format json keeps it whole (or --delimiter '\\0'); it stays where it was")
			}
			if h.format.Splits(d.Body) {
				return i, nil
			}
		}
		h.lines = h.format.Append(h.lines, &h.record)
		if h.ends = append(h.ends, len(h.lines)); len(h.lines) >= pieceMost {
			return i + 1, nil
		}
	}
	return len(deliveries), nil
}

// give gives the command a piece, and settles its deliveries as the command answers.
func (h *handler) give(piece []thump.Delivery) error {
	if err := h.checkAhead(); err != nil {
		return err
	}
	// It answers before it has got everything, and a pipe does not hold all of that.
	written := make(chan int)
	go h.write(written)
	err := h.settleAll(piece, written)
	if err == nil {
		err = h.checkAhead()
	} else {
		_ = h.stdin.Close() // which ends the write
	}
	for range written { // its end
	}
	if h.lines = h.lines[:0]; cap(h.lines) > 2*pieceMost {
		h.lines = nil
	}
	return err
}

// write writes the lines, and tells how much of them the command has been given. It closes
// written when that is all there will be.
func (h *handler) write(written chan<- int) {
	defer close(written)
	for at := 0; at < len(h.lines); {
		n, err := h.stdin.Write(h.lines[at:min(len(h.lines), at+writeMost)])
		at += n
		written <- at
		if err != nil {
			return
		}
	}
}

// settleAll settles the deliveries of a piece as the command answers, but none before the
// command was given all of it.
func (h *handler) settleAll(piece []thump.Delivery, written <-chan int) error {
	given, answers := 0, h.answers
	var early []string // answers that no delivery was settled by
	for len(piece) > 0 {
		select {
		case n, more := <-written:
			if given = max(given, n); !more {
				written = nil
			}
		case a, more := <-answers:
			switch {
			case !more:
				answers = nil
			case a.err != nil:
				return h.fault(a.err)
			case len(early) == len(piece):
				return h.fault(a.ahead())
			default:
				early = append(early, a.word)
			}
		}
		for len(early) > 0 && h.ends[len(h.ends)-len(piece)] <= given {
			if err := h.settle(&piece[0], early[0]); err != nil && !errors.Is(err, thump.ErrStale) { // which comes again
				return err
			}
			piece, early = piece[1:], early[1:]
		}
		switch {
		case len(piece) == 0:
		case written == nil && len(early) > 0: // no more can be written
			return h.fault(errors.New("it has answered a message that it was not given, and takes no more"))
		case answers == nil && (written == nil || len(early) == 0):
			return h.fault(fmt.Errorf("it has ended after %d answers", h.answered))
		}
	}
	return nil
}

// ahead is why an answer is wrong that no message waits for. Which of its answers is about which
// message, nobody can tell.
func (a answer) ahead() error {
	if a.err != nil {
		return a.err
	}
	return errors.New("it has answered more than it was given")
}

// checkAhead returns an error if the command has answered what it has not got.
func (h *handler) checkAhead() error {
	select {
	case a, more := <-h.answers:
		if more {
			return h.fault(a.ahead())
		}
	default:
	}
	return nil
}

// settle settles a delivery as the command has answered.
func (h *handler) settle(d *thump.Delivery, word string) error {
	h.answered++
	if word == answerAck {
		return d.Ack()
	}
	h.refused++
	if word == answerRequeue {
		return d.Requeue()
	}
	return d.Reject()
}

// fault is the error of a command that does not what it is to do. It is ended at once: nothing
// that it says is of use any more.
func (h *handler) fault(err error) error {
	h.kill()
	return fmt.Errorf("--exec-lines: %s: %w; messages without an answer stay where they were", h.command, err)
}

// kill ends the command, unless it has ended.
func (h *handler) kill() {
	select {
	case <-h.exited:
	default:
		_ = h.cmd.Cancel()
	}
}

// Sync has nothing to wait for: a message that the command has answered is handled.
func (*handler) Sync() error { return nil }

// finish lets the command come to its end, and returns why the receiving ended: ended, or that
// the command failed.
func (h *handler) finish(r *result.Run, ended error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.stdin.Close() // the end of its input
	var err error
	for a := range h.answers { // there is nothing left to answer
		err = a.ahead()
	}
	<-h.exited
	if h.err != nil {
		err = fmt.Errorf("%w, when all messages were answered", h.err)
	}
	if err == nil || ended != nil || r.Verdict != result.OK {
		return ended
	}
	err = fmt.Errorf("--exec-lines: %s: %w", h.command, err)
	r.Judge(err, false)
	return err
}

// note is what the total says besides.
func (h *handler) note() string {
	if h.refused == 0 {
		return ""
	}
	return fmt.Sprintf("     of %d of them the command did not say ack: they were requeued or rejected\n", h.refused)
}
