package thump

import (
	"context"
	"errors"
	"net"
	"sync"
)

// cleartext knows how far a client's passwords may go unencrypted. A URL without TLS
// says: to its host, and the log warns of that once for each. But the nodes of a stream
// are named by the broker, and the password that logs in at one node logs in at them
// all: where every URL without TLS leads to this machine (a broker here, a tunnel, a
// container's port), the password does not leave it. It is safe for concurrent use.
type cleartext struct {
	mu     sync.Mutex
	warned map[string]bool    // by host: the log was told
	here   map[[2]string]bool // by host:port and what was dialled for it: that led to this machine
}

// errLeaves is why a node that the broker named is not logged in at.
var errLeaves = errors.New("that is another machine, and the password would go there unencrypted, and none of your URLs allows that: " +
	"add load_balancer=true to the URL if its address leads to every node, or a URL of that node (or of a tunnel to it) to Config.URLs, or use rabbitmq-stream+tls")

// warnOf reports whether the log has yet to be told that the password for e goes over
// the network in clear.
func (t *cleartext) warnOf(e Endpoint) bool {
	if e.TLS || e.Loopback() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.warned[e.Host] {
		return false
	}
	if t.warned == nil {
		t.warned = make(map[string]bool)
	}
	t.warned[e.Host] = true
	return true
}

// staysHere reports whether none of the endpoints lets a password leave this machine in
// clear, as far as their names and the connections to them have told.
func (t *cleartext) staysHere(endpoints []Endpoint) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range endpoints {
		if !e.TLS && !e.Loopback() && !t.ledHere(e) {
			return false
		}
	}
	return true
}

// ledHere reports whether a connection to the endpoint led to this machine, and to no
// address of its host that is elsewhere. The lock is held.
func (t *cleartext) ledHere(e Endpoint) bool {
	known := false
	for at, here := range t.here {
		if at[0] == e.address() {
			if !here {
				return false
			}
			known = true
		}
	}
	return known
}

// watch returns a dialer of e's place that notes whether e, which a URL names, leads to this
// machine; and for an e that must not leave it, refuses to connect elsewhere.
func (t *cleartext) watch(e Endpoint, dial dialContext) dialContext {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if e.ip != "" {
			address = e.dialled()
		}
		conn, err := dial(ctx, network, address)
		if err != nil || e.TLS {
			return conn, err
		}
		switch here := onThisMachine(conn); {
		case !e.mustStay:
			t.mu.Lock()
			defer t.mu.Unlock()
			if t.here == nil {
				t.here = make(map[[2]string]bool)
			}
			t.here[[2]string{e.address(), e.dialled()}] = here
		case !here:
			_ = conn.Close() // nothing was written
			return nil, errLeaves
		}
		return conn, nil
	}
}

type dialContext = func(ctx context.Context, network, address string) (net.Conn, error)

// onThisMachine reports whether a connection goes nowhere else: to loopback, or to an
// address of this machine, which is then its own as well. It looks at the connection and
// not at a name, which may lead elsewhere the next time it is asked for. What is no TCP
// connection, such as a pipe, does not go over the network.
func onThisMachine(conn net.Conn) bool {
	remote, remoteTCP := conn.RemoteAddr().(*net.TCPAddr)
	local, localTCP := conn.LocalAddr().(*net.TCPAddr)
	if !remoteTCP || !localTCP {
		return true
	}
	return remote.IP.IsLoopback() || remote.IP.Equal(local.IP)
}
