package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestFeedWaits: with --pace no message is handed out before it is due, and
// all are in the end.
func TestFeedWaits(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	var text []byte
	for i := range 40 {
		at := begin.Add(time.Duration(i) * time.Second).Format(time.RFC3339)
		text = fmt.Appendf(text, "{\"timestamp\":%q,\"body\":\"%d\"}\n{\"body\":\"%[2]d, without a time\"}\n", at, i)
	}
	name := filepath.Join(t.TempDir(), "f.ndjson")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		flags inputFlags
		least time.Duration // from the first message to the last
	}{
		"pace": {inputFlags{pace: 100}, 390 * time.Millisecond},
		"loop": {inputFlags{pace: 100, loop: true, count: 120}, 390 * time.Millisecond},
		"none": {inputFlags{}, 0},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c.flags.files = []string{name}
			f, err := newFeed(&c.flags, destination{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			var first, last time.Time
			sent := 0
			for {
				messages, err := f.Next(t.Context())
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if last = time.Now(); first.IsZero() {
					first = last
				}
				for _, m := range messages {
					if sent++; m.Ref != uint64(sent) {
						t.Fatalf("message %d has the Ref %d", sent, m.Ref)
					}
				}
			}
			if want := max(80, int(c.flags.count)); sent != want {
				t.Errorf("%d messages, want %d", sent, want)
			}
			// With steps of a fiftieth of a second the first and the last may be early by one.
			if took := last.Sub(first); took < c.least-2*time.Second/paceSteps {
				t.Errorf("it took %v, less than %v", took, c.least)
			}
		})
	}
}
