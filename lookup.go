package thump

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
)

// lookup finds the addresses of a host.
type lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// lookupHost asks the system for the addresses of a host, those first that it prefers
// (RFC 6724).
func lookupHost(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// placesOf returns the places that the endpoint's host stands for, one for each of its
// addresses, in the order in which they are tried. An address, this machine's own name,
// and every name for a dialer of the user's are a place as they are.
func (c *Client) placesOf(ctx context.Context, e Endpoint) ([]Endpoint, error) {
	_, notLiteral := netip.ParseAddr(e.Host)
	if c.lookup == nil || notLiteral == nil || e.Loopback() {
		e.ip = ""
		return []Endpoint{e}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(e.DialTimeout, c.cfg.DialTimeout))
	defer cancel()
	found, err := c.lookup(ctx, e.Host)
	if err == nil && len(found) == 0 {
		err = errors.New("the host has no address")
	}
	if err != nil {
		return nil, e.dialError(&net.OpError{Op: "dial", Net: "tcp", Err: err})
	}
	places := make([]Endpoint, 0, len(found))
	for _, ip := range spread(found) {
		place := e
		place.ip = ip.String()
		if !slices.Contains(places, place) {
			places = append(places, place)
		}
	}
	toFront(places, e)
	return places, nil
}

// spread shuffles a host's addresses, so that clients spread over the nodes of a cluster.
// The family of the first stays before the other, which may lead nowhere from here.
func spread(found []netip.Addr) []netip.Addr {
	var same, other []netip.Addr
	for _, ip := range found {
		if ip = ip.Unmap(); ip.Is4() == found[0].Unmap().Is4() {
			same = append(same, ip)
		} else {
			other = append(other, ip)
		}
	}
	shuffle(same)
	shuffle(other)
	return append(same, other...)
}

func shuffle[T any](list []T) {
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

// toFront moves e to the front of the list, if it is there.
func toFront(list []Endpoint, e Endpoint) {
	if i := slices.Index(list, e); i > 0 {
		copy(list[1:], list[:i])
		list[0] = e
	}
}

// landed is a connection, and the place where it was made.
type landed[C goodbyer] struct {
	conn C
	at   Endpoint
}

// Close says goodbye.
func (l landed[C]) Close(ctx context.Context) error { return l.conn.Close(ctx) }

// dialHost connects to the place of the endpoint's host that answers first: see dialFirst.
func dialHost[C goodbyer](ctx context.Context, c *Client, e Endpoint, dial func(context.Context, Endpoint) (C, error)) (landed[C], error) {
	places, err := c.placesOf(ctx, e)
	if err != nil {
		return landed[C]{}, err
	}
	conn, first, failed := dialFirst(ctx, places, dial)
	if first < 0 {
		return landed[C]{}, errors.Join(failed...)
	}
	c.logUnreached(failed, places[first])
	return landed[C]{conn, places[first]}, nil
}

// logUnreached logs what became of those that had their chance before the one that was
// reached.
func (c *Client) logUnreached(failed []error, reached Endpoint) {
	for _, err := range failed {
		if err != nil {
			c.cfg.Logger.Warn("a broker could not be reached, and another one was", "error", err, "reached", reached.place())
		}
	}
}
