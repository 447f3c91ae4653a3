//go:build linux || darwin

package broker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// makeFolders makes the node's folder and those in it. Where RabbitMQ runs as a
// user of its own, that user may pass through the folder and conf but write only
// data and log: so nothing that we write, read or run as root is his to replace.
func makeFolders(dir string, a account) error {
	passable := os.FileMode(0o700)
	if a.separate {
		passable = 0o710
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("broker: making the node's folder: %w", err)
	}
	for _, folder := range []struct {
		path string
		mode os.FileMode
		own  bool
	}{
		{dir, passable, false},
		{filepath.Join(dir, confDirName), passable, false},
		{filepath.Join(dir, dataDirName), 0o700, true},
		{filepath.Join(dir, logDirName), 0o700, true},
	} {
		if err := os.Mkdir(folder.path, folder.mode); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("broker: making the node's folder: %w", err)
		}
		info, err := os.Lstat(folder.path)
		if err != nil || !info.IsDir() {
			return fmt.Errorf("broker: making the node's folder: %s is not a folder", folder.path)
		}
		if a.separate {
			owner := os.Getuid()
			if folder.own {
				owner = int(a.uid)
			}
			if err := os.Lchown(folder.path, owner, int(a.gid)); err != nil {
				return fmt.Errorf("broker: handing the node's folder to RabbitMQ's user: %w", err)
			}
		}
		if err := os.Chmod(folder.path, folder.mode); err != nil {
			return fmt.Errorf("broker: making the node's folder: %w", err)
		}
	}
	return a.canReach(filepath.Dir(dir))
}

// writeConfig writes what the node reads at its start.
func writeConfig(dir string, st state, a account, o Options) error {
	for _, file := range []struct {
		name, text string
		mode       os.FileMode
	}{
		{"rabbitmq.conf", rabbitmqConf(st, o.Chroot != "", o.ExtraConfig), 0o600},
		{"enabled_plugins", enabledPlugins(o.Plugins), 0o600},
		{".erlang.cookie", st.Cookie, 0o400},
	} {
		path := filepath.Join(dir, confDirName, file.name)
		// Anew each time: the cookie can't be opened for writing.
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("broker: writing the node's settings: %w", err)
		}
		if err := os.WriteFile(path, []byte(file.text), file.mode); err != nil {
			return fmt.Errorf("broker: writing the node's settings: %w", err)
		}
		if a.separate {
			if err := os.Lchown(path, int(a.uid), int(a.gid)); err != nil {
				return fmt.Errorf("broker: handing %s to RabbitMQ's user: %w", path, err)
			}
		}
	}
	return nil
}

// lock waits until no other process starts or stops the node of dir, or until
// giveUp is closed.
func lock(dir string, giveUp <-chan struct{}) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(dir, lockFileName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("broker: locking the node's folder: %w", err)
	}
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			file.Close()
			return nil, fmt.Errorf("broker: locking the node's folder %s: %w", dir, err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-giveUp:
			file.Close()
			return nil, fmt.Errorf("broker: gave up waiting for another start or stop in %s", dir)
		}
	}
}
