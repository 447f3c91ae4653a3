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
	"github.com/thumpmq/thump/internal/streamconn"
)

const (
	frameMaxLeast     = amqpproto.FrameMinSize
	frameMaxDefault   = 128 << 10 // RabbitMQ's own
	channelMaxDefault = 2047      // RabbitMQ's own
	heartbeatDefault  = 60 * time.Second
	heartbeatLeast    = time.Second
	dialTimeout       = 10 * time.Second

	// goodbyeTimeout bounds the closing of a connection once nothing more is to
	// be learnt from it.
	goodbyeTimeout = 5 * time.Second
)

// Config says where the broker is and how to reach it. The zero value of every
// field but URLs is its documented default.
type Config struct {
	// URLs are tried in order until one answers; at least one is needed. See
	// ParseURL for their form. What a URL's query sets wins over the fields
	// below.
	//
	// Queues and exchanges are reached by the URLs for AMQP, streams by those for
	// the stream protocol. Where there are none of a kind, the hosts of the
	// others are taken, with the port that RabbitMQ has by default.
	URLs []string

	// Name is the connection name that RabbitMQ shows; default "thump".
	Name string

	// TLS is used for amqps URLs; nil means the system's roots. ServerName is
	// taken from the URL where empty, and MinVersion is at least TLS 1.2.
	TLS *tls.Config

	// DialTimeout bounds TCP, TLS and login together, per URL; default 10 s.
	DialTimeout time.Duration

	// Heartbeat is the longest silence either side allows before it suspects
	// that the other is dead; in whole seconds, at least 1 s, default 60 s. The
	// smaller of this and the broker's own wins. After two of silence the
	// connection is ended.
	Heartbeat time.Duration

	// FrameMax is the largest frame in bytes, at least 4096 (RabbitMQ 4.1 and
	// later want 8192); default 128 KiB. The smaller of this and the broker's
	// own wins. It is for AMQP: over the stream protocol frames are as large as
	// the broker allows, up to 16 MiB.
	FrameMax uint32

	// Logger hears of connections opened and blocked; nil means silence. No
	// password is ever logged.
	Logger *slog.Logger

	// DialContext replaces the dialer, for tests and tunnels.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client makes publishers and consumers and declares what they use. Each
// publisher and each consumer has a connection of its own, so that a blocked
// publisher or a slow consumer holds up nobody else; topology has another.
//
// A Client is safe for concurrent use.
type Client struct {
	cfg       Config
	endpoints []Endpoint // for AMQP
	locators  []Endpoint // for the stream protocol
	server    ServerInfo

	mu      sync.Mutex
	secret  string              // replaces the endpoints' password once updated
	control *amqpconn.Conn      // for topology; dialled when it is needed, and anew when it has died
	locator *streamconn.Conn    // likewise, for streams
	nodes   map[string]Endpoint // where a node was reached that advertises this host:port
	members map[member]struct{}
	closed  bool
}

// member is a publisher or consumer, as the client looks after it.
type member interface {
	Close(ctx context.Context) error
	updateSecret(ctx context.Context, secret, reason string) error
}

// ServerInfo is what the broker said of itself at login.
type ServerInfo struct {
	Product string // "RabbitMQ"
	Version string // "4.3.6"
	Cluster string // "rabbit@host"
	Address string // host:port that the client connected to
}

// Dial connects to the first URL for AMQP that answers, logs in, and keeps that
// connection for topology; where all URLs are for streams, it connects to one of
// those. The error names every URL that was tried, without its password, and why
// it failed.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	c := &Client{cfg: cfg, members: make(map[member]struct{}), nodes: make(map[string]Endpoint)}
	streams, err := c.validate()
	if err != nil {
		return nil, err
	}
	if streams {
		conn, err := c.streamControl(ctx)
		if err != nil {
			return nil, named(err)
		}
		server := conn.Server()
		c.server = ServerInfo{Product: server.Product, Version: server.Version, Cluster: server.Cluster, Address: conn.Address()}
		return c, nil
	}
	conn, endpoint, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	c.control = conn
	properties := conn.Server().Properties
	c.server = ServerInfo{
		Product: text(properties, "product"), Version: text(properties, "version"),
		Cluster: text(properties, "cluster_name"), Address: endpoint.address(),
	}
	return c, nil
}

