package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/cmd/thump/internal/load"
)

// TestLines prints the tutorial's lines, and of very many the latest.
func TestLines(t *testing.T) {
	var b bytes.Buffer
	l := newLines(&ui{stderr: &output{w: &b, failed: func() {}}})
	l.show(counts{sent: 99_999, received: 0}, "")
	l.show(counts{sent: 250_000, received: 100_000}, "")
	l.u.tellBlocked("low on memory")
	l.show(counts{sent: 1_250_000, received: 100_000}, "")
	l.u.tellAway(time.Time{}, errors.New("EOF"))
	l.show(counts{sent: 1_250_000, received: 100_000}, "no connection for 1 s: EOF")
	l.u.tellAway(time.Now().Add(-1200*time.Millisecond), nil)
	l.u.tellBlocked("")
	l.show(counts{sent: 100_050_000, received: 100_000}, "")
	var want strings.Builder
	for _, line := range []string{
		"[x] Sent 100000 messages", "[x] Sent 200000 messages", "[x] Received 100000 messages",
		"[!] The broker blocks publishing: low on memory",
		"[x] Sent 300000 messages", "[x] Sent 400000 messages", "[x] Sent 500000 messages", "[x] Sent 600000 messages",
		"[x] Sent 700000 messages", "[x] Sent 800000 messages", "[x] Sent 900000 messages", "[x] Sent 1000000 messages",
		"[x] Sent 1100000 messages", "[x] Sent 1200000 messages", "[!] The connection was lost: EOF",
		"[!] There is a connection again, after 1.2 s", "[!] The broker blocks publishing: no longer",
		"[x] Sent 100000000 messages",
	} {
		want.WriteString(" " + line + "\n")
	}
	if b.String() != want.String() {
		t.Errorf("got\n%swant\n%s", &b, &want)
	}
}

// TestLinesWhereMessagesAreFew: without a terminal nothing that takes longer is silent. Where
// nothing happens there is nothing to say.
func TestLinesWhereMessagesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := &timedLines{begin: time.Now()}
		p := new(countedProgress)
		done := (&ui{stderr: &output{w: got, failed: func() {}}}).follow(p, tracks{send: 5000, receive: 5000, confirms: true})
		time.Sleep(progressEvery / 2) // not at the moments at which follow looks
		for at := range 65 {          // 100 a second, until 40 s, and very many at 50 s
			switch {
			case at < 40:
				p.count.Add(100)
			case at == 50:
				p.count.Add(100_000)
			}
			time.Sleep(time.Second)
		}
		done()
		want := []string{
			"2s [x] Sent 200 messages", "12s [x] Sent 1200 messages", "22s [x] Sent 2200 messages", "32s [x] Sent 3200 messages",
			"42s [x] Sent 4000 messages", "50s [x] Sent 100000 messages", "1m0s [x] Sent 104000 messages",
		}
		if !slices.Equal(got.lines, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got.lines, "\n"), strings.Join(want, "\n"))
		}
	})
}

// timedLines are lines, each with when it was written, to the second.
type timedLines struct {
	begin time.Time
	lines []string
}

func (l *timedLines) Write(p []byte) (int, error) {
	l.lines = append(l.lines, fmt.Sprint(time.Since(l.begin).Round(time.Second), strings.TrimSuffix(string(p), "\n")))
	return len(p), nil
}

// countedProgress is the progress of a command that only sends.
type countedProgress struct {
	load.Progress
	count atomic.Uint64
}

func (p *countedProgress) Published() uint64 { return p.count.Load() }
func (p *countedProgress) Confirmed() uint64 { return p.count.Load() }

func TestStall(t *testing.T) {
	var s stall
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for _, look := range []struct {
		after                time.Duration
		published, confirmed uint64
		stalled              bool
	}{
		{0, 0, 0, false},
		{time.Hour, 0, 0, false}, // nothing was published either
		{time.Second, 100, 0, false},
		{8 * time.Second, 100, 0, false},
		{time.Second, 200, 0, true},
		{time.Hour, 200, 0, true},
		{time.Second, 200, 1, false},
		{9 * time.Second, 200, 1, false},
		{time.Second, 200, 1, true},
		{time.Second, 200, 200, false},
		{time.Hour, 200, 200, false}, // all is done
	} {
		at = at.Add(look.after)
		if text := s.text(at, look.published, look.confirmed); (text != "") != look.stalled {
			t.Errorf("%v, %d of %d confirmed: %q", at, look.confirmed, look.published, text)
		}
	}
}
