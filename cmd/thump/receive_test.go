package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// receivedCount messages of receivedSize bytes are too many for a pipe to hold.
const (
	receivedCount = 20_000
	receivedSize  = 100
)

// fillQueue makes a queue with receivedCount numbered messages, each a line. drop deletes it,
// before the test's context ends.
func fillQueue(t *testing.T, b brokertest.Broker) (client *thump.Client, queue string, drop func()) {
	t.Helper()
	client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL}})
	if err != nil {
		t.Fatal(err)
	}
	queue = brokertest.QueueName(t)
	drop = func() {
		deleteQueue(t, b, queue)
		hangUp(t, client)
	}
	if _, err := client.DeclareQueue(t.Context(), thump.QueueSpec{Name: queue}); err != nil {
		t.Fatal(err)
	}
	pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue(queue)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range receivedCount {
		if _, err := pub.Publish(t.Context(), thump.Message{Body: fmt.Appendf(nil, "%0*d", receivedSize-1, i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := pub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return client, queue, drop
}

// thumpCommand is a command line of thump, for a shell or another program to run.
func thumpCommand(t *testing.T, b brokertest.Broker) (path string, environment []string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "thump") // TestMain then runs main
	if err := os.Symlink(exe, path); err != nil {
		t.Fatal(err)
	}
	return path, append(os.Environ(), "THUMP_URL="+b.URL, "THUMP_HOME="+t.TempDir())
}

// TestReceiveKilled: whenever receive is killed, what has left the queue is in the file.
func TestReceiveKilled(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		client, queue, drop := fillQueue(t, b)
		defer drop()
		file := filepath.Join(t.TempDir(), "received")
		args := []string{"receive", queue, "--output", file, "--append", "--prefetch", "200"}
		kills, left := 0, receivedCount
		for ; kills < 6 && left > 0; kills++ {
			p := start(t, b.URL, args...)
			p.await("Waiting for messages")
			time.Sleep(time.Duration(random.Int64N(int64(100 * time.Millisecond))))
			if err := p.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			p.wait()
			left = leftUnconsumed(t, client, queue)
		}
		t.Logf("%d messages were left after %d kills", left, kills)
		if p := start(t, b.URL, append(args, "--idle", "5s")...); p.wait() != exitOK {
			t.Fatalf("the last one: %s", &p.stderr)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		checkReceived(t, text)
	})
}

// checkReceived checks that every message is there, whole; some may be there twice.
func checkReceived(t *testing.T, text []byte) {
	t.Helper()
	seen := make([]bool, receivedCount)
	for line := range strings.Lines(string(text)) {
		n, err := strconv.Atoi(strings.TrimSuffix(line, "\n"))
		if err != nil || len(line) != receivedSize || n >= receivedCount {
			t.Fatalf("the line %q is no message", line)
		}
		seen[n] = true
	}
	missing := 0
	for _, there := range seen {
		if !there {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d messages are neither in the queue nor in the file", missing)
	}
}

// TestReceiveToWhatEnds: a pipe that is closed, or a disk that is full, in the middle leaves
// in the queue what was not written.
func TestReceiveToWhatEnds(t *testing.T) {
	t.Parallel()
	b := brokertest.All(t)[0]
	t.Run("pipe", func(t *testing.T) {
		client, queue, drop := fillQueue(t, b)
		defer drop()
		path, environment := thumpCommand(t, b)
		cmd := exec.CommandContext(t.Context(), path, "receive", queue)
		cmd.Env = environment
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		const read = 5000 * receivedSize
		if _, err := io.ReadFull(stdout, make([]byte, read)); err != nil {
			t.Fatal(err)
		}
		_ = stdout.Close()
		_ = cmd.Wait() // the exit code says it
		if code := cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(stderr.String(), "standard output: broken pipe") {
			t.Errorf("exit code %d: %s", code, &stderr)
		}
		const pipe = 64 << 10 // what was written, and is lost with the pipe
		awaitLeft(t, client, queue, receivedCount-(read+pipe)/receivedSize)
	})
	t.Run("disk", func(t *testing.T) {
		client, queue, drop := fillQueue(t, b)
		defer drop()
		file := filepath.Join(t.TempDir(), "received")
		path, environment := thumpCommand(t, b)
		// A limit of the size of files stands for the disk.
		cmd := exec.CommandContext(t.Context(), "prlimit", "--fsize=1000050", path, "receive", queue, "--output", file)
		cmd.Env = environment
		output, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(output), "writing to "+file+": file too large") {
			t.Errorf("%v: %s", err, output)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(text)%receivedSize != 0 {
			t.Errorf("the file ends in the middle of a message: %d bytes", len(text))
		}
		awaitLeft(t, client, queue, receivedCount-len(text)/receivedSize)
		if p := start(t, b.URL, "receive", queue, "--output", file, "--append", "--idle", "5s"); p.wait() != exitOK {
			t.Fatalf("the second one: %s", &p.stderr)
		}
		if text, err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
		checkReceived(t, text)
	})
}

// leftUnconsumed waits until the queue has no consumer, and returns how many messages it holds:
// one that ended at once gives back what it had when the broker notices.
func leftUnconsumed(t *testing.T, client *thump.Client, queue string) int {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		info, err := client.InspectQueue(t.Context(), queue)
		if err != nil {
			t.Fatal(err)
		}
		if info.Consumers == 0 {
			return info.Messages
		}
		if time.Since(begin) > patience {
			t.Fatalf("the queue still has %d consumers", info.Consumers)
		}
	}
}

// awaitLeft waits until the queue holds at least that many messages.
func awaitLeft(t *testing.T, client *thump.Client, queue string, least int) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		info, err := client.InspectQueue(t.Context(), queue)
		if err != nil {
			t.Fatal(err)
		}
		if info.Messages >= least {
			return
		}
		if time.Since(begin) > patience {
			t.Fatalf("%d messages are left, and %d were not written", info.Messages, least)
		}
	}
}
