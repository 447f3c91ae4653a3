package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump/cmd/thump/internal/load"
)

// screen is a terminal of 60 columns. It knows the sequences that bars use, and fails
// the test at any other.
type screen struct {
	t     *testing.T
	lines []string
	row   int
}

var sequence = regexp.MustCompile(`^\x1b\[([0-9]*)([A-Z])`)

func (s *screen) Write(p []byte) (int, error) {
	for rest := string(p); rest != ""; {
		for len(s.lines) <= s.row {
			s.lines = append(s.lines, "")
		}
		if m := sequence.FindStringSubmatch(rest); m != nil {
			rest = rest[len(m[0]):]
			switch m[2] {
			case "A":
				var up int
				_, _ = fmt.Sscan(m[1], &up)
				if s.row -= up; s.row < 0 {
					s.t.Fatalf("%d lines up, from line %d", up, s.row+up)
				}
			case "J":
				s.lines = s.lines[:s.row]
			case "K": // a line begins where it is written over: see below
			default:
				s.t.Fatalf("the sequence %q", m[0])
			}
			continue
		}
		line, after, ended := strings.Cut(rest, "\n")
		text := strings.TrimSuffix(line, "\x1b[K")
		if len(text) >= 60 {
			s.t.Errorf("a line of %d characters: %q", len(text), text)
		}
		if erased := text != line; !erased && len(s.lines[s.row]) > len(text) {
			text += s.lines[s.row][len(text):]
		}
		s.lines[s.row] = text
		if rest = after; ended {
			s.row++
		}
	}
	return len(p), nil
}

// TestBars has bars grow and shrink while other lines are written. Those must all be
// there, in order, and the bars once, below them.
func TestBars(t *testing.T) {
	s := &screen{t: t}
	u := &ui{stderr: &output{w: s, failed: func() {}}}
	u.errorf("before\n")
	b := newBars(u.stderr, s, tracks{send: 1000, receive: 1000}, func() int { return 60 })
	u.errorf("first\n")
	b.show(counts{sent: 1000, received: 100}, "")
	u.tellBlocked("low on memory")
	b.show(counts{sent: 5, received: 0}, "no connection for 3 s: it said \x1b[31m and closed it, as brokers do")
	u.errorf("second\n")
	u.errorf("\nthump: finishing\n")
	if away := `no connection for 3 s: it said \x1b[31m and closed it, as b`; s.lines[len(s.lines)-1] != away {
		t.Errorf("the last line is %q, want %q", s.lines[len(s.lines)-1], away)
	}
	b.show(counts{sent: 10, received: 1000}, "")
	b.end()
	u.errorf("after\n")
	got := strings.Join(s.lines, "\n")
	want := `before
first
 [!] The broker blocks publishing: low on memory
second

thump: finishing
sent                10 / 1000 [---------------]         0/s
received          1000 / 1000 [===============]         0/s
after`
	if got != want {
		t.Errorf("the screen shows\n%s\nand should\n%s", got, want)
	}
}

// TestBarLines looks at a line in terminals of several widths.
func TestBarLines(t *testing.T) {
	for _, test := range []struct {
		width                            int
		count, expired, total, perSecond uint64
		want                             string
	}{
		{80, 0, 0, 1_000_000, 0, "sent              0 / 1000000 [------------------------------]         0/s"},
		{100, 500_000, 0, 1_000_000, 20_000, "sent         500000 / 1000000 [==============>---------------]     20000/s  25s left"},
		{100, 1_000_000, 0, 1_000_000, 20_000, "sent        1000000 / 1000000 [==============================]     20000/s"},
		{100, 2_000_000, 0, 1_000_000, 20_000, "sent        2000000 / 1000000 [==============================]     20000/s"},
		{60, 500_000, 0, 1_000_000, 20_000, "sent         500000 / 1000000     20000/s  25s left"},
		{40, 500_000, 0, 1_000_000, 20_000, "sent         500000 / 1000000     20000"},
		{100, 1234, 0, 0, 20_000, "sent                     1234     20000/s"},
		{0, 1234, 0, 0, 20_000, ""},
		{100, 300_000, 700_000, 1_000_000, 20_000, "sent         300000 / 1000000 [==============================]     20000/s  700000 expired"},
		{100, 300_000, 200_000, 1_000_000, 20_000, "sent         300000 / 1000000 [=============>---------------]     20000/s  200000 expired  25s left"},
	} {
		s := side{name: "sent", count: test.count, expired: test.expired, total: test.total, rate: rate{perSecond: float64(test.perSecond)}}
		if got := s.line(test.width); got != test.want {
			t.Errorf("width %d, %d of %d:\n got %q\nwant %q", test.width, test.count, test.total, got, test.want)
		}
	}
}

// TestTimeLeft: where a time ends the sending, that says how long it goes on, and the rate only how
// long it takes what waits.
func TestTimeLeft(t *testing.T) {
	ramp := load.Ending{Length: 6 * time.Second, Left: 5 * time.Second}
	over := load.Ending{Length: 6 * time.Second}
	latest := load.Ending{Length: 6 * time.Second, Left: 5 * time.Second, Latest: true}
	for _, test := range []struct {
		side side
		rate float64
		want string
	}{
		{side{count: 20, total: 1200, ending: ramp}, 15, "sent                20 / 1200 [--------]        15/s  5s left"},
		{side{count: 20, total: 1200, ending: ramp}, 0, "sent                20 / 1200 [--------]         0/s  5s left"},
		{side{count: 20, total: 1200, ending: ramp, waiting: 30}, 15, "sent                20 / 1200 [--------]        15/s  7s left"},
		{side{count: 1140, total: 1200, ending: over, waiting: 60}, 15, "sent              1140 / 1200 [======>-]        15/s  4s left"}, // late
		{side{count: 1200, total: 1200, ending: ramp}, 15, "sent              1200 / 1200 [========]        15/s"},
		{side{count: 20, total: 1200, ending: latest}, 15, "sent                20 / 1200 [--------]        15/s  5s left"},
		{side{count: 20, total: 1200, ending: latest}, 1180, "sent                20 / 1200 [--------]      1180/s  1s left"},
		{side{count: 3000, ending: ramp}, 3000, "sent                     3000 [>-------]      3000/s  5s left"},
		{side{count: 9000, ending: over}, 3000, "sent                     9000 [========]      3000/s"},
		{side{count: 9000, ending: over, waiting: 6000}, 3000, "sent                     9000 [=====>--]      3000/s  2s left"},
	} {
		test.side.name, test.side.rate.perSecond = "sent", test.rate
		if got := test.side.line(len(test.want) + 1); got != test.want {
			t.Errorf("%+v:\n got %q\nwant %q", test.side, got, test.want)
		}
	}
}

// TestRate: a rate follows what is measured, and jumps of less than its interval say
// nothing.
func TestRate(t *testing.T) {
	var r rate
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	r.measure(at, 0)
	r.measure(at.Add(rateInterval/2), 1_000_000)
	if r.perSecond != 0 {
		t.Errorf("after half an interval: %v", r.perSecond)
	}
	for i := range 50 {
		r.measure(at.Add(time.Duration(i+1)*time.Second), uint64(i+1)*1000)
	}
	if r.perSecond < 999 || r.perSecond > 1001 {
		t.Errorf("at a thousand a second: %v", r.perSecond)
	}
}
