package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// config is what a run does.
type config struct {
	settings
	scenarios []scenario
	peers     []string

	url     string // a broker that is there already; empty: a private one
	server  string // of the private broker, as in broker.Options
	chroot  string
	json    string // file, or "-"
	profile string // folder for CPU profiles

	python          string
	cache           string // folder that PerfTest is kept in
	perfTestVersion string

	self string // this program, to be started again as a child
	dir  string // of this run: programs and the private broker's node
}

const usage = `Usage: bench [flags]

Measures thump beside its peers on one broker, in rounds in which every peer has
its turn, and prints medians and ratios. Starts a private RabbitMQ unless --url
names one.

Exit codes: 0 all was measured (a peer that is missing is named), 1 failed,
2 usage.

Flags:
`

// parseConfig reads the command line. flag.ErrHelp means that help was asked
// for, and given.
func parseConfig(args []string, stderr io.Writer) (config, error) {
	var c config
	var scenarios, peers string
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() {
		_, _ = io.WriteString(stderr, usage)
		set.PrintDefaults()
	}
	set.IntVar(&c.Count, "count", 200_000, "messages per measurement; slow peers move a part of it (see README.md)")
	set.IntVar(&c.Rounds, "rounds", 3, "measurements of each peer in each scenario")
	set.IntVar(&c.Window, "window", 2000, "most unconfirmed messages, where there are confirms")
	set.IntVar(&c.Prefetch, "prefetch", 2000, "most unacked deliveries, where there are acks")
	set.StringVar(&scenarios, "scenarios", "fast,safe,publish,receive", "any of fast, safe, publish, receive, quorum")
	set.StringVar(&peers, "peers", "floor,thump,amqp091-go,pika,PerfTest", "which peers to measure")
	set.StringVar(&c.url, "url", "", "broker to measure on; its CPU time is then not known")
	set.StringVar(&c.server, "server", "", "rabbitmq-server, or generic-unix tree, of the private broker")
	set.StringVar(&c.chroot, "chroot", "", "system tree that the private broker runs in; needs root")
	set.StringVar(&c.json, "json", "", "write the record of the run to this `file`; - is standard output, and the table then goes to standard error")
	set.StringVar(&c.profile, "profile", "", "`folder` for CPU profiles of the Go peers")
	set.StringVar(&c.python, "python", "", "Python that has pika (default: the first of python3 and /usr/bin/python3 that does)")
	set.StringVar(&c.cache, "cache", defaultCache(), "folder that PerfTest is kept in")
	set.StringVar(&c.perfTestVersion, "perf-test-version", "2.22.1", "version of PerfTest")
	if err := set.Parse(args); err != nil {
		return c, err
	}
	var err error
	c.scenarios, err = scenariosNamed(scenarios)
	c.Scenarios = strings.Split(scenarios, ",")
	c.peers = strings.Split(peers, ",")
	return c, errors.Join(err, c.validate(set.Args()))
}

// validate lists every fault, and sets what follows from the rest.
func (c *config) validate(rest []string) error {
	var faults []error
	if len(rest) > 0 {
		faults = append(faults, fmt.Errorf("what is %q? Everything is a flag", rest[0]))
	}
	if c.Count < 1000 {
		faults = append(faults, fmt.Errorf("--count %d is too few to measure: at least 1000", c.Count))
	}
	if c.Rounds < 1 {
		faults = append(faults, fmt.Errorf("--rounds %d: at least 1", c.Rounds))
	}
	if c.Window < 8 {
		faults = append(faults, fmt.Errorf("--window %d: at least 8", c.Window))
	}
	if c.Prefetch < 8 || c.Prefetch > math.MaxUint16 {
		faults = append(faults, fmt.Errorf("--prefetch %d: between 8 and %d", c.Prefetch, math.MaxUint16))
	}
	if c.url != "" && (c.server != "" || c.chroot != "") {
		faults = append(faults, errors.New("--url is a broker that runs; --server and --chroot are for one to start"))
	}
	for _, name := range c.peers {
		known := slices.ContainsFunc(allPeers(*c), func(p peer) bool { return p.name() == name })
		if !known {
			faults = append(faults, fmt.Errorf("there is no peer %q", name))
		}
	}
	c.AckEvery = c.Prefetch / 4 // thump's own default
	return errors.Join(faults...)
}

func defaultCache() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "thump-bench")
}
