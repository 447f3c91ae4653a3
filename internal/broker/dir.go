package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// DefaultDir is the folder of the node of `thump broker`: in THUMP_HOME if that is set;
// for root in /var/lib, because RabbitMQ's own user can't enter /root; otherwise in the
// user's folder for such data. It is empty if the user has no home, or only a relative
// one, which would be another in each working folder.
func DefaultDir() string {
	if home := os.Getenv("THUMP_HOME"); home != "" {
		return filepath.Join(home, "broker")
	}
	if os.Geteuid() == 0 {
		return "/var/lib/thump/broker"
	}
	if state := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "thump", "broker")
	}
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) {
		return ""
	}
	if runtime.GOOS == "darwin" {
		return filepath.Join(home, "Library", "thump", "broker") // not "Application Support": see CheckDir
	}
	return filepath.Join(home, ".local", "state", "thump", "broker")
}

// CheckDir returns an error if a node can't live in dir because of its path, which is
// taken against the working folder where it is relative. RabbitMQ's scripts use the path
// without quotes: a blank splits it, and what is a command to the shell is run. Erlang
// takes only ASCII there, and # begins a comment in rabbitmq.conf. These do work, with
// every RabbitMQ that thump is tested with.
func CheckDir(dir string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._+@,:=~-"
	path, err := absolute(dir)
	if err != nil {
		return err
	}
	for _, char := range path {
		if !strings.ContainsRune(allowed, char) {
			return fmt.Errorf("broker: RabbitMQ can't live in %q: %q in a path is not safe in its scripts; choose another folder (--dir, THUMP_HOME) of letters, digits and ._+@,:=~-",
				path, char)
		}
	}
	return nil
}

// absolute is the path of a folder, taken against the working folder where it is relative.
func absolute(dir string) (string, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("broker: finding the folder %s: %w", dir, err)
	}
	return path, nil
}
