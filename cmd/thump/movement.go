package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/move"
)

// movement is a move or redrive at work.
type movement struct {
	u              *ui
	json           *file
	journal        string      // "" if there is none
	source, target *connection // the same, unless there is --to-url
	taking         *connection // to the source's broker once more, for a queue; else nil
	progress       movingProgress
}

// movingProgress is that of a move, for follow.
type movingProgress struct {
	load.Progress // what it is told of lost connections
	of            move.Progress
}

func (p *movingProgress) Published() uint64 { return p.of.Taken() }
func (p *movingProgress) Confirmed() uint64 { return p.of.Confirmed() }
func (p *movingProgress) Received() uint64  { return p.of.Taken() }

// Away is since when one side has no connection, and why.
func (p *movingProgress) Away() (time.Time, error) {
	if since, why := p.of.Away(); why != nil {
		return since, why
	}
	return p.Progress.Away()
}

func (p *movingProgress) Blocked() string {
	if p.of.Full() > 0 { // how many changes all the time, and each new text is told
		return "the target is full, and what it rejects is published again until there is room"
	}
	return p.of.Blocked()
}

// openMove connects to the source, and to the target where that is elsewhere.
func openMove(starting context.Context, u *ui, output *outputFlags, source *connectFlags, to *toFlags, recovery *recoveryFlags, name string) (*movement, error) {
	u.quiet = output.quiet
	w := &movement{u: u}
	var err error
	if w.json, err = u.openJSON(starting, output.json); err != nil {
		return nil, err
	}
	how := manner{name: name, recovery: recovery.recovery()}
	if w.source, err = source.connect(starting, u, how); err != nil {
		return nil, err
	}
	w.target = w.source
	w.source.listener.progress.Store(&w.progress.Progress)
	if to.given() {
		if w.target, err = to.connect(starting, u, how); err != nil {
			return nil, errors.Join(fmt.Errorf("the target: %w", err), w.close(starting, nil))
		}
		w.target.listener.progress.Store(&w.progress.Progress)
	}
	return w, nil
}

// takeFromQueue connects to the source once more, for a queue: package move wants to know
// when that connection is lost.
func (w *movement) takeFromQueue(ctx context.Context, job *move.Job) (err error) {
	w.taking, err = w.source.to.dial(ctx, w.u, manner{name: "thump move", recovery: thump.Recovery{Off: true}, again: true})
	if err == nil {
		job.Source = w.taking.client
	}
	return err
}

func (w *movement) close(ctx context.Context, err error) error {
	w.json.discard()
	timeout := cleanupTimeout
	if w.u.stopping() {
		timeout = goodbyeTimeout
	}
	closing := w.source.close(ctx, false, timeout)
	if w.taking != nil {
		_ = w.taking.close(ctx, false, timeout) // package move has said what there was to say
	}
	if w.target != nil && w.target != w.source {
		closing = errors.Join(closing, w.target.close(ctx, false, timeout))
	}
	if err == nil {
		return closing
	}
	return err
}

// sameVhost reports whether source and target are in one vhost of one broker, as far as
// can be told.
func (w *movement) sameVhost() bool {
	if w.source == w.target {
		return true
	}
	a, errA := thump.ParseURL(w.source.url)
	b, errB := thump.ParseURL(w.target.url)
	return errA == nil && errB == nil && a.Host == b.Host && a.Port == b.Port && a.Vhost == b.Vhost
}

// where names a place and its broker.
func where(c *connection, p move.Place) string { return fmt.Sprintf("%s at %s", p, c.url) }

// ghostTimeout is how long the connection of a move that was killed may be there.
const ghostTimeout = 30 * time.Second

// settledQueue looks at a queue. With alone it waits a while until nobody consumes from it:
// the broker may not have noticed yet that a move was killed.
func (w *movement) settledQueue(ctx context.Context, name string, alone bool) (thump.QueueInfo, error) {
	for begin := time.Now(); ; {
		info, err := w.source.client.InspectQueue(ctx, name)
		if err != nil || !alone || info.Consumers == 0 || time.Since(begin) > ghostTimeout {
			return info, err
		}
		select {
		case <-time.After(progressEvery):
		case <-ctx.Done():
			return info, ctx.Err()
		}
	}
}

