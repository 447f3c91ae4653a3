//go:build linux || darwin

package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Folders returns the folders in parent that are nodes': those in which Start has started
// one, and what is left of temporary ones. Folders of other users are not among them.
func Folders(parent string) ([]string, error) {
	entries, err := os.ReadDir(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("broker: looking for nodes' folders: %w", err)
	}
	var found []string
	for _, entry := range entries {
		if dir := filepath.Join(parent, entry.Name()); isNodeFolder(dir) {
			found = append(found, dir)
		}
	}
	return found, nil
}

// isNodeFolder reports whether dir is a folder of ours, and a node's, or was to be one.
func isNodeFolder(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() {
		return false
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Geteuid() {
		return false
	}
	if _, err := os.Lstat(filepath.Join(dir, runningFileName)); err == nil || isTemporary(dir) {
		return true
	}
	return isUnmarked(dir)
}

// isUnmarked reports whether dir has the name of a temporary node's folder and is empty:
// then it was killed who made it, or who removed it.
func isUnmarked(dir string) bool {
	entries, err := os.ReadDir(dir)
	return strings.HasPrefix(filepath.Base(dir), temporaryPrefix) && err == nil && len(entries) == 0
}

// Clean ends and removes what is left of a node that nobody has stopped: one that was
// killed, or whose host was. Its processes are ended, which are few, such as epmd; the
// folder is removed if the node was a temporary one, and is otherwise left as it is. What
// runs is never touched, wherever it runs; nor are folders that Start has not made.
//
// Unless others is true, Clean leaves alone what another host has left: that one may
// share the folder by a file system that does not share locks.
//
// It returns nil if there is nothing to clean.
func Clean(dir string, others bool) (*Leftover, error) {
	dir, err := absolute(dir)
	if err != nil {
		return nil, err
	}
	if err := believe(dir); err != nil {
		return nil, err
	}
	if !isNodeFolder(dir) {
		return nil, nil
	}
	if isUnmarked(dir) {
		// Not RemoveAll: it may have become somebody's in this moment.
		if err := syscall.Rmdir(dir); err != nil {
			return nil, nil //nolint:nilerr // it has
		}
		return &Leftover{Dir: dir, Removed: true}, nil
	}
	lock, err := tryRunningLock(dir)
	if lock == nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // somebody else has just removed it
		}
		return nil, err
	}
	defer lock.release()
	h, err := readHolder(dir)
	if err != nil {
		return nil, err
	}
	temporary := isTemporary(dir)
	switch {
	case !lock.holds(): // removed meanwhile
		return nil, nil
	case h.StartedAt.IsZero() && !temporary:
		return nil, nil // it was stopped
	case h.onAnotherHost() && !others, !h.elsewhere() && h.Server.alive():
		return nil, nil
	}
	left := &Leftover{Dir: dir, Host: h.Host, Since: h.StartedAt}
	ended, err := endLeftovers(h)
	if err != nil {
		return nil, err
	}
	for _, p := range ended {
		left.Ended = append(left.Ended, p.PID)
	}
	if !temporary {
		return left, lock.clear()
	}
	if err := removeTemporary(dir); err != nil {
		return nil, err
	}
	left.Removed = true
	return left, nil
}

// onAnotherHost reports whether h is of another host, as far as that can be known: a host
// that was started anew has another boot and the same name, and a container has another
// name and the same boot.
func (h holder) onAnotherHost() bool {
	boot, _, _ := strings.Cut(h.Place, "/")
	return h.Place != "" && boot != bootID() && h.Host != hostname()
}

// Look says what is in a node's folder.
func Look(dir string) (Found, error) {
	dir, err := absolute(dir)
	if err != nil {
		return Found{}, err
	}
	f := Found{Dir: dir, Temporary: isTemporary(dir) || isUnmarked(dir)}
	f.Node, err = Open(dir)
	switch {
	case err == nil:
		f.Busy, err = held(filepath.Join(dir, lockFileName))
		return f, err
	case errors.As(err, &f.Elsewhere):
		return f, nil
	case !errors.Is(err, ErrNotRunning):
		return f, err
	}
	h, locked, err := look(dir)
	f.Busy = locked
	f.Abandoned = !locked && (f.Temporary || !h.StartedAt.IsZero())
	f.Host, f.Since = h.Host, h.StartedAt
	return f, err
}
