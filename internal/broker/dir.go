package broker

import (
	"os"
	"path/filepath"
	"runtime"
)

// DefaultDir is where `thump broker` keeps its node: in THUMP_HOME where that is
// set; for root in /var/lib, because RabbitMQ's own user can't enter /root; else
// in the user's own folder for such data. Empty where the user has no home.
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
	if err != nil {
		return ""
	}
	if runtime.GOOS == "darwin" {
		return filepath.Join(home, "Library", "thump", "broker") // not "Application Support": see resolve
	}
	return filepath.Join(home, ".local", "state", "thump", "broker")
}
