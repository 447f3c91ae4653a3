package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestCommandFlags(t *testing.T) {
	queue := commandFlags(scenario{}, task{Queue: "q", Count: 10, Window: 20, Prefetch: 30})
	if want := []string{"run", "--quiet", "--json", "-", "--queue", "q", "--count", "10", "--window", "20", "--kind", "classic", "--prefetch", "30"}; !slices.Equal(queue, want) {
		t.Errorf("a queue: %q, want %q", queue, want)
	}
	stream := commandFlags(scenario{Stream: true}, task{Queue: "s", Count: 10, Window: 20, SubEntry: 500})
	if want := []string{"run", "--quiet", "--json", "-", "--queue", "s", "--count", "10", "--window", "20", "--kind", "stream", "--sub-entry", "500"}; !slices.Equal(stream, want) {
		t.Errorf("a stream: %q, want %q", stream, want)
	}
}

func TestParseCommand(t *testing.T) {
	got, err := parseCommand([]byte(`{"version":1,"runs":[{"verdict":"ok","unique":10,"total_seconds":2.5,"client_cpu_seconds":0.5}]}`), 10)
	if err != nil || got.Seconds != 2.5 || got.ClientCPUSeconds != 0.5 {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, record := range []string{
		``, `{}`, `{"runs":[]}`,
		`{"runs":[{"verdict":"ok","unique":9,"total_seconds":2.5}]}`,
		`{"runs":[{"verdict":"ok","unique":10,"total_seconds":null}]}`,
		`{"runs":[{"verdict":"failed","unique":10,"total_seconds":2.5}]}`,
	} {
		if got, err := parseCommand([]byte(record), 10); err == nil {
			t.Errorf("%s: got %+v", record, got)
		}
	}
}

// TestNamedCommandIsNotBuilt: a program that is named and not there is an error, and nothing is
// written to where it would be.
func TestNamedCommandIsNotBuilt(t *testing.T) {
	c := &command{title: runTitle, program: filepath.Join(t.TempDir(), "thmup"), dir: t.TempDir()}
	if version, err := c.prepare(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its version is %q: %v", version, err)
	}
	if _, err := os.Stat(c.program); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is one now: %v", err)
	}
}
