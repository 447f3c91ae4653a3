//go:build linux || darwin

package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
)

const startTimeoutDefault = 2 * time.Minute

// Start starts the node of o.Dir and returns once it serves AMQP, streams and its
// management API. The node is in a session of its own, gets none of the terminal's
// signals, and runs until Stop; unless o says otherwise it outlives this process. Until
// Start has returned it does not.
//
// The errors are ErrRunning, *ElsewhereError, *NotFoundError, ctx's own, and others, which
// end with the last lines of the node's log. After an error no process of the node is
// left, unless the error says which one could not be ended, and no folder of a temporary
// one.
func Start(ctx context.Context, o Options) (*Node, error) {
	if o.StartTimeout == 0 {
		o.StartTimeout = startTimeoutDefault
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.StartTimeout,
		fmt.Errorf("broker: the node did not serve within %v", o.StartTimeout))
	defer cancel()

	if err := checkProcesses(); err != nil {
		return nil, err
	}
	dir, err := o.resolve()
	if err != nil {
		return nil, err
	}
	if !o.Temporary {
		// takeOver asks again. But what a start takes, such as room on the disk, a node
		// that runs already may have used up.
		h, err := readHolder(dir)
		if err == nil {
			err = h.errorIfRunning(dir)
		}
		if err != nil {
			return nil, err
		}
	}
	script, err := findServer(o.Server, o.Chroot)
	if err != nil {
		return nil, err
	}
	if err := checkDisk(dir); err != nil {
		return nil, err
	}
	account, err := serverAccount(o.Chroot)
	if err != nil {
		return nil, err
	}
	if !o.Temporary {
		return startIn(ctx, dir, script, account, o, nil)
	}
	t, err := newTemporary(dir)
	if err != nil {
		return nil, err
	}
	node, err := startIn(ctx, t.dir, script, account, o, t)
	if err != nil {
		return nil, errors.Join(err, t.remove())
	}
	return node, nil
}

// startIn starts the node of dir. t is nil unless dir is a temporary node's.
func startIn(ctx context.Context, dir, script string, account account, o Options, t *temporary) (*Node, error) {
	if err := makeFolders(dir, account); err != nil {
		return nil, err
	}
	unlock, err := lock(dir, func() error { return context.Cause(ctx) })
	if err != nil {
		return nil, err
	}
	defer unlock()

	var launched keeperOptions
	if t != nil {
		launched.lock, launched.alive = t.lock, t.alive
	} else {
		if launched.lock, err = takeOver(ctx, dir); err != nil {
			return nil, err
		}
		defer launched.lock.release()
	}
	launched.account = account
	st, err := readState(dir)
	if errors.Is(err, fs.ErrNotExist) {
		st, err = newState(), nil
	}
	if err != nil {
		return nil, err
	}
	st.Chroot, st.Script, st.Plugins, st.ExtraConfig = o.Chroot, script, o.Plugins, o.ExtraConfig
	st.Attached = o.Attached || o.Temporary
	node, err := startOnFreePorts(ctx, dir, st, launched)
	if err == nil && !st.Attached {
		if err = node.keeper.stay(); err != nil {
			err = errors.Join(err, node.keeper.end(node.holder))
		}
	}
	switch {
	case errors.Is(err, errSurvives):
		return nil, err // the record stays for Clean
	case err != nil:
		return nil, errors.Join(err, launched.lock.clear())
	}
	node.temporary = t
	return node, nil
}

// resolve returns the node's folder, absolute.
func (o Options) resolve() (string, error) {
	if o.Dir == "" {
		return "", errors.New("broker: no folder given for the node")
	}
	dir, err := absolute(o.Dir)
	if err != nil {
		return "", err
	}
	if o.Chroot != "" && !strings.HasPrefix(dir, filepath.Clean(o.Chroot)+"/") {
		return "", fmt.Errorf("broker: the node's folder %s is not inside its root %s", dir, o.Chroot)
	}
	if err := CheckDir(dir); err != nil {
		return "", err
	}
	return dir, believe(dir)
}

// errorIfRunning returns ErrRunning if the node of dir, which is h's, runs here.
func (h holder) errorIfRunning(dir string) error {
	if h.elsewhere() || !h.Server.alive() {
		return nil
	}
	return fmt.Errorf("%w: process %d in %s", ErrRunning, h.Server.PID, dir)
}

// takeOver takes the lock of a folder, and makes sure that no process is left of the node
// that had it before.
func takeOver(ctx context.Context, dir string) (*runningLock, error) {
	// A node that was killed has the lock until its keeper has seen it.
	const endingTimeout = 10 * time.Second
	for begin := time.Now(); ; {
		lock, err := tryRunningLock(dir)
		if err != nil {
			return nil, err
		}
		h, err := readHolder(dir)
		if err == nil {
			err = h.errorIfRunning(dir)
		}
		switch {
		case err != nil:
		case lock != nil:
			if _, err = endLeftovers(h); err == nil {
				return lock, nil
			}
		case h.elsewhere():
			err = h.elsewhereError(dir)
		case time.Since(begin) > endingTimeout:
			err = fmt.Errorf("broker: another process has the lock of the folder %s, and doesn't say which", dir)
		case ctx.Err() != nil:
			err = fmt.Errorf("broker: waiting for the lock of the folder %s: %w", dir, context.Cause(ctx))
		default:
			time.Sleep(pollInterval)
			continue
		}
		if lock != nil {
			lock.release()
		}
		return nil, err
	}
}

// startOnFreePorts starts the node. It tries again with other ports, and another password,
// if another process took one between our check and the node's start.
func startOnFreePorts(ctx context.Context, dir string, st state, launched keeperOptions) (*Node, error) {
	const attempts = 5
	taken := !st.Ports.free()
	for attempt := 1; ; attempt++ {
		if taken {
			if err := st.movePorts(); err != nil {
				return nil, err
			}
		}
		node, err := startOnce(ctx, dir, st, launched)
		taken = errors.Is(err, ErrStranger) || err != nil && (saysTaken(err) || !st.Ports.free())
		if !taken || attempt == attempts || ctx.Err() != nil || errors.Is(err, errSurvives) {
			return node, err
		}
	}
}

// saysTaken reports whether RabbitMQ said that one of its ports was in use, if only for a
// moment, or that a node of its name runs already. None does, since we have the folder's
// lock: somebody else has told the node's epmd so, as any user may.
func saysTaken(err error) bool {
	text := err.Error()
	return strings.Contains(text, portInUse) || strings.Contains(text, "is already running on host")
}

// portInUse is in what RabbitMQ logs about a port that it can't listen on because another
// process does: Erlang's name of EADDRINUSE.
const portInUse = "eaddrinuse"

// startOnce starts epmd and the server and waits until they serve. If that fails, it
// kills both.
func startOnce(ctx context.Context, dir string, st state, launched keeperOptions) (*Node, error) {
	if err := writeConfig(dir, st, launched.account); err != nil {
		return nil, err
	}
	if err := st.write(dir); err != nil {
		return nil, err
	}
	keeper, h, err := launch(ctx, dir, st, launched)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*Node, error) {
		return nil, errors.Join(err, keeper.end(h))
	}
	st.Version, err = waitUntilServing(ctx, st, keeper.ended)
	if err != nil {
		return fail(withLogTail(err, dir, h.StartedAt))
	}
	if err := st.write(dir); err != nil {
		return fail(err)
	}
	node := newNode(dir, st, h)
	node.keeper = keeper
	return node, nil
}
