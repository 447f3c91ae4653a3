//go:build linux || darwin

package broker

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// account is the user that the node runs as.
type account struct {
	separate bool // another user than ours; if false the other fields are not set
	uid, gid uint32
	groups   []uint32 // supplementary
}

// serverAccount returns RabbitMQ's own user, if we are root and there is one.
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

const serverUser = "rabbitmq" // the name in every distribution

// eachLine calls do with the fields of each line of a passwd or group file. os/user
// would not do, because a chroot has files of its own.
func eachLine(path string, do func(fields []string) error) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("broker: looking up users: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if err := do(strings.Split(lines.Text(), ":")); err != nil {
			return fmt.Errorf("broker: looking up users in %s: %w", path, err)
		}
	}
	return lines.Err()
}

// credential is the user to start the node's processes as; nil means our own.
func (a account) credential() *syscall.Credential {
	if !a.separate {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}
}

// canReach returns an error that names the folder on the way to dir that the node may
// not enter, of those that are there. RabbitMQ's own error would be a puzzle.
func (a account) canReach(dir string) error {
	if !a.separate || a.uid == 0 {
		return nil
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
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
	}
	return nil
}
