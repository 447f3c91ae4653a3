package thump

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/thumpmq/thump/internal/amqpconn"
	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/transport"
)

const (
	channelMaxDefault = 2047 // RabbitMQ's own

	// goodbyeTimeout bounds the closing of a connection that nothing more is
	// wanted from.
	goodbyeTimeout = 5 * time.Second
)

// login is what a connection needs to reach an endpoint and log in there: what the
// Config says, and what the URL says instead. It warns where the password is to go
// over the network unencrypted.
func (c *Client) login(e Endpoint) (transport.Config, error) {
	secure, err := e.tlsConfig(c.cfg.TLS)
	if err != nil {
		return transport.Config{}, err
	}
	if !e.mustStay && c.cleartext.warnOf(e) {
		c.cfg.Logger.Warn("the password and all data go over the network in clear: amqps and rabbitmq-stream+tls encrypt them", "broker", e.String())
	}
	cfg := transport.Config{
		Address: e.address(), TLS: secure,
		Mechanism: "PLAIN", User: e.User, Vhost: e.Vhost,
		Name:      c.cfg.Name,
		Heartbeat: cmp.Or(e.Heartbeat, c.cfg.Heartbeat), Timeout: cmp.Or(e.DialTimeout, c.cfg.DialTimeout),
		DialContext: c.cleartext.watch(e, c.cfg.DialContext),
	}
	if e.External {
		cfg.Mechanism, cfg.User = "EXTERNAL", ""
	}
	frameMax := c.cfg.FrameMax
	if e.Protocol == Streams {
		frameMax = frameMaxMost // the broker has its own limit, usually 1 MiB
	}
	cfg.FrameMax = min(cmp.Or(e.FrameMax, frameMax), frameMaxMost)
	return cfg, nil
}

// vhost is the one that the client works in: the longest, should its URLs name several.
func (c *Client) vhost() string {
	vhost := ""
	for _, endpoints := range c.endpoints {
		for _, e := range endpoints {
			if len(e.Vhost) > len(vhost) {
				vhost = e.Vhost
			}
		}
	}
	return vhost
}

// dialAMQP connects to one of the AMQP endpoints. what is the connection for, for
// the log.
func (c *Client) dialAMQP(ctx context.Context, what string) (*amqpconn.Conn, error) {
	return dialURLs(ctx, c, AMQP091, func(ctx context.Context, e Endpoint) (*amqpconn.Conn, error) {
		return c.dialAMQPAt(ctx, e, what)
	})
}

// dialLocator connects to one of the stream endpoints.
func (c *Client) dialLocator(ctx context.Context) (*streamconn.Conn, error) {
	return dialURLs(ctx, c, Streams, func(ctx context.Context, e Endpoint) (*streamconn.Conn, error) {
		return c.dialStreamAt(ctx, e, "stream topology")
	})
}

// dialURLs connects to the endpoint of a protocol that answers first: see dialFirst.
// It notes which that was, and at which address.
func dialURLs[C goodbyer](ctx context.Context, c *Client, p Protocol, dial func(context.Context, Endpoint) (C, error)) (C, error) {
	made, first, failed := dialFirst(ctx, c.endpointsOf(p), func(ctx context.Context, e Endpoint) (landed[C], error) {
		return dialHost(ctx, c, e, dial)
	})
	if first < 0 {
		return made.conn, errors.Join(failed...)
	}
	c.logUnreached(failed, made.at)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered[p] = made.at
	return made.conn, nil
}

// endpointsOf returns the endpoints of a protocol in the order in which they are
// tried: the one that answered last, with the address that did, and then the others in
// an order that is another each time, so that clients spread over a cluster.
func (c *Client) endpointsOf(p Protocol) []Endpoint {
	endpoints := slices.Clone(c.endpoints[p])
	shuffle(endpoints)
	c.mu.Lock()
	last, known := c.answered[p]
	c.mu.Unlock()
	if known {
		ip := last.ip
		last.ip = ""
		toFront(endpoints, last)
		endpoints[0].ip = ip
	}
	return endpoints
}

// attemptDelay is how long the first of several endpoints may take before the next is
// tried beside it, and so on. A login takes a few round trips; one that takes this
// long most likely never ends.
const attemptDelay = 500 * time.Millisecond

// placeOf names one of the places of dialFirst.
func placeOf(place any) string {
	if e, ok := place.(Endpoint); ok {
		return e.place()
	}
	return fmt.Sprint(place)
}

// goodbyer is a connection that can be closed.
type goodbyer interface {
	Close(ctx context.Context) error
}

