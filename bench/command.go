package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/thumpmq/thump"
)

// The scenarios "run" and "run-stream" say what it costs that thump run measures: when every
// message was sent, confirmed and received, all of it in histograms, and once a second a sample
// of itself and of the broker. Beside the command is the package alone, in one process too,
// which keeps the same account of every message and takes no times.

const (
	runTitle = "thump-run"
	// runAgain is the command a second time. How it differs from the first is noise.
	runAgain   = "thump-run-again"
	aloneTitle = "thump-alone"

	// roleBoth is that of a process which sends and receives.
	roleBoth = "both"

	commandPackage = "github.com/thumpmq/thump/cmd/thump"
)

func commands(s scenario) bool { return s.Command }

// command is thump run as a peer.
type command struct {
	title   string
	program string // "" to build it
	dir     string
}

func (c *command) name() string { return c.title }

func (c *command) takesPart(s scenario) bool { return commands(s) }

func (c *command) count(_ scenario, n int) int { return n }

// prepare builds the command, unless there is one.
func (c *command) prepare(ctx context.Context) (version string, err error) {
	if c.program == "" {
		c.program = filepath.Join(c.dir, "thump")
		build := exec.CommandContext(ctx, "go", "build", "-o", c.program, commandPackage) // twice is no work
		if output, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("building it: %w%s; --command names one that is built", err, lastLines(string(output)))
		}
	}
	output, err := exec.CommandContext(ctx, c.program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", c.program, err)
	}
	return strings.TrimSpace(string(output)), nil
}

func (c *command) run(ctx context.Context, s scenario, t task) (sample, error) {
	run := exec.CommandContext(ctx, c.program, commandFlags(s, t)...)
	run.Env = append(os.Environ(), "THUMP_URL="+t.URL)
	var stdout, stderr bytes.Buffer
	run.Stdout, run.Stderr = &stdout, &stderr
	if err := run.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return sample{}, fmt.Errorf("thump run: %w%s", err, lastLines(stderr.String()))
	}
	out, err := parseCommand(stdout.Bytes(), t.Count)
	out.RSSBytesPeak = peakRSSBytes(run.ProcessState)
	return out, err
}

func commandFlags(s scenario, t task) []string {
	flags := []string{
		"run", "--quiet", "--json", "-", "--queue", t.Queue, "--count", strconv.Itoa(t.Count), "--window", strconv.Itoa(t.Window),
	}
	if s.Stream {
		return append(flags, "--kind", "stream", "--sub-entry", strconv.Itoa(max(1, t.SubEntry)))
	}
	return append(flags, "--kind", "classic", "--prefetch", strconv.Itoa(t.Prefetch))
}

// parseCommand reads the record that the command has written.
func parseCommand(record []byte, count int) (sample, error) {
	var out struct {
		Runs []struct {
			Verdict          string
			Unique           int
			TotalSeconds     float64 `json:"total_seconds"`
			ClientCPUSeconds float64 `json:"client_cpu_seconds"`
		}
	}
	if err := json.Unmarshal(record, &out); err != nil {
		return sample{}, fmt.Errorf("reading the record of thump run: %w", err)
	}
	if len(out.Runs) != 1 || out.Runs[0].Verdict != "ok" || out.Runs[0].Unique != count || out.Runs[0].TotalSeconds <= 0 {
		return sample{}, fmt.Errorf("the record of thump run is not one of %d messages: %+v", count, out.Runs)
	}
	return sample{Seconds: out.Runs[0].TotalSeconds, ClientCPUSeconds: out.Runs[0].ClientCPUSeconds}, nil
}

// thumpAlone is the package with what the command has of it: batches of the same sizes, an
// outcome and a check for each message.
func thumpAlone(t task) (job, error) {
	ctx := context.Background()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{t.URL}})
	if err != nil {
		return job{}, err
	}
	t.Account = true
	var unconfirmed []uint64 // of OnOutcomes, until it is flushed
	sending := thump.PublisherConfig{To: thump.Queue(t.Queue), Window: t.Window}
	receiving := thump.ConsumerConfig{From: thump.Queue(t.Queue), Prefetch: t.Prefetch, ReuseBuffers: true}
	if t.Stream {
		sending.To, sending.Stream.SubEntry = thump.Stream(t.Queue), max(1, t.SubEntry)
		receiving = thump.ConsumerConfig{From: thump.Stream(t.Queue), MaxBatch: thumpStreamBatch, ReuseBuffers: true}
	}
	sending.OnOutcomes = func(outcomes []thump.Outcome) {
		for i := range outcomes {
			if outcomes[i].Status != thump.Confirmed || outcomes[i].Resent {
				unconfirmed = append(unconfirmed, outcomes[i].Ref)
			}
		}
	}
	publisher, err := client.Publisher(ctx, sending)
	if err != nil {
		return job{}, err
	}
	consumer, err := client.Consumer(ctx, receiving)
	if err != nil {
		return job{}, err
	}
	work := func() error {
		ctx, fail := context.WithCancelCause(ctx)
		defer fail(nil)
		sent := make(chan error, 1)
		go func() {
			err := thumpPublish(ctx, publisher, t)
			if err == nil && len(unconfirmed) > 0 {
				err = fmt.Errorf("%d messages were not confirmed, the first of them %d", len(unconfirmed), unconfirmed[0])
			}
			if err != nil {
				fail(err) // nothing more will come
			}
			sent <- err
		}()
		t := t
		t.Safe = true // what comes is acked
		err := thumpReceive(ctx, consumer, t)
		if err != nil {
			fail(err)
		}
		return errors.Join(<-sent, err)
	}
	return job{work: work, close: func() error { return client.Close(ctx) }}, nil
}