// place parses the URLs. It reports whether all of them are for streams.
func (c *Client) place() (streams bool, faults []error) {
	var amqp, stream []Endpoint
	for _, u := range c.cfg.URLs {
		endpoint, err := ParseURL(u)
		switch {
		case err != nil:
			faults = append(faults, err)
		case endpoint.Stream:
			stream = append(stream, endpoint)
		default:
			amqp = append(amqp, endpoint)
		}
	}
	if len(c.cfg.URLs) == 0 {
		faults = append(faults, errors.New("thump: Config.URLs is empty"))
	}
	c.endpoints, c.locators = amqp, stream
	if len(amqp) == 0 {
		c.endpoints = others(stream)
	}
	if len(stream) == 0 {
		c.locators = others(amqp)
	}
	return len(amqp) == 0, faults
}

// others are the endpoints' hosts with the other protocol.
func others(endpoints []Endpoint) []Endpoint {
	list := make([]Endpoint, 0, len(endpoints))
	for _, e := range endpoints {
		list = append(list, e.other())
	}
	return list
}

// validate parses the URLs, sets defaults, and lists every fault. It reports
// whether all URLs are for streams.
func (c *Client) validate() (streams bool, err error) {
	streams, faults := c.place()
	cfg := &c.cfg
	if cfg.Name == "" {
		cfg.Name = "thump"
	}
	if cfg.DialTimeout == 0 {
		cfg.DialTimeout = dialTimeout
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = heartbeatDefault
	}
	if cfg.FrameMax == 0 {
		cfg.FrameMax = frameMaxDefault
	}
	if cfg.DialContext == nil {
		cfg.DialContext = (&net.Dialer{}).DialContext
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.DialTimeout < 0 {
		faults = append(faults, fmt.Errorf("thump: Config.DialTimeout is %v", cfg.DialTimeout))
	}
	if cfg.Heartbeat < heartbeatLeast {
		faults = append(faults, fmt.Errorf("thump: Config.Heartbeat is %v, less than %v", cfg.Heartbeat, heartbeatLeast))
	}
	if cfg.FrameMax < frameMaxLeast || cfg.FrameMax > frameMaxMost {
		faults = append(faults, fmt.Errorf("thump: Config.FrameMax is %d, not between %d and %d", cfg.FrameMax, frameMaxLeast, frameMaxMost))
	}
	return streams, errors.Join(faults...)
}

// frameMaxMost bounds the memory of a connection, which holds two frames.
const frameMaxMost = 16 << 20

func text(t Table, key string) string {
	v, _ := t.Get(key)
	s, _ := v.(string)
	return s
}

// dial connects to the first endpoint that answers.
func (c *Client) dial(ctx context.Context) (*amqpconn.Conn, Endpoint, error) {
	var failed []error
	for _, e := range c.endpoints {
		conn, err := c.dialOne(ctx, e)
		if err == nil {
			c.cfg.Logger.Debug("connected", "broker", e.String(), "heartbeat", conn.Server().Heartbeat)
			return conn, e, nil
		}
		failed = append(failed, fmt.Errorf("thump: connecting to %s: %w", e, public(err)))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, Endpoint{}, errors.Join(failed...)
}

func (c *Client) dialOne(ctx context.Context, e Endpoint) (*amqpconn.Conn, error) {
	secure, err := e.tlsConfig(c.cfg.TLS)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	if c.secret != "" {
		e.Password = c.secret
	}
	c.mu.Unlock()
	c.warnOfClearText(e)
	cfg := amqpconn.Config{
		Address: e.address(), TLS: secure, Mechanism: "PLAIN",
		User: e.User, Password: e.Password, Vhost: e.Vhost,
		Name: c.cfg.Name, FrameMax: c.cfg.FrameMax, ChannelMax: channelMaxDefault,
		Heartbeat: c.cfg.Heartbeat, Timeout: c.cfg.DialTimeout, DialContext: c.cfg.DialContext,
		OnBlocked: func(reason string) {
			c.cfg.Logger.Warn("connection.blocked changed", "broker", e.String(), "reason", reason)
		},
	}
	if e.External {
		cfg.Mechanism, cfg.User = "EXTERNAL", ""
	}
	if e.FrameMax != 0 {
		cfg.FrameMax = min(e.FrameMax, frameMaxMost)
	}
	if e.ChannelMax != 0 {
		cfg.ChannelMax = e.ChannelMax
	}
	if e.Heartbeat != 0 {
		cfg.Heartbeat = e.Heartbeat
	}
	if e.DialTimeout != 0 {
		cfg.Timeout = e.DialTimeout
	}
	return amqpconn.Dial(ctx, cfg)
}

func (c *Client) warnOfClearText(e Endpoint) {
	if !e.TLS && !e.loopback() {
		c.cfg.Logger.Warn("the password and all data go over the network in clear: amqps and rabbitmq-stream+tls encrypt them", "broker", e.String())
	}
}

// open is nil while the client is not closed.
func (c *Client) open() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("client: %w", ErrClosed)
	}
	return nil
}

