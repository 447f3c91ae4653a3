package thump

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/thumpmq/thump/internal/amqpconn"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/printable"
	"github.com/thumpmq/thump/internal/streamconn"
)

const (
	frameMaxDefault    = 128 << 10 // RabbitMQ's own
	heartbeatDefault   = 60 * time.Second
	heartbeatLeast     = time.Second
	dialTimeoutDefault = 10 * time.Second
)

// Config says where the broker is and how to reach it. The zero value of every
// field but URLs is its documented default. Dial reads it once; what TLS points to must
// not be changed after that.
type Config struct {
	// URLs say where the broker's nodes are; at least one is needed. See ParseURL for their
	// form. What a URL's query sets wins over the fields below. They are tried in an order
	// that is another each time, so that clients spread over a cluster, until one answers;
	// later connections begin with the one that answered last. A host name that stands for
	// several addresses is as many places to try, in an order of their own; the family, IPv6
	// or IPv4, that the system prefers comes first. One place that takes longer than 500 ms
	// to log in (less, where ctx leaves little time) does not hold up the others: the next
	// is tried beside it, and the first that has logged in is taken.
	//
	// Queues and exchanges are reached by the URLs for AMQP, streams by those for
	// the stream protocol. A protocol without a URL is tried on the hosts of the
	// others, at RabbitMQ's default port.
	URLs []string

	// MaxConnections is the most connections for AMQP that publishers have, and as many may
	// have consumers: the first get one each, later ones share them, the least loaded first. A
	// consumer with AutoAck or Poll, or that declares an exclusive queue, always has its own.
	// Default 8. It is not for streams.
	MaxConnections int

	// Name is the connection name that RabbitMQ shows; default "thump".
	Name string

	// TLS is used for amqps and rabbitmq-stream+tls URLs; nil means the system's
	// roots. ServerName is taken from the URL where empty, and MinVersion is at
	// least TLS 1.2.
	TLS *tls.Config

	// DialTimeout bounds TCP, TLS and login together, for each address; default 10 s. Looking
	// the host's name up, and Credentials, may take as long each.
	DialTimeout time.Duration

	// Credentials, where set, gives the user and the password or token for every connection,
	// instead of those in the URLs; URLs with auth_mechanism=external don't ask. It is asked
	// before each login, by several goroutines at the same time, and must return when ctx
	// ends. Its error is that of the attempt to connect, which is tried again as after any
	// that may pass (see Temporary); it must not contain the secret. A login that is refused
	// with what it gave is tried again too: the next answer may be another.
	//
	// expires is when the secret ends, or zero if it does not. Credentials is asked again
	// when a tenth of the time is left, at least a second and at most a minute before, and
	// the new secret is handed over to the connections that live, as UpdateSecret does. A
	// stream's connection takes one since RabbitMQ 3.13, and keeps the old one before. If
	// that fails, it is logged and tried again, several times before the secret expires, and
	// every 10 s after that. If the user is another one than before, the connections stay as
	// they are, and new ones log in as that user.
	Credentials func(ctx context.Context) (user, secret string, expires time.Time, err error)

	// Heartbeat is the longest silence either side allows before it suspects
	// that the other is dead; in whole seconds, at least 1 s, default 60 s. The
	// smaller of this and the broker's own wins. A connection that is silent for
	// twice as long is ended.
	Heartbeat time.Duration

	// FrameMax is the largest frame in bytes, at least 4096 (RabbitMQ 4.1 and
	// later want 8192); default 128 KiB. The smaller of this and the broker's
	// own wins. It is for AMQP: over the stream protocol frames are as large as
	// the broker allows, up to 16 MiB.
	FrameMax uint32

	// Recovery says what happens when a connection is lost: by default publishers and
	// consumers come back.
	Recovery Recovery

	// OnEvent, where set, is told when a publisher or consumer, or a partition of one, loses
	// its connection, has one again or gives up, and when the broker blocks it: one call at
	// a time, in order, from a goroutine of its own, the last perhaps after Client.Close. With
	// Recovery.Off it is told of blocking alone.
	OnEvent func(Event)

	// Logger is told when a connection opens, when one is lost, when a URL fails and
	// another answers, when the broker blocks a connection, and once for each host to which
	// the password goes over the network in clear; nil means that nothing is logged. No
	// password is ever logged.
	Logger *slog.Logger

	// DialContext replaces the dialer, for tests and tunnels. It must return when ctx ends. It
	// gets a URL's host as it is, which is not looked up. The addresses of its connections
	// tell whether a password would leave this machine: see ParseURL.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client makes publishers and consumers and declares what they use. The first publishers
// and consumers of queues have a connection of their own each, and later ones share those:
// see Config.MaxConnections. One of a stream always has its own, for a super stream one for
// each partition. Consumers never share with publishers, which the broker may block. The
// client has one more for topology, and one for streams, as soon as it needs them.
//
// A Client is safe for concurrent use.
type Client struct {
	cfg       Config                  // with its defaults
	endpoints map[Protocol][]Endpoint // in the order of the URLs
	lookup    lookup                  // nil: no name is looked up
	server    ServerInfo

	publishing *pool
	consuming  *pool
	topology   *shared[*amqpconn.Conn]   // declares, inspects and deletes
	locator    *shared[*streamconn.Conn] // the same for streams, and says where they are

	secrets     secrets
	credentials credentials
	cleartext   cleartext
	events      events

	mu       sync.Mutex
	answered map[Protocol]Endpoint // where a connection was made last
	nodes    map[string]Endpoint   // by the host:port that a node advertises, where it was reached
	met      map[string]bool       // by what was dialled: its node is among nodes
	members  map[member]struct{}   // those that are not closed, and have something to say or to settle where they have ended
	closed   bool
}

// member is a publisher or a consumer, as its client sees it.
type member interface {
	Close(ctx context.Context) error
	updateSecret(ctx context.Context, secret, reason string) error
}

// ServerInfo is what the broker said about itself at login.
type ServerInfo struct {
	Product string // "RabbitMQ"
	Version string // "4.3.6"
	Cluster string // "rabbit@host"
	Address string // host:port of the URL that the client connected to
}

// Dial connects to the URL for AMQP that answers first, logs in, and keeps that
// connection for topology; where all URLs are for streams, it connects to one of
// those. The error names every URL that was tried, without its password, and why
// it failed.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	c, err := newClient(cfg)
	if err == nil {
		err = c.connect(ctx)
	}
	if err != nil {
		return nil, withPrefix(err)
	}
	c.startRenewing(ctx)
	return c, nil
}

