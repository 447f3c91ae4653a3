package broker

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

const envSmallDisk = "THUMP_TEST_SMALL_DISK"

// TestSmallDisk: where RabbitMQ would block every publisher, a start says why it fails,
// and makes nothing.
func TestSmallDisk(t *testing.T) {
	takesRoot(t)
	t.Parallel()
	small := exec.Command(os.Args[0], "-test.run=^TestOnSmallDisk$", "-test.v")
	small.Env = append(os.Environ(), envSmallDisk+"="+nodeDir(t))
	small.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} // nobody else sees the disk
	output, err := small.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "tried it") {
		t.Errorf("%v: %s", err, output)
	}
}

// TestOnSmallDisk is the process that TestSmallDisk starts.
func TestOnSmallDisk(t *testing.T) {
	disk := os.Getenv(envSmallDisk)
	if disk == "" {
		return
	}
	if err := syscall.Mount("thump", disk, "tmpfs", 0, "size=100m,mode=755"); err != nil {
		t.Fatal(err)
	}
	dir := disk + "/below/node"
	node, err := Start(t.Context(), Options{Dir: dir})
	if err == nil {
		defer func() { _ = node.Kill() }()
	}
	if err == nil || !strings.Contains(err.Error(), "104 MB are free at "+dir) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Start returned %v, %v, want one line on the disk", node, err)
	}
	if made, err := os.ReadDir(disk); err != nil || len(made) > 0 {
		t.Errorf("Start left %v, %v", made, err)
	}

	// What runs already needs nothing that a start takes.
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := tryRunningLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.release()
	if err := lock.record(holder{Place: place(), Server: newProcess(os.Getpid()), StartedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	for _, server := range []string{"", "/no/such/place"} {
		if _, err := Start(t.Context(), Options{Dir: dir, Server: server}); !errors.Is(err, ErrRunning) {
			t.Errorf("Start where the node runs returned %v, want ErrRunning", err)
		}
	}
	t.Log("tried it")
}
