//go:build linux || darwin

package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

const (
	// temporaryPrefix begins the name of a temporary node's folder.
	temporaryPrefix = "run-"
	// markFileName is a file in a temporary node's folder that says so. It is the first
	// to come and the last to go, so that what has the name and the mark may be removed,
	// and what has only the name is empty, or somebody else's.
	markFileName = "temporary"
)

// temporary is the folder of a temporary node that this process has started.
type temporary struct {
	dir     string
	lock    *runningLock // ours as well as the node's, so that nobody removes the folder while we work
	alive   *os.File     // the node's processes inherit it; what is left when none has it is removed
	remover *exec.Cmd    // the shell that does so
	once    sync.Once
	err     error // of remove
}

// removerScript waits until the process that has made the folder has ended, and the
// node's processes, and then removes the folder. The keeper can't: it may be another user,
// or in a chroot.
const removerScript = `read -r _
cd -- "$1" && rm -rf -- ` + contents + ` && rm -f -- ` + markFileName + ` && cd / && rmdir -- "$1"
`

// contents are the names of all that thump puts into a node's folder, but for the mark.
const contents = stateFileName + " " + stateFileName + newSuffix + " " + holderFileName + " " + holderFileName + newSuffix + " " +
	runningFileName + " " + lockFileName + " " + epmdLogName + " " + startupLogName + " " + confDirName + " " + dataDirName + " " + logDirName

// newTemporary makes a folder for a temporary node in parent, and locks it.
func newTemporary(parent string) (*temporary, error) {
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, fmt.Errorf("broker: making a folder for the node: %w", err)
	}
	// Who else may write the parent could put another folder in the place of the one
	// that we are to remove.
	if err := believe(parent); err != nil {
		return nil, err
	}
	for {
		dir, err := os.MkdirTemp(parent, temporaryPrefix)
		if err != nil {
			return nil, fmt.Errorf("broker: making a folder for the node: %w", err)
		}
		lock, err := markAndLock(dir)
		if err != nil {
			return nil, errors.Join(err, removeTemporary(dir))
		}
		if lock == nil {
			continue
		}
		t := &temporary{dir: dir, lock: lock}
		if err := t.startRemover(); err != nil {
			lock.release()
			return nil, errors.Join(err, removeTemporary(dir))
		}
		return t, nil
	}
}

// markAndLock returns nil, and leaves no folder, if another thump took the folder for an
// abandoned one, or looked whether it is one, in the moment before it was locked.
func markAndLock(dir string) (*runningLock, error) {
	err := os.WriteFile(filepath.Join(dir, markFileName), nil, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("broker: making a folder for the node: %w", err)
	}
	lock, err := tryRunningLock(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case lock != nil && !lock.holds():
		lock.release()
		return nil, nil
	case lock == nil && err == nil: // which of the two nobody knows
		return nil, removeTemporary(dir)
	default:
		return lock, err
	}
}

// startRemover starts the process that removes the folder if this one can't.
func (t *temporary) startRemover() error {
	end, alive, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("broker: watching over the node's folder: %w", err)
	}
	defer end.Close()
	cmd := exec.Command("/bin/sh", "-c", removerScript, "sh", t.dir)
	cmd.Dir, cmd.Stdin, cmd.Env = "/", end, []string{"PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	closeInheritedOnExec()
	if err := cmd.Start(); err != nil {
		alive.Close()
		return fmt.Errorf("broker: watching over the node's folder: %w", err)
	}
	t.alive, t.remover = alive, cmd
	return nil
}

// remove removes the folder. The node's processes have ended, or can't be ended.
func (t *temporary) remove() error {
	t.once.Do(func() {
		// The remover has nothing more to do.
		_ = t.remover.Process.Kill()
		_ = t.remover.Wait()
		t.alive.Close()
		t.err = removeTemporary(t.dir)
		t.lock.release()
	})
	return t.err
}

// isTemporary reports whether dir is the folder of a temporary node.
func isTemporary(dir string) bool {
	info, err := os.Lstat(filepath.Join(dir, markFileName))
	return strings.HasPrefix(filepath.Base(dir), temporaryPrefix) && err == nil && info.Mode().IsRegular()
}

// removeTemporary removes a temporary node's folder, the mark last.
func removeTemporary(dir string) error {
	var failed []error
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		failed = append(failed, err)
	}
	for _, entry := range entries {
		if entry.Name() != markFileName {
			failed = append(failed, os.RemoveAll(filepath.Join(dir, entry.Name())))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("broker: removing the node's folder: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("broker: removing the node's folder: %w", err)
	}
	return nil
}
