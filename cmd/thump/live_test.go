package main

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// TestLive looks at the view of a run in terminals of several widths.
func TestLive(t *testing.T) {
	l := &live{levels: []rune(blockSpark)}
	for i := range 10 {
		n := uint64(i * i * 1000)
		s := &result.Sample{Seconds: float64(i + 1), Sent: n, Confirmed: n, Received: n, Client: result.ClientSample{CPU: new(1.25), MemoryBytes: new(uint64(12_400_000))}}
		if i != 5 { // at that moment the broker does not answer
			s.Broker = &result.BrokerSample{
				Ready: new(uint64(i)), CPU: new(0.75), MemoryBytes: new(uint64(580_000_000)), Flow: new(uint64(2)), Alarms: []string{"memory", "disk"},
			}
		}
		if i < 9 {
			s.ConfirmLatency = &result.Percentiles{P50: 0.00042, P99: 0.0123, Max: 1.5}
		}
		l.add(s)
		l.add(s) // which is the same one
	}
	for _, tt := range []struct {
		width           int
		sends, receives bool
		want            string
	}{
		{100, true, true, `
sent/s        17,000 ▁▁▂▃▄▅▆▆▇█
recv/s        17,000 ▁▁▂▃▄▅▆▆▇█
waiting            9 ▁▂▃▃▄ ▆▆▇█
confirm  p50 420 us  p99 12 ms  max 1.5 s
uses     thump 1.2 CPU 12 MB  broker 0.8 CPU 580 MB  2 in flow  alarm: memory, disk`},
		{40, false, true, `
recv/s        17,000 ▁▁▂▃▄▅▆▆▇█
waiting            9 ▁▂▃▃▄ ▆▆▇█
confirm  p50 420 us  p99 12 ms
uses     thump 1.2 CPU 12 MB`},
		{25, true, false, `
sent/s        17,000 ▆▇█
waiting            9 ▆▇█
confirm  p50 420 us
uses`},
	} {
		got := "\n" + strings.Join(l.lines(tt.width, tt.sends, tt.receives), "\n")
		if got != tt.want {
			t.Errorf("at %d columns:%s\nwant:%s", tt.width, got, tt.want)
		}
	}
	for width := range 200 {
		for _, line := range l.lines(width, true, true) {
			if utf8.RuneCountInString(line) >= max(width, 1) {
				t.Errorf("at %d columns: %q", width, line)
			}
		}
	}
}

// TestLiveKnowsLittle shows nothing before there is a sample, and no line of what is not known.
func TestLiveKnowsLittle(t *testing.T) {
	l := newLive()
	l.add(nil)
	if lines := l.lines(80, true, true); lines != nil {
		t.Errorf("before there is a sample: %q", lines)
	}
	for range 2 * historyMost {
		l.add(&result.Sample{Seconds: 1 + float64(len(l.sent))})
	}
	if text := fmt.Sprintf("%q", l.lines(30, true, false)); !strings.Contains(text, "sent/s") || strings.Contains(text, "waiting") || strings.Contains(text, "uses") {
		t.Errorf("got %s", text)
	}
	if len(l.sent) > historyMost {
		t.Errorf("it keeps %d values", len(l.sent))
	}
}

func TestSparkLevels(t *testing.T) {
	for _, tt := range []struct{ lang, all, want string }{
		{"C.UTF-8", "", blockSpark},
		{"de_DE.utf8", "", blockSpark},
		{"C", "", plainSpark},
		{"C", "C.UTF-8", blockSpark},
		{"C.UTF-8", "POSIX", plainSpark},
	} {
		got := sparkLevels(func(name string) string {
			return map[string]string{"LANG": tt.lang, "LC_ALL": tt.all}[name]
		})
		if got != tt.want || utf8.RuneCountInString(got) != 8 {
			t.Errorf("LANG=%s LC_ALL=%s: %s", tt.lang, tt.all, got)
		}
	}
}

func TestBrief(t *testing.T) {
	for _, tt := range []struct {
		seconds float64
		want    string
	}{{0, "0 us"}, {0.00042, "420 us"}, {0.0012, "1.2 ms"}, {0.0853, "85 ms"}, {1.25, "1.2 s"}, {65, "65 s"}} {
		if got := brief(tt.seconds); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.seconds, got, tt.want)
		}
	}
	if got := grouped(1234567.8); got != "1,234,568" {
		t.Errorf("got %q", got)
	}
}
