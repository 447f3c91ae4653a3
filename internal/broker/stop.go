//go:build linux || darwin

package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// stopTimeout is how long an orderly stop may take before the node is killed.
const stopTimeout = time.Minute

const pollInterval = 5 * time.Millisecond

// Open finds the node that is running in dir, whichever process has started it. It may
// still be starting; Ready says whether it serves. The error wraps ErrNotRunning if there
// is no node, or its process has ended, and is an *ElsewhereError if it runs where this
// process can't see it.
func Open(dir string) (*Node, error) {
	dir, err := absolute(dir)
	if err != nil {
		return nil, err
	}
	h, locked, err := look(dir)
	switch {
	case err != nil:
		return nil, err
	case !h.elsewhere() && h.Server.alive():
	case locked && h.elsewhere():
		return nil, h.elsewhereError(dir)
	case !locked && !h.StartedAt.IsZero():
		return nil, fmt.Errorf("%w in %s: the one that was started %s ended without being stopped",
			ErrNotRunning, dir, h.StartedAt.Format(time.DateTime))
	default: // or it starts or ends just now
		return nil, fmt.Errorf("%w in %s", ErrNotRunning, dir)
	}
	st, err := readState(dir)
	if err != nil {
		return nil, err
	}
	return newNode(dir, st, h), nil
}

// look says who has, or last had, a folder's lock, and whether it is locked.
func look(dir string) (h holder, locked bool, err error) {
	if err = believe(dir); err != nil {
		return h, false, err
	}
	if locked, err = held(filepath.Join(dir, runningFileName)); err != nil {
		return h, false, err
	}
	if locked {
		if err = checkProcesses(); err != nil {
			return h, false, err
		}
	}
	h, err = readHolder(dir)
	return h, locked, err
}

// Stop stops the node in an orderly way, and returns once none of its processes is left,
// including epmd. Its folder stays, so Start can start it again, unless the node is
// temporary. If ctx ends, or the node needs more than a minute, Stop kills it; where another
// process is starting or stopping it, Stop waits for that one, and returns an error and
// leaves the node to it if that takes as long. Stopping a node that has ended is not an
// error.
func (n *Node) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	return n.end(ctx.Err, func() {
		n.holder.Server.signal(syscall.SIGCONT) // it may be paused
		n.holder.Server.signal(syscall.SIGTERM)
		for n.holder.Server.alive() && ctx.Err() == nil {
			time.Sleep(pollInterval)
		}
	})
}

// Kill ends the node at once, as a crash would, and returns once none of its processes is
// left, including epmd. Like Stop, it removes a temporary node's folder.
func (n *Node) Kill() error { return n.end(func() error { return nil }, func() {}) }

// Running reports whether the node's process is running.
func (n *Node) Running() bool { return n.holder.Server.alive() }

// CPUSeconds is the processor time, user and system, that the node has used so far. ok is
// false if that is unknown.
func (n *Node) CPUSeconds() (seconds float64, ok bool) {
	if !n.Running() {
		return 0, false
	}
	return cpuSeconds(n.PID)
}

// end ends the node, once nobody else starts or stops it, and removes the folder of a
// temporary one, even if something of the node can't be ended. giveUp is lock's.
func (n *Node) end(giveUp func() error, orderly func()) error {
	unlock, err := lock(n.Dir, giveUp)
	switch {
	case err == nil:
		defer unlock()
	case !errors.Is(err, fs.ErrNotExist): // a node can be ended even if its folder was removed
		return err
	}
	err = n.endProcesses(orderly)
	if n.temporary != nil {
		return errors.Join(err, n.temporary.remove())
	}
	return err
}

// endProcesses calls orderly, and then kills the processes that are left.
func (n *Node) endProcesses(orderly func()) error {
	// The server's helpers lead sessions of their own and have no parent once it is
	// gone, so they are looked up before.
	helpers := n.holder.descendants()
	orderly()
	if err := killProcesses(n.holder, helpers); err != nil {
		return err
	}
	if n.keeper != nil {
		n.keeper.reap()
	}
	return n.forget()
}

// forget says in the folder that the node was stopped, unless another process has started
// it again or removed the folder.
func (n *Node) forget() error {
	const patience = time.Second // for somebody who just looks whether the node runs
	for begin := time.Now(); ; time.Sleep(pollInterval) {
		lock, err := tryRunningLock(n.Dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case lock != nil:
			defer lock.release()
			if h, err := readHolder(n.Dir); err != nil || h.Server != n.holder.Server {
				return err
			}
			return lock.clear()
		case n.temporary != nil || time.Since(begin) > patience:
			return nil
		}
	}
}

// descendants returns the living processes that h's have started, and so on.
func (h holder) descendants() []process {
	// The server is the keeper's child, as long as there is a keeper.
	return append(h.Keeper.descendants(), h.Server.descendants()...)
}

// endLeftovers kills what is left of a node that was not stopped, and whose server is
// gone: epmd, if its keeper was killed too. It returns what it has killed.
func endLeftovers(h holder) ([]process, error) {
	if h.elsewhere() {
		return nil, nil
	}
	left := slices.DeleteFunc(append(h.recorded(), h.descendants()...), isGone)
	return left, killProcesses(h, left)
}

// errSurvives is the error of killProcesses for a process that it has killed and that has
// not ended: another user's, if we are not root, or one that the kernel holds.
var errSurvives = errors.New("doesn't end when it is killed")

// killProcesses kills what is left of a node and returns once nothing is: the server, the
// helpers that were seen earlier, those that it has now, epmd and the keeper. All but the
// server end by themselves after it, and get a second for that.
func killProcesses(h holder, helpers []process) error {
	const helpersTimeout, killTimeout = time.Second, 10 * time.Second
	left := append(append(h.recorded(), h.descendants()...), helpers...)
	for begin := time.Now(); ; time.Sleep(pollInterval) {
		h.Server.kill()
		if left = slices.DeleteFunc(left, isGone); len(left) == 0 {
			return nil
		}
		if time.Since(begin) > killTimeout {
			return fmt.Errorf("broker: process %d %w", left[0].PID, errSurvives)
		}
		if time.Since(begin) > helpersTimeout {
			for _, p := range left {
				p.kill()
			}
		}
	}
}

func isGone(p process) bool { return !p.alive() }
