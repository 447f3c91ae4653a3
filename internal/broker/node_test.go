//go:build linux || darwin

package broker

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/url"
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

// TestNode takes one node of the installed RabbitMQ through its whole life.
func TestNode(t *testing.T) {
	top, dir := t, nodeDir(t)
	node := start(t, Options{Dir: dir})
	processes := processesOf(node)

	t.Run("listens on loopback only", func(t *testing.T) { checkListeners(t, processes) })
	t.Run("has no guest", func(t *testing.T) { checkUsers(t, node) })
	t.Run("keeps its files to itself", func(t *testing.T) { checkModes(t, node) })
	t.Run("shows no secret on a command line", func(t *testing.T) { checkCommandLines(t, node, processes) })
	t.Run("tells its processor time", func(t *testing.T) {
		if seconds, ok := node.CPUSeconds(); !ok || seconds < 0.1 {
			t.Errorf("CPUSeconds() = %v, %v, want some", seconds, ok)
		}
	})
	t.Run("serves streams", func(t *testing.T) {
		if err := greetStream(t.Context(), node.state); err != nil {
			t.Error(err)
		}
		other := node.state
		other.Ports.Stream = other.Ports.AMQP
		if err := greetStream(t.Context(), other); err == nil {
			t.Error("its AMQP listener is taken for one of streams")
		}
	})
	t.Run("tells what is free on its disk", func(t *testing.T) {
		if free, ok := node.DiskFree(); !ok || free == 0 {
			t.Errorf("DiskFree() = %d, %v, want some", free, ok)
		}
	})
	t.Run("is found by Open", func(t *testing.T) {
		found, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if found.URL != node.URL || found.PID != node.PID || found.Version != node.Version {
			t.Errorf("Open found %+v, want %+v", found, node)
		}
		if err := found.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("runs once", func(t *testing.T) {
		if _, err := Start(t.Context(), Options{Dir: dir}); !errors.Is(err, ErrRunning) {
			t.Errorf("a second Start returned %v, want ErrRunning", err)
		}
	})
	t.Run("is stopped by another process", func(t *testing.T) {
		found, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := found.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkGone(t, processes)
		if _, err := Open(dir); !errors.Is(err, ErrNotRunning) {
			t.Errorf("Open after Stop returned %v, want ErrNotRunning", err)
		}
		if err := node.Stop(t.Context()); err != nil {
			t.Errorf("a second Stop returned %v", err)
		}
	})
	var again, third *Node
	t.Run("is taken up again", func(t *testing.T) {
		again = start(top, Options{Dir: dir})
		if again.URL != node.URL {
			t.Errorf("its URL is now %s, want %s", again.URL, node.URL)
		}
	})
	t.Run("is taken up again after a crash, on a free port", func(t *testing.T) {
		processes := processesOf(again)
		again.holder.Keeper.kill() // so that epmd stays
		again.holder.Server.kill()
		waitGone(t, again.holder.Server)
		if !again.holder.EPMD.alive() {
			t.Error("epmd died with the server: the test shows nothing")
		}
		squatter, err := listen(again.state.Ports.AMQP)
		if err != nil {
			t.Fatal(err)
		}
		defer squatter.Close()
		if _, err := Open(dir); !errors.Is(err, ErrNotRunning) {
			t.Errorf("Open after a crash returned %v, want ErrNotRunning", err)
		}
		third = start(top, Options{Dir: dir})
		checkGone(t, processes)
		if third.URL == again.URL {
			t.Errorf("its URL is still %s, whose port is taken", third.URL)
		}
	})
	t.Run("has no epmd but ours", func(t *testing.T) {
		processes := processesOf(third)
		third.holder.EPMD.kill()
		waitGone(t, third.holder.EPMD)
		// rabbitmqctl and the server start epmd in the same way where none answers.
		if output, err := third.Ctl(t.Context(), "status"); err == nil {
			t.Errorf("rabbitmqctl found the node without epmd: the test shows nothing: %s", output)
		}
		if answer := epmdAnswer(third.state.Ports.EPMD); answer != "" {
			t.Errorf("an epmd that nobody knows answers %q", answer)
		}
		if err := third.Kill(); err != nil {
			t.Fatal(err)
		}
		checkGone(t, processes)
	})
}

func TestTwoNodesSideBySide(t *testing.T) {
	t.Parallel()
	nodes := make(chan *Node)
	for _, dir := range []string{nodeDir(t), nodeDir(t)} {
		go func() {
			node, err := Start(t.Context(), Options{Dir: dir})
			if err != nil {
				t.Error(err)
			}
			nodes <- node
		}()
	}
	first, second := <-nodes, <-nodes
	if first == nil || second == nil {
		t.FailNow()
	}
	if slices.ContainsFunc(first.state.Ports.all(), func(port int) bool {
		return slices.Contains(second.state.Ports.all(), port)
	}) {
		t.Errorf("they share a port: %+v and %+v", first.state.Ports, second.state.Ports)
	}
	if err := first.Kill(); err != nil {
		t.Error(err)
	}
	if err := second.Ready(t.Context()); err != nil {
		t.Errorf("the second node doesn't serve after the first one's end: %v", err)
	}
	if err := second.Kill(); err != nil {
		t.Error(err)
	}
}

func TestStartCancelled(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{0, 100 * time.Millisecond, 700 * time.Millisecond, 2 * time.Second} {
		dir := nodeDir(t)
		ctx, cancel := context.WithTimeoutCause(t.Context(), after, context.Canceled)
		defer cancel()
		var processes []process
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			for ctx.Err() == nil {
				if h, err := readHolder(dir); err == nil {
					processes = append(processes, h.recorded()...)
					processes = append(processes, h.descendants()...)
				}
				time.Sleep(20 * time.Millisecond)
			}
		}()
		node, err := Start(ctx, Options{Dir: dir})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after %v: Start returned %v, %v, want context.Canceled", after, node, err)
		}
		<-watched
		if after > time.Second && len(processes) < 3 {
			t.Errorf("after %v: saw processes %v only: the test shows nothing", after, processes)
		}
		checkGone(t, processes)
	}
}

