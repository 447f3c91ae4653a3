package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestFileOnAFullDisk leaves the older one as it was, and nothing else.
func TestFileOnAFullDisk(t *testing.T) {
	folder := t.TempDir()
	if exec.Command("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder).Run() != nil {
		// Who may not mount has a disk that is always full, and no older file on it.
		f, err := createFile(t.Context(), "/dev/full", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.fill(t.Context(), say("new")); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got %v", err)
		}
		return
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", folder).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	name := filepath.Join(folder, "result")
	if err := os.WriteFile(name, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := createFile(t.Context(), name, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.fill(t.Context(), say(strings.Repeat("new", 1<<16))); !errors.Is(err, syscall.ENOSPC) || !strings.HasPrefix(err.Error(), name+": ") {
		t.Errorf("got %v", err)
	}
	f.discard()
	checkFile(t, name, "old", 0o600)
	if got := names(t, folder); !slices.Equal(got, []string{"result"}) {
		t.Errorf("the folder holds %q", got)
	}
}

// TestFileThatIsMounted, as into a container, can't be replaced, and is written over. So is
// one in a folder that the user may not write, which is tried as any user but root.
func TestFileThatIsMounted(t *testing.T) {
	folder, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "result")
	name := filepath.Join(folder, "result")
	for _, file := range []string{name, elsewhere} {
		if err := os.WriteFile(file, []byte("the older one"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if exec.Command("mount", "--bind", elsewhere, name).Run() != nil {
		// Who may not mount may not write every folder either.
		if err := os.Chmod(folder, 0o500); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(folder, 0o700) })
	} else {
		t.Cleanup(func() {
			if out, err := exec.Command("umount", name).CombinedOutput(); err != nil {
				t.Errorf("umount: %v: %s", err, out)
			}
		})
	}
	f, err := createFile(t.Context(), name, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.fill(t.Context(), say("new")); err != nil {
		t.Error(err)
	}
	f.discard()
	checkFile(t, name, "new", 0o600)
	if got := names(t, folder); !slices.Equal(got, []string{"result"}) {
		t.Errorf("the folder holds %q", got)
	}
}
