package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFileChanges: a file that is not what it was, when it has been read to its end, is an error
// after all that was read of it.
func TestFileChanges(t *testing.T) {
	t.Parallel()
	const lines = 2 * feedBatch
	for name, c := range map[string]struct {
		change func(name string) error
		want   string // of the error; "" for none
	}{
		"as it was": {func(string) error { return nil }, ""},
		"replaced":  {func(name string) error { return errors.Join(os.Remove(name), os.WriteFile(name, nil, 0o600)) }, ""},
		"longer": {func(name string) error {
			file, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			_, err = file.WriteString("half a li")
			return errors.Join(err, file.Close())
		}, "f.txt: it has changed while it was read, from 4000 bytes to 4009; what was read of it was sent"},
		"shorter":  {func(name string) error { return os.Truncate(name, 100) }, "f.txt: it has changed while it was read, from 4000 bytes to 100; what was read of it was sent"},
		"as large": {func(name string) error { return os.Chtimes(name, time.Time{}, time.Now().Add(time.Hour)) }, "f.txt: it was written to while it was read; what was read of it was sent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			name := filepath.Join(t.TempDir(), "f.txt")
			if err := os.WriteFile(name, bytes.Repeat([]byte("x\n"), lines), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := newFeed(&inputFlags{files: []string{name}, skipBad: true}, destination{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			messages, err := f.Next(t.Context())
			read := len(messages)
			if err != nil || read >= lines {
				t.Fatalf("%d messages first: %v", read, err)
			}
			if err := c.change(name); err != nil {
				t.Fatal(err)
			}
			for err == nil {
				messages, err = f.Next(t.Context())
				read += len(messages)
			}
			switch {
			case read < lines:
				t.Errorf("%d messages were read", read)
			case c.want == "" && !errors.Is(err, io.EOF), c.want != "" && !strings.HasSuffix(err.Error(), c.want):
				t.Errorf("%v, want %q", err, c.want)
			}
			if err := f.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

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
