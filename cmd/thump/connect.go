package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/broker"
)

const (
	// readyTimeout is how long to wait for a private broker that is starting.
	readyTimeout = 2 * time.Minute
	// cleanupTimeout bounds the cleaning up after a command's work.
	cleanupTimeout = 30 * time.Second
	// hastyCleanupTimeout bounds it where the command is to end at once.
	hastyCleanupTimeout = 2 * time.Second
	// goodbyeTimeout bounds the closing of the client after a command that the user ended.
	// All that it was to say is said by then.
	goodbyeTimeout = 500 * time.Millisecond
)

// connection is a client and the broker that it is connected to.
type connection struct {
	client    *thump.Client
	to        target
	url       string       // without the password
	streamURL string       // without the password; "" if none was given
	node      *broker.Node // the private broker, or nil

	// started says that this command has started node. Unless that is to be kept, its
	// folder is removed with it.
	started bool

	listener *listener
}

// newRun begins the record of a command: what is known before it has done anything.
func (c *connection) newRun(command string, p place) *result.Run {
	server := c.client.Server()
	r := &result.Run{
		Command:  command,
		Broker:   result.Broker{Product: server.Product, Version: server.Version, Private: c.node != nil},
		Settings: result.Settings{ThumpVersion: thumpVersion(), Processors: runtime.GOMAXPROCS(0), URL: c.url, StreamURL: c.streamURL},
	}
	p.describe(&r.Settings)
	return r
}

// target is a broker that a command may connect to.
type target struct {
	url           string
	streamURL     string       // "" if it was not named
	managementURL string       // likewise
	node          *broker.Node // nil if it is not a private one
	// fallback says that nobody named it. It is tried because something must be.
	fallback bool
}

// target finds where to connect: the flags, the environment, the private broker that is
// running, or this machine's RabbitMQ.
func (f connectFlags) target(ctx context.Context, u *ui) (target, error) {
	t, named, err := f.named(ctx, u)
	if err != nil {
		return target{}, err
	}
	if named {
		t.node = privateNode(t.url)
		return t, nil
	}
	dir := broker.DefaultDir()
	if dir == "" {
		return t.orFallback(), nil
	}
	node, err := broker.Open(dir)
	if errors.Is(err, broker.ErrNotRunning) {
		return t.orFallback(), nil
	}
	if elsewhere, ok := errors.AsType[*broker.ElsewhereError](err); ok {
		return target{}, fmt.Errorf("%w; name a broker with --url", elsewhere)
	}
	if err != nil {
		return target{}, err
	}
	if err := awaitReady(ctx, node); err != nil {
		return target{}, fmt.Errorf("the private broker is running but does not answer: %w", err)
	}
	return privateTarget(node), nil
}

// orFallback is where RabbitMQ usually is.
func (t target) orFallback() target {
	return target{url: urlDefault, managementURL: t.managementURL, fallback: true}
}

// privateNode finds the private broker that a URL leads to, in the folder of the
// broker that the user starts, and in those beside it. It returns nil if none of them
// listens there.
func privateNode(url string) *broker.Node {
	endpoint, err := thump.ParseURL(url)
	usual := broker.DefaultDir()
	if err != nil || usual == "" || !endpoint.Loopback() {
		return nil
	}
	entries, err := os.ReadDir(filepath.Dir(usual))
	if err != nil {
		return nil // no private broker was ever started
	}
	for _, entry := range entries {
		node, err := broker.Open(filepath.Join(filepath.Dir(usual), entry.Name()))
		if err != nil {
			continue
		}
		for _, own := range []string{node.URL, node.StreamURL} {
			if listener, err := thump.ParseURL(own); err == nil && listener.Port == endpoint.Port {
				return node
			}
		}
	}
	return nil
}

func privateTarget(node *broker.Node) target {
	return target{url: node.URL, streamURL: node.StreamURL, node: node}
}

