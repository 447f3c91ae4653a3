package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
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

	url       string // a broker that is there already; empty: a private one
	streamURL string // likewise, for streams
	server    string // of the private broker, as in broker.Options
	chroot    string
	json      string // file, or "-"
	profile   string // folder for CPU profiles

	python                string
	cache                 string // folder that PerfTest and StreamPerfTest are kept in
	perfTestVersion       string
	streamPerfTestVersion string

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
	set.IntVar(&c.StreamCount, "stream-count", 1_000_000, "messages per measurement of a stream with an entry per message; with sub-entries, or none to publish, several times as many (see README.md)")
	set.IntVar(&c.StreamWindow, "stream-window", 100_000, "most unconfirmed messages of a stream")
	set.IntVar(&c.SubEntry, "sub-entry", 500, "messages in a sub-entry batch")
	set.StringVar(&scenarios, "scenarios", defaultScenarios, "any of "+scenarioNames())
	set.StringVar(&peers, "peers", defaultPeers, "which peers to measure")
	set.StringVar(&c.url, "url", "", "broker to measure on; its CPU time is then not known")
	set.StringVar(&c.streamURL, "stream-url", "", "where that broker serves streams (default: host and user of --url, port 5552)")
	set.StringVar(&c.server, "server", "", "rabbitmq-server, or generic-unix tree, of the private broker")
	set.StringVar(&c.chroot, "chroot", "", "system tree that the private broker runs in; needs root")
	set.StringVar(&c.json, "json", "", "write the record of the run to this `file`; - is standard output, and the table then goes to standard error")
	set.StringVar(&c.profile, "profile", "", "`folder` for CPU profiles of the Go peers")
	set.StringVar(&c.python, "python", "", "Python that has pika (default: the first of python3 and /usr/bin/python3 that does)")
	set.StringVar(&c.cache, "cache", defaultCache(), "folder that PerfTest and StreamPerfTest are kept in")
	set.StringVar(&c.perfTestVersion, "perf-test-version", "2.22.1", "version of PerfTest")
	set.StringVar(&c.streamPerfTestVersion, "stream-perf-test-version", "1.8.0", "version of StreamPerfTest")
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
	if c.StreamCount < 10_000 {
		faults = append(faults, fmt.Errorf("--stream-count %d is too few to measure: at least 10000", c.StreamCount))
	}
	if c.StreamWindow < 1000 || c.StreamWindow > 1<<20 {
		faults = append(faults, fmt.Errorf("--stream-window %d: between 1000 and %d", c.StreamWindow, 1<<20))
	}
	if c.SubEntry < 2 || c.SubEntry > 5000 {
		// What fits a frame, with room to spare.
		faults = append(faults, fmt.Errorf("--sub-entry %d: between 2 and 5000", c.SubEntry))
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
	if c.streamURL != "" && c.url == "" {
		faults = append(faults, errors.New("--stream-url goes with --url"))
	}
	if c.url != "" && c.streamURL == "" {
		var err error
		if c.streamURL, err = streamURLOf(c.url); err != nil {
			faults = append(faults, err)
		}
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

// streamURLOf is where the broker of an AMQP URL serves streams unless somebody
// moved that.
func streamURLOf(amqpURL string) (string, error) {
	u, err := url.Parse(amqpURL)
	if err != nil {
		return "", errors.New("--url is malformed") // the error would hold the password
	}
	stream := url.URL{Scheme: "rabbitmq-stream", User: u.User, Path: u.Path, RawPath: u.RawPath}
	port := "5552"
	if u.Scheme == "amqps" {
		stream.Scheme, port = "rabbitmq-stream+tls", "5551"
	}
	stream.Host = net.JoinHostPort(u.Hostname(), port)
	return stream.String(), nil
}

func defaultCache() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "thump-bench")
}
