//go:build linux || darwin

package broker

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

const envDetachDir = "THUMP_TEST_DETACH_DIR"

// TestSurvivesItsStarter: a node that one process started serves on when that
// process is gone, and when the terminal it was started from sends Ctrl-C.
func TestSurvivesItsStarter(t *testing.T) {
	t.Parallel()
	dir := nodeDir(t)
	starter := exec.Command(os.Args[0], "-test.run=^TestStarter$", "-test.v")
	starter.Env = append(os.Environ(), envDetachDir+"="+dir)
	// A process group, as a shell makes one for what a terminal's Ctrl-C goes to.
	starter.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	output, err := starter.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// A file that the starter has inherited, as the lock of a script; often, because the
	// keeper has others under the first numbers.
	inherited, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer inherited.Close()
	starter.ExtraFiles = slices.Repeat([]*os.File{end}, 20)
	if err := starter.Start(); err != nil {
		t.Fatal(err)
	}
	end.Close()
	for lines := bufio.NewScanner(output); lines.Scan() && lines.Text() != "started"; {
	}
	node, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = node.Kill() }()
	if err := syscall.Kill(-starter.Process.Pid, syscall.SIGINT); err != nil {
		t.Error(err)
	}
	if err := starter.Wait(); err == nil { // also waits for the pipe: the node doesn't hold it
		t.Error("the starter was not interrupted: the test shows nothing")
	}
	if err := inherited.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := inherited.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the node holds what its starter has inherited: %v", err)
	}
	time.Sleep(100 * time.Millisecond) // for the signal to do harm, if it is to
	if err := node.Ready(t.Context()); err != nil {
		t.Errorf("the node doesn't serve after its starter's end: %v", err)
	}
	processes := processesOf(node)
	if err := node.Kill(); err != nil {
		t.Error(err)
	}
	checkGone(t, processes)
}

// TestStarter is the process that TestSurvivesItsStarter starts.
func TestStarter(t *testing.T) {
	dir := os.Getenv(envDetachDir)
	if dir == "" {
		return
	}
	if _, err := Start(t.Context(), Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	fmt.Println("started")
	time.Sleep(time.Minute)
}
