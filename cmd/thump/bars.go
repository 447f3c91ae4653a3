package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/printable"
)

const (
	// barWidth is how wide a bar is, in characters, where the terminal has room for it.
	barWidth = 32
	// barWidthLeast is the least width at which a bar says more than its numbers.
	barWidthLeast = 8

	// What a terminal understands, as ECMA-48 has it, with how many lines.
	cursorUp     = "\x1b[%dA"
	eraseToEnd   = "\x1b[J" // of the screen
	eraseLineEnd = "\x1b[K"
)

// bars draws a line for each side of a command at the bottom of a terminal: a bar,
// the count, the rate and the time left; below them what live has. What else is written to standard error
// meanwhile goes above them.
type bars struct {
	stderr   *output
	terminal io.Writer
	width    func() int // of the terminal, in characters

	mu             sync.Mutex
	sent, received *side // nil if the command does not have it
	readers        uint64
	live           *live
	latest         func() *result.Sample // nil where there are no samples
	away           string                // why there is no connection; "" while there is one
	drawn          int                   // lines on the screen, with the cursor below them
}

// side is one line: its name, how far it is, and how far it goes, 0 if nobody knows. What has expired
// will not come, and brings the bar to its end all the same.
type side struct {
	name                  string
	count, expired, total uint64
	waiting               uint64 // for this side to take it
	rate                  rate
	ending                load.Ending // of the sending
}

// newBars shows the bars of a command on the terminal that stderr writes to. end gives
// it back.
func newBars(stderr *output, terminal io.Writer, t tracks, width func() int) *bars {
	b := &bars{stderr: stderr, terminal: terminal, width: width, live: newLive(), latest: t.latest, readers: t.readers}
	if t.sending() {
		b.sent = &side{name: "sent", total: t.send}
	}
	if t.receive > 0 || t.receives || !t.sending() {
		b.received = &side{name: "received", total: t.receive}
	}
	stderr.redirect(b)
	return b
}

func (b *bars) show(c counts, away string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.sent != nil {
		b.sent.advance(now, c.sent)
		b.sent.ending = c.ending
	}
	if b.received != nil {
		b.received.advance(now, c.received)
		b.received.expired, b.received.ending = c.expired, c.ending
		b.received.waiting = c.sent*b.readers - min(c.sent*b.readers, c.received+c.expired)
	}
	b.away = printable.Text(away)
	if b.latest != nil {
		b.live.add(b.latest())
	}
	// A terminal that fails now fails the summary too, which is told.
	_, _ = io.WriteString(b.terminal, b.drawing())
}

// end leaves the bars on the screen as they are.
func (b *bars) end() { b.stderr.redirect(b.terminal) }

// Write writes lines above the bars.
func (b *bars) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := io.WriteString(b.terminal, b.erasing()); err != nil {
		return 0, err
	}
	n, err := b.terminal.Write(p)
	if err == nil {
		_, err = io.WriteString(b.terminal, b.drawing())
	}
	return n, err
}

// erasing is what takes the bars from the screen.
func (b *bars) erasing() string {
	if b.drawn == 0 {
		return ""
	}
	up := fmt.Sprintf(cursorUp, b.drawn)
	b.drawn = 0
	return up + eraseToEnd
}

// drawing is what puts the bars on the screen, in the place of those that are there:
// line over line, because a screen that is erased first flickers.
func (b *bars) drawing() string {
	var text strings.Builder
	if b.drawn > 0 {
		fmt.Fprintf(&text, cursorUp, b.drawn)
	}
	before, width := b.drawn, b.width()
	b.drawn = 0
	line := func(line string) {
		text.WriteString(line + eraseLineEnd + "\n")
		b.drawn++
	}
	for _, s := range []*side{b.sent, b.received} {
		if s != nil {
			line(s.line(width))
		}
	}
	for _, text := range b.live.lines(width, b.sent != nil, b.received != nil) {
		line(text)
	}
	if b.away != "" {
		line(clipped(b.away, width))
	}
	if b.drawn < before {
		text.WriteString(eraseToEnd)
	}
	return text.String()
}

