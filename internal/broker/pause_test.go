//go:build linux || darwin

package broker

import (
	"context"
	"errors"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestOutages: a node that is paused answers nothing and closes nothing, goes on where it
// was, and can be ended in every way. It starts again as it was.
func TestOutages(t *testing.T) {
	t.Parallel()
	dir := nodeDir(t)
	node := start(t, Options{Dir: dir, Attached: true, ExtraConfig: "frame_max = 8192"})
	processes := processesOf(node)
	conn, err := net.Dial("tcp4", net.JoinHostPort(loopback, strconv.Itoa(node.state.Ports.AMQP)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	if node.Paused() {
		t.Error("a new node is paused")
	}
	for range 2 {
		if err := node.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	found, err := Look(dir)
	if err != nil || found.Node == nil || !found.Node.Paused() || found.Busy {
		t.Fatalf("Look found %+v, %v, want a paused node", found, err)
	}
	if err := found.Node.Ready(t.Context()); !errors.Is(err, ErrPaused) {
		t.Errorf("Ready returned %v, want ErrPaused", err)
	}
	if _, err := Start(t.Context(), Options{Dir: dir}); !errors.Is(err, ErrRunning) {
		t.Errorf("Start returned %v, want ErrRunning", err)
	}
	answered := func(patience time.Duration) error {
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		_, err := io.ReadFull(conn, make([]byte, 1))
		return err
	}
	if _, err := conn.Write([]byte("AMQP\x00\x00\x09\x01")); err != nil {
		t.Fatal(err)
	}
	if err := answered(500 * time.Millisecond); !isTimeout(err) {
		t.Errorf("reading from a paused node returned %v, want nothing", err)
	}
	for range 2 {
		if err := found.Node.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := answered(10 * time.Second); err != nil {
		t.Errorf("a connection from before the pause: %v", err)
	}
	if err := node.Ready(t.Context()); err != nil || node.Paused() {
		t.Errorf("after Resume: %v", err)
	}

	if err := node.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := node.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkGone(t, processes)
	if log := readFiles(t, dir, logDirName+"/rabbit.log"); !strings.Contains(string(log), "SIGTERM received") {
		t.Error("the paused node was not stopped in order")
	}
	for what, err := range map[string]error{"Pause": node.Pause(t.Context()), "Resume": node.Resume(t.Context())} {
		if !errors.Is(err, ErrNotRunning) {
			t.Errorf("%s of a node that was stopped returned %v, want ErrNotRunning", what, err)
		}
	}

	again := start(t, node.Again())
	if again.URL != node.URL || again.StreamURL != node.StreamURL || again.Again().Server != "" {
		t.Errorf("the node is at %s and %s, and was at %s and %s", again.URL, again.StreamURL, node.URL, node.StreamURL)
	}
	if conf := readFiles(t, dir, confDirName+"/rabbitmq.conf"); !strings.Contains(string(conf), "\nframe_max = 8192\n") {
		t.Errorf("it has not the settings that it had:\n%s", conf)
	}
	processes = processesOf(again)
	if err := again.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := again.keeper.lifeline.Close(); err != nil { // as if this process had ended
		t.Fatal(err)
	}
	for _, p := range processes {
		waitGone(t, p)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// TestPauseWaitsForLock: a node that is started or stopped just now is not paused, and
// Look says so.
func TestPauseWaitsForLock(t *testing.T) {
	dir := nodeDir(t)
	server := exec.Command("sleep", "60")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = server.Process.Kill(), server.Wait() }()
	h := holder{Place: place(), Server: newProcess(server.Process.Pid), StartedAt: time.Now()}
	if err := newState().write(dir); err != nil {
		t.Fatal(err)
	}
	if err := (&runningLock{dir: dir}).record(h); err != nil {
		t.Fatal(err)
	}
	unlock, err := lock(dir, t.Context().Err)
	if err != nil {
		t.Fatal(err)
	}
	found, err := Look(dir)
	if err != nil || found.Node == nil || !found.Busy {
		t.Fatalf("Look found %+v, %v, want a busy node", found, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := found.Node.Pause(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Pause returned %v, want the context's end", err)
	}
	if h.Server.stopped() {
		t.Error("the process was stopped")
	}
	unlock()
	if err := found.Node.Pause(t.Context()); err != nil || !h.Server.stopped() {
		t.Errorf("Pause returned %v after the lock was free", err)
	}
}
