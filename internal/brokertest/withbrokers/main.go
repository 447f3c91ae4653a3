// Command withbrokers starts a RabbitMQ of each version that thump is tested against,
// runs a command with their addresses in its environment, and ends them.
// scripts/with-brokers calls it and makes the trees.
//
//	withbrokers [-tree DIR:SERIES]... COMMAND [ARGUMENT]...
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/thumpmq/thump/internal/brokertest"
)

func main() {
	var trees []tree
	flag.Func("tree", "a directory tree with RabbitMQ in it, and the release series it must have: DIR:4.0, or DIR:4.3+ for 4.3 and later", func(s string) error {
		dir, series, found := strings.Cut(s, ":")
		if !found {
			return errors.New("want DIR:SERIES")
		}
		trees = append(trees, tree{dir, series})
		return nil
	})
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "with-brokers: no command to run")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, trees, flag.Args())
	interrupted := ctx.Err() != nil
	stop()

	var exit *exec.ExitError
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, "with-brokers: interrupted")
		os.Exit(130)
	case errors.As(err, &exit):
		os.Exit(max(1, exit.ExitCode()))
	case err != nil:
		fmt.Fprintln(os.Stderr, "with-brokers:", err)
		os.Exit(1)
	}
}

// tree is a directory tree and the release series of RabbitMQ that must be in it.
type tree struct{ dir, series string }

// run starts the brokers, runs the command, and ends the brokers however the command
// ends.
func run(ctx context.Context, trees []tree, command []string) (err error) {
	work, err := os.MkdirTemp("", "thump-with-brokers-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	ca, err := brokertest.NewAuthority(work)
	if err != nil {
		return err
	}
	brokers, err := startAll(ctx, append([]tree{{}}, trees...), ca)
	defer func() {
		for _, b := range brokers {
			err = errors.Join(err, brokertest.EndShared(b))
		}
	}()
	if err != nil {
		return err
	}

	file := filepath.Join(work, "brokers.json")
	data, err := json.MarshalIndent(brokers, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	var entries []string
	for _, b := range brokers {
		entries = append(entries, b.Name+"="+b.URL)
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(),
		brokertest.EnvBrokers+"="+strings.Join(entries, " "),
		brokertest.EnvBrokersFile+"="+file)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd.Run()
}

// startAll starts a node for each tree, all at the same time, and returns those that
// run. It returns them with an error too, so that the caller can end them. A tree
// without a folder means the installed RabbitMQ, of any series.
func startAll(ctx context.Context, trees []tree, ca *brokertest.Authority) ([]brokertest.Broker, error) {
	type result struct {
		broker brokertest.Broker
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make([]chan result, len(trees))
	for i, tree := range trees {
		results[i] = make(chan result, 1)
		go func() {
			begin := time.Now()
			b, err := brokertest.StartShared(ctx, tree.dir, ca)
			if err != nil {
				cancel() // no need to start the others
			} else {
				fmt.Fprintf(os.Stderr, "with-brokers: RabbitMQ %s serves after %.1f s\n", b.Version, time.Since(begin).Seconds())
			}
			results[i] <- result{b, err}
		}()
	}
	var brokers []brokertest.Broker
	var problems []error
	names := map[string]bool{}
	for i, tree := range trees {
		r := <-results[i]
		switch {
		case errors.Is(r.err, context.Canceled): // another node failed, or the user interrupted
		case r.err != nil:
			problems = append(problems, r.err)
		case tree.dir != "" && !inSeries(r.broker.Version, tree.series):
			problems = append(problems, fmt.Errorf("%s has RabbitMQ %s in it, not %s", tree.dir, r.broker.Version, tree.series))
		case names[r.broker.Name]:
			problems = append(problems, fmt.Errorf("there are two brokers of series %s", r.broker.Name))
		}
		if r.err == nil {
			names[r.broker.Name] = true
			brokers = append(brokers, r.broker)
		}
	}
	if len(problems) == 0 && ctx.Err() != nil {
		problems = append(problems, ctx.Err())
	}
	return brokers, errors.Join(problems...)
}

// inSeries reports whether a version like "4.3.6" belongs to a series like "4.3", or
// for "4.3+" to that series or a later one.
func inSeries(version, series string) bool {
	wanted, orLater := strings.CutSuffix(series, "+")
	major, minor, ok := majorMinor(version)
	wantedMajor, wantedMinor, wantedOK := majorMinor(wanted)
	if !ok || !wantedOK {
		return false
	}
	same := major == wantedMajor && minor == wantedMinor
	return same || orLater && (major > wantedMajor || major == wantedMajor && minor > wantedMinor)
}

func majorMinor(version string) (major, minor int, ok bool) {
	parts := strings.Split(version, ".")
	if len(parts) < 2 {
		return 0, 0, false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return major, minor, err1 == nil && err2 == nil
}