// awaitReady waits for a broker that another process may just be starting.
func awaitReady(ctx context.Context, node *broker.Node) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		err := node.Ready(ctx)
		if err == nil || ctx.Err() != nil || !node.Running() || errors.Is(err, broker.ErrStranger) {
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// manner is how a command connects.
type manner struct {
	name     string
	recovery thump.Recovery
	again    bool // the user was warned of this broker before
}

// dial connects to the target.
func (t target) dial(ctx context.Context, u *ui, how manner) (*connection, error) {
	c := &connection{to: t, node: t.node, listener: new(listener)}
	endpoint, err := thump.ParseURL(t.url)
	if err != nil {
		return nil, usageError{err}
	}
	c.url = endpoint.String()
	urls, endpoints := []string{t.url}, []thump.Endpoint{endpoint}
	if t.streamURL != "" {
		streams, err := thump.ParseURL(t.streamURL)
		switch {
		case err != nil:
			return nil, usageError{err}
		case streams.Protocol != thump.Streams:
			return nil, usagef("the URL for streams is %s, but must begin with rabbitmq-stream:// or rabbitmq-stream+tls://", streams)
		case endpoint.Protocol == thump.Streams:
			return nil, usagef("both URLs are for streams, %s and %s", endpoint, streams)
		}
		c.streamURL = streams.String()
		urls, endpoints = append(urls, t.streamURL), append(endpoints, streams)
	}
	if !how.again {
		u.warnOfClearText(endpoints...)
	}
	cfg := thump.Config{
		URLs: urls, Name: how.name, Recovery: how.recovery, OnEvent: c.listener.hear,
		MaxConnections: clientsMax, // each publisher and consumer has its own
	}
	if t.node != nil {
		cfg.DialContext = t.node.DialContext // no password to somebody who has taken its port
	}
	c.client, err = thump.Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// connect connects to where the flags say, for commands that start no broker.
func (f connectFlags) connect(ctx context.Context, u *ui, how manner) (*connection, error) {
	t, err := f.target(ctx, u)
	if err != nil {
		return nil, err
	}
	c, err := t.dial(ctx, u, how)
	if err != nil && t.fallback && nothingListens(err) {
		return nil, fmt.Errorf("%w; start a RabbitMQ with: thump broker start", err)
	}
	return c, err
}

// nothingListens reports whether err says that nothing listens at the address.
func nothingListens(err error) bool {
	failed, ok := errors.AsType[*net.OpError](err)
	return ok && failed.Op == "dial"
}

// connectOrStart connects to where the flags say. If private is set, or nobody named
// a broker and none answers, it starts one for this command alone. With keep, it
// starts it where every later command finds it, unless another one is running there.
func (f connectFlags) connectOrStart(ctx context.Context, u *ui, how manner, private, keep bool) (*connection, error) {
	if !private {
		t, err := f.target(ctx, u)
		if err != nil {
			return nil, err
		}
		c, err := t.dial(ctx, u, how)
		if err == nil || !t.fallback || !nothingListens(err) {
			return c, err
		}
		u.notef("No RabbitMQ answers at localhost:5672: starting a private one for this run.\n")
	}
	parent, err := usualParent()
	if err != nil {
		return nil, err
	}
	cleanLeftovers(u, parent)
	u.notef("Starting RabbitMQ ...\n")
	begin := time.Now()
	node, err := broker.Start(ctx, privateOptions(parent, keep))
	if err != nil {
		return nil, err
	}
	u.notef("RabbitMQ %s runs after %.1f s.\n", node.Version, time.Since(begin).Seconds())
	c, err := privateTarget(node).dial(ctx, u, how)
	if err != nil {
		return nil, errors.Join(err, endPrivate(node))
	}
	c.started = true
	return c, nil
}

// privateOptions are those of a broker that one run starts. Its folder is beside that
// of the broker that the user starts: that one is on a disk, and RabbitMQ's own user can
// reach it. One that is to be kept is where every later command finds it, unless another
// is running there.
func privateOptions(parent string, keep bool) broker.Options {
	if !keep {
		return broker.Options{Dir: parent, Temporary: true}
	}
	usual := broker.DefaultDir()
	if _, err := broker.Open(usual); errors.Is(err, broker.ErrNotRunning) {
		return broker.Options{Dir: usual}
	}
	return broker.Options{Dir: filepath.Join(parent, "kept-"+rand.Text()[:8])}
}

// endPrivate ends a broker that this command has started for itself. Nobody needs what
// it holds, so it is not stopped in order.
func endPrivate(node *broker.Node) error {
	if err := node.Kill(); err != nil {
		return fmt.Errorf("ending the private broker: %w", err)
	}
	return nil
}

// close closes the client and, where this command started the broker, stops it
// unless it is to be kept.
func (c *connection) close(ctx context.Context, keep bool, timeout time.Duration) error {
	closing, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := c.client.Close(closing)
	if errors.Is(err, thump.ErrClosed) {
		err = nil
	}
	if c.started && !keep {
		// What the client could not say does not matter: its broker ends too.
		return endPrivate(c.node)
	}
	return err
}

// howToReach says where what is kept is, and how later commands find its broker.
func (c *connection) howToReach() string {
	if !c.started {
		return " at " + c.url
	}
	if c.node.Dir == broker.DefaultDir() {
		return ", and the private broker. thump send and receive find it; thump broker stop ends it."
	}
	return fmt.Sprintf(", and the private broker in %[1]s.\nthump send and receive find it with --url \"$(thump broker status --url --dir %[1]s)\"; thump broker stop --dir %[1]s ends it.", c.node.Dir)
}
