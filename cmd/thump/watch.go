package main

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/metrics"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/cmd/thump/internal/watch"
)

// managementNone is --management-url for a broker whose management API is not to be asked.
const managementNone = "none"

// watched is what is watched of a place while a command works on it: the names of its queues or
// streams, for the management API, and how many messages they hold; nil where that can't be
// asked.
type watched struct {
	names []string
	depth func(ctx context.Context, client *thump.Client) (uint64, error)
}

// watching is a run that is being watched.
type watching struct {
	*watch.Watch
	o    *opened
	dial *watcherDial
}

// watch begins to watch a run, which begins now, and its record.
func (o *opened) watch(ctx context.Context, cfg *config, r *result.Run, progress *load.Progress) *watching {
	r.StartedAt = time.Now().Format(time.RFC3339)
	o.save.writer().Begin(r)
	what := cfg.place.watched()
	w := &watching{o: o, dial: &watcherDial{conn: o.conn, u: o.u, name: cfg.command + " (watching)"}}
	b := watch.Broker{Names: what.names, Connection: cfg.command, Used: o.conn.brokerUsed()}
	if what.depth != nil {
		b.Depth = func(ctx context.Context) (uint64, error) {
			client, err := w.dial.client(ctx)
			if err != nil {
				return 0, err
			}
			return what.depth(ctx, client)
		}
	}
	if o.managementURL != managementNone {
		if api, vhost, err := o.conn.to.management(o.u, o.managementURL); err == nil {
			b.API, b.Vhost = api, vhost
		}
	}
	w.Watch = watch.Start(ctx, watch.Config{Progress: progress, Broker: b, Writer: o.save.writer(), Interrupted: o.u.interrupted})
	o.conn.listener.watch.Store(w.Watch)
	if o.metrics != nil {
		begun := *r // what the work writes into r is its own
		o.metrics.Watch(metrics.Run{Record: &begun, Progress: progress, Latest: w.Latest})
	}
	return w
}

// stop ends the watching, and writes to r what was seen.
func (w *watching) stop(ctx context.Context, r *result.Run) {
	w.o.conn.listener.watch.Store(nil)
	w.Stop(r)
	w.dial.close(ctx)
}

// watcherDial makes the client that watches a broker, with a connection of its own: the
// run's are busy.
type watcherDial struct {
	conn *connection
	u    *ui
	name string

	mu   sync.Mutex
	made *connection
}

// client is made once, and connects again by itself.
func (d *watcherDial) client(ctx context.Context) (*thump.Client, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.made == nil {
		made, err := d.conn.to.dial(ctx, d.u, manner{name: d.name, recovery: thump.Recovery{Off: true}, again: true})
		if err != nil {
			return nil, err
		}
		d.made = made
	}
	return d.made.client, nil
}

// close closes the client. It has nothing to say: whether it can does not matter.
func (d *watcherDial) close(ctx context.Context) {
	if d.made == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, goodbyeTimeout)
	defer cancel()
	_ = d.made.client.Close(ctx)
}

// brokerUsed returns what tells how much the broker's process has used, if it is on this
// machine; else nil.
func (c *connection) brokerUsed() func() (cpuSeconds float64, memoryBytes uint64, ok bool) {
	endpoint, err := thump.ParseURL(c.to.url)
	if err != nil || !onThisMachine(endpoint) {
		return nil
	}
	port, err := strconv.ParseUint(endpoint.Port, 10, 16)
	if err != nil {
		return nil
	}
	listener := watch.NewListener(uint16(port))
	return func() (float64, uint64, bool) {
		seconds, memory, ok := listener.Used()
		if !ok && c.node != nil {
			seconds, ok = c.node.CPUSeconds()
		}
		return seconds, memory, ok
	}
}

// onThisMachine reports whether an endpoint is on this machine, as far as is known without
// asking anybody.
func onThisMachine(e thump.Endpoint) bool {
	if name, err := os.Hostname(); e.Loopback() || err == nil && strings.EqualFold(e.Host, name) {
		return true
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, address := range own {
		if network, ok := address.(*net.IPNet); ok && network.IP.Equal(net.ParseIP(e.Host)) {
			return true
		}
	}
	return false
}
