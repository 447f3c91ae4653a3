//go:build linux || darwin

package broker

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func readFiles(t *testing.T, dir string, names ...string) []byte {
	t.Helper()
	var all []byte
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	return all
}

// TestAnotherHost: the lock of a shared folder is another host's.
func TestAnotherHost(t *testing.T) {
	dir := nodeDir(t)
	h := holder{
		Host: "far-away", Place: "another boot/pid:[4026531836]", StartedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Server: process{4321, "another boot/1"},
	}
	hold, release := heldBy(t, dir, h)
	st := newState()
	if err := st.write(dir); err != nil {
		t.Fatal(err)
	}
	before := readFiles(t, dir, stateFileName, holderFileName)
	_, opened := Open(dir)
	node, started := Start(t.Context(), Options{Dir: dir})
	if started == nil {
		defer func() { _ = node.Kill() }()
	}
	for what, err := range map[string]error{"Open": opened, "Start": started} {
		var elsewhere *ElsewhereError
		if !errors.As(err, &elsewhere) || elsewhere.Host != "far-away" || elsewhere.PID != 4321 {
			t.Errorf("%s returned %v, want an ElsewhereError", what, err)
			continue
		}
		for _, text := range []string{"far-away", "4321", "2026-01-02 03:04:05", dir} {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s says %q, without %s", what, err, text)
			}
		}
	}
	if left, err := Clean(dir, true); left != nil || err != nil {
		t.Errorf("Clean found %+v, %v in the folder of a running node", left, err)
	}
	if after := readFiles(t, dir, stateFileName, holderFileName); !bytes.Equal(before, after) {
		t.Errorf("the folder says\n%sand then\n%s", before, after)
	}

	// That host was killed. Who asks for nothing in particular leaves it to that host.
	release()
	<-hold
	if left, err := Clean(dir, false); left != nil || err != nil {
		t.Errorf("Clean found %+v, %v, though it is another host's", left, err)
	}
	if left, err := Clean(dir, true); left == nil || left.Host != "far-away" || left.Removed || err != nil {
		t.Errorf("Clean found %+v, %v", left, err)
	}
	if left, err := Clean(dir, true); left != nil || err != nil {
		t.Errorf("a second Clean found %+v, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(dir, stateFileName)); err != nil {
		t.Errorf("Clean has removed what is to stay: %v", err)
	}
}

// heldBy makes another process take the lock of dir, as a node has it, for h. The channel
// is closed after release, once that process has ended.
func heldBy(t *testing.T, dir string, h holder) (ended <-chan struct{}, release func()) {
	t.Helper()
	lock, err := tryRunningLock(dir)
	if err != nil || lock == nil {
		t.Fatal(lock, err)
	}
	defer lock.release()
	if err := lock.record(h); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "600")
	cmd.ExtraFiles = []*os.File{lock.file}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	release = func() { _ = cmd.Process.Kill() }
	t.Cleanup(func() { release(); <-done })
	return done, release
}

// TestNodeKilled: a node whose server is killed is gone with its epmd, and Open and Clean
// say that it was not stopped.
func TestNodeKilled(t *testing.T) {
	t.Parallel()
	dir := nodeDir(t)
	node := start(t, Options{Dir: dir})
	processes := processesOf(node)
	node.holder.Server.kill()
	for _, p := range processes {
		waitGone(t, p)
	}
	if _, err := Open(dir); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "ended without being stopped") {
		t.Errorf("Open returned %v", err)
	}
	found, err := Look(dir)
	if err != nil || !found.Abandoned || found.Temporary || found.Node != nil {
		t.Errorf("Look found %+v, %v", found, err)
	}
	if left, err := Clean(dir, false); left == nil || left.Removed || len(left.Ended) > 0 || err != nil {
		t.Errorf("Clean found %+v, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(dir, dataDirName)); err != nil {
		t.Errorf("Clean has removed the node's data: %v", err)
	}
}

// TestEPMDLeftAlone: where the keeper is killed with the server, epmd is ended by Clean.
func TestEPMDLeftAlone(t *testing.T) {
	t.Parallel()
	dir := nodeDir(t)
	node := start(t, Options{Dir: dir})
	node.holder.Keeper.kill()
	node.holder.Server.kill()
	waitGone(t, node.holder.Server)
	if !node.holder.EPMD.alive() {
		t.Fatal("epmd has ended too: the test shows nothing")
	}
	left, err := Clean(dir, false)
	if err != nil || left == nil || !slices.Equal(left.Ended, []int{node.holder.EPMD.PID}) {
		t.Errorf("Clean found %+v, %v, want epmd, %d", left, err, node.holder.EPMD.PID)
	}
	checkGone(t, processesOf(node))
}

// TestKeeperKilled: a node runs on without its keeper, has its lock, and can be stopped.
func TestKeeperKilled(t *testing.T) {
	t.Parallel()
	dir := nodeDir(t)
	node := start(t, Options{Dir: dir})
	processes := processesOf(node)
	node.holder.Keeper.kill()
	waitGone(t, node.holder.Keeper)
	if lock, err := tryRunningLock(dir); lock != nil || err != nil {
		t.Errorf("the lock of a running node was free: %v", err)
	}
	found, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := found.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	checkGone(t, processes)
}

