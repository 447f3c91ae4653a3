package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

// peer is one client that is measured.
type peer interface {
	name() string
	// prepare installs or finds what the peer needs, and returns its version.
	// The error says what is missing and how to get it.
	prepare(ctx context.Context) (version string, err error)
	// takesPart says whether it can do what the scenario is about.
	takesPart(s scenario) bool
	// count is how many messages it moves in a scenario where the fast peers
	// move n: a slow peer gets fewer, so that a run ends.
	count(s scenario, n int) int
	// run moves t.Count messages and returns what that took, the broker's side
	// aside.
	run(ctx context.Context, s scenario, t task) (sample, error)
}

func allPeers(cfg config) []peer {
	return []peer{
		goPeer("floor", "", cfg.self, everywhere, nil),
		goPeer("thump", "github.com/thumpmq/thump", cfg.self, everywhere, nil),
		goPeer(thumpUnchecked, "github.com/thumpmq/thump", cfg.self, streamsReceived, nil),
		goPeer("amqp091-go", "github.com/rabbitmq/amqp091-go", cfg.self, queues, nil),
		&pair{title: "pika", find: pikaFinder(cfg.python, cfg.dir), part: queues, share: pikaShare},
		&perfTest{cache: cfg.cache, version: cfg.perfTestVersion},
		goPeer(streamGo, streamGoModule, cfg.self, streams, streamGoShare),
		goPeer(streamGoRaised, streamGoModule, cfg.self, streams, streamGoRaisedShare),
		&streamPerfTest{cache: cfg.cache, dir: cfg.dir, version: cfg.streamPerfTestVersion},
	}
}

const defaultPeers = "floor,thump,thump-unchecked,amqp091-go,pika,PerfTest,stream-go-client,stream-go-raised,StreamPerfTest"

func everywhere(scenario) bool        { return true }
func queues(s scenario) bool          { return !s.Stream }
func streams(s scenario) bool         { return s.Stream }
func streamsReceived(s scenario) bool { return s.Stream && s.Receives }

// pair is a peer of two programs, one that sends and one that receives, which
// speak the lines of worker.go.
type pair struct {
	title string
	// find returns the version and the two command lines, by role.
	find func(ctx context.Context) (version string, argv map[string][]string, err error)
	part func(scenario) bool // see takesPart
	// share is the divisor for count; nil for a fast peer.
	share func(scenario) int

	argv map[string][]string // once prepared
}

// goPeer is this program, started again.
func goPeer(name, module, self string, part func(scenario) bool, share func(scenario) int) *pair {
	return &pair{title: name, part: part, share: share, find: func(context.Context) (string, map[string][]string, error) {
		return moduleVersion(module), map[string][]string{
			roleSend:    {self, workerCommand, name, roleSend},
			roleReceive: {self, workerCommand, name, roleReceive},
		}, nil
	}}
}

// moduleVersion is the version of a module that this program was built with.
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == path && m.Replace == nil {
			return m.Version
		}
	}
	return "this checkout"
}

func (p *pair) name() string { return p.title }

func (p *pair) takesPart(s scenario) bool { return p.part(s) }

func (p *pair) prepare(ctx context.Context) (version string, err error) {
	version, p.argv, err = p.find(ctx)
	return version, err
}

func (p *pair) count(s scenario, n int) int {
	if p.share == nil {
		return n
	}
	return max(1, n/p.share(s))
}

// run lets the receiver begin first. The time counts from where the work began
// until the last message was sent and received.
func (p *pair) run(ctx context.Context, s scenario, t task) (sample, error) {
	var out sample
	var children []*child
	defer func() {
		for _, c := range children {
			c.stop()
		}
	}()
	for _, role := range rolesOf(s) {
		c, err := startChild(ctx, role, p.argv[role], withProfile(t, p.title+"-"+s.Name+"-"+role))
		if err != nil {
			return out, err
		}
		children = append(children, c)
	}
	for _, c := range children {
		if err := c.begin(); err != nil {
			return out, err
		}
	}
	var started, ended int64
	for _, c := range children {
		w, err := c.wait()
		if err != nil {
			return out, err
		}
		if w.Count != t.Count {
			return out, fmt.Errorf("the %s process says it moved %d messages of %d", c.role, w.Count, t.Count)
		}
		// The receiver comes first; where there is a sender, its start counts.
		started, ended = w.StartedNS, max(ended, w.EndedNS)
		out.add(c.role, w)
	}
	out.Seconds = time.Duration(ended - started).Seconds()
	return out, nil
}

// rolesOf lists the processes of a scenario in the order they begin in.
func rolesOf(s scenario) []string {
	var roles []string
	if s.Receives {
		roles = append(roles, roleReceive)
	}
	if s.Sends {
		roles = append(roles, roleSend)
	}
	return roles
}

// withProfile names the file of one child's profile, in the folder that the
// task names.
func withProfile(t task, name string) task {
	if t.Profile != "" {
		t.Profile = filepath.Join(t.Profile, name+".pprof")
	}
	return t
}

// The tutorial's programs. They are part of this one, so that it runs from any
// folder.
var (
	//go:embed pika/send.py
	pikaSend []byte
	//go:embed pika/receive.py
	pikaReceive []byte
)

// pikaShare keeps pika's cells near the others' in time. With confirms, its
// BlockingConnection waits for each message's confirm before the next.
func pikaShare(s scenario) int {
	if s.Safe {
		return 40
	}
	return 4
}

// pikaFinder looks for a Python that has pika: the one that was named, the
// first on PATH, or the system's own, which is where packages put it.
func pikaFinder(named, dir string) func(context.Context) (string, map[string][]string, error) {
	return func(ctx context.Context) (string, map[string][]string, error) {
		candidates := []string{"python3", "/usr/bin/python3"}
		if named != "" {
			candidates = []string{named}
		}
		for _, python := range candidates {
			ask := exec.CommandContext(ctx, python, "-c", "import pika; print(pika.__version__)")
			version, err := ask.Output()
			if err != nil {
				continue
			}
			argv, err := writePika(python, dir)
			return strings.TrimSpace(string(version)), argv, err
		}
		return "", nil, errors.New("no python3 with pika: apt-get install python3-pika, or pip install pika and --python")
	}
}

func writePika(python, dir string) (map[string][]string, error) {
	argv := map[string][]string{}
	for role, program := range map[string][]byte{roleSend: pikaSend, roleReceive: pikaReceive} {
		path := filepath.Join(dir, role+".py")
		if err := os.WriteFile(path, program, 0o600); err != nil {
			return nil, err
		}
		argv[role] = []string{python, path}
	}
	return argv, nil
}
