package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// TestConfirm answers, at a terminal, the question of a command that destroys something.
func TestConfirm(t *testing.T) {
	t.Parallel()
	b := brokertest.All(t)[0]
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{b.URL}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close(context.WithoutCancel(ctx)) }()
	queue := brokertest.QueueName(t)
	for _, test := range []struct {
		answer string
		code   int
		says   string
		exists bool
	}{
		{"\n", exitFailed, "nothing was done", true},
		{"n\n", exitFailed, "nothing was done", true},
		{"yes please\n", exitFailed, "nothing was done", true},
		{"\x04", exitFailed, "nothing was done", true}, // Ctrl-D
		{"\x03", exitInterrupted, "interrupted", true}, // Ctrl-C
		{"Yes\n", exitOK, "Deleted the queue", false},
	} {
		if _, err := client.DeclareQueue(ctx, thump.QueueSpec{Name: queue}); err != nil {
			t.Fatal(err)
		}
		code, output := atTerminal(t, "[y/N]", test.answer, "queue", "delete", queue, "--url", b.URL)
		question := fmt.Sprintf("Delete the queue %q, with 0 ready messages and 0 consumers? [y/N]", queue)
		if code != test.code || !strings.Contains(output, question) || !strings.Contains(output, test.says) {
			t.Errorf("answering %q: exit code %d, want %d, and\n%s", test.answer, code, test.code, output)
		}
		if _, err := client.InspectQueue(ctx, queue); thump.IsNotFound(err) == test.exists {
			t.Errorf("answering %q: %v", test.answer, err)
		}
	}
}

// TestAtTerminal types messages, when send says that it waits for them, and lets receive show
// them: a line each, and nothing of them that a terminal obeys.
func TestAtTerminal(t *testing.T) {
	t.Parallel()
	b := brokertest.All(t)[0]
	queue := brokertest.QueueName(t)
	defer deleteQueue(t, b, queue)
	code, output := atTerminal(t, "Waiting for messages from standard input", "hello\n\x04", "send", queue, "-", "--url", b.URL)
	if code != exitOK || !strings.Contains(output, "Sent 1 messages") {
		t.Fatalf("send: exit code %d\n%s", code, output)
	}
	file := filepath.Join(t.TempDir(), "odd.ndjson")
	if err := os.WriteFile(file, []byte(`{"body_base64":"/wAbW2M="}`+"\n"+`{"body":"two\nlines"}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p := start(t, b.URL, "send", queue, file); p.wait() != exitOK {
		t.Fatalf("%s", &p.stderr)
	}
	code, output = atTerminal(t, "never", "", "receive", queue, "--count", "3", "--quiet", "--url", b.URL)
	want := "hello\r\n" + `\xff\x00\x1b[c` + "\r\n" + `two\nlines` + "\r\n"
	if code != exitOK || !strings.HasPrefix(output, want) || strings.Contains(output, "\x1b") {
		t.Errorf("receive: exit code %d\n%q, want %q", code, output, want)
	}
}

// atTerminal runs thump at a terminal of its own, and types the answer when that shows the
// question. It returns the exit code and what the terminal showed.
func atTerminal(t *testing.T, question, answer string, args ...string) (code int, shown string) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = user.Close() }()
	number, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(user.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 120}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Args[0] = "thump" // TestMain then runs main
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = terminal.Close()

	var output bytes.Buffer
	piece := make([]byte, 1000)
	for answered := false; ; {
		n, err := user.Read(piece)
		output.Write(piece[:n])
		if err != nil { // the program has ended
			break
		}
		if !answered && strings.Contains(output.String(), question) {
			answered = true
			if _, err := user.WriteString(answer); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // the exit code says it
	return cmd.ProcessState.ExitCode(), output.String()
}
