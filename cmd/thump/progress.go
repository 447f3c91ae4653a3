package main

import (
	"fmt"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/thumpmq/thump/internal/load"
)

const (
	// progressEvery is how often progress is looked at.
	progressEvery = 100 * time.Millisecond
	// lineEvery is how many messages there are between two lines of progress
	// where there is no terminal, as in the tutorial; linesMost is how many lines
	// a look at the progress makes: more, and only the last of them is printed.
	lineEvery = 100_000
	linesMost = 10
	// stallAfter is how long nothing must have been confirmed before a stream's
	// user is told.
	stallAfter = 10 * time.Second
)

// tracks are the sides of a command whose progress is shown, with the number of
// messages that they end at; 0 for none.
type tracks struct {
	send, receive uint64
	confirms      bool // count what is sent as it is confirmed
	streams       bool
}

// display shows progress somewhere. show is called now and then, and once at
// the end, before end.
type display interface {
	show(sent, received uint64, blocked string)
	end()
}

// follow shows progress until the function that it returns is called.
func (u *ui) follow(p *load.Progress, t tracks) (done func()) {
	if u.quiet {
		return func() {}
	}
	var d display = &lines{u: u}
	if u.terminal != nil {
		d = newBars(u, t)
	}
	var confirms stall
	look := func() {
		sent, confirmed, blocked := p.Published(), p.Confirmed(), p.Blocked()
		if t.streams && t.send > 0 {
			blocked = confirms.text(time.Now(), sent, confirmed)
		}
		if t.confirms {
			sent = confirmed
		}
		d.show(sent, p.Received(), blocked)
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

// stall notices that nothing is confirmed any more: over the stream protocol a
// broker that blocks its publishers does not say so.
type stall struct {
	confirmed uint64
	since     time.Time
}

// text is what to say of the confirms, or "".
func (s *stall) text(now time.Time, published, confirmed uint64) string {
	if s.since.IsZero() || confirmed != s.confirmed || confirmed == published {
		s.confirmed, s.since = confirmed, now
	}
	if now.Sub(s.since) < stallAfter {
		return ""
	}
	return fmt.Sprintf("nothing was confirmed for %.0f s (it does not tell streams why: out of disk, perhaps)", stallAfter.Seconds())
}

// lines prints the tutorial's lines, one for every hundred thousand messages.
type lines struct {
	u              *ui
	sent, received uint64 // hundred thousands printed
	blocked        string
}

func (l *lines) show(sent, received uint64, blocked string) {
	l.line("Sent", &l.sent, sent/lineEvery)
	l.line("Received", &l.received, received/lineEvery)
	if blocked != l.blocked {
		l.blocked = blocked
		if blocked == "" {
			blocked = "no longer"
		}
		l.u.errorf(" [!] The broker blocks publishing: %s\n", blocked)
	}
}

// line prints the lines that are due.
func (l *lines) line(what string, printed *uint64, due uint64) {
	if due > *printed+linesMost {
		*printed = due - 1
	}
	for ; *printed < due; *printed++ {
		l.u.errorf(" [x] %s %d messages\n", what, (*printed+1)*lineEvery)
	}
}

func (*lines) end() {}

// bars draws a bar for each side, with count, rate and time left.
type bars struct {
	container      *mpb.Progress
	sent, received *bar
	blocked        string
}

type bar struct {
	*mpb.Bar
	rate rate
}

func newBars(u *ui, t tracks) *bars {
	b := &bars{container: mpb.New(mpb.WithOutput(u.terminal), mpb.WithRefreshRate(progressEvery), mpb.WithWidth(32))}
	if t.send > 0 {
		b.sent = b.add("sent", t.send)
	}
	if t.receive > 0 || t.send == 0 {
		b.received = b.add("received", t.receive)
	}
	return b
}

// add draws one more bar. The decorations read only what the bar hands them:
// they are called from mpb's own goroutine.
func (b *bars) add(name string, total uint64) *bar {
	one := new(bar)
	count := "%d / %d"
	if total == 0 {
		count = "%d%.0s" // nothing to compare with
	}
	one.Bar = b.container.AddBar(int64(total),
		mpb.PrependDecorators(
			decor.Name(name, decor.WC{W: 9, C: decor.DindentRight}),
			decor.CountersNoUnit(count, decor.WC{W: 20}),
		),
		mpb.AppendDecorators(
			decor.Any(func(s decor.Statistics) string { return one.rate.text(s) }, decor.WC{W: 12}),
		),
	)
	return one
}

func (b *bars) show(sent, received uint64, blocked string) {
	if b.sent != nil {
		b.sent.SetCurrent(int64(sent))
	}
	if b.received != nil {
		b.received.SetCurrent(int64(received))
	}
	if blocked != b.blocked {
		b.blocked = blocked
		if blocked == "" {
			blocked = "no longer"
		}
		_, _ = fmt.Fprintf(b.container, " [!] The broker blocks publishing: %s\n", blocked)
	}
}

// end leaves the bars on the screen as they are.
func (b *bars) end() {
	for _, one := range []*bar{b.sent, b.received} {
		if one != nil {
			one.Abort(false)
		}
	}
	b.container.Wait()
}
