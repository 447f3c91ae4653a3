//go:build linux || darwin

package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// elsewhere reports whether the process ids of h mean nothing to us.
func (h holder) elsewhere() bool { return h.Place != "" && h.Place != place() }

func (h holder) elsewhereError(dir string) error {
	return &ElsewhereError{Dir: dir, Host: h.Host, PID: h.Server.PID, Since: h.StartedAt}
}

// recorded are the processes that h names, all of which may have ended.
func (h holder) recorded() []process { return []process{h.Keeper, h.Server, h.EPMD} }

// runningLock is the lock that lives as long as a node: its keeper and its server
// inherit the locked file, and the system unlocks it when the last of them has ended,
// however it ended. Unlike a process id it means the same in every container, and on
// every host that shares the folder. The file is empty: RabbitMQ's user could write to
// it, and so it says nothing that we believe.
//
// It is a flock, because unlike fcntl's classic locks that one is inherited, and unlike
// fcntl's newer ones macOS has it. Linux makes it a lock of the server where the folder
// is on NFS, unless it is mounted with nolock or local_lock.
type runningLock struct {
	dir  string
	file *os.File
}

// tryRunningLock takes the folder's lock, or returns nil if a node, or another start,
// has it.
func tryRunningLock(dir string) (*runningLock, error) {
	file, err := flock(filepath.Join(dir, runningFileName), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, syscall.LOCK_EX)
	if file == nil {
		return nil, err
	}
	return &runningLock{dir, file}, nil
}

// held reports whether somebody has a lock of the folder: runningFileName or lockFileName.
func held(path string) (bool, error) {
	// A shared lock, so that two who ask don't find each other.
	file, err := flock(path, os.O_RDONLY|syscall.O_NOFOLLOW, syscall.LOCK_SH)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if file == nil {
		return err == nil, err
	}
	return false, file.Close()
}

// flock opens a file and locks it. It returns no file and no error if the file is
// locked.
func flock(path string, flags, how int) (*os.File, error) {
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("broker: locking the node's folder: %w", err)
	}
	for {
		err = syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	switch {
	case err == nil:
		return file, nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, file.Close()
	default:
		file.Close()
		return nil, fmt.Errorf("broker: locking the node's folder %s: %w", filepath.Dir(path), err)
	}
}

// release lets go of the lock. The processes that have inherited it keep it.
func (l *runningLock) release() { l.file.Close() }

// holds reports whether the locked file is still the one in the folder: who found the
// folder abandoned may have removed it in the moment before we had the lock.
func (l *runningLock) holds() bool {
	ours, err1 := l.file.Stat()
	there, err2 := os.Lstat(filepath.Join(l.dir, runningFileName))
	return err1 == nil && err2 == nil && os.SameFile(ours, there)
}

// record writes who has the lock.
func (l *runningLock) record(h holder) error {
	if err := writeJSON(filepath.Join(l.dir, holderFileName), h); err != nil {
		return fmt.Errorf("broker: writing which processes run the node: %w", err)
	}
	return nil
}

// clear says that the node was stopped. It needs no room on the disk.
func (l *runningLock) clear() error {
	if err := os.Remove(filepath.Join(l.dir, holderFileName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("broker: writing that the node has ended: %w", err)
	}
	return nil
}

// readHolder says who has, or last had, the folder's lock. It is empty if nobody ever
// had it, if the last node was stopped, or if a start is just about to write it.
func readHolder(dir string) (holder, error) {
	var h holder
	data, err := readOurs(filepath.Join(dir, holderFileName))
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return h, fmt.Errorf("broker: reading which processes run the node: %w", err)
	}
	if err := json.Unmarshal(data, &h); err != nil {
		return holder{}, nil //nolint:nilerr // a power cut can leave that, and no process
	}
	return h, nil
}

// lock waits until no other process is starting or stopping the node of dir, or until giveUp
// returns an error.
func lock(dir string, giveUp func() error) (unlock func(), err error) {
	for {
		file, err := flock(filepath.Join(dir, lockFileName), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, syscall.LOCK_EX)
		if err != nil {
			return nil, err
		}
		if file != nil {
			return func() { file.Close() }, nil
		}
		if err := giveUp(); err != nil {
			return nil, fmt.Errorf("broker: waiting for another start or stop in %s: %w", dir, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
