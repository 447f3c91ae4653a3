//go:build linux || darwin

package broker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// makeFolders makes the node's folder and those in it, or takes those that are there, if
// they are ours. If RabbitMQ runs as a user of its own, that user may enter the folder and
// conf, but may write only in data and log. So it can't replace anything that we write,
// read or run as root.
func makeFolders(dir string, a account) error {
	if err := a.canReach(filepath.Dir(dir)); err != nil {
		return err // before anything is made
	}
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
		if !folder.own {
			// Somebody else may have been quicker, in a parent that he may write.
			if err := believe(folder.path); err != nil {
				return err
			}
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

// writeConfig writes the files that the node reads when it starts.
func writeConfig(dir string, st state, a account) error {
	definitions, err := definitions(st)
	if err != nil {
		return err
	}
	for _, file := range []struct {
		name, text string
		mode       os.FileMode
	}{
		{"rabbitmq.conf", rabbitmqConf(st, layout{insideChroot(dir, st.Chroot)}), 0o600},
		{"definitions.json", definitions, 0o600},
		{"enabled_plugins", enabledPlugins(st.Plugins), 0o600},
		{".erlang.cookie", st.Cookie, 0o400},
	} {
		path := filepath.Join(dir, confDirName, file.name)
		// Removed first, because the cookie can't be opened for writing.
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
