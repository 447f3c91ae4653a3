package broker

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestNodeElsewhere: a node that another pid namespace of this host runs, as containers
// have them, is neither started again, nor stopped, nor taken for one that has ended.
func TestNodeElsewhere(t *testing.T) {
	t.Parallel()
	dir := nodeDir(t)
	node := start(t, Options{Dir: dir})
	before := readFiles(t, dir, stateFileName, holderFileName)
	for name, want := range map[string][]string{
		"TestStarter": {"runs elsewhere: on host " + hostname(), "process " + strconv.Itoa(node.PID)},
		"TestOpener":  {"runs elsewhere: on host " + hostname(), "process " + strconv.Itoa(node.PID)},
	} {
		output, err := inNamespace(dir, name, false, "--pid", "--fork", "--mount-proc").CombinedOutput()
		if err == nil || slices.ContainsFunc(want, func(text string) bool { return !strings.Contains(string(output), text) }) {
			t.Errorf("%s says %s, %v, want %q", name, output, err, want)
		}
	}
	if after := readFiles(t, dir, stateFileName, holderFileName); !bytes.Equal(before, after) {
		t.Errorf("the folder says\n%sand then\n%s", before, after)
	}
	if err := node.Ready(t.Context()); err != nil {
		t.Errorf("the node doesn't serve any more: %v", err)
	}
}

// inNamespace makes a command that runs a test of this package in namespaces of its own,
// with dir as TestStarter has it. Where we are not root it is also a namespace of users, in
// which the test is who we are, or root.
func inNamespace(dir, test string, root bool, namespaces ...string) *exec.Cmd {
	switch {
	case os.Geteuid() == 0:
	case root:
		namespaces = append(namespaces, "--map-root-user")
	default:
		namespaces = append(namespaces, "--map-current-user")
	}
	cmd := exec.Command("unshare", append(namespaces, os.Args[0], "-test.run=^"+test+"$", "-test.v")...)
	cmd.Env = append(os.Environ(), envDetachDir+"="+dir)
	return cmd
}

// TestOpener is the process that other tests start to open a node.
func TestOpener(t *testing.T) {
	dir := os.Getenv(envDetachDir)
	if dir == "" {
		return
	}
	if _, err := Open(dir); err != nil {
		t.Fatal(err)
	}
}

// TestNoProcesses: without /proc a start fails at once, and leaves nothing.
func TestNoProcesses(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(nodeDir(t), "node")
	cmd := inNamespace(dir, "TestStarter", true, "--mount")
	// A folder in its place, since not everybody may unmount it.
	args := slices.Index(cmd.Args, os.Args[0])
	cmd.Args = append(cmd.Args[:args:args], append([]string{"sh", "-c", `mount -t tmpfs none /proc && exec "$@"`, "sh"}, cmd.Args[args:]...)...)
	output, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(output), "/proc is not mounted") {
		t.Errorf("Start without /proc says %s, %v", output, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it has made a folder: %v", err)
	}
}

// TestUnendable: where a process of a failed start can't be ended, the record of the start
// stays, and the start is not tried again.
func TestUnendable(t *testing.T) {
	takesRoot(t)
	t.Parallel()
	dir := nodeDir(t)
	f := folders{t, dir}
	f.must(os.Chmod(dir, 0o755))
	// A server with a child that the keeper's signal doesn't reach.
	script := "#!/bin/sh\nsetsid sleep 60 &\nexec sleep 60\n"
	f.must(os.WriteFile(filepath.Join(dir, "rabbitmq-server"), []byte(script), 0o755))
	f.must(os.WriteFile(filepath.Join(dir, "rabbitmq-env"), nil, 0o644))
	// Without this capability root may end no process of RabbitMQ's user.
	cmd := exec.Command("setpriv", "--bounding-set", "-kill", os.Args[0], "-test.run=^TestUnendableStarter$", "-test.v")
	cmd.Env = append(os.Environ(), envDetachDir+"="+dir)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	node := filepath.Join(dir, "node")
	h, err := readHolder(node)
	if err != nil || h.Server.PID == 0 {
		t.Errorf("the record of the start is %+v, %v", h, err)
	}
	survivor := regexp.MustCompile(`process (\d+) doesn't end`).FindSubmatch(output)
	if survivor == nil {
		t.Fatalf("all has ended: the test shows nothing: %s", output)
	}
	pid, _ := strconv.Atoi(string(survivor[1]))
	p := newProcess(pid)
	p.kill()
	waitGone(t, p)
	if left, err := Clean(node, false); left == nil || err != nil {
		t.Errorf("Clean found %+v, %v", left, err)
	}
}

// TestUnendableStarter is the process that TestUnendable starts.
func TestUnendableStarter(t *testing.T) {
	dir := os.Getenv(envDetachDir)
	if dir == "" {
		return
	}
	node, err := Start(t.Context(), Options{Dir: filepath.Join(dir, "node"), Server: dir + "/rabbitmq-server", StartTimeout: 2 * time.Second})
	t.Log(node, err)
}
