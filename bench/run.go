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

// stopTimeout bounds the stopping of the private broker, after Ctrl-C too.
const stopTimeout = time.Minute

// progress tells whoever watches what is going on, a line at a time.
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
		Broker:    brokerRecord{Version: where.client.Server().Version, Private: cfg.url == ""},
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
	return r, nil
}

// openSite connects to the broker that was named, or starts one.
func openSite(ctx context.Context, cfg config, tell progress) (*site, func() error, error) {
	if cfg.url != "" {
		client, err := thump.Dial(ctx, thump.Config{URLs: []string{cfg.url, cfg.streamURL}})
		if err != nil {
			return nil, nil, err
		}
		stop := func() error { return client.Close(context.WithoutCancel(ctx)) }
		return &site{url: cfg.url, streamURL: cfg.streamURL, client: client}, stop, nil
	}
	// Not inside cfg.dir: that is closed to the user that RabbitMQ runs as.
	dir := filepath.Join(cfg.chroot, os.TempDir(), "thump-bench-node-"+randomName())
	tell("starting a private RabbitMQ")
	node, err := broker.Start(ctx, broker.Options{Dir: dir, Server: cfg.server, Chroot: cfg.chroot})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	stop := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		return errors.Join(node.Stop(ctx), os.RemoveAll(dir))
	}
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{node.URL, node.StreamURL}})
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	closeAll := func() error { return errors.Join(client.Close(context.WithoutCancel(ctx)), stop()) }
	return &site{url: node.URL, streamURL: node.StreamURL, client: client, cpuSeconds: node.CPUSeconds}, closeAll, nil
}

// randomName sets what this run makes apart from everything else.
func randomName() string {
	b := make([]byte, 4)
	rand.Read(b) // never fails: see its documentation
	return hex.EncodeToString(b)
}

// preparePeers returns the peers that can be measured; the record names the
// others, and why.
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

// turn is a peer's, in a scenario that it takes part in.
type turn struct {
	peer peer
	cell *cell
}

// layOut makes the turns and their cells, in the order of the table.
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

// rounds measures every peer in every scenario once a round. What else the
// machine does changes over minutes, so the peers of a scenario follow each
// other closely; and each round begins with another one, so that none is always
// the first.
func (m *measuring) rounds(ctx context.Context) error {
	m.warmUp(ctx)
	for round := range m.cfg.Rounds {
		for i, s := range m.cfg.scenarios {
			turns := m.turns[i]
			for j := range turns {
				t := turns[(round+j)%len(turns)]
				m.one(ctx, t.peer, s, t.cell)
				if ctx.Err() != nil {
					return ctx.Err()
				}
			}
		}
		m.tell("round %d of %d done", round+1, m.cfg.Rounds)
	}
	return nil
}

// warmUp moves some messages first: a node that was just started is slower.
func (m *measuring) warmUp(ctx context.Context) {
	for _, s := range m.cfg.scenarios {
		t := m.task(s)
		t.Count = max(1, m.cfg.countOf(s)/4)
		// If it fails, so will the rounds, and say why.
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
	if s.SubEntries {
		t.SubEntry = m.cfg.SubEntry
	}
	return t
}

// one measures a cell once more, unless it has failed before.
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
	m.tell("%-17s %-16s %10s msg/s, client CPU %s µs per message",
		s.Name, p.name(), thousands(got.ratePerSecond()), micros(got.ClientCPUSeconds/float64(got.Count)*1e6))
}
