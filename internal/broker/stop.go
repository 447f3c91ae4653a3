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

// Open finds the node that runs in dir, started by whichever process. It may
// still be starting: ask Ready. The error is ErrNotRunning, wrapped, where there
// is no node or its process is gone.
func Open(dir string) (*Node, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("broker: finding the folder %s: %w", dir, err)
	}
	st, err := readState(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s", ErrNotRunning, dir)
	}
	if err != nil {
		return nil, err
	}
	if !st.Server.alive() {
		return nil, fmt.Errorf("%w in %s", ErrNotRunning, dir)
	}
	return newNode(dir, st, nil), nil
}

// Stop stops the node in its own orderly way and returns when none of its
// processes is left, epmd included. Its folder stays, so that Start can take it
// up again. When ctx ends, or the node takes more than a minute, it is killed
// instead. Stopping a node that is gone is no error.
func (n *Node) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	return n.end(func() {
		n.state.Server.signal(syscall.SIGTERM)
		for n.state.Server.alive() && ctx.Err() == nil {
			time.Sleep(pollInterval)
		}
	})
}

// Kill ends the node at once, as a crash would, with epmd and all; and returns
// when nothing of it is left.
func (n *Node) Kill() error { return n.end(func() {}) }

// Running reports whether the node's process is there.
func (n *Node) Running() bool { return n.state.Server.alive() }

// CPUSeconds is the processor time, user and system, that the node has used so
// far; false where it can't be seen.
func (n *Node) CPUSeconds() (seconds float64, ok bool) {
	if !n.Running() {
		return 0, false
	}
	return cpuSeconds(n.PID)
}

// end takes the node down: in an orderly way as far as the given function goes,
// and what that leaves by force.
func (n *Node) end(orderly func()) error {
	unlock, err := lock(n.Dir, nil)
	switch {
	case err == nil:
		defer unlock()
	case !errors.Is(err, fs.ErrNotExist): // a node whose folder was removed can still be ended
		return err
	}
	strayEPMD := n.state.findStrayEPMD()
	// The server's helpers lead sessions of their own and have no parent once it is
	// gone, so they are looked up before.
	helpers := n.state.Server.descendants()
	orderly()
	if err := killServer(n.state, helpers); err != nil {
		return err
	}
	if strayEPMD {
		killEPMDAt(n.state.Ports.EPMD)
	}
	if n.done != nil {
		<-n.done
	}
	return n.forget()
}

// forget takes the ended processes out of the folder's state, unless somebody
// has started the node anew or removed the folder.
func (n *Node) forget() error {
	st, err := readState(n.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || st.Server != n.state.Server {
		return err
	}
	st.Server, st.EPMD = process{}, process{}
	return st.write(n.Dir)
}

// killServer kills what is left of a node and returns when nothing is: the
// server, the helpers that were seen earlier and those it has now, and epmd. The
// helpers end by themselves once the server is gone, and get a second for it.
func killServer(st state, helpers []process) error {
	const helpersTimeout, killTimeout = time.Second, 10 * time.Second
	helpers = append(helpers, st.Server.descendants()...)
	begin := time.Now()
	for left := append(helpers, st.Server, st.EPMD); ; time.Sleep(pollInterval) {
		st.Server.kill()
		if !st.Server.alive() {
			st.EPMD.kill()
		}
		if left = slices.DeleteFunc(left, isGone); len(left) == 0 {
			return nil
		}
		if time.Since(begin) > killTimeout {
			return fmt.Errorf("broker: process %d doesn't end when it is killed", left[0].PID)
		}
		if time.Since(begin) > helpersTimeout {
			for _, p := range left {
				p.kill()
			}
		}
	}
}

func isGone(p process) bool { return !p.alive() }