// dialFor connects for a publisher or consumer.
func (c *Client) dialFor(ctx context.Context) (*amqpconn.Conn, error) {
	if err := c.open(); err != nil {
		return nil, named(err)
	}
	conn, _, err := c.dial(ctx)
	return conn, err
}

// join puts a publisher or consumer into the client's care.
func (c *Client) join(m member) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("thump: client: %w", ErrClosed)
	}
	c.members[m] = struct{}{}
	return nil
}

func (c *Client) leave(m member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.members, m)
}

// Server returns what the broker said of itself when Dial logged in.
func (c *Client) Server() ServerInfo { return c.server }

// UpdateSecret gives the broker a fresh password or token for every connection
// of this client (connection.update-secret; SaslAuthenticate on a stream's, which
// needs RabbitMQ 3.13), and uses it for those to come.
func (c *Client) UpdateSecret(ctx context.Context, secret, reason string) error {
	c.mu.Lock()
	c.secret = secret
	control, locator := c.control, c.locator
	members := make([]member, 0, len(c.members))
	for m := range c.members {
		members = append(members, m)
	}
	c.mu.Unlock()
	var failed []error
	if control != nil && control.Err() == nil {
		failed = append(failed, control.UpdateSecret(ctx, secret, reason))
	}
	if locator != nil && locator.Err() == nil {
		failed = append(failed, locator.UpdateSecret(ctx, secret))
	}
	for _, m := range members {
		failed = append(failed, m.updateSecret(ctx, secret, reason))
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("thump: updating the secret: %w", public(err))
	}
	return nil
}

// Close closes every publisher and consumer that is still open, as their Close
// does, and then the client's own connection.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	members := make([]member, 0, len(c.members))
	for m := range c.members {
		members = append(members, m)
	}
	control, locator := c.control, c.locator
	c.mu.Unlock()
	var failed []error
	for _, m := range members {
		failed = append(failed, m.Close(ctx))
	}
	if control != nil {
		goodbye(ctx, control)
	}
	if locator != nil {
		goodbye(ctx, locator)
	}
	return errors.Join(failed...)
}

// goodbye closes a connection of which nothing more is to be learnt; whether
// the broker still answers does not matter.
func goodbye(ctx context.Context, conn interface{ Close(context.Context) error }) {
	ctx, cancel := context.WithTimeout(ctx, goodbyeTimeout)
	defer cancel()
	_ = conn.Close(ctx)
}
