// Command bench runs thump beside its peers on one broker and prints medians
// and ratios. README.md says how it measures and how to read it.
//
// Read scenario.go and peer.go first, then run.go and measure.go. worker.go runs
// in the child processes, schedule.go says how latency is measured, stubserver.go what
// takes the broker's place, baseline.go and compare.go compare two builds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// workerCommand is the first argument of a child.
const workerCommand = "worker"

const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == workerCommand {
		if err := runWorker(os.Args[2], os.Args[3], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitFailed)
		}
		return
	}
	os.Exit(bench(os.Args[1:]))
}

func bench(args []string) int {
	cfg, err := parseConfig(args, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := run(ctx, cfg, func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return exitFailed
	}
	if err := present(cfg, r); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return exitFailed
	}
	if slices.ContainsFunc(r.Cells, func(c *cell) bool { return c.Error != "" }) {
		return exitFailed
	}
	return 0
}

// present prints the table and writes the record.
func present(cfg config, r *record) error {
	table := os.Stdout
	if cfg.json == "-" {
		table = os.Stderr
	}
	if err := writeTable(table, r); err != nil {
		return err
	}
	if cfg.json == "" {
		return nil
	}
	return writeJSON(cfg.json, os.Stdout, r)
}