// TestStarterKilled: a node whose starter is killed before it serves is gone.
func TestStarterKilled(t *testing.T) {
	t.Parallel()
	dir := nodeDir(t)
	starter := exec.Command(os.Args[0], "-test.run=^TestStarter$")
	starter.Env = append(os.Environ(), envDetachDir+"="+dir)
	if err := starter.Start(); err != nil {
		t.Fatal(err)
	}
	var h holder
	for deadline := time.Now().Add(time.Minute); h.Server.PID == 0; time.Sleep(pollInterval) {
		h, _ = readHolder(dir)
		if time.Now().After(deadline) {
			t.Fatal("the node doesn't start")
		}
	}
	processes := append(h.recorded(), h.descendants()...)
	t.Cleanup(func() { _ = killProcesses(h, processes) }) // if it fails
	if err := starter.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = starter.Wait()
	for _, p := range processes {
		waitGone(t, p)
	}
	if lock, err := takeOver(t.Context(), dir); err != nil {
		t.Error(err)
	} else {
		lock.release()
	}
}

// TestTemporary: a temporary node has a folder of its own, which goes with it. What
// Clean removes is what such a node has left, and nothing else.
func TestTemporary(t *testing.T) {
	t.Parallel()
	parent := nodeDir(t)
	if err := os.Chmod(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	node := start(t, Options{Dir: parent, Temporary: true})
	processes := processesOf(node)
	if filepath.Dir(node.Dir) != parent || !isTemporary(node.Dir) {
		t.Errorf("its folder is %s", node.Dir)
	}
	if left, err := Clean(node.Dir, true); left != nil || err != nil {
		t.Errorf("Clean found %+v, %v in a node that serves", left, err)
	}
	node.holder.Server.kill()
	for _, p := range processes {
		waitGone(t, p)
	}
	if left, err := Clean(node.Dir, true); left != nil || err != nil {
		t.Errorf("Clean found %+v, %v in a node whose owner is there", left, err)
	}
	if err := node.Kill(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(node.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its folder is still there: %v", err)
	}

	if _, err := Start(t.Context(), Options{Dir: parent, Temporary: true, ExtraConfig: "no.such.setting = 1"}); err == nil {
		t.Error("a node with a wrong setting has started")
	}
	if entries, err := os.ReadDir(parent); err != nil || len(entries) > 0 {
		t.Errorf("after a failed start there are %v, %v", entries, err)
	}
}

func TestCleanRemovesOnlyWhatIsTemporary(t *testing.T) {
	parent := t.TempDir()
	file := func(path string) {
		t.Helper()
		path = filepath.Join(parent, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	// Each is as a kill at some instant leaves it.
	file("run-1/" + markFileName)
	file("run-2/" + markFileName)
	file("run-2/" + runningFileName)
	file("run-2/data/queue")
	if err := os.Mkdir(filepath.Join(parent, "run-3"), 0o700); err != nil {
		t.Fatal(err)
	}
	// None of these is a temporary node's.
	stay := []string{"run-mine/notes", "broker/running", "broker/data/queue", "kept/" + markFileName, "run-4"}
	for _, path := range stay {
		file(path)
	}
	elsewhere := t.TempDir()
	if err := os.WriteFile(filepath.Join(elsewhere, markFileName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(parent, "run-5")); err != nil {
		t.Fatal(err)
	}
	stay = append(stay, "run-5/"+markFileName)

	dirs, err := Folders(parent)
	if err != nil {
		t.Fatal(err)
	}
	var removed []string
	for _, dir := range dirs {
		left, err := Clean(dir, false)
		if err != nil {
			t.Error(err)
		}
		if left != nil && left.Removed {
			removed = append(removed, filepath.Base(dir))
		}
	}
	if want := []string{"run-1", "run-2", "run-3"}; !slices.Equal(removed, want) {
		t.Errorf("removed %v, want %v", removed, want)
	}
	for _, name := range removed {
		if _, err := os.Lstat(filepath.Join(parent, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	for _, path := range stay {
		if _, err := os.Stat(filepath.Join(parent, path)); err != nil {
			t.Errorf("%s is gone: %v", path, err)
		}
	}
}

// TestStateOnFullDisk: what can't be written leaves the old file, and nothing else.
func TestStateOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := newState().write(dir); err != nil {
		t.Fatal(err)
	}
	before := readFiles(t, dir, stateFileName)
	// The shell's limit stands for the disk: a write beyond it fails.
	cmd := exec.Command("sh", "-c", `trap '' XFSZ; ulimit -f 0; exec "$0" "$@"`, os.Args[0], "-test.run=^TestStateWriter$")
	cmd.Env = append(os.Environ(), envDetachDir+"="+dir)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, output)
	}
	if after := readFiles(t, dir, stateFileName); !bytes.Equal(before, after) {
		t.Errorf("the state was\n%sand is\n%s", before, after)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("there are %v, %v", entries, err)
	}
}

// TestStateWriter is the process that TestStateOnFullDisk starts.
func TestStateWriter(t *testing.T) {
	dir := os.Getenv(envDetachDir)
	if dir == "" {
		return
	}
	if err := newState().write(dir); !errors.Is(err, syscall.EFBIG) {
		t.Fatalf("the state was written: %v", err)
	}
}

// whileStarting calls do with the node that starts in dir, once its server has been started.
// What it returns says which processes the node had then.
func whileStarting(t *testing.T, dir string, do func(h holder)) (processes func() []process) {
	t.Helper()
	var seen []process
	done := make(chan struct{})
	go func() {
		defer close(done)
		for t.Context().Err() == nil {
			if h, err := readHolder(dir); err == nil && h.Server.PID != 0 {
				seen = append(h.recorded(), h.descendants()...)
				do(h)
				return
			}
			time.Sleep(pollInterval)
		}
	}()
	t.Cleanup(func() { <-done; _ = killProcesses(holder{}, seen) }) // if the test fails
	return func() []process { <-done; return seen }
}

// ends returns what Start returns, and fails if that takes longer than timeout.
func ends(t *testing.T, timeout time.Duration, start func() (*Node, error)) error {
	t.Helper()
	failed := make(chan error, 1)
	go func() {
		node, err := start()
		if err == nil {
			_ = node.Kill()
		}
		failed <- err
	}()
	select {
	case err := <-failed:
		if err == nil {
			t.Error("the node has started: the test shows nothing")
		}
		return err
	case <-time.After(timeout):
		t.Fatal("Start doesn't return")
		return nil
	}
}

// TestStayUnheard: a node whose keeper can't be told that it is to stay is ended.
func TestStayUnheard(t *testing.T) {
	t.Parallel()
	dir := nodeDir(t)
	processes := whileStarting(t, dir, func(h holder) {
		for pid, parent := range parents() {
			if parent == h.Keeper.PID && pid != h.Server.PID && pid != h.EPMD.PID {
				newProcess(pid).kill() // the shell that waits for the word
			}
		}
	})
	err := ends(t, time.Minute, func() (*Node, error) { return Start(t.Context(), Options{Dir: dir}) })
	if !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Start returned %v, want that nobody hears it", err)
	}
	checkGone(t, processes())
	if found, err := Look(dir); found.Abandoned || err != nil {
		t.Errorf("the folder says that a node was not stopped: %+v, %v", found, err)
	}
}

// TestNodeStopped: a start that is cancelled ends also a node whose processes do nothing.
func TestNodeStopped(t *testing.T) {
	t.Parallel()
	dir := nodeDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	processes := whileStarting(t, dir, func(h holder) {
		if err := syscall.Kill(-h.Keeper.PID, syscall.SIGSTOP); err != nil { // its group
			t.Error(err)
		}
		cancel()
	})
	err := ends(t, 30*time.Second, func() (*Node, error) { return Start(ctx, Options{Dir: dir}) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Start returned %v, want context.Canceled", err)
	}
	checkGone(t, processes())
}

// TestStopWaitsForLock: a Stop that waits for another start or stop ends with its context.
func TestStopWaitsForLock(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lock(dir, t.Context().Err)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- newNode(dir, newState(), holder{}).Stop(ctx) }()
	select {
	case err := <-stopped:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop returned %v, want the context's end", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Stop doesn't return")
	}
}

// TestNoWorkingFolder: where a relative path leads nowhere, the error repeats it.
func TestNoWorkingFolder(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(gone, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(gone)
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	_, opened := Open("some-node")
	_, cleaned := Clean("some-node", false)
	_, looked := Look("some-node")
	_, read := OpenLog("some-node")
	for what, err := range map[string]error{
		"Open": opened, "Clean": cleaned, "Look": looked, "OpenLog": read, "CheckDir": CheckDir("some-node"),
	} {
		if err == nil || !strings.Contains(err.Error(), "some-node") {
			t.Errorf("%s returned %v, which doesn't name the folder", what, err)
		}
	}
}

// TestTemporaryLooked: somebody looks at a temporary node's folder before its maker has
// locked it. The maker takes another, and leaves none that nobody removes.
func TestTemporaryLooked(t *testing.T) {
	f := folders{t, t.TempDir()}
	f.mkdir("run-1", 0o700)
	dir := filepath.Join(f.root, "run-1")
	looking, err := tryRunningLock(dir)
	f.must(err)
	defer looking.release()
	if lock, err := markAndLock(dir); lock != nil || err != nil {
		t.Errorf("markAndLock returned %v, %v, want nothing", lock, err)
	}
	if entries, err := os.ReadDir(f.root); err != nil || len(entries) > 0 {
		t.Errorf("there are %v, %v", entries, err)
	}
}
