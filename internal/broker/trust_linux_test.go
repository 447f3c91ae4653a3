package broker

import (
	"encoding/binary"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestBelieveACL: an access control list lets another user write where the mode speaks of
// our own group.
func TestBelieveACL(t *testing.T) {
	takesRoot(t)
	f := folders{t, t.TempDir()}
	f.mkdir("a/b", 0o700)
	for name, test := range map[string]struct {
		perms uint16 // of nobody
		mask  uint16
		want  string // in the error; "" for none
	}{
		"may write":     {7, 7, "access control list"},
		"is kept to it": {7, 5, ""},
	} {
		list := binary.LittleEndian.AppendUint32(nil, 2) // the version
		for _, entry := range []struct {
			tag, perms uint16
			id         uint32
		}{
			{0x01, 7, 1<<32 - 1}, // the owner
			{0x02, test.perms, nobody},
			{0x04, 0, 1<<32 - 1}, // the group
			{0x10, test.mask, 1<<32 - 1},
			{0x20, 0, 1<<32 - 1}, // others
		} {
			list = binary.LittleEndian.AppendUint16(list, entry.tag)
			list = binary.LittleEndian.AppendUint16(list, entry.perms)
			list = binary.LittleEndian.AppendUint32(list, entry.id)
		}
		f.must(syscall.Setxattr(filepath.Join(f.root, "a"), "system.posix_acl_access", list, 0))
		for _, path := range []string{"a", "a/b"} {
			err := believe(filepath.Join(f.root, path))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("nobody %s: believe(%s) returned %v, want %q", name, path, err, test.want)
			}
		}
	}
}