// newClient makes a client that is not connected.
func newClient(cfg Config) (*Client, error) {
	c := &Client{
		members: make(map[member]struct{}),
		nodes:   make(map[string]Endpoint), met: make(map[string]bool), answered: make(map[Protocol]Endpoint),
		credentials: credentials{changed: make(chan struct{}, 1)},
	}
	if cfg.DialContext == nil {
		c.lookup = lookupHost
	}
	var err error
	c.cfg, c.endpoints, err = cfg.validate()
	c.share()
	return c, mistake(err)
}

// connect makes the first connection, and learns from it about the broker.
func (c *Client) connect(ctx context.Context) error {
	if c.endpoints[AMQP091][0].guessed { // all URLs are for streams
		conn, err := c.locator.get(ctx)
		if err != nil {
			return err
		}
		server := conn.Server()
		c.server = ServerInfo{Product: server.Product, Version: server.Version, Cluster: server.Cluster, Address: conn.Address()}
		return nil
	}
	conn, err := c.topology.get(ctx)
	if err != nil {
		return err
	}
	properties := conn.Server().Properties
	c.server = ServerInfo{
		Product: text(properties, "product"), Version: text(properties, "version"),
		Cluster: text(properties, "cluster_name"), Address: conn.Address(),
	}
	return nil
}

// share makes the connections that everybody uses, without dialling.
func (c *Client) share() {
	c.publishing, c.consuming = newPool(c, c.cfg.MaxConnections), newPool(c, c.cfg.MaxConnections)
	var topologySecret, locatorSecret uint64 // generations; one goroutine at a time dials
	c.topology = newShared(func(ctx context.Context) (*amqpconn.Conn, error) {
		topologySecret = c.secrets.now()
		return c.dialAMQP(ctx, "topology")
	})
	c.topology.kept = func(ctx context.Context, conn *amqpconn.Conn) error {
		return c.secrets.catchUp(topologySecret, func(secret string) error { return conn.UpdateSecret(ctx, secret, renewedReason) })
	}
	c.locator = newShared(func(ctx context.Context) (*streamconn.Conn, error) {
		locatorSecret = c.secrets.now()
		return c.dialLocator(ctx)
	})
	c.locator.kept = func(ctx context.Context, conn *streamconn.Conn) error {
		return c.secrets.catchUp(locatorSecret, func(secret string) error { return conn.UpdateSecret(ctx, secret) })
	}
}

// validate returns the configuration with its defaults and the endpoints of its
// URLs, by protocol, or an error that lists every fault.
func (cfg Config) validate() (Config, map[Protocol][]Endpoint, error) {
	setDefault(&cfg.Name, "thump")
	setDefault(&cfg.MaxConnections, maxConnectionsDefault)
	setDefault(&cfg.DialTimeout, dialTimeoutDefault)
	setDefault(&cfg.Heartbeat, heartbeatDefault)
	setDefault(&cfg.FrameMax, frameMaxDefault)
	setDefault(&cfg.Logger, slog.New(slog.DiscardHandler))
	if cfg.DialContext == nil {
		cfg.DialContext = (&net.Dialer{}).DialContext
	}
	endpoints, faults := parseURLs(cfg.URLs)
	faults = append(faults, cfg.Recovery.validate()...)
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("Config."+format, args...)) }
	if len(cfg.URLs) == 0 {
		fault("URLs is empty")
	}
	if cfg.MaxConnections < 0 {
		fault("MaxConnections is %d", cfg.MaxConnections)
	}
	if cfg.DialTimeout < 0 {
		fault("DialTimeout is %v", cfg.DialTimeout)
	}
	if cfg.Heartbeat < heartbeatLeast {
		fault("Heartbeat is %v, less than %v", cfg.Heartbeat, heartbeatLeast)
	}
	if cfg.FrameMax < frameMaxLeast || cfg.FrameMax > frameMaxMost {
		fault("FrameMax is %d, not between %d and %d", cfg.FrameMax, frameMaxLeast, frameMaxMost)
	}
	return cfg, endpoints, errors.Join(faults...)
}

