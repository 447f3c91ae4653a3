package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/broker"
)

const (
	// urlVariable and streamURLVariable are the environment's variables that say
	// where to connect.
	urlVariable       = "THUMP_URL"
	streamURLVariable = "THUMP_STREAM_URL"
	// urlDefault is where RabbitMQ is when nobody says anything.
	urlDefault = "amqp://guest:guest@localhost:5672/"

	// readyTimeout is how long to wait for a private broker that is starting.
	readyTimeout = 2 * time.Minute
	// cleanupTimeout bounds what is done after a command's work.
	cleanupTimeout = 30 * time.Second
)

// connectFlags say where to connect.
type connectFlags struct {
	url       string
	streamURL string
}

func (f *connectFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.url, "url", "", "connect to amqp://user:password@host:port/vhost, or rabbitmq-stream://... (default: THUMP_URL, else the private broker, else localhost)")
	flags.StringVar(&f.streamURL, "stream-url", "", "where streams are served, rabbitmq-stream://user:password@host:port/vhost (default: THUMP_STREAM_URL, else --url's host at port 5552)")
}

// check says what is wrong with the flags that were given.
func (f *connectFlags) check(flags *pflag.FlagSet) error {
	for name, url := range map[string]string{"url": f.url, "stream-url": f.streamURL} {
		if flags.Changed(name) && url == "" {
			// An empty variable in a script, most likely: not to be taken for
			// whatever broker is near.
			return fmt.Errorf("--%s is empty", name)
		}
	}
	return nil
}

// connection is a client and the broker that it is connected to.
type connection struct {
	client    *thump.Client
	url       string       // without the password
	streamURL string       // likewise; "" where none was given
	node      *broker.Node // the private broker, or nil

	// started says that this command has started node, in a folder of its own
	// that goes with it.
	started bool
}

// target is a broker that a command may connect to.
type target struct {
	url       string
	streamURL string       // "" where nobody said it
	node      *broker.Node // nil where it is not a private one
	// fallback says that nobody named it: it is tried because something must be.
	fallback bool
}

// target finds where to connect: --url, the environment, the private broker
// that is running, or this machine's RabbitMQ.
func (f connectFlags) target(ctx context.Context) (target, error) {
	if t, named := f.named(); named {
		return t, nil
	}
	dir := broker.DefaultDir()
	if dir == "" {
		return target{url: urlDefault, fallback: true}, nil
	}
	node, err := broker.Open(dir)
	if errors.Is(err, broker.ErrNotRunning) {
		return target{url: urlDefault, fallback: true}, nil
	}
	if err != nil {
		return target{}, err
	}
	if err := awaitReady(ctx, node); err != nil {
		return target{}, fmt.Errorf("the private broker runs and does not answer: %w", err)
	}
	return privateTarget(node), nil
}

func privateTarget(node *broker.Node) target {
	return target{url: node.URL, streamURL: node.StreamURL, node: node}
}

// named is where the flags, or the environment, say to connect. What is said of
// streams alone is enough for them. The environment's two variables go together:
// beside --url, THUMP_STREAM_URL may be another broker's.
func (f connectFlags) named() (t target, ok bool) {
	t = target{url: f.url, streamURL: f.streamURL}
	if t.url == "" {
		t.url = os.Getenv(urlVariable)
		if t.streamURL == "" {
			t.streamURL = os.Getenv(streamURLVariable)
		}
	}
	if t.url == "" {
		t.url, t.streamURL = t.streamURL, ""
	}
	return t, t.url != ""
}