// run moves, and shows how far it is.
func (w *movement) run(ctx context.Context, job move.Job) (move.Receipt, error) {
	job.Stop, job.Progress = w.u.interrupted, &w.progress.of
	done := w.u.follow(&w.progress, tracks{send: job.Limit, receive: job.Limit, confirms: true})
	defer done()
	return move.Run(ctx, job)
}

// namedMost is how many messages that may be twice, and how many reasons, are printed.
const namedMost = 20

// report prints the receipt, and returns what the command ends with.
func (w *movement) report(ctx context.Context, command string, job move.Job, r move.Receipt, ended error) error {
	for i, double := range r.Doubled {
		if i == namedMost {
			all := "--json has all of them"
			if w.journal != "" {
				all = move.TwicePath(w.journal) + " has all of them"
			}
			w.u.errorf(" [!] May be there twice: %d more; %s\n", r.MayBeTwice-namedMost, all)
			break
		}
		w.u.errorf(" [!] May be there twice: %s: %s\n", double.Message, double.Why)
	}
	for why, n := range r.Reasons {
		w.u.errorf(" [!] Left at the source: %d, because %s\n", n, why)
	}
	if there := r.Confirmed + r.Known; r.Acked < there {
		again := ""
		if w.journal != "" {
			again = "; the same command again knows them, and acks them"
		}
		w.u.errorf(" [!] Confirmed and not acked: %d, which are at the target, and may still be at the source%s\n", there-r.Acked, again)
	}
	verdict := result.OK
	switch {
	case ended != nil:
		verdict = result.Failed
		if w.u.stopping() && errors.Is(ended, context.Canceled) {
			ended, verdict = errInterrupted, result.Interrupted
		}
	case w.u.stopping():
		ended, verdict = errInterrupted, result.Interrupted
	case r.Left > 0:
		ended, verdict = fmt.Errorf("%s in %s", stay(r.Left), job.From), result.Failed
	}
	text := receiptText(command, r)
	if w.json != nil && w.json.out == io.Writer(w.u.stdout) {
		w.u.notef("%s", text)
	} else {
		w.u.printf("%s", text)
	}
	if w.json != nil {
		record := moveRecord{Version: result.Version, Verdict: verdict, Command: command, Source: where(w.source, job.From), Target: where(w.target, job.To), Receipt: r}
		if ended != nil {
			record.Reason = new(ended.Error())
		}
		if err := w.json.fillJSON(ctx, &record); err != nil {
			return w.u.orInterrupted(fmt.Errorf("--json: %w", err))
		}
	}
	return ended
}

// stay says how many messages stay.
func stay(n uint64) string {
	if n == 1 {
		return "1 message stays"
	}
	return fmt.Sprintf("%d messages stay", n)
}

// receiptText is the last line of a move.
func receiptText(command string, r move.Receipt) string {
	what := "Moved"
	if command == "redrive" {
		what = "Redriven"
	}
	known := ""
	if r.Known > 0 {
		known = fmt.Sprintf(" and %d known to be there", r.Known)
	}
	left := fmt.Sprintf("%d left", r.Left)
	if r.Skipped > 0 {
		left += fmt.Sprintf(" and %d not wanted", r.Skipped)
	}
	return fmt.Sprintf(" [x] %s: %d taken, %d confirmed%s, %d acked, %s, %d that may be there twice\n",
		what, r.Taken, r.Confirmed, known, r.Acked, left, r.MayBeTwice)
}

// moveRecord is what move and redrive write as JSON.
type moveRecord struct {
	Version int            `json:"version"`
	Verdict result.Verdict `json:"verdict"`
	Reason  *string        `json:"reason"`
	Command string         `json:"command"`
	Source  string         `json:"source"`
	Target  string         `json:"target"`
	move.Receipt
}
