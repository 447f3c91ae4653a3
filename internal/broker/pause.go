//go:build linux || darwin

package broker

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// Pause stops the node's process where it is, as SIGSTOP does: its connections stay open
// and its listeners too, and it answers nothing until Resume. Stop and Kill end it as if it
// were not paused. To pause a paused node is not an error. The error wraps ErrNotRunning if
// the node has ended. Where somebody starts or stops the node, Pause waits for that, for 10 s
// or until ctx ends.
//
// Only the Erlang virtual machine is stopped. Its helpers work for it alone, and end with
// it: one that was stopped would outlive a machine that is killed.
func (n *Node) Pause(ctx context.Context) error { return n.signal(ctx, syscall.SIGSTOP, true) }

// Resume lets a paused node go on, as SIGCONT does. To resume a node that is not paused is
// not an error. Its errors are Pause's.
func (n *Node) Resume(ctx context.Context) error { return n.signal(ctx, syscall.SIGCONT, false) }

// Paused reports whether the node's process is stopped, by Pause or by anybody else.
func (n *Node) Paused() bool { return n.holder.Server.stopped() }

// signal sends a signal to the node's process, and waits until it has stopped, or runs.
// Nobody starts or stops the node meanwhile: a start, or an orderly stop, of a paused node
// would wait for it in vain.
func (n *Node) signal(ctx context.Context, sig syscall.Signal, stopped bool) error {
	const timeout = 10 * time.Second // the system needs milliseconds
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	unlock, err := lock(n.Dir, ctx.Err)
	if err != nil {
		return err
	}
	defer unlock()
	for {
		n.holder.Server.signal(sig)
		switch {
		case !n.Running():
			return fmt.Errorf("%w in %s", ErrNotRunning, n.Dir)
		case n.Paused() == stopped:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("broker: sending %v to process %d, which does not obey: %w", sig, n.PID, ctx.Err())
		}
		time.Sleep(pollInterval)
	}
}
