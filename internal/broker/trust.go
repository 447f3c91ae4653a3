//go:build linux || darwin

package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// believe returns an error unless only we and root can change what is at path, which is
// absolute and clean: each folder and each link on the way to it, and itself, belongs to
// us or to root, and nobody else may write it. What is not there yet is nobody's. Whoever
// can write a node's folder, or rename it, could have us signal any process, as root hand
// over any file, and give the password to any port.
func believe(path string) error {
	const linksMost = 40
	at, rest, links := "/", path, 0
	for {
		info, err := os.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			err = ours(at, info, rest == "")
		}
		if err != nil {
			return fmt.Errorf("broker: %s can't be trusted with a node: %s: %w", path, at, err)
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(at)
			if err != nil {
				return fmt.Errorf("broker: looking at the node's folder: %w", err)
			}
			if links++; links > linksMost {
				return fmt.Errorf("broker: looking at the node's folder %s: too many links", path)
			}
			if at = filepath.Dir(at); filepath.IsAbs(target) {
				at = "/"
			}
			rest = target + "/" + rest
		}
		if rest = strings.TrimLeft(rest, "/"); rest == "" {
			return nil
		}
		var next string
		next, rest, _ = strings.Cut(rest, "/")
		rest = strings.TrimLeft(rest, "/")
		at = filepath.Join(at, next) // no link is left in at, so .. is its parent
	}
}

// ours returns an error that says who else could change what is at path: a file, a folder
// or a link. In a sticky folder on the way, such as /tmp, others can change only what is
// theirs; the last one may not be of that kind, because they could put something there.
func ours(path string, info fs.FileInfo, last bool) error {
	owner := info.Sys().(*syscall.Stat_t)
	if owner.Uid != 0 && int(owner.Uid) != os.Geteuid() {
		name := strconv.FormatUint(uint64(owner.Uid), 10)
		if known, err := user.LookupId(name); err == nil {
			name = known.Username
		}
		return fmt.Errorf("it belongs to %s", name)
	}
	mode := info.Mode()
	if mode&fs.ModeSymlink != 0 || mode&fs.ModeSticky != 0 && !last {
		return nil
	}
	if mode&0o002 != 0 {
		return fmt.Errorf("any user may write there (mode %04o)", mode.Perm())
	}
	if mode&0o020 != 0 {
		// With an access control list these bits are not the group's but what the list
		// may allow at most, to anybody.
		if hasACL(path) {
			return fmt.Errorf("its access control list may let others write there (mode %04o; see getfacl)", mode.Perm())
		}
		alone, err := aloneIn(owner.Gid)
		if err != nil {
			return err
		}
		if !alone {
			return fmt.Errorf("its group may write there (mode %04o)", mode.Perm())
		}
	}
	return nil
}

// aloneIn reports whether nobody but us and root is in a group. Many systems give each
// user a group of his own, and let it write what he makes.
func aloneIn(gid uint32) (bool, error) {
	if gid == 0 {
		return true, nil
	}
	group, us := strconv.FormatUint(uint64(gid), 10), strconv.Itoa(os.Geteuid())
	names, known, others := []string{"", "root"}, false, false
	err := eachLine("/etc/passwd", func(fields []string) error {
		switch {
		case len(fields) < 4:
		case fields[2] == us:
			names = append(names, fields[0])
			known = known || fields[3] == group
		case fields[3] == group && fields[2] != "0":
			others = true
		}
		return nil
	})
	if err != nil || !known || others {
		return false, err
	}
	err = eachLine("/etc/group", func(fields []string) error {
		if len(fields) >= 4 && fields[2] == group {
			for member := range strings.SplitSeq(fields[3], ",") {
				others = others || !slices.Contains(names, member)
			}
		}
		return nil
	})
	return !others, err
}