// text returns the value of a key that is text, printable; "" for any other, and for
// none.
func text(t amqpproto.Table, key string) string {
	v, _ := t.Get(key)
	s, _ := v.(string)
	return printable.Text(s)
}

// checkOpen returns an error once the client is closed.
func (c *Client) checkOpen() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClientClosed
	}
	return nil
}

// join registers a publisher or consumer, which the client then closes and gives
// new secrets to. It logged in with the secret of that generation, or a newer one. The
// error has the prefix.
func (c *Client) join(ctx context.Context, m member, generation uint64) error {
	if err := c.register(m); err != nil {
		return withPrefix(err)
	}
	err := c.secrets.catchUp(generation, func(secret string) error { return m.updateSecret(ctx, secret, renewedReason) })
	if err != nil {
		c.forget(m)
	}
	return withPrefix(err)
}

func (c *Client) register(m member) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClientClosed
	}
	c.members[m] = struct{}{}
	return nil
}

// forget undoes join, for one that is closed.
func (c *Client) forget(m member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.members, m)
}

// Server returns what the broker said about itself when Dial logged in.
func (c *Client) Server() ServerInfo { return c.server }

// UpdateSecret gives the broker a fresh password or token for every live connection
// of this client (connection.update-secret; SaslAuthenticate on a stream's, which
// needs RabbitMQ 3.13), and uses it for later connections. Reason is for the
// broker's log; a stream's connection has no place for it.
//
// After an error, which says what the secret could not be handed over to, later
// connections log in with the new secret first, and with the old one if that is refused.
// After nil they use the new one alone, though RabbitMQ looks at a new password only
// when a connection logs in: a wrong one is accepted here, and refused then. With
// Config.Credentials later connections ask that, and never use the secret given here.
func (c *Client) UpdateSecret(ctx context.Context, secret, reason string) error {
	if err := ctx.Err(); err != nil {
		return withPrefix(fmt.Errorf("updating the secret: %w", err))
	}
	if err := c.checkOpen(); err != nil {
		return withPrefix(fmt.Errorf("updating the secret: %w", err))
	}
	if err := c.handOverSecret(ctx, secret, reason); err != nil {
		return withPrefix(fmt.Errorf("updating the secret: %w", err))
	}
	return nil
}

// Close closes every consumer that is still open, as its Close does, all at the same
// time; then every publisher, since those who handle deliveries may publish; and then
// the client's own connections. The error joins theirs. A consumer waits until its
// deliveries are settled: give Close a context with a deadline. The last quarter of the
// time until then is the publishers': what they have in flight is waited for also where
// some delivery is never settled.
//
// One that has ended before belongs no more to the client once it has said why: a
// publisher with OnOutcomes; a consumer to whoever received, if it could not come back
// after its connection or channel was lost. A consumer that has failed otherwise, such as one of a stream that
// came to a damaged chunk, stays until it is closed: what it has handed out can still be
// settled. A publisher that has nothing to say when it ends, because all of its messages
// were Confirmed or a Send has told of them, is the client's no more either.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	var consumers, publishers []member
	for m := range c.members {
		if _, ok := m.(*Consumer); ok {
			consumers = append(consumers, m)
		} else {
			publishers = append(publishers, m)
		}
	}
	c.mu.Unlock()
	waiting, cancel := ctx, func() {}
	if len(publishers) > 0 {
		waiting, cancel = sooner(ctx)
	}
	err := closeAll(waiting, consumers)
	cancel()
	err = errors.Join(err, closeAll(ctx, publishers))
	c.stopRenewing(ctx)
	c.topology.close(ctx)
	c.locator.close(ctx)
	return err
}

// sooner is ctx without the last quarter of the time until its deadline, if it has one.
func sooner(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ends := ctx.Deadline()
	if !ends {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/4))
}

// closeAll closes them at the same time.
func closeAll(ctx context.Context, members []member) error {
	closing := make([]func() error, len(members))
	for i, m := range members {
		closing[i] = func() error { return m.Close(ctx) }
	}
	return allAtOnce(closing)
}

// allAtOnce calls them at the same time, so that one that waits holds up none of the
// others, and joins their errors, in the words of this package.
func allAtOnce(calls []func() error) error {
	failed := make([]error, len(calls))
	var running sync.WaitGroup
	for i, call := range calls {
		running.Go(func() { failed[i] = toPublic(call()) })
	}
	running.Wait()
	return errors.Join(failed...)
}
