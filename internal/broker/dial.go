//go:build linux || darwin

package broker

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"
)

// DialContext connects to a listener of the node at address, HOST:PORT, and returns the
// connection only if the node's own user has accepted it. So whoever logs in on it shows
// the password to nobody else. It waits for the node to accept until ctx ends. It has
// the form of thump.Config.DialContext; network is "tcp".
func (n *Node) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	return n.state.dial(ctx, address)
}

// dial is DialContext for a node that may just be starting.
func (s state) dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp4", address) // a node has no listener for IPv6
	if err != nil {
		return nil, err
	}
	if err := s.accepted(ctx, conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// accepted waits until conn is accepted, and returns nil if the node's user did it. What
// counts is who holds the other end of this very connection: the listener may by now be
// another one. Which process of that user it is does not matter: all of them may read the
// password anyway.
func (s state) accepted(ctx context.Context, conn net.Conn) error {
	account, err := serverAccount(s.Chroot)
	if err != nil {
		return err
	}
	user := os.Geteuid()
	if account.separate {
		user = int(account.uid)
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		accepted, by, err := acceptedBy(conn)
		switch {
		case err != nil:
			return fmt.Errorf("finding out who listens there: %w", err)
		case accepted && by == user:
			return nil
		case accepted:
			return ErrStranger
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("the node has not accepted: %w", context.Cause(ctx))
		}
	}
}
