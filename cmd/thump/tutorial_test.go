package main

import (
	"bufio"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// tutorialTimeout is how long one of the tutorial's programs may take for its
// million messages; the consumer took its author 250 s.
const tutorialTimeout = 10 * time.Minute

// TestTutorialPrograms lets the tutorial's two programs, unmodified, and thump
// share the queue hello: a million messages each way. It takes minutes, nearly
// all of them pika's, which uses one processor: the scripts run meanwhile.
func TestTutorialPrograms(t *testing.T) {
	t.Parallel()
	b := brokertest.All(t)[0]
	address, drop := tutorialVhost(t, b)
	defer drop()
	client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{address}})
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp(t, client)
	defer func() {
		if _, err := client.DeleteQueue(t.Context(), queueDefault, thump.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}()

	t.Run("pika sends, thump receives", func(t *testing.T) {
		output := pika(t, address, "cmpe273send-1.py", "")
		if !strings.HasPrefix(last(output), " [x] Sent 1000000 messages in ") {
			t.Errorf("pika ended with %q", last(output))
		}
		t.Log(last(output))
		p := start(t, address, "receive", "--discard", "--count", "1000000")
		if code := p.wait(); code != exitOK {
			t.Fatalf("exit code %d\n%s", code, &p.stderr)
		}
		t.Log(p.stdout.String())
		for _, want := range []string{
			" [x] Received a total of 1000000 messages in ",
			"1000000 of them were numbered, up to 1000000: 0 repeated, 0 missing",
		} {
			if !strings.Contains(p.stdout.String(), want) {
				t.Errorf("no %q", want)
			}
		}
	})
	t.Run("thump sends, pika receives", func(t *testing.T) {
		p := start(t, address, "send", "--transient")
		if code := p.wait(); code != exitOK {
			t.Fatalf("exit code %d\n%s", code, &p.stderr)
		}
		t.Log(p.stdout.String())
		output := pika(t, address, "cmpe273receive-1.py", " [x] Received 1000000 messages")
		t.Log(last(output))
		if !strings.Contains(last(output), "Received a total of 1000000 messages") {
			t.Errorf("pika ended with %q", last(output))
		}
	})
	info, err := client.InspectQueue(t.Context(), queueDefault)
	if err != nil || info.Messages != 0 {
		t.Errorf("the queue is %+v, %v", info, err)
	}
}

// tutorialVhost returns a URL where the queue hello is nobody else's. drop
// removes the place again, before the test's context ends.
func tutorialVhost(t *testing.T, b brokertest.Broker) (address string, drop func()) {
	t.Helper()
	if b.ManagementURL == "" {
		return b.URL, func() {}
	}
	u, err := url.Parse(b.URL)
	if err != nil {
		t.Fatal("the test broker's URL does not parse")
	}
	name := brokertest.QueueName(t)
	brokertest.Manage(t, b.ManagementURL, http.MethodPut, "vhosts/"+name, struct{}{})
	brokertest.Manage(t, b.ManagementURL, http.MethodPut, "permissions/"+name+"/"+u.User.Username(),
		map[string]string{"configure": ".*", "write": ".*", "read": ".*"})
	u.Path = "/" + name
	return u.String(), func() { brokertest.Manage(t, b.ManagementURL, http.MethodDelete, "vhosts/"+name, nil) }
}

// pika runs one of the tutorial's programs and returns what it printed. Where
// end is given, it presses Ctrl-C, as the user does, after the line that begins
// so.
func pika(t *testing.T, address, program, end string) []string {
	t.Helper()
	folder, err := filepath.Abs("testdata/pika")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), pythonWithPika(t), filepath.Join(folder, program))
	cmd.Env = append(os.Environ(), "THUMP_URL="+address, "PYTHONPATH="+folder, "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(tutorialTimeout, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	var output []string
	for s := bufio.NewScanner(stdout); s.Scan(); {
		output = append(output, s.Text())
		if end != "" && strings.HasPrefix(s.Text(), end) {
			_ = cmd.Process.Signal(os.Interrupt) // one that has ended has printed all
		}
	}
	if err := cmd.Wait(); err != nil || len(output) == 0 {
		t.Fatalf("%s ended with %v after %q", program, err, output)
	}
	return output
}

func last(lines []string) string { return lines[len(lines)-1] }

// pythonWithPika finds a Python that has pika: Debian's own where python3-pika
// is installed, or the one on PATH.
func pythonWithPika(t *testing.T) string {
	t.Helper()
	for _, python := range []string{"/usr/bin/python3", "python3"} {
		if exec.CommandContext(t.Context(), python, "-c", "import pika").Run() == nil {
			return python
		}
	}
	t.Fatal("no Python has pika: install python3-pika")
	return ""
}