func TestStartFailureShowsTheLog(t *testing.T) {
	t.Parallel()
	_, err := Start(t.Context(), Options{Dir: nodeDir(t), ExtraConfig: "no.such.setting = 1"})
	if err == nil || !strings.Contains(err.Error(), "no.such.setting") {
		t.Errorf("Start returned %v, want what RabbitMQ said of no.such.setting", err)
	}
}

// TestForeignProcess: the pid in a stale state file is somebody else's by now.
func TestForeignProcess(t *testing.T) {
	foreign := exec.Command("sleep", "60")
	if err := foreign.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = foreign.Process.Kill(), foreign.Wait() }()
	dir := t.TempDir()
	reused := process{foreign.Process.Pid, "an earlier boot/12345"}
	h := holder{Place: place(), Keeper: reused, Server: reused, EPMD: reused, StartedAt: time.Now()}
	lock, err := tryRunningLock(dir)
	if err != nil || lock == nil {
		t.Fatal(lock, err)
	}
	if err := lock.record(h); err != nil {
		t.Fatal(err)
	}
	lock.release()
	if _, err := Open(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Open returned %v, want ErrNotRunning", err)
	}
	if lock, err = takeOver(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	lock.release()
	if err := newNode(dir, newState(), h).Stop(t.Context()); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"Pause":  newNode(dir, newState(), h).Pause(t.Context()),
		"Resume": newNode(dir, newState(), h).Resume(t.Context()),
	} {
		if !errors.Is(err, ErrNotRunning) {
			t.Errorf("%s returned %v, want ErrNotRunning", what, err)
		}
	}
	if identity(foreign.Process.Pid) == "" || isStopped(foreign.Process.Pid) {
		t.Error("the foreign process was signalled")
	}
}

