//go:build linux || darwin

package broker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindServer(t *testing.T) {
	tree := t.TempDir()
	script := filepath.Join(tree, "sbin", "rabbitmq-server")
	for _, path := range []string{script, filepath.Join(tree, "sbin", "rabbitmq-env"), filepath.Join(tree, "wrapper", "rabbitmq-server")} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(tree, "link")
	if err := os.Symlink(script, link); err != nil {
		t.Fatal(err)
	}
	for _, given := range []string{script, tree, link} {
		if got, err := findServer(given, ""); err != nil || got != script {
			t.Errorf("findServer(%q) = %q, %v, want %q", given, got, err, script)
		}
	}
	if got, err := findServer("/sbin/rabbitmq-server", tree); err != nil || got != "/sbin/rabbitmq-server" {
		t.Errorf("findServer in a chroot = %q, %v", got, err)
	}
	// A wrapper stands for what the package manager installed.
	if got, _ := findServer(filepath.Join(tree, "wrapper", "rabbitmq-server"), ""); strings.HasPrefix(got, tree) {
		t.Errorf("findServer took the wrapper %q for the server", got)
	}
}

func TestServerMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for name, o := range map[string]Options{
		"named":       {Dir: t.TempDir(), Server: filepath.Join(t.TempDir(), "rabbitmq")},
		"in the tree": {Dir: "", Chroot: t.TempDir()},
	} {
		if o.Chroot != "" {
			o.Dir = filepath.Join(o.Chroot, "node")
		}
		_, err := Start(t.Context(), o)
		var notFound *NotFoundError
		if !errors.As(err, &notFound) || notFound.Hint == "" || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: Start returned %q, want a NotFoundError of one line", name, err)
		}
		if o.Server != "" && !strings.Contains(err.Error(), o.Server) {
			t.Errorf("%s: %q doesn't name %s", name, err, o.Server)
		}
	}
}

func TestHint(t *testing.T) {
	for _, test := range []struct{ id, like, want string }{
		{"debian", "", "apt-get install rabbitmq-server"},
		{"linuxmint", "ubuntu debian", "apt-get install rabbitmq-server"},
		{"fedora", "", "dnf install rabbitmq-server"},
		{"rocky", "rhel centos fedora", "dnf install rabbitmq-server"},
		{"opensuse-leap", "suse opensuse", "zypper install rabbitmq-server"},
		{"plan9", "", "rabbitmq.com"},
	} {
		if got := hintFor(test.id, test.like); !strings.Contains(got, test.want) {
			t.Errorf("hintFor(%q, %q) = %q, want %q in it", test.id, test.like, got, test.want)
		}
	}
}

func TestDefaultDir(t *testing.T) {
	t.Setenv("THUMP_HOME", "/somewhere")
	if got := DefaultDir(); got != "/somewhere/broker" {
		t.Errorf("DefaultDir() = %q", got)
	}
	t.Setenv("THUMP_HOME", "")
	if got := DefaultDir(); !filepath.IsAbs(got) {
		t.Errorf("DefaultDir() = %q, want an absolute path", got)
	}
}
