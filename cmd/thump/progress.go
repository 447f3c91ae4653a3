package main

import (
	"fmt"
	"time"

	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

const (
	// progressEvery is how often the progress is read.
	progressEvery = 100 * time.Millisecond
	// Without a terminal there is a line of progress for every lineEvery messages, as
	// in the tutorial. If more than linesMost are due at once, only the last of them
	// is printed.
	lineEvery = 100_000
	linesMost = 10
	// Where those come seldom there is another after firstLineAfter, and then whenever
	// there was none for lineAfter.
	firstLineAfter = 2 * time.Second
	lineAfter      = 10 * time.Second
	// stallAfter is how long nothing must have been confirmed before the user of a
	// stream is told.
	stallAfter = 10 * time.Second
)

// tracks are the sides of a command whose progress is shown, with the number of
// messages at which they end; 0 for none.
type tracks struct {
	send, receive  uint64
	readers        uint64 // how many receive each message that is sent
	sends          bool   // there is something to send, of which nobody knows how much
	receives       bool   // and to receive
	confirms       bool   // count a message as sent when it is confirmed
	blocksSilently bool   // the broker does not say that it blocks publishers

	// latest is the latest sample of the run, nil if there is none yet; it may itself be nil.
	latest func() *result.Sample
}

// sending reports whether anything is sent.
func (t tracks) sending() bool { return t.sends || t.send > 0 }

// counts is how many messages were sent and received, and have expired instead of that; and when
// the sending ends.
type counts struct {
	sent, received, expired uint64
	ending                  load.Ending
}

// display shows progress somewhere. show is called again and again, and a last time
// before end. away says that there is no connection, since when and why; it is "" while
// there is one.
type display interface {
	show(counts counts, away string)
	end()
}

// progress is how far a command has come. Any goroutine may read it at any time.
type progress interface {
	Published() uint64
	Confirmed() uint64
	Received() uint64
	Expired() uint64
	Ending() load.Ending
	Blocked() string
	Away() (since time.Time, why error)
}

// follow shows progress until the function that it returns is called.
func (u *ui) follow(p progress, t tracks) (done func()) {
	if u.quiet {
		return func() {}
	}
	var d display = newLines(u)
	if u.terminal != nil {
		d = newBars(u.stderr, u.terminal, t, func() int { return terminalWidth(u.terminal) })
	}
	var confirms stall
	var told string
	var lost time.Time
	look := func() {
		since, why := p.Away()
		if since.IsZero() != lost.IsZero() {
			u.tellAway(lost, why)
			lost, confirms = since, stall{}
		}
		sent, confirmed, blocked := p.Published(), p.Confirmed(), p.Blocked()
		if t.blocksSilently && t.sending() && why == nil {
			blocked = confirms.text(time.Now(), sent, confirmed)
		}
		if t.confirms {
			sent = confirmed
		}
		if blocked != told {
			told = blocked
			u.tellBlocked(blocked)
		}
		d.show(counts{sent: sent, received: p.Received(), expired: p.Expired(), ending: p.Ending()}, away(since, why))
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				look()
			case <-stop:
				look()
				d.end()
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

// tellAway says why the connection was lost or, where why is nil, that there is one again
// after it was lost then.
func (u *ui) tellAway(lost time.Time, why error) {
	if why != nil {
		u.errorf(" [!] The connection was lost: %v\n", why)
		return
	}
	u.errorf(" [!] There is a connection again, after %.1f s\n", time.Since(lost).Seconds())
}

// away says that there is no connection, since when and why; "" while there is one.
func away(since time.Time, why error) string {
	if why == nil {
		return ""
	}
	return fmt.Sprintf("no connection for %.0f s: %v", time.Since(since).Seconds(), why)
}

// tellBlocked says why the broker blocks publishing, "" if it no longer does.
func (u *ui) tellBlocked(reason string) {
	if reason == "" {
		reason = "no longer"
	}
	u.errorf(" [!] The broker blocks publishing: %s\n", reason)
}

// stall notices that nothing is confirmed any more, if the broker does not say that
// it blocks its publishers.
type stall struct {
	confirmed uint64
	since     time.Time
}

// text is what to tell about the confirms, or "".
func (s *stall) text(now time.Time, published, confirmed uint64) string {
	if s.since.IsZero() || confirmed != s.confirmed || confirmed == published {
		s.confirmed, s.since = confirmed, now
	}
	if now.Sub(s.since) < stallAfter {
		return ""
	}
	return fmt.Sprintf("nothing was confirmed for %.0f s (it does not tell streams why; its disk may be full)", stallAfter.Seconds())
}

// lines prints the tutorial's lines, one for every hundred thousand messages, and others where
// these come seldom.
type lines struct {
	u              *ui
	sent, received told
}

// told is what the lines of one side have said.
type told struct {
	hundredThousands uint64
	count            uint64    // in the latest line
	due              time.Time // when there is another, however few there are
}

func newLines(u *ui) *lines {
	first := told{due: time.Now().Add(firstLineAfter)}
	return &lines{u: u, sent: first, received: first}
}

func (l *lines) show(c counts, _ string) {
	l.side("Sent", &l.sent, c.sent)
	l.side("Received", &l.received, c.received)
}

// side prints the lines that are due. Where nothing was sent or received since the last one,
// there is nothing to say.
func (l *lines) side(what string, told *told, count uint64) {
	line := func(count uint64) {
		l.u.errorf(" [x] %s %d messages\n", what, count)
		told.count, told.due = count, time.Now().Add(lineAfter)
	}
	due := count / lineEvery
	if due > told.hundredThousands+linesMost {
		told.hundredThousands = due - 1
	}
	for ; told.hundredThousands < due; told.hundredThousands++ {
		line((told.hundredThousands + 1) * lineEvery)
	}
	if count > told.count && !time.Now().Before(told.due) {
		line(count)
	}
}

func (*lines) end() {}
