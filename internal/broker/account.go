//go:build linux || darwin

package broker

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// account is the user that the node runs as.
type account struct {
	separate bool // another than ours; without it the rest is not set
	uid, gid uint32
	groups   []uint32 // supplementary
}

// serverAccount returns RabbitMQ's own user where we are root and there is one.
func serverAccount(chroot string) (account, error) {
	if os.Geteuid() != 0 {
		if chroot != "" {
			return account{}, fmt.Errorf("broker: a node inside %s takes root to start", chroot)
		}
		return account{}, nil
	}
	var a account
	err := eachLine(filepath.Join(chroot, "/etc/passwd"), func(fields []string) error {
		if len(fields) < 4 || fields[0] != serverUser || a.separate {
			return nil
		}
		uid, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil {
			return err
		}
		gid, err := strconv.ParseUint(fields[3], 10, 32)
		a.separate, a.uid, a.gid = true, uint32(uid), uint32(gid)
		return err
	})
	if err != nil || !a.separate {
		return a, err
	}
	err = eachLine(filepath.Join(chroot, "/etc/group"), func(fields []string) error {
		if len(fields) < 4 || !slices.Contains(strings.Split(fields[3], ","), serverUser) {
			return nil
		}
		gid, err := strconv.ParseUint(fields[2], 10, 32)
		a.groups = append(a.groups, uint32(gid))
		return err
	})
	return a, err
}

const serverUser = "rabbitmq" // what every distribution calls it

// eachLine calls do with the fields of each line of a passwd or group file. The
// files are read, not asked for by os/user, because a chroot has its own.
func eachLine(path string, do func(fields []string) error) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("broker: looking for RabbitMQ's user: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if err := do(strings.Split(lines.Text(), ":")); err != nil {
			return fmt.Errorf("broker: looking for RabbitMQ's user in %s: %w", path, err)
		}
	}
	return lines.Err()
}

// credential is what a process of the node is started with; nil where it runs
// as ourselves.
func (a account) credential() *syscall.Credential {
	if !a.separate {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}
}

// canReach says which folder on the way to dir keeps the node out, instead of
// the puzzling failure that RabbitMQ would end with.
func (a account) canReach(dir string) error {
	if !a.separate || a.uid == 0 {
		return nil
	}
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("broker: looking at the node's folder: %w", err)
		}
		bit := os.FileMode(0o001)
		if owner, ok := info.Sys().(*syscall.Stat_t); ok {
			switch {
			case owner.Uid == a.uid:
				bit = 0o100
			case owner.Gid == a.gid || slices.Contains(a.groups, owner.Gid):
				bit = 0o010
			}
		}
		if info.Mode()&bit == 0 {
			return fmt.Errorf("broker: RabbitMQ's user can't enter %s (mode %v); put the node's folder elsewhere (THUMP_HOME)",
				dir, info.Mode().Perm())
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}