func (s *side) advance(now time.Time, count uint64) {
	s.count = count
	s.rate.measure(now, count)
}

// line is the side as a line that fits width.
func (s *side) line(width int) string {
	left := fmt.Sprintf("%-9s%20d ", s.name, s.count)
	if s.total > 0 {
		left = fmt.Sprintf("%-9s%20s ", s.name, fmt.Sprintf("%d / %d", s.count, s.total))
	}
	right := fmt.Sprintf("%9.0f/s", s.rate.perSecond)
	if s.expired > 0 {
		right += fmt.Sprintf("  %d expired", s.expired)
	}
	if rest, ok := s.left(); ok {
		right += fmt.Sprintf("  %s left", rest.Round(time.Second))
	}
	room := width - 1 // see clipped
	share, ok := s.share()
	if bar := min(barWidth, room-len(left)-len(right)-1); ok && bar >= barWidthLeast {
		left += drawnBar(share, bar) + " "
	}
	return clipped(left+right, width)
}

// left is how long this side will go on; ok is false where nobody knows. While a time ends the
// sending, the rate of now says little of that: a schedule may let it grow.
func (s *side) left() (left time.Duration, ok bool) {
	if s.total > 0 && s.count+s.expired >= s.total {
		return 0, false
	}
	byCount := s.rate.timeFor(s.total - min(s.total, s.count+s.expired))
	switch left = s.byTime(); {
	case s.total > 0 && s.ending.Left == 0, s.ending.Latest && byCount > 0 && byCount < left:
		left = byCount
	}
	return left, left > 0
}

// byTime is how long this side will go on if a time ends the sending: so long, and as long as it
// takes what waits for it.
func (s *side) byTime() time.Duration { return s.ending.Left + s.rate.timeFor(s.waiting) }

// share is how much is done: of the messages or, where nobody knows how many these are, of the time;
// ok is false where nobody knows either.
func (s *side) share() (share float64, ok bool) {
	switch elapsed := s.ending.Length - s.ending.Left; {
	case s.total > 0:
		return min(1, float64(s.count+s.expired)/float64(s.total)), true
	case s.ending.Length > 0:
		return elapsed.Seconds() / (elapsed + s.byTime()).Seconds(), true
	}
	return 0, false
}

// drawnBar is a share as a bar, width characters wide.
func drawnBar(share float64, width int) string {
	room := width - len("[]")
	done := int(float64(room) * share)
	bar := strings.Repeat("=", done) + strings.Repeat("-", room-done)
	if 0 < done && done < room {
		bar = bar[:done-1] + ">" + bar[done:]
	}
	return "[" + bar + "]"
}

const (
	// rateInterval is the least time to measure a rate over: confirms come in bursts.
	rateInterval = 300 * time.Millisecond
	// smoothing is how much of the old rate the next measurement keeps.
	smoothing = 0.7
)

// rate measures how fast a count grows.
type rate struct {
	at        time.Time
	count     uint64
	perSecond float64
}

// measure takes the count at a time, which is not before those that it was given.
func (r *rate) measure(now time.Time, count uint64) {
	elapsed := now.Sub(r.at)
	switch {
	case r.at.IsZero():
		r.at, r.count = now, count
	case elapsed >= rateInterval:
		latest := float64(count-r.count) / elapsed.Seconds()
		if r.perSecond == 0 {
			r.perSecond = latest
		}
		r.perSecond = smoothing*r.perSecond + (1-smoothing)*latest
		r.at, r.count = now, count
	}
}

// timeFor is how long n more take at this rate; 0 where it is too low to say.
func (r *rate) timeFor(n uint64) time.Duration {
	if r.perSecond < 1 {
		return 0
	}
	return time.Duration(float64(n) / r.perSecond * float64(time.Second))
}

// terminalWidth is how many characters a line of a terminal has, 0 if it does not know.
func terminalWidth(terminal *os.File) int {
	width, _, err := term.GetSize(int(terminal.Fd()))
	if err != nil {
		return 0
	}
	return width
}