// awaitReady waits for a broker that another process may be starting just now.
func awaitReady(ctx context.Context, node *broker.Node) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		err := node.Ready(ctx)
		if err == nil || ctx.Err() != nil || !node.Running() {
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// dial connects to the target.
func (t target) dial(ctx context.Context, name string) (*connection, error) {
	c := &connection{node: t.node}
	endpoint, err := thump.ParseURL(t.url)
	if err != nil {
		return nil, usageError{err}
	}
	c.url = endpoint.String()
	urls := []string{t.url}
	if t.streamURL != "" {
		streams, err := thump.ParseURL(t.streamURL)
		switch {
		case err != nil:
			return nil, usageError{err}
		case !streams.Stream:
			return nil, usagef("the URL of streams is %s, and has to begin with rabbitmq-stream:// or rabbitmq-stream+tls://", streams)
		case endpoint.Stream:
			return nil, usagef("there are two URLs of streams, %s and %s", endpoint, streams)
		}
		c.streamURL = streams.String()
		urls = append(urls, t.streamURL)
	}
	c.client, err = thump.Dial(ctx, thump.Config{URLs: urls, Name: name})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// connect connects to where the flags say, for commands that need a broker to
// be there.
func (f connectFlags) connect(ctx context.Context, name string) (*connection, error) {
	t, err := f.target(ctx)
	if err != nil {
		return nil, err
	}
	c, err := t.dial(ctx, name)
	if err != nil && t.fallback && nothingListens(err) {
		return nil, fmt.Errorf("%w; start a RabbitMQ with: thump broker start", err)
	}
	return c, err
}

// nothingListens says whether err is that of a connection that nobody took.
func nothingListens(err error) bool {
	failed, ok := errors.AsType[*net.OpError](err)
	return ok && failed.Op == "dial"
}

// connectOrStart connects to where the flags say; where nobody said where and
// nothing answers, or private is asked for, it starts a broker for this command
// alone. With keep, the broker is started in a place where every later command
// finds it, as far as that is free.
func (f connectFlags) connectOrStart(ctx context.Context, u *ui, name string, private, keep bool) (*connection, error) {
	if !private {
		t, err := f.target(ctx)
		if err != nil {
			return nil, err
		}
		c, err := t.dial(ctx, name)
		if err == nil || !t.fallback || !nothingListens(err) {
			return c, err
		}
		u.notef("No RabbitMQ answers at localhost:5672: starting a private one for this run.\n")
	}
	dir, err := privateDir(keep)
	if err != nil {
		return nil, err
	}
	u.notef("Starting RabbitMQ ...\n")
	begin := time.Now()
	node, err := broker.Start(ctx, broker.Options{Dir: dir})
	if err != nil {
		return nil, errors.Join(err, removePrivateDir(dir))
	}
	u.notef("RabbitMQ %s runs after %.1f s.\n", node.Version, time.Since(begin).Seconds())
	c, err := privateTarget(node).dial(ctx, name)
	if err != nil {
		return nil, errors.Join(err, stopPrivate(ctx, node))
	}
	c.started = true
	return c, nil
}

// privateDir returns a folder for a broker that one run starts: beside the
// folder of the broker that the user starts, because that is on a disk and
// RabbitMQ's user can reach it.
func privateDir(keep bool) (string, error) {
	usual := broker.DefaultDir()
	if usual == "" {
		return "", errors.New("no folder for a private broker: this user has no home (THUMP_HOME names one)")
	}
	if keep {
		if _, err := broker.Open(usual); errors.Is(err, broker.ErrNotRunning) {
			return usual, nil
		}
	}
	parent := filepath.Dir(usual)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("making a folder for a private broker: %w", err)
	}
	dir, err := os.MkdirTemp(parent, "run-")
	if err != nil {
		return "", fmt.Errorf("making a folder for a private broker: %w", err)
	}
	return dir, nil
}

// removePrivateDir removes the folder of a broker that is gone, but never the
// usual one: it may hold what the user has kept.
func removePrivateDir(dir string) error {
	if dir == broker.DefaultDir() {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing the private broker's folder: %w", err)
	}
	return nil
}

// stopPrivate stops a broker that this command started, and removes its folder.
// When ctx has ended there is no time left: it is killed.
func stopPrivate(ctx context.Context, node *broker.Node) error {
	var err error
	if ctx.Err() != nil {
		err = node.Kill()
	} else {
		err = node.Stop(ctx)
	}
	if err != nil {
		return fmt.Errorf("stopping the private broker: %w", err)
	}
	return removePrivateDir(node.Dir)
}

// close closes the client and, where this command started the broker, stops it
// unless it is to be kept.
func (c *connection) close(ctx context.Context, keep bool) error {
	closing, cancel := context.WithTimeout(ctx, cleanupTimeout)
	defer cancel()
	err := c.client.Close(closing)
	if errors.Is(err, thump.ErrClosed) {
		err = nil
	}
	if c.started && !keep {
		// The broker goes, and takes with it whatever the client could not say.
		return stopPrivate(ctx, c.node)
	}
	return err
}

// howToReach says how later commands find a broker that is kept.
func (c *connection) howToReach() string {
	if !c.started {
		return " at " + c.url
	}
	if c.node.Dir == broker.DefaultDir() {
		return ", and the private broker. thump send and receive find it; thump broker stop ends it."
	}
	return fmt.Sprintf(", and the private broker in %[1]s.\nthump send and receive find it with --url \"$(thump broker status --url --dir %[1]s)\"; thump broker stop --dir %[1]s ends it.", c.node.Dir)
}