// dialFirst dials one of several places: the first, and after a moment, or once that
// has failed, the next beside it, so that one that takes connections and never
// answers holds up nobody. The first to answer is taken and the others are given
// up. first is its index, or -1 where none answered or ctx ended. failed has the
// error of each that failed, or was given up although it was tried before.
func dialFirst[T any, C goodbyer](ctx context.Context, places []T, dial func(context.Context, T) (C, error)) (conn C, first int, failed []error) {
	type answer struct {
		place int
		conn  C
		err   error
	}
	if len(places) == 0 {
		return conn, -1, nil
	}
	attempts, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, len(places))
	failed = make([]error, len(places))
	delay := attemptDelay
	if deadline, ok := ctx.Deadline(); ok { // there must be time for the last one too
		delay = min(delay, time.Until(deadline)/time.Duration(2*len(places)))
	}
	next := time.NewTimer(delay)
	defer next.Stop()
	started, ended := 0, 0
	start := func() {
		place := started
		started++
		go func() {
			conn, err := dial(attempts, places[place])
			answers <- answer{place, conn, err}
		}()
		next.Reset(max(delay, 0))
	}
	start()
	for ended < started {
		select {
		case <-next.C:
			if started < len(places) && ctx.Err() == nil {
				start()
			}
		case a := <-answers:
			ended++
			if a.err != nil {
				failed[a.place] = a.err
				if started < len(places) && ctx.Err() == nil {
					start()
				}
				continue
			}
			for place := range a.place {
				if failed[place] == nil {
					failed[place] = fmt.Errorf("connecting to %s: no answer in time", placeOf(places[place]))
				}
			}
			go func(late int) {
				for range late {
					if a := <-answers; a.err == nil {
						goodbye(context.WithoutCancel(ctx), a.conn)
					}
				}
			}(started - ended)
			return a.conn, a.place, failed
		}
	}
	var none C
	return none, -1, failed
}

// dialAMQPAt connects to the endpoint, for what.
func (c *Client) dialAMQPAt(ctx context.Context, e Endpoint, what string) (*amqpconn.Conn, error) {
	conn, err := dialAs(ctx, c, e, what, func(cfg transport.Config) (*amqpconn.Conn, error) {
		return amqpconn.Dial(ctx, amqpconn.Config{
			Config:     cfg,
			ChannelMax: cmp.Or(e.ChannelMax, channelMaxDefault),
			OnBlocked:  func(reason string) { c.tellBlocked("connection to "+e.place()+" for "+what, reason) },
		})
	})
	if err != nil {
		return nil, e.dialError(err)
	}
	c.cfg.Logger.Debug("connected", "broker", e.place(), "for", what, "heartbeat", conn.Server().Heartbeat)
	return conn, nil
}

// dialStreamAt connects to the endpoint, for what, and notes which node answered
// there.
func (c *Client) dialStreamAt(ctx context.Context, e Endpoint, what string) (*streamconn.Conn, error) {
	conn, err := dialAs(ctx, c, e, what, func(cfg transport.Config) (*streamconn.Conn, error) {
		return streamconn.Dial(ctx, cfg)
	})
	if err != nil {
		return nil, e.dialError(err)
	}
	c.cfg.Logger.Debug("connected", "broker", e.place(), "for", what, "heartbeat", conn.Server().Heartbeat)
	c.noteNode(conn.Server(), e)
	return conn, nil
}

// dialAs dials the endpoint with the password that is to be used, and where that is
// refused, and another may still be the right one, with that.
func dialAs[C any](ctx context.Context, c *Client, e Endpoint, what string, dial func(transport.Config) (C, error)) (C, error) {
	cfg, err := c.login(e)
	if err != nil {
		var none C
		return none, err
	}
	log := c.cfg.Logger.Warn
	if !c.cfg.Recovery.Off { // whoever had it tells that it is disconnected
		log = c.cfg.Logger.Debug
	}
	cfg.OnLost = func(why error) {
		log("connection lost", "broker", e.place(), "for", what, "error", why)
	}
	if c.cfg.Credentials != nil && !e.External {
		return dialGiven(ctx, c, cfg, dial)
	}
	password, former, doubtful := c.secrets.passwords(e)
	cfg.Password = password
	conn, err := dial(cfg)
	if doubtful {
		if err == nil {
			c.secrets.proved(password)
		} else if loginRefused(err) {
			cfg.Password = former
			if second, stillRefused := dial(cfg); stillRefused == nil {
				c.secrets.disproved(password)
				return second, nil
			}
		}
	}
	return conn, err
}

// dialError says that the endpoint could not be reached, or refused the login.
func (e Endpoint) dialError(err error) error {
	err = fmt.Errorf("connecting to %s: %w", e.place(), printableError{toPublic(err)})
	failed, ok := errors.AsType[*net.OpError](err)
	if ok && failed.Op == "dial" && e.guessed && e.Protocol == Streams {
		return fmt.Errorf("%w (no URL for streams was given, so this is the host of another with the stream protocol's usual port)", err)
	}
	return err
}

// goodbye closes a connection that nothing more is wanted from; whether the
// broker still answers does not matter.
func goodbye(ctx context.Context, conn goodbyer) {
	ctx, cancel := context.WithTimeout(ctx, goodbyeTimeout)
	defer cancel()
	_ = conn.Close(ctx)
}
