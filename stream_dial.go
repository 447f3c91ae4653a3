package thump

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"

	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
)

const (
	// streamFrameMax is the largest frame of the stream protocol that we take;
	// the broker's limit is 1 MiB unless it is configured otherwise.
	streamFrameMax = 16 << 20

	// loadBalancerTries bounds how often a load balancer is asked for the node
	// that is wanted.
	loadBalancerTries = 100
)

// streamControl returns the client's own stream connection, a new one if that
// has died or there was none.
func (c *Client) streamControl(ctx context.Context) (*streamconn.Conn, error) {
	c.mu.Lock()
	conn, closed := c.locator, c.closed
	c.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if conn != nil && conn.Err() == nil {
		return conn, nil
	}
	var failed []error
	for _, e := range c.locators {
		fresh, err := c.dialStream(ctx, e)
		if err == nil {
			return c.adoptLocator(ctx, fresh)
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failed...)
}

// adoptLocator makes fresh the client's own stream connection, unless somebody
// was quicker.
func (c *Client) adoptLocator(ctx context.Context, fresh *streamconn.Conn) (*streamconn.Conn, error) {
	c.mu.Lock()
	closed := c.closed
	if !closed && (c.locator == nil || c.locator.Err() != nil) {
		c.locator = fresh
	}
	conn := c.locator
	c.mu.Unlock()
	if conn != fresh {
		goodbye(ctx, fresh)
	}
	if closed {
		return nil, ErrClosed
	}
	return conn, nil
}

// dialStream connects to the endpoint, and notes which node that is.
func (c *Client) dialStream(ctx context.Context, e Endpoint) (*streamconn.Conn, error) {
	conn, err := c.dialStreamOnce(ctx, e)
	if err != nil {
		err = fmt.Errorf("connecting to %s: %w", e, public(err))
		if failed, ok := errors.AsType[*net.OpError](err); ok && failed.Op == "dial" && !e.given(c.cfg.URLs) {
			err = fmt.Errorf("%w (no URL for streams was given, so this is the host of another with the stream protocol's usual port)", err)
		}
		return nil, err
	}
	c.cfg.Logger.Debug("connected", "broker", e.String(), "heartbeat", conn.Server().Heartbeat)
	if s := conn.Server(); s.AdvertisedHost != "" && !e.LoadBalancer {
		c.mu.Lock()
		c.nodes[nodeAddress(s.AdvertisedHost, s.AdvertisedPort)] = e
		c.mu.Unlock()
	}
	return conn, nil
}

// given reports whether one of the URLs leads to the endpoint.
func (e Endpoint) given(urls []string) bool {
	for _, u := range urls {
		if given, err := ParseURL(u); err == nil && given.Stream == e.Stream && given.address() == e.address() {
			return true
		}
	}
	return false
}

func nodeAddress(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

func (c *Client) dialStreamOnce(ctx context.Context, e Endpoint) (*streamconn.Conn, error) {
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
	cfg := streamconn.Config{
		Address: e.address(), TLS: secure, Mechanism: "PLAIN",
		User: e.User, Password: e.Password, Vhost: e.Vhost,
		Name: c.cfg.Name, FrameMax: streamFrameMax,
		Heartbeat: c.cfg.Heartbeat, Timeout: c.cfg.DialTimeout, DialContext: c.cfg.DialContext,
	}
	if e.External {
		cfg.Mechanism, cfg.User = "EXTERNAL", ""
	}
	if e.FrameMax != 0 {
		cfg.FrameMax = min(e.FrameMax, streamFrameMax)
	}
	if e.Heartbeat != 0 {
		cfg.Heartbeat = e.Heartbeat
	}
	if e.DialTimeout != 0 {
		cfg.Timeout = e.DialTimeout
	}
	return streamconn.Dial(ctx, cfg)
}

// dialNode connects to the node that is advertised as address. Where a
// connection of this client has met that node, it goes the same way again;
// otherwise the address must lead there.
func (c *Client) dialNode(ctx context.Context, address string) (*streamconn.Conn, error) {
	if c.locators[0].LoadBalancer {
		return c.dialThroughBalancer(ctx, c.locators[0], address)
	}
	c.mu.Lock()
	e, met := c.nodes[address]
	c.mu.Unlock()
	if !met {
		e = c.locators[0]
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("the broker advertises %q: %w", address, err)
		}
		e.Host, e.Port = host, port
	}
	conn, err := c.dialStream(ctx, e)
	if err != nil && !met && ctx.Err() == nil {
		return nil, fmt.Errorf("%w; the broker advertises %s for this stream: if that can't be reached from here, set stream.advertised_host and stream.advertised_port on the broker, or, where a load balancer leads to every node, load_balancer=true in the URL", err, address)
	}
	return conn, err
}

// dialThroughBalancer connects to the endpoint until the node that answers is
// the one advertised as address.
func (c *Client) dialThroughBalancer(ctx context.Context, e Endpoint, address string) (*streamconn.Conn, error) {
	for range loadBalancerTries {
		conn, err := c.dialStream(ctx, e)
		if err != nil {
			return nil, err
		}
		if s := conn.Server(); nodeAddress(s.AdvertisedHost, s.AdvertisedPort) == address {
			return conn, nil
		}
		goodbye(ctx, conn)
	}
	return nil, fmt.Errorf("connecting to %s: after %d tries the load balancer has not led to %s", e, loadBalancerTries, address)
}

// nodesOf asks where a stream is: its leader, empty if it has none just now, and
// its replicas, by their advertised addresses (PROTOCOL.adoc Metadata).
func (c *Client) nodesOf(ctx context.Context, stream string) (leader string, replicas []string, err error) {
	r, err := c.askStream(ctx, &streamproto.Metadata{Streams: []string{stream}}, "looking for stream %q", stream)
	if err != nil {
		return "", nil, err
	}
	m := r.(*streamproto.MetadataResponse)
	brokers := make(map[uint16]string, len(m.Brokers))
	for _, b := range m.Brokers {
		brokers[b.Reference] = net.JoinHostPort(b.Host, strconv.FormatUint(uint64(b.Port), 10))
	}
	for _, s := range m.Streams {
		if s.Stream != stream {
			continue
		}
		if s.Code != streamproto.CodeOK {
			return "", nil, fmt.Errorf("looking for stream %q: %w", stream, public(&streamconn.ServerError{Code: s.Code}))
		}
		for _, reference := range s.Replicas {
			if address, ok := brokers[reference]; ok {
				replicas = append(replicas, address)
			}
		}
		return brokers[s.Leader], replicas, nil
	}
	return "", nil, fmt.Errorf("looking for stream %q: the broker's answer does not name it", stream)
}

// dialLeader connects to where a stream can be published to.
func (c *Client) dialLeader(ctx context.Context, stream string) (*streamconn.Conn, error) {
	leader, _, err := c.nodesOf(ctx, stream)
	if err != nil {
		return nil, err
	}
	if leader == "" {
		return nil, fmt.Errorf("stream %q has no leader at the moment", stream)
	}
	return c.dialNode(ctx, leader)
}

// dialReplica connects to where a stream can be consumed from: one of its
// replicas, which spares the leader, or the leader where that is all there is.
func (c *Client) dialReplica(ctx context.Context, stream string) (*streamconn.Conn, error) {
	leader, replicas, err := c.nodesOf(ctx, stream)
	if err != nil {
		return nil, err
	}
	rand.Shuffle(len(replicas), func(i, j int) { replicas[i], replicas[j] = replicas[j], replicas[i] })
	if leader != "" {
		replicas = append(replicas, leader)
	}
	var failed []error
	for _, address := range replicas {
		conn, err := c.dialNode(ctx, address)
		if err == nil || ctx.Err() != nil {
			return conn, err
		}
		failed = append(failed, err)
	}
	if failed == nil {
		return nil, fmt.Errorf("stream %q has no replica at the moment", stream)
	}
	return nil, errors.Join(failed...)
}

// askStream sends one request on the client's own stream connection.
func (c *Client) askStream(ctx context.Context, r streamproto.Request, doing string, what ...any) (streamproto.Response, error) {
	conn, err := c.streamControl(ctx)
	if err == nil {
		var response streamproto.Response
		if response, err = conn.Call(ctx, r); err == nil {
			return response, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", fmt.Sprintf(doing, what...), public(err))
}

// named says that an error is this package's. Within it, errors about streams
// pass through several hands before they reach the caller.
func named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("thump: %w", err)
}
