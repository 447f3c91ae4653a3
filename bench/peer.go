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
	"slices"
	"strings"
	"sync"
	"time"
)

// peer is one client that is measured.
type peer interface {
	name() string
	// prepare installs or finds what the peer needs, and returns its version.
	// The error says what is missing and how to get it.
	prepare(ctx context.Context) (version string, err error)
	// takesPart says whether the scenario is for this peer.
	takesPart(s scenario) bool
	// count is how many messages it moves where the fast peers move n. Slow peers
	// move fewer, so that a run ends.
	count(s scenario, n int) int
	// run moves t.Count messages and measures that, except for what the broker
	// takes.
	run(ctx context.Context, s scenario, t task) (sample, error)
}

func allPeers(cfg config) []peer {
	peers := []peer{
		goPeer("floor", "", cfg.self, everywhere, nil),
		goPeer(thumpTitle, "github.com/thumpmq/thump", cfg.self, everywhere, nil),
		goPeer(thumpUnchecked, "github.com/thumpmq/thump", cfg.self, streamsReceived, nil),
		goPeer("amqp091-go", "github.com/rabbitmq/amqp091-go", cfg.self, queuesAndStub, amqp091Share),
		&pair{title: "pika", find: pikaFinder(cfg.python, cfg.dir), part: unpacedQueues, share: pikaShare},
		newPerfTest(cfg),
		goPeer(thumpEach, "github.com/thumpmq/thump", cfg.self, waiting, nil),
		goPeer(amqp091Each, "github.com/rabbitmq/amqp091-go", cfg.self, waiting, nil),
		goPeer(amqp091Alone, "github.com/rabbitmq/amqp091-go", cfg.self, waiting, aloneShare),
		&command{title: runTitle, program: cfg.command, dir: cfg.dir},
		&command{title: runAgain, program: cfg.command, dir: cfg.dir},
		goPeer(aloneTitle, "github.com/thumpmq/thump", cfg.self, commands, nil),
		goPeer(streamGo, streamGoModule, cfg.self, streams, streamGoShare),
		goPeer(streamGoRaised, streamGoModule, cfg.self, streams, streamGoRaisedShare),
		newStreamPerfTest(cfg),
	}
	if cfg.baseline == "" {
		return peers
	}
	own := func(p peer) bool { return p.name() == thumpTitle }
	return slices.Insert(peers, slices.IndexFunc(peers, own)+1, baselinePeers(cfg)...)
}

const defaultPeers = "floor,thump,thump-unchecked,amqp091-go,pika,PerfTest,thump-each,amqp091-each,amqp091-alone,thump-run,thump-run-again,thump-alone,stream-go-client,stream-go-raised,StreamPerfTest"

func everywhere(s scenario) bool      { return !s.Each && !s.Command }
func queues(s scenario) bool          { return !s.Stream && !s.Stub && everywhere(s) }
func unpacedQueues(s scenario) bool   { return queues(s) && s.Rate == 0 }
func queuesAndStub(s scenario) bool   { return queues(s) || s.Stub }
func streams(s scenario) bool         { return s.Stream && everywhere(s) }
func streamsReceived(s scenario) bool { return streams(s) && s.Receives }

// pair is a peer of two programs, one that sends and one that receives. They speak
// the lines of worker.go.
type pair struct {
	title string
	// find returns the version, and the two command lines by role.
	find func(ctx context.Context) (version string, argv map[string][]string, err error)
	part func(scenario) bool // see takesPart
	// share is the divisor for count; nil for a fast peer.
	share func(scenario) int

	argv map[string][]string // once prepared
}

// goPeer is a peer in this program, which is started again.
func goPeer(name, module, self string, part func(scenario) bool, share func(scenario) int) *pair {
	return &pair{title: name, part: part, share: share, find: func(context.Context) (string, map[string][]string, error) {
		return moduleVersion(module), workers(self, name), nil
	}}
}

// workers are the command lines of a Go peer by role. program is this program or
// a baseline.
func workers(program, name string) map[string][]string {
	argv := map[string][]string{}
	for _, role := range []string{roleSend, roleReceive, roleBoth, rolePacedSend, rolePacedReceive, roleServe} {
		argv[role] = []string{program, workerCommand, name, role}
	}
	return argv
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

// run lets the receiver begin first. The time that counts is from the beginning of
// the sender's work, or of the receiver's if it is alone, until the last message
// was sent and received.
func (p *pair) run(ctx context.Context, s scenario, t task) (sample, error) {
	// The first failure ends ctx, which kills the processes, and is the error. So a
	// receiver does not wait for a sender that is gone.
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var children []*child
	defer func() {
		for _, c := range children {
			c.stop()
		}
	}()
	for _, role := range rolesOf(s) {
		c, err := startChild(ctx, role, p.argv[role], withProfile(t, profileName(p.title, s, role)))
		if err != nil {
			fail(err)
			return sample{}, context.Cause(ctx)
		}
		children = append(children, c)
	}
	for _, c := range children {
		c.begin()
	}
	works := make([]work, len(children))
	var waiting sync.WaitGroup
	for i, c := range children {
		waiting.Go(func() {
			var err error
			if works[i], err = c.wait(); err != nil {
				fail(err)
			}
		})
	}
	waiting.Wait()
	if err := context.Cause(ctx); err != nil {
		return sample{}, err
	}
	return sampleOf(children, works, t.Count)
}

// sampleOf adds up what the processes did.
func sampleOf(children []*child, works []work, count int) (sample, error) {
	var out sample
	var started, ended int64
	for i, w := range works {
		if w.Count != count {
			return out, fmt.Errorf("the %s process says it moved %d messages of %d", children[i].role, w.Count, count)
		}
		// The sender is last, so if there is one its start counts.
		started, ended = w.StartedNS, max(ended, w.EndedNS)
		out.add(children[i].role, w)
	}
	out.Seconds = time.Duration(ended - started).Seconds()
	return out, nil
}

// rolesOf lists the processes of a scenario in the order in which they begin.
func rolesOf(s scenario) []string {
	switch {
	case s.Command:
		return []string{roleBoth}
	case s.Rate > 0:
		return []string{rolePacedReceive, rolePacedSend}
	}
	var roles []string
	if s.Receives {
		roles = append(roles, roleReceive)
	}
	if s.Sends {
		roles = append(roles, roleSend)
	}
	return roles
}

// withProfile turns the task's folder for profiles into the file for one child.
func withProfile(t task, name string) task {
	if t.Profile != "" {
		t.Profile = filepath.Join(t.Profile, name)
	}
	return t
}

// The tutorial's programs. They are embedded so that bench runs in any folder.
var (
	//go:embed pika/send.py
	pikaSend []byte
	//go:embed pika/receive.py
	pikaReceive []byte
)

// pikaShare makes pika's measurements about as long as the others'. With confirms,
// its BlockingConnection waits for each confirm before it publishes the next
// message.
func pikaShare(s scenario) int {
	if s.Safe {
		return 40
	}
	return 4
}

// pikaFinder looks for a Python that has pika: the one that was named, or the
// first on PATH, or the system's own, where distributions install it.
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
