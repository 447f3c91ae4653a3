//go:build linux || darwin

package broker

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestBelieve: each case makes something below a folder that is ours alone.
func TestBelieve(t *testing.T) {
	takesRoot(t)
	for _, test := range []struct {
		name string
		make func(f folders)
		path string
		want string // in the error; "" for none
	}{
		{"ours", func(f folders) { f.mkdir("a/b", 0o700) }, "a/b", ""},
		{"not there yet", func(f folders) { f.mkdir("a", 0o755) }, "a/b/c", ""},
		{"nobody's", func(f folders) { f.mkdir("a", 0o700); f.chown("a", nobody, 0) }, "a", "belongs to nobody"},
		{"in nobody's", func(f folders) { f.mkdir("a/b", 0o700); f.chown("a", nobody, 0) }, "a/b", "belongs to nobody"},
		{"to be made in nobody's", func(f folders) { f.mkdir("a", 0o755); f.chown("a", nobody, 0) }, "a/b", "belongs to nobody"},
		{"for all to write", func(f folders) { f.mkdir("a", 0o777) }, "a", "any user may write"},
		{"in one for all to write", func(f folders) { f.mkdir("a", 0o777); f.mkdir("a/b", 0o700) }, "a/b", "any user may write"},
		{"in a sticky one", func(f folders) { f.mkdir("a", 0o1777); f.mkdir("a/b", 0o700) }, "a/b", ""},
		{"nobody's in a sticky one", func(f folders) {
			f.mkdir("a", 0o1777)
			f.mkdir("a/b", 0o700)
			f.chown("a/b", nobody, 0)
		}, "a/b", "belongs to nobody"},
		{"sticky itself", func(f folders) { f.mkdir("a", 0o1777) }, "a", "any user may write"},
		{"for a group to write", func(f folders) { f.mkdir("a", 0o770); f.chown("a", 0, nobody) }, "a", "its group may write"},
		{"for our group to write", func(f folders) { f.mkdir("a", 0o770); f.chown("a", 0, 0) }, "a", ""},
		{"our link to ours", func(f folders) { f.mkdir("a/b", 0o700); f.link("a/b", "c"); f.link("c", "d") }, "d", ""},
		{"our link up and down", func(f folders) { f.mkdir("a/b", 0o700); f.link("../a/./b/", "a/c") }, "a/c", ""},
		{"our link to nobody's", func(f folders) { f.mkdir("a", 0o700); f.chown("a", nobody, 0); f.link("a", "b") }, "b", "belongs to nobody"},
		{"our link into nobody's", func(f folders) {
			f.mkdir("a/b", 0o700)
			f.chown("a", nobody, 0)
			f.link("a/b", "c")
		}, "c", "belongs to nobody"},
		{"nobody's link to ours", func(f folders) {
			f.mkdir("a", 0o1777)
			f.mkdir("b", 0o700)
			f.link("../b", "a/c")
			f.chown("a/c", nobody, 0)
		}, "a/c/d", "belongs to nobody"},
		{"a link to itself", func(f folders) { f.link("a", "a") }, "a", "too many links"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := folders{t, t.TempDir()}
			test.make(f)
			err := believe(filepath.Join(f.root, test.path))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("believe returned %v, want %q", err, test.want)
			}
		})
	}
}

// TestAnothersFolder: another user has prepared a folder that names processes of ours. We
// signal nothing and change nothing there.
func TestAnothersFolder(t *testing.T) {
	takesRoot(t)
	chmod := func(path string, mode os.FileMode) func(folders) {
		return func(f folders) { f.must(os.Chmod(filepath.Join(f.root, path), mode)) }
	}
	for name, evil := range map[string]func(f folders){
		"his folder":                 func(f folders) { f.chown("run-node", nobody, nobody) },
		"his parent":                 func(f folders) { f.chown(".", nobody, nobody) },
		"his record":                 func(f folders) { f.chown("run-node/"+holderFileName, nobody, nobody) },
		"a record that he may write": chmod("run-node/"+holderFileName, 0o666),
		"a folder that he may write": chmod("run-node", 0o777),
		"a parent that he may write": chmod(".", 0o777),
	} {
		t.Run(name, func(t *testing.T) {
			victim := exec.Command("sleep", "60")
			if err := victim.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _, _ = victim.Process.Kill(), victim.Wait() }()
			named := newProcess(victim.Process.Pid)
			f := folders{t, nodeDir(t)}
			f.must(os.Chmod(f.root, 0o755))
			f.mkdir("run-node", 0o700) // the name and the mark of a folder that Clean removes
			dir := filepath.Join(f.root, "run-node")
			f.must(os.WriteFile(filepath.Join(dir, markFileName), nil, 0o600))
			f.must(newState().write(dir))
			lock, err := tryRunningLock(dir)
			f.must(err)
			f.must(lock.record(holder{Place: place(), Server: named, EPMD: named, StartedAt: time.Now()}))
			lock.release()
			evil(f)
			before := f.list()

			check := func(what string, err error) {
				t.Helper()
				if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "can't be trusted") {
					t.Errorf("%s: %v, want one line that says whose it is", what, err)
				}
			}
			_, err = Open(dir)
			check("Open", err)
			_, err = Start(t.Context(), Options{Dir: dir})
			check("Start", err)
			if strings.Contains(name, "parent") {
				_, err = Start(t.Context(), Options{Dir: f.root, Temporary: true})
				check("Start of a temporary node", err)
			}
			_, err = Clean(dir, true)
			check("Clean", err)
			_, err = OpenLog(dir)
			if !strings.Contains(name, "record") {
				check("OpenLog", err)
			}
			if !named.alive() {
				t.Error("the process that another user named was ended")
			}
			if after := f.list(); after != before && !strings.Contains(name, "record") {
				t.Errorf("the folder was changed:\n%s\nit was\n%s", after, before)
			}
		})
	}
}

// nobody is the user that others in these tests are.
const nobody = 65534

func takesRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test plays another user, which takes root: run make test")
	}
}

// folders makes what a test needs below root.
type folders struct {
	t    *testing.T
	root string
}

func (f folders) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f folders) mkdir(path string, mode os.FileMode) {
	path = filepath.Join(f.root, path)
	f.must(os.MkdirAll(path, 0o755))
	f.must(syscall.Chmod(path, uint32(mode)))
}

func (f folders) chown(path string, uid, gid int) {
	f.must(os.Lchown(filepath.Join(f.root, path), uid, gid))
}

func (f folders) link(target, path string) {
	f.must(os.Symlink(target, filepath.Join(f.root, path)))
}

// list is who owns what, with which mode.
func (f folders) list() string {
	var list strings.Builder
	f.must(filepath.WalkDir(f.root, func(path string, _ fs.DirEntry, err error) error {
		f.must(err)
		info, err := os.Lstat(path)
		f.must(err)
		owner := info.Sys().(*syscall.Stat_t)
		fmt.Fprintln(&list, path, info.Mode(), owner.Uid, owner.Gid)
		return nil
	}))
	return list.String()
}
