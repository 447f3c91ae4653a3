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

	url       string // of a broker that runs already; empty: start a private one
	streamURL string // where that broker serves streams
	server    string // of the private broker, as in broker.Options
	chroot    string
	json      string // file, or "-"
	profile   string // folder for CPU profiles
	causes    bool   // what of the Go peers' CPU time went where is printed
	baseline  string // path of this program built from another commit; empty: none

	command               string // thump, to be measured itself; "" to build it
	python                string
	cache                 string // folder that PerfTest and StreamPerfTest are kept in
	perfTestVersion       string
	streamPerfTestVersion string

	self string // path of this program, which is started again as a child
	dir  string // temporary folder of this run
}

const usage = `Usage: bench [flags]

Measures thump beside its peers on one broker and prints medians and ratios. In
every round each peer has one turn in each scenario. Starts a private RabbitMQ
unless --url names a broker.

With --baseline it measures thump, the same thump again, and the thump of another
build of this program, and says for each scenario whether this build is slower
than the other by more than it differs from itself. To build a baseline from
another commit, and compare with it in a minute or two:

  git worktree add ../../base COMMIT
  go -C ../../base/bench build -o bench-base
  go run . --baseline ../../base/bench/bench-base --scenarios safe,fast --count 100000

Exit codes: 0 everything was measured (peers that are not installed are named),
1 something failed, 2 usage. A slow result is no failure.

Flags:
`

// parseConfig reads the command line. The error is flag.ErrHelp after it has
// printed the help.
func parseConfig(args []string, stderr io.Writer) (config, error) {
	var c config
	var scenarios, peers string
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() {
		_, _ = io.WriteString(stderr, usage)
		set.PrintDefaults()
	}
	set.IntVar(&c.Count, "count", 200_000, "messages per measurement; slow peers move fewer (see README.md)")
	set.IntVar(&c.Rounds, "rounds", 3, "measurements of each peer in each scenario")
	set.IntVar(&c.Window, "window", 2000, "unconfirmed messages at most, where there are confirms")
	set.IntVar(&c.Prefetch, "prefetch", 2000, "unacked deliveries at most, where there are acks")
	set.IntVar(&c.StubCount, "stub-count", 2_000_000, "messages per measurement with the stub in the broker's place")
	set.IntVar(&c.LatencySeconds, "latency-seconds", 5, fmt.Sprintf("seconds of a measurement of latency, after %d that do not count", latencyWarmSeconds))
	set.IntVar(&c.StreamCount, "stream-count", 1_000_000, "messages per measurement of a stream with an entry per message; several times as many with sub-entries, or where they are only consumed (see README.md)")
	set.IntVar(&c.StreamWindow, "stream-window", 100_000, "unconfirmed messages of a stream at most")
	set.IntVar(&c.SubEntry, "sub-entry", 500, "messages in a sub-entry batch")
	set.StringVar(&c.baseline, "baseline", "", fmt.Sprintf("compare with this `program`, another build of bench; unless given, --rounds is then %d and --peers empty", baselineRounds))
	set.StringVar(&scenarios, "scenarios", defaultScenarios, "scenarios to measure, any of "+scenarioNames())
	set.StringVar(&peers, "peers", defaultPeers, "peers to measure")
	set.StringVar(&c.url, "url", "", "measure on this broker, whose CPU time is then unknown")
	set.StringVar(&c.streamURL, "stream-url", "", "where the broker of --url serves streams (default: the same host and user, port 5552)")
	set.StringVar(&c.server, "server", "", "run this rabbitmq-server, or the one in this generic-unix tree, as the private broker")
	set.StringVar(&c.chroot, "chroot", "", "run the private broker in this system tree; needs root")
	set.StringVar(&c.json, "json", "", "write the record of the run to this `file`; with - to standard output, and the table to standard error")
	set.StringVar(&c.profile, "profile", "", "write CPU profiles of the Go peers to this `folder`")
	set.BoolVar(&c.causes, "causes", false, "print what the Go peers' CPU time went to, from profiles of each one's last round")
	set.StringVar(&c.command, "command", "", "the `program` thump for the scenarios run and run-stream (default: it is built)")
	set.StringVar(&c.python, "python", "", "Python that has pika (default: python3 or /usr/bin/python3, the first that has it)")
	set.StringVar(&c.cache, "cache", defaultCache(), "folder with PerfTest and StreamPerfTest")
	set.StringVar(&c.perfTestVersion, "perf-test-version", "2.22.1", "version of PerfTest")
	set.StringVar(&c.streamPerfTestVersion, "stream-perf-test-version", "1.8.0", "version of StreamPerfTest")
	if err := set.Parse(args); err != nil {
		return c, err
	}
	given := map[string]bool{}
	set.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if c.baseline != "" {
		if !given["rounds"] {
			c.Rounds = baselineRounds
		}
		if !given["peers"] {
			peers = thumpTitle
		}
	}
	var err error
	c.scenarios, err = scenariosNamed(scenarios)
	c.Scenarios = strings.Split(scenarios, ",")
	c.peers = strings.Split(peers, ",")
	if c.baseline != "" {
		c.peers = append(c.peers, thumpTitle, thumpAgain, baselineTitle)
	}
	return c, errors.Join(err, c.validate(set.Args()))
}

// validate returns every fault, and sets what follows from other settings.
func (c *config) validate(rest []string) error {
	var faults []error
	if len(rest) > 0 {
		faults = append(faults, fmt.Errorf("unexpected argument %q: there are only flags", rest[0]))
	}
	if c.Count < 1000 {
		faults = append(faults, fmt.Errorf("--count %d is too few to measure: at least 1000", c.Count))
	}
	if c.LatencySeconds < 1 || c.LatencySeconds > 600 {
		faults = append(faults, fmt.Errorf("--latency-seconds %d: between 1 and 600", c.LatencySeconds))
	}
	if c.StubCount < 10_000 || c.StubCount > stubCountMost {
		faults = append(faults, fmt.Errorf("--stub-count %d: between 10000 and %d", c.StubCount, stubCountMost))
	}
	if c.StreamCount < 10_000 {
		faults = append(faults, fmt.Errorf("--stream-count %d is too few to measure: at least 10000", c.StreamCount))
	}
	if c.StreamWindow < 1000 || c.StreamWindow > 1<<20 {
		faults = append(faults, fmt.Errorf("--stream-window %d: between 1000 and %d", c.StreamWindow, 1<<20))
	}
	if c.SubEntry < 2 || c.SubEntry > 5000 {
		// More would not surely fit a frame.
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
		faults = append(faults, errors.New("--url is a broker that runs already; --server and --chroot are for one that bench starts"))
	}
	if c.streamURL != "" && c.url == "" {
		faults = append(faults, errors.New("--stream-url needs --url"))
	}
	if c.url != "" && c.streamURL == "" {
		var err error
		if c.streamURL, err = streamURLOf(c.url); err != nil {
			faults = append(faults, err)
		}
	}
	if c.baseline != "" {
		if err := c.checkBaseline(); err != nil {
			faults = append(faults, fmt.Errorf("--baseline %s: %w", c.baseline, err))
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

// checkBaseline makes sure that the baseline is a build of this program, and
// makes its path absolute.
func (c *config) checkBaseline() error {
	path, err := filepath.Abs(c.baseline)
	if err != nil {
		return err
	}
	if _, err := inspectBaseline(path); err != nil {
		return err
	}
	c.baseline = path
	return nil
}

// streamURLOf is where the broker of an AMQP URL serves streams by default.
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
