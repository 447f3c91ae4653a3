package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/broker"
)

// stopTimeout bounds how long the private broker may take to stop, also after
// Ctrl-C.
const stopTimeout = time.Minute

// progress prints a line about what is going on.
type progress func(format string, args ...any)

// run is a whole run: a broker, the peers, the rounds.
func run(ctx context.Context, cfg config, tell progress) (_ *record, err error) {
	cfg.self, err = os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "thump-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg.dir = dir
	if cfg.causes && cfg.profile == "" {
		cfg.profile = dir
	}
	if cfg.profile != "" {
		if err := os.MkdirAll(cfg.profile, 0o755); err != nil {
			return nil, err
		}
	}
	where, stop, err := openSite(ctx, cfg, tell)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()

	r := &record{
		StartedAt: time.Now().UTC(),
		Machine:   machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), GoVersion: runtime.Version()},
		Broker:    brokerRecord{Version: where.version(), Private: cfg.url == ""},
		Settings:  cfg.settings,
		scenarios: cfg.scenarios,
	}
	peers := preparePeers(ctx, cfg, r, tell)
	if err := where.prepareFiller(ctx, cfg); err != nil {
		return nil, err
	}
	defer where.deleteBacklogs(ctx)
	m := &measuring{site: where, cfg: cfg, record: r, tell: tell}
	m.layOut(peers)
	if err := m.rounds(ctx); err != nil {
		return nil, err
	}
	summarize(r.Cells)
	r.Checking = checkCosts(r.Cells)
	r.Comparisons = compare(r.scenarios, r.Cells)
	if cfg.causes {
		r.Causes, err = spentOnAll(cfg.profile, r)
	}
	return r, err
}

// openSite connects to the broker that --url names, or starts one, unless the stub
// takes its place everywhere.
func openSite(ctx context.Context, cfg config, tell progress) (*site, func() error, error) {
	if !slices.ContainsFunc(cfg.scenarios, needsBroker) {
		return &site{self: cfg.self}, func() error { return nil }, nil
	}
	if cfg.url != "" {
		client, err := thump.Dial(ctx, thump.Config{URLs: []string{cfg.url, cfg.streamURL}})
		if err != nil {
			return nil, nil, err
		}
		stop := func() error { return client.Close(context.WithoutCancel(ctx)) }
		return &site{self: cfg.self, url: cfg.url, streamURL: cfg.streamURL, client: client}, stop, nil
	}
	// Not inside cfg.dir, which the user that RabbitMQ runs as can't enter.
	parent := filepath.Join(cfg.chroot, os.TempDir(), "thump-bench-"+randomName())
	tell("starting a private RabbitMQ")
	node, err := broker.Start(ctx, broker.Options{Dir: parent, Temporary: true, Server: cfg.server, Chroot: cfg.chroot})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(parent))
	}
	stop := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		return errors.Join(node.Stop(ctx), os.RemoveAll(parent))
	}
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{node.URL, node.StreamURL}})
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	closeAll := func() error { return errors.Join(client.Close(context.WithoutCancel(ctx)), stop()) }
	return &site{self: cfg.self, url: node.URL, streamURL: node.StreamURL, client: client, cpuSeconds: node.CPUSeconds}, closeAll, nil
}

// randomName is for names of queues and folders that nobody else uses.
func randomName() string {
	b := make([]byte, 4)
	rand.Read(b) // never fails: see its documentation
	return hex.EncodeToString(b)
}

// preparePeers returns the peers that can be measured. The record says which
// can't, and why.
func preparePeers(ctx context.Context, cfg config, r *record, tell progress) []peer {
	var ready []peer
	for _, p := range allPeers(cfg) {
		if !slices.Contains(cfg.peers, p.name()) {
			continue
		}
		version, err := p.prepare(ctx)
		entry := peerRecord{Name: p.name(), Version: version}
		if err != nil {
			entry.Missing = err.Error()
			tell("MISSING %s: %v", p.name(), err)
		} else {
			ready = append(ready, p)
		}
		r.Peers = append(r.Peers, entry)
	}
	return ready
}

