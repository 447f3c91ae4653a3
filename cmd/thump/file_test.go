//go:build unix

package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// names are those in a folder.
func names(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// checkFile makes sure that a regular file, and no link, holds text and has the mode.
func checkFile(t *testing.T, name, text string, mode fs.FileMode) {
	t.Helper()
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != text || info.Mode() != mode {
		t.Errorf("%s holds %q and has mode %v, want %q and %v", name, got, info.Mode(), text, mode)
	}
}

func say(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

// TestFileIsThereWhole: nothing is to be seen of a new file until it is whole; an older
// one is there until then, and after whatever fails.
func TestFileIsThereWhole(t *testing.T) {
	const before, after = "the older one", "new"
	for _, older := range []bool{false, true} {
		folder := t.TempDir()
		name := filepath.Join(folder, "result")
		var want []string
		if older {
			want = []string{"result"}
			if err := os.WriteFile(name, []byte(before), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		asItWas := func() {
			t.Helper()
			if got := names(t, folder); !slices.Equal(got, want) {
				t.Fatalf("the folder holds %q, want %q", got, want)
			}
			if older {
				checkFile(t, name, before, 0o600)
			}
		}
		create := func() *file {
			t.Helper()
			f, err := createFile(t.Context(), name, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			asItWas()
			return f
		}
		f := create()
		f.discard()
		f.discard()
		asItWas()

		f = create()
		if _, err := io.WriteString(f, after); err != nil {
			t.Fatal(err)
		}
		if older {
			checkFile(t, name, before, 0o600)
		} else if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("it is there before it is whole: %v", err)
		}
		f.discard()
		asItWas()

		f = create()
		broken := errors.New("no more")
		if err := f.fill(t.Context(), func(w io.Writer) error {
			_, err := io.WriteString(w, after)
			return errors.Join(err, broken)
		}); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		f.discard()
		asItWas()

		f = create()
		if err := f.fill(t.Context(), say(after)); err != nil {
			t.Fatal(err)
		}
		f.discard()
		mode := fs.FileMode(0o600)
		if !older {
			mask := syscall.Umask(0)
			syscall.Umask(mask)
			mode = 0o666 &^ fs.FileMode(mask)
		}
		checkFile(t, name, after, mode)
		if got := names(t, folder); len(got) != 1 {
			t.Errorf("the folder holds %q", got)
		}
	}
}

// TestFileKeepsTheMode of the older one, whatever the umask is.
func TestFileKeepsTheMode(t *testing.T) {
	for _, mode := range []fs.FileMode{0o600, 0o640, 0o664, 0o666, 0o755} {
		name := filepath.Join(t.TempDir(), "result")
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		f, err := createFile(t.Context(), name, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.fill(t.Context(), say("new")); err != nil {
			t.Fatal(err)
		}
		checkFile(t, name, "new", mode)
	}
}

// TestFileFollowsLinks once: it is what they led to in the beginning that is written,
// and they stay.
func TestFileFollowsLinks(t *testing.T) {
	folder := t.TempDir()
	in := func(name string) string { return filepath.Join(folder, name) }
	for _, err := range []error{
		os.Mkdir(in("a"), 0o755), os.Mkdir(in("b"), 0o755), os.Mkdir(in("b/c"), 0o755),
		os.WriteFile(in("a/old"), []byte("old"), 0o600), os.WriteFile(in("other"), []byte("other"), 0o600),
		os.Symlink("a/old", in("link")), os.Symlink("link", in("chain")), os.Symlink("b/new", in("dangling")),
		os.Symlink(in("b/c"), in("a/c")), os.Symlink("../n", in("b/c/up")), os.Symlink("loop", in("loop")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := createFile(t.Context(), in("chain"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Somebody turns the link meanwhile.
	if err := errors.Join(os.Remove(in("link")), os.Symlink("other", in("link"))); err != nil {
		t.Fatal(err)
	}
	if err := f.fill(t.Context(), say("new")); err != nil {
		t.Fatal(err)
	}
	checkFile(t, in("a/old"), "new", 0o600)
	checkFile(t, in("other"), "other", 0o600)
	for _, test := range []struct{ name, target string }{
		{"dangling", "b/new"}, // of a run that fails: nothing is made
		{"a/c/up", "b/n"},     // ".." of where the link is, not of where its name is
	} {
		for _, keep := range []bool{false, true} {
			f, err := createFile(t.Context(), in(test.name), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if keep {
				if err := f.fill(t.Context(), say("new")); err != nil {
					t.Fatal(err)
				}
			}
			f.discard()
			if info, err := os.Lstat(in(test.name)); err != nil || info.Mode()&fs.ModeSymlink == 0 {
				t.Errorf("the link %s: %v, %v", test.name, info, err)
			}
			if _, err := os.Stat(in(test.target)); (err == nil) != keep {
				t.Errorf("%s, kept: %v: %v", test.target, keep, err)
			}
		}
	}
	if _, err := createFile(t.Context(), in("loop"), nil, nil); err == nil || !strings.Contains(err.Error(), "too many links") {
		t.Errorf("a loop: %v", err)
	}
}

// TestFileThatCannotBe is found out before the work begins.
func TestFileThatCannotBe(t *testing.T) {
	folder := t.TempDir()
	plain := filepath.Join(folder, "plain")
	if err := errors.Join(os.WriteFile(plain, nil, 0o600), os.Symlink("/nowhere/x", filepath.Join(folder, "link"))); err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		folder:                           "it is a folder",
		filepath.Join(folder, "no", "x"): "making a file in its folder, " + filepath.Join(folder, "no"),
		filepath.Join(folder, "link"):    "making a file in its folder, /nowhere",
		filepath.Join(plain, "x"):        "not a directory",
		"/dev/fd/999":                    "bad file descriptor",
	}
	if _, err := os.Stat("/proc/self"); err == nil {
		tests["/proc/thump"] = "making a file in its folder, /proc" // nobody may write there, not even root
	}
	for name, says := range tests {
		f, err := createFile(t.Context(), name, nil, nil)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("%s: %v, want %q", name, err, says)
			f.discard()
		}
	}
}

// TestFileThatIsADescriptor: what a shell has opened is written through that, at the place
// where it is.
func TestFileThatIsADescriptor(t *testing.T) {
	var stdout, stderr strings.Builder
	for name, out := range map[string]*strings.Builder{
		"/dev/stdout": &stdout, "/dev/stderr": &stderr, "/dev/fd/1": &stdout, "/proc/self/fd/2": &stderr,
	} {
		out.Reset()
		f, err := createFile(t.Context(), name, &stdout, &stderr)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.fill(t.Context(), say("new")); err != nil {
			t.Fatal(err)
		}
		if out.String() != "new" {
			t.Errorf("%s: got %q", name, out)
		}
	}
}

// TestFileThatCannotBeReplaced, as one that is mounted into a container: what was to be
// in it is not lost.
func TestFileThatCannotBeReplaced(t *testing.T) {
	folder := t.TempDir()
	name := filepath.Join(folder, "result")
	f, err := createFile(t.Context(), name, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(name, 0o755); err != nil { // meanwhile
		t.Fatal(err)
	}
	err = f.fill(t.Context(), say("new"))
	f.discard()
	_, written, found := strings.Cut(errorText(err), "what was to be in it is in ")
	if !found {
		t.Fatalf("got %v", err)
	}
	if got, err := os.ReadFile(written); string(got) != "new" {
		t.Errorf("%s holds %q, %v", written, got, err)
	}
}

// TestFileThatIsAPipe: its reader is waited for, but not for ever, neither in the beginning
// nor at the end.
func TestFileThatIsAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := createFile(ctx, pipe, nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("nobody reads: %v", err)
	}
	reader, err := os.OpenFile(pipe, os.O_RDWR, 0) // lets the one above go on, too
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	f, err := createFile(t.Context(), pipe, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.fill(t.Context(), say("new")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 3)
	if _, err := io.ReadFull(reader, got); err != nil || string(got) != "new" {
		t.Errorf("read %q, %v", got, err)
	}
	if f, err = createFile(t.Context(), pipe, nil, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := f.fill(ctx, say(strings.Repeat("n", 1<<20))); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody reads on: %v", err)
	}
}

// TestSignalWhileAPipeIsOpened: a signal is heard while nobody reads the pipe that the
// record is to go to, before anything has begun.
func TestSignalWhileAPipeIsOpened(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	end := func(command string, sig syscall.Signal, after time.Duration) (code int, hung bool) {
		p := start(t, "amqp://127.0.0.1:1", command, "--json", pipe)
		time.Sleep(after) // it says nothing that could be waited for
		if err := p.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
		code = p.wait()
		return code, !kill.Stop()
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		for _, command := range []string{"send", "receive", "run"} {
			after := 300 * time.Millisecond
			code, hung := end(command, sig, after)
			for code == -1 && !hung && after < 10*time.Second { // it did not listen yet
				after *= 2
				code, hung = end(command, sig, after)
			}
			if hung || sig == syscall.SIGINT && code != exitInterrupted {
				t.Errorf("%s, %v: exit code %d", command, sig, code)
			}
		}
	}
}
