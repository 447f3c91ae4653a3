//go:build !windows

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// TestExecInterrupted: Ctrl-C on a terminal is for receive alone. The command that runs ends as
// it would, none begins after it, and no message is rejected because of it.
func TestExecInterrupted(t *testing.T) {
	t.Parallel()
	b := brokertest.All(t)[0]
	tests := []struct {
		name, command string
		left          int // of 3 messages
	}{
		{"the terminal's signal", "touch begun; while [ ! -e go ]; do sleep 0.05; done", 2},
		{"a signal to both", "touch begun; kill -INT $PPID; kill -INT $$", 3},
		{"and the command says it", "touch begun; kill -TERM $PPID; exit 143", 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			client := dial(t, b)
			defer hangUp(t, client)
			queue := brokertest.QueueName(t)
			publishThree(t, client, queue)
			defer deleteQueue(t, b, queue)

			path, environment := thumpCommand(t, b)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, path, "receive", queue, "--exec", tt.command, "--on-failure", "reject", "--prefetch", "8")
			cmd.Env, cmd.Dir = environment, t.TempDir()
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a shell does for a terminal
			said := filepath.Join(cmd.Dir, "said")
			stderr, err := os.Create(said)
			if err != nil {
				t.Fatal(err)
			}
			defer stderr.Close()
			cmd.Stderr = stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			awaitFile(ctx, t, filepath.Join(cmd.Dir, "begun"), "")
			if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			awaitFile(ctx, t, said, "finishing")
			if err := os.WriteFile(filepath.Join(cmd.Dir, "go"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // the exit code says it
			if code := cmd.ProcessState.ExitCode(); code <= exitSignal {
				t.Errorf("exit code %d", code)
			}
			if left := leftUnconsumed(t, client, queue); left != tt.left {
				text, _ := os.ReadFile(said)
				t.Errorf("%d messages are left, want %d\n%s", left, tt.left, text)
			}
		})
	}
}

// awaitFile waits until there is a file of that name, with a text in it.
func awaitFile(ctx context.Context, t *testing.T, name, text string) {
	t.Helper()
	for ctx.Err() == nil {
		if read, err := os.ReadFile(name); err == nil && strings.Contains(string(read), text) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("there is no %q in %s", text, name)
}

// publishThree makes a queue of three messages.
func publishThree(t *testing.T, client *thump.Client, queue string) {
	t.Helper()
	if _, err := client.DeclareQueue(t.Context(), thump.QueueSpec{Name: queue}); err != nil {
		t.Fatal(err)
	}
	p, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue(queue)})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := p.Publish(t.Context(), thump.Message{Body: []byte("body")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