func (b *site) prepareFiller(ctx context.Context, cfg config) error {
	b.filler = goPeer("floor", "", cfg.self, everywhere, nil)
	_, err := b.filler.prepare(ctx)
	return err
}

// measuring is the rounds of a run.
type measuring struct {
	site   *site
	cfg    config
	record *record
	tell   progress
	turns  [][]turn // by scenario
}

// turn is a peer in a scenario that it takes part in; it comes once a round.
type turn struct {
	peer peer
	cell *cell
}

// layOut makes the turns and their cells in the order of the table.
func (m *measuring) layOut(peers []peer) {
	for _, s := range m.cfg.scenarios {
		var turns []turn
		for _, p := range peers {
			if !p.takesPart(s) {
				continue
			}
			c := &cell{Scenario: s.Name, Peer: p.name(), Count: p.count(s, m.cfg.countOf(s))}
			m.record.Cells = append(m.record.Cells, c)
			turns = append(turns, turn{p, c})
		}
		m.turns = append(m.turns, turns)
	}
}

// rounds measures every peer in every scenario once a round. The load of a machine
// changes within minutes, so the peers of a scenario follow each other closely,
// each round in another order.
func (m *measuring) rounds(ctx context.Context) error {
	m.warmUp(ctx)
	for round := range m.cfg.Rounds {
		for i, s := range m.cfg.scenarios {
			turns := m.turns[i]
			for _, j := range order(round, len(turns)) {
				m.one(ctx, turns[j].peer, s, turns[j].cell)
				if ctx.Err() != nil {
					return ctx.Err()
				}
			}
		}
		m.tell("round %d of %d done", round+1, m.cfg.Rounds)
	}
	return nil
}

// order is the order of n turns in a round. Rounds begin with different turns, and
// every second round goes backwards, so that no turn always follows the same one.
// In 2n rounds each turn has each place twice.
func order(round, n int) []int {
	turns := make([]int, n)
	for i := range turns {
		turns[i] = (round/2 + i) % n
	}
	if round%2 == 1 {
		slices.Reverse(turns)
	}
	return turns
}

// warmUp moves some messages first, because a node that was just started is slower.
func (m *measuring) warmUp(ctx context.Context) {
	for _, s := range m.cfg.scenarios {
		if s.Stub {
			continue // each has a new one
		}
		t := m.task(s)
		t.Count = max(1, m.cfg.countOf(s)/4)
		s.Rate, t.Rate, s.Command = 0, 0, false // the filler, as fast as it can
		// If this fails, the rounds will too, and say why.
		_, _ = m.site.measure(ctx, m.site.filler, s, t)
	}
}

func (m *measuring) task(s scenario) task {
	t := task{
		Queue:  "thump-bench-" + randomName(),
		Window: m.cfg.Window, Prefetch: m.cfg.Prefetch, AckEvery: m.cfg.AckEvery,
	}
	if s.Stream {
		t.Stream, t.Window, t.Backlog = true, m.cfg.StreamWindow, m.cfg.countOf(s)
	}
	t.Rate, t.Warm = s.Rate, s.Rate*latencyWarmSeconds
	if s.SubEntries {
		t.SubEntry = m.cfg.SubEntry
	}
	return t
}

// one is one turn, unless the peer has failed in this scenario before.
func (m *measuring) one(ctx context.Context, p peer, s scenario, c *cell) {
	if c.Error != "" {
		return
	}
	t := m.task(s)
	t.Count, t.Profile = c.Count, m.cfg.profile
	got, err := m.site.measure(ctx, p, s, t)
	if err != nil {
		c.Error = err.Error()
		m.tell("%-17s %-16s failed: %v", s.Name, p.name(), err)
		return
	}
	c.Rounds = append(c.Rounds, got)
	if t := got.Timings; t != nil && t.Receive != nil {
		m.tell("%-17s %-16s %10s msg/s, received after %s ms, p99 %s ms",
			s.Name, p.name(), thousands(got.ratePerSecond()), millis(t.Receive.P50), millis(t.Receive.P99))
		return
	}
	m.tell("%-17s %-16s %10s msg/s, client CPU %s µs per message",
		s.Name, p.name(), thousands(got.ratePerSecond()), micros(got.ClientCPUSeconds/float64(got.Count)*1e6))
}
