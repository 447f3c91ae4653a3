package thump

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/printable"
	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
)

// loadBalancerTries is how often a load balancer is dialled for one node before
// that counts as out of reach.
const loadBalancerTries = 100

// noteNode notes that this node was reached at the endpoint. Behind a load
// balancer that says nothing: the next connection may lead to another.
func (c *Client) noteNode(s *streamconn.Server, e Endpoint) {
	if s.AdvertisedHost == "" || e.LoadBalancer {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[nodeAddress(s.AdvertisedHost, s.AdvertisedPort)] = e
	c.met[e.dialled()] = true
}

func nodeAddress(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// dialNode connects, for what, to the node that advertises address: where this client has
// reached it before, and otherwise at the address itself, or behind a URL at which it has
// reached none.
func (c *Client) dialNode(ctx context.Context, address, what string) (*streamconn.Conn, error) {
	first := c.endpointsOf(Streams)[0]
	if first.LoadBalancer {
		return c.dialThroughBalancer(ctx, first, address, what)
	}
	c.mu.Lock()
	e, reached := c.nodes[address]
	c.mu.Unlock()
	if reached {
		if conn, err := c.dialReached(ctx, e, address, what); conn != nil || err != nil {
			return conn, err
		}
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("the broker advertises %q: %w", address, err)
	}
	e = first
	e.Host, e.Port, e.ip, e.guessed = host, port, "", false
	e.mustStay = !e.TLS && c.cleartext.staysHere(c.endpoints[Streams])
	ways := []func() (*streamconn.Conn, error){
		func() (*streamconn.Conn, error) { return c.dialAdvertised(ctx, e, address, what) },
		func() (*streamconn.Conn, error) { return c.dialOtherURLs(ctx, address, what) },
	}
	if e.mustStay { // the address may be one that means something on the far side of a tunnel
		slices.Reverse(ways)
	}
	var failed []error
	for _, dial := range ways {
		conn, err := dial()
		if conn != nil {
			return conn, nil
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failed...)
}

// dialReached connects to the node that advertises address where it was reached before. It
// returns nil if the node is there no more: its name stands for other addresses, or another
// node answers.
func (c *Client) dialReached(ctx context.Context, e Endpoint, address, what string) (*streamconn.Conn, error) {
	places, err := c.placesOf(ctx, e)
	if err != nil {
		return nil, err
	}
	if places[0].ip == e.ip || len(places) == 1 {
		conn, err := c.dialStreamAt(ctx, places[0], what)
		if err != nil || advertises(conn, address) {
			return conn, err
		}
		goodbye(ctx, conn)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.nodes, address)
	clear(c.met) // it may be at any of them
	return nil, nil
}

// advertises reports whether a connection leads to the node that advertises address.
func advertises(conn *streamconn.Conn, address string) bool {
	s := conn.Server()
	return nodeAddress(s.AdvertisedHost, s.AdvertisedPort) == address
}

// dialAdvertised connects to a node at the address that it advertises, which is that of e.
func (c *Client) dialAdvertised(ctx context.Context, e Endpoint, address, what string) (*streamconn.Conn, error) {
	made, err := dialHost(ctx, c, e, func(ctx context.Context, e Endpoint) (*streamconn.Conn, error) {
		return c.dialStreamAt(ctx, e, what)
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, errLeaves) {
		return nil, fmt.Errorf("%w; the broker advertises %s for this stream: if that can't be reached from here, set stream.advertised_host and stream.advertised_port on the broker, or, where a load balancer leads to every node, load_balancer=true in the URL", err, address)
	}
	return made.conn, err
}

// dialOtherURLs looks for the node that advertises address at the URLs at which no node
// was reached so far, such as tunnels to one node each. It returns nil if it is at none,
// and why those could not be reached that could not.
func (c *Client) dialOtherURLs(ctx context.Context, address, what string) (*streamconn.Conn, error) {
	places, failed := c.unmet(ctx)
	conn, first, missed := dialFirst(ctx, places, func(ctx context.Context, e Endpoint) (*streamconn.Conn, error) {
		conn, err := c.dialStreamAt(ctx, e, what)
		if err == nil && !advertises(conn, address) {
			goodbye(ctx, conn)
			return nil, errOtherNode
		}
		return conn, err
	})
	if first >= 0 {
		return conn, nil
	}
	for _, err := range missed {
		if !errors.Is(err, errOtherNode) { // that node is down, or not the one
			failed = append(failed, err)
		}
	}
	return nil, errors.Join(failed...)
}

// errOtherNode is why a node was left again.
var errOtherNode = errors.New("it is another node")

// unmet returns the places of the URLs at which no node was reached so far, and the errors
// of the hosts that could not be looked up.
func (c *Client) unmet(ctx context.Context) (places []Endpoint, failed []error) {
	for _, e := range c.endpointsOf(Streams) {
		found, err := c.placesOf(ctx, e)
		if err != nil {
			failed = append(failed, err)
		}
		c.mu.Lock()
		found = slices.DeleteFunc(found, func(e Endpoint) bool { return c.met[e.dialled()] })
		c.mu.Unlock()
		places = append(places, found...)
	}
	return places, failed
}

// dialThroughBalancer connects to the endpoint, a load balancer, until the node
// that answers is the one that advertises address.
func (c *Client) dialThroughBalancer(ctx context.Context, e Endpoint, address, what string) (*streamconn.Conn, error) {
	e.ip = "" // another of its addresses each time
	for range loadBalancerTries {
		made, err := dialHost(ctx, c, e, func(ctx context.Context, e Endpoint) (*streamconn.Conn, error) {
			return c.dialStreamAt(ctx, e, what)
		})
		if err != nil {
			return nil, err
		}
		if advertises(made.conn, address) {
			return made.conn, nil
		}
		goodbye(ctx, made.conn)
	}
	return nil, fmt.Errorf("connecting to %s: after %d tries the load balancer has not led to %s", e, loadBalancerTries, address)
}

// nodesOf asks where a stream is: its leader, "" while it has none, and its
// replicas, by the addresses that they advertise (PROTOCOL.adoc Metadata).
func (c *Client) nodesOf(ctx context.Context, stream string) (leader string, replicas []string, err error) {
	r, err := c.askStream(ctx, &streamproto.Metadata{Streams: []string{stream}}, "looking for stream %q", stream)
	if err != nil {
		return "", nil, err
	}
	m := r.(*streamproto.MetadataResponse)
	brokers := make(map[uint16]string, len(m.Brokers))
	for _, b := range m.Brokers {
		brokers[b.Reference] = net.JoinHostPort(printable.Text(b.Host), strconv.FormatUint(uint64(b.Port), 10))
	}
	for _, s := range m.Streams {
		if s.Stream != stream {
			continue
		}
		if s.Code != streamproto.CodeOK {
			err := fmt.Errorf("looking for stream %q: %w", stream, toPublic(&streamconn.ServerError{Code: s.Code}))
			return "", nil, c.mistaken(ctx, Stream(stream), err)
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

// mistaken adds to the error of a stream or super stream that does not exist what
// there is of that name instead, as far as the broker can be asked.
func (c *Client) mistaken(ctx context.Context, t Target, err error) error {
	if !IsNotFound(err) {
		return err
	}
	conn, live, _ := c.locator.current()
	switch {
	case !live:
		return err
	case t.kind == targetStream:
		r, failed := conn.Call(ctx, &streamproto.Partitions{SuperStream: t.name})
		if failed == nil && len(r.(*streamproto.PartitionsResponse).Streams) > 0 {
			return fmt.Errorf("%w (there is a super stream of that name)", err)
		}
	case t.kind == targetSuperStream:
		r, failed := conn.Call(ctx, &streamproto.Metadata{Streams: []string{t.name}})
		if failed == nil && slices.ContainsFunc(r.(*streamproto.MetadataResponse).Streams, func(s streamproto.StreamMetadata) bool { return s.Code == streamproto.CodeOK }) {
			return fmt.Errorf("%w (there is a stream of that name, which is no super stream)", err)
		}
	}
	if c.endpoints[AMQP091][0].guessed {
		return err
	}
	if _, failed := c.declareQueue(ctx, "inspecting", &amqpproto.QueueDeclare{Queue: t.name, Passive: true}); failed == nil {
		return fmt.Errorf("%w (there is a queue of that name, which is no stream)", err)
	}
	return err
}

// dialLeader connects to a stream's leader, which is where it is published to.
func (c *Client) dialLeader(ctx context.Context, stream string) (*streamconn.Conn, error) {
	leader, _, err := c.nodesOf(ctx, stream)
	if err != nil {
		return nil, err
	}
	if leader == "" {
		return nil, fmt.Errorf("stream %q has no leader at the moment", stream)
	}
	return c.dialNode(ctx, leader, Stream(stream).String())
}

// dialReplica connects to a node that a stream can be consumed from: one of its
// replicas, to spare the leader, or the leader where no replica answers.
func (c *Client) dialReplica(ctx context.Context, stream string) (*streamconn.Conn, error) {
	leader, replicas, err := c.nodesOf(ctx, stream)
	if err != nil {
		return nil, err
	}
	rand.Shuffle(len(replicas), func(i, j int) { replicas[i], replicas[j] = replicas[j], replicas[i] })
	if leader != "" {
		replicas = append(replicas, leader)
	}
	if len(replicas) == 0 {
		return nil, fmt.Errorf("stream %q has no replica at the moment", stream)
	}
	conn, first, failed := dialFirst(ctx, replicas, func(ctx context.Context, address string) (*streamconn.Conn, error) {
		return c.dialNode(ctx, address, Stream(stream).String())
	})
	if first < 0 {
		return nil, errors.Join(failed...)
	}
	return conn, nil
}

// askStream sends one request on the client's own stream connection. The error
// says what was being done.
func (c *Client) askStream(ctx context.Context, r streamproto.Request, doing string, what ...any) (streamproto.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", fmt.Sprintf(doing, what...), err)
	}
	conn, err := c.locator.get(ctx)
	if err == nil {
		var response streamproto.Response
		if response, err = conn.Call(ctx, r); err == nil {
			return response, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", fmt.Sprintf(doing, what...), toPublic(err))
}