// nodeDir is a new folder that RabbitMQ's user can reach. It can't reach
// t.TempDir, whose parent is for ourselves alone.
func nodeDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "thump-broker-test-") //nolint:usetesting // as said above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// start starts a node that is gone when the test ends.
func start(t *testing.T, o Options) *Node {
	t.Helper()
	node, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Kill(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
	return node
}

func processesOf(n *Node) []process {
	return append(n.holder.descendants(), n.holder.recorded()...)
}

func checkGone(t *testing.T, processes []process) {
	t.Helper()
	for _, p := range processes {
		if p.alive() {
			t.Errorf("process %d is still there: %s", p.PID, commandLine(p.PID))
		}
	}
}

func waitGone(t *testing.T, p process) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); p.alive(); time.Sleep(pollInterval) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d doesn't end", p.PID)
		}
	}
}

func checkListeners(t *testing.T, processes []process) {
	output, err := exec.Command("ss", "-Hltnp").Output()
	if err != nil {
		t.Fatalf("this test needs ss (Debian: iproute2): %v", err)
	}
	found := 0
	for line := range strings.Lines(string(output)) {
		owner := regexp.MustCompile(`pid=(\d+)`).FindStringSubmatch(line)
		if owner == nil || !slices.ContainsFunc(processes, func(p process) bool { return strconv.Itoa(p.PID) == owner[1] }) {
			continue
		}
		found++
		host, _, err := net.SplitHostPort(strings.Fields(line)[3])
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			t.Errorf("the node listens on %s", strings.TrimSpace(line))
		}
	}
	if found < 5 {
		t.Errorf("ss shows %d of the node's listeners, want 5 at least:\n%s", found, output)
	}
}

func checkUsers(t *testing.T, n *Node) {
	management, err := url.Parse(n.ManagementURL)
	if err != nil {
		t.Fatal(err)
	}
	management.User = url.UserPassword("guest", "guest")
	response, err := http.Get(management.String() + "api/whoami")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("guest is answered %s, want 401", response.Status)
	}
	if len(n.state.Password) < 32 || len(n.state.Cookie) < 32 {
		t.Errorf("password %q or cookie %q is short of 128 bits", n.state.Password, n.state.Cookie)
	}
}

func checkModes(t *testing.T, n *Node) {
	err := filepath.WalkDir(n.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // RabbitMQ's own coming and going
		}
		if err == nil && info.Mode()&0o007 != 0 {
			t.Errorf("%s has mode %v: others may touch it", path, info.Mode())
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for name, want := range map[string]os.FileMode{
		"state.json":          0o600,
		"conf/rabbitmq.conf":  0o600,
		"conf/.erlang.cookie": 0o400,
		"data":                0o700,
		"log":                 0o700,
		"log/rabbit.log":      0o600,
	} {
		info, err := os.Stat(filepath.Join(n.Dir, name))
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode().Perm(), want)
		}
	}
}

func checkCommandLines(t *testing.T, n *Node, processes []process) {
	for _, p := range processes {
		line := commandLine(p.PID)
		for deadline := time.Now().Add(5 * time.Second); line == "" && p.alive() && time.Now().Before(deadline); time.Sleep(pollInterval) {
			line = commandLine(p.PID) // it has yet to begin, or to be waited for
		}
		if line == "" && !p.alive() {
			continue // RabbitMQ starts some that end at once
		}
		if line == "" || strings.Contains(line, n.state.Password) || strings.Contains(line, n.state.Cookie) {
			t.Errorf("command line of %d is unknown or shows a secret: %q", p.PID, line)
		}
	}
}

func commandLine(pid int) string {
	output, _ := exec.Command("ps", "-ww", "-o", "args=", "-p", strconv.Itoa(pid)).Output()
	return string(output)
}
