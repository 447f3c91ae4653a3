package main

import (
	"strings"
	"testing"
	"time"
)

func TestScheduleDue(t *testing.T) {
	s := schedule{start: time.Unix(1, 0), rate: 5000, count: 100}
	for i, want := range map[int]int64{1: 1e9, 2: 1e9 + 200_000, 51: 1e9 + 10_000_000} {
		if got := s.due(i); got != want {
			t.Errorf("message %d is due at %d, want %d", i, got, want)
		}
	}
}

// A sender that is late gets everything that is due at once, and no message before it is
// due.
func TestScheduleWait(t *testing.T) {
	s := schedule{start: time.Now().Add(-50 * time.Millisecond), rate: 1000, count: 2000}
	if got := s.wait(0); got < 51 {
		t.Errorf("%d messages are due after 50 ms, want 51 or more", got)
	}
	s = schedule{start: time.Now(), rate: 100, count: 4}
	for sent := 0; sent < s.count; {
		last := s.wait(sent)
		if early := s.due(last) - time.Now().UnixNano(); early > 0 {
			t.Errorf("message %d is %v early", last, time.Duration(early))
		}
		if last <= sent || last > s.count {
			t.Fatalf("after %d comes %d, of %d", sent, last, s.count)
		}
		sent = last
	}
}

func TestLatencies(t *testing.T) {
	l := newLatencies(10)
	for i := 1; i <= 1010; i++ {
		l.add(i, 1000, 1000+int64(i-10)*1_000_000) // 1 to 1000 ms, after those that don't count
	}
	got := l.summary()
	if l.fault != nil || got.Count != 1000 {
		t.Fatalf("got %+v, %v", got, l.fault)
	}
	for _, p := range []struct{ got, want float64 }{{got.P50, 500e3}, {got.P99, 990e3}, {got.P999, 999e3}, {got.Most, 1000e3}} {
		if p.got < p.want*0.998 || p.got > p.want*1.002 {
			t.Errorf("got %v µs, want %v", p.got, p.want)
		}
	}
}

// No sample is dropped, and none is bent into shape.
func TestLatenciesFault(t *testing.T) {
	for name, tt := range map[string]struct {
		at   int64
		want string
	}{
		"before it was due": {-1, "the clock was set"},
		"far too late":      {int64(2 * latencyMost), "message 1"},
	} {
		l := newLatencies(0)
		l.add(1, 0, tt.at)
		l.add(2, 0, 1000)
		if l.fault == nil || !strings.Contains(l.fault.Error(), tt.want) {
			t.Errorf("%s: the error is %v, want %q", name, l.fault, tt.want)
		}
	}
}

func TestArrivals(t *testing.T) {
	body := make([]byte, timedBytes)
	a := &arrivals{latencies: newLatencies(0)}
	for i := 1; i <= 3; i++ {
		putTimed(body, 5, i)
		if err := a.add(body, 10); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.add(body, 10); err == nil || !strings.Contains(err.Error(), "delivery 4 is message 3") {
		t.Errorf("a message that came twice: %v", err)
	}
	if err := a.add(body[:8], 10); err == nil || !strings.Contains(err.Error(), "8 bytes") {
		t.Errorf("a short body: %v", err)
	}
}
