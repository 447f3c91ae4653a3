package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// hostile is text that a terminal obeys, or that looks like a line of thump's own.
const hostile = "\x1b[31mred\u009b31m\r\nthump: ok\x07 \u202e \xff"

// hostileAMQP is a broker that greets with such text, blocks the connection for such a
// reason, and closes it, as soon as somebody publishes or consumes, with such words.
func hostileAMQP(s *fakebroker.Session) {
	s.MayLeave() // --give-up may end it in the middle of a login
	g := fakebroker.Likely()
	g.Properties = append(g.Properties[:1:1], amqpproto.Table{
		{Key: "product", Value: hostile}, {Key: "version", Value: hostile}, {Key: "cluster_name", Value: hostile},
	}...)
	s.LoginAs(g)
	s.Serve(func(r *fakebroker.Received) bool {
		switch r.Method.(type) {
		case *amqpproto.BasicPublish:
			s.Offer(fakebroker.Frame(0, &amqpproto.ConnectionBlocked{Reason: hostile}))
			time.Sleep(5 * progressEvery)
			s.Offer(fakebroker.Frame(0, &amqpproto.ConnectionClose{ReplyCode: 541, ReplyText: hostile}))
			s.Discard()
		case *amqpproto.BasicConsume:
			s.Offer(fakebroker.Frame(r.Channel, &amqpproto.ChannelClose{ReplyCode: 404, ReplyText: hostile}))
		default:
			return false
		}
		return true
	})
}

// hostileStreams is the same for streams.
func hostileStreams(s *fakebroker.StreamSession) {
	s.MayLeave()
	g := fakebroker.OldStream()
	for i := range g.Properties {
		g.Properties[i].Value = hostile
	}
	s.LoginAs(g)
	s.Serve(func(r *fakebroker.StreamReceived) bool {
		switch r.Command.(type) {
		case *fakebroker.Published, *streamproto.Subscribe:
			s.Offer(fakebroker.StreamRequest(100, &streamproto.Close{Code: streamproto.CodeInternalError, Reason: hostile}))
			s.Discard()
			return true
		}
		return false
	})
}

// TestNoWordOfABrokerIsObeyed: what a broker says comes out on standard output, on
// standard error and in the JSON as text, whatever the command was doing.
func TestNoWordOfABrokerIsObeyed(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args    string
		streams bool
	}{
		{"send q --count 10", false},
		{"receive q", false},
		{"run --queue q --count 10", false},
		{"run --queue q --count 10 --json -", false},
		{"send --stream s --count 10", true},
		{"receive --stream s", true},
		{"run --kind stream --queue s --count 10", true},
		{"send --super-stream s --count 10", true},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			script := hostileAMQP
			if test.streams {
				script = fakebroker.Stream(hostileStreams)
			}
			var scripts []func(*fakebroker.Session)
			for range 100 { // each partition comes back until --give-up
				scripts = append(scripts, script)
			}
			b := fakebroker.Start(t, scripts...)
			url := b.URL()
			if test.streams {
				url = b.StreamURL()
			}
			record := filepath.Join(t.TempDir(), "record.json")
			args := append(strings.Fields(test.args), "--url", url, "--give-up", "1s")
			if !strings.Contains(test.args, "--json") {
				args = append(args, "--json", record)
			}
			cmd := exec.Command(exe, args...)
			cmd.Args[0] = "thump" // TestMain then runs main
			cmd.Env = append(os.Environ(), "THUMP_HOME="+t.TempDir())
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if exit, ok := errors.AsType[*exec.ExitError](cmd.Run()); !ok || exit.ExitCode() != exitFailed {
				t.Errorf("it ended with %v", exit)
			}
			written, err := os.ReadFile(record)
			if err != nil && !strings.Contains(test.args, "--json -") {
				t.Error(err)
			}
			for name, text := range map[string]string{"standard output": stdout.String(), "standard error": stderr.String(), "the record": string(written)} {
				if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) || strings.Contains(text, "\nthump: ok") {
					t.Errorf("%s: %q", name, text)
				}
			}
			if !strings.Contains(stderr.String(), "red") {
				t.Errorf("standard error says nothing of it: %q", &stderr)
			}
		})
	}
}

// TestOutputShowsWhatATerminalObeys: this is the last gate, for text that came past all
// others, in pieces of any size.
func TestOutputShowsWhatATerminalObeys(t *testing.T) {
	const text = "größe 兔 🐇\ttab\n\x1b[31mred\x07\u009b \u202e \r \xff\xf0\x9f\x90 \xe5"
	const want = "größe 兔 🐇\ttab\n" + `\x1b[31mred\a\u009b \u202e \r \xff\xf0\x9f\x90 \xe5`
	for size := 1; size <= len(text); size++ {
		var b bytes.Buffer
		o := &output{w: &b}
		for rest := []byte(text); len(rest) > 0; {
			n := min(size, len(rest))
			if written, err := o.Write(rest[:n]); written != n || err != nil {
				t.Fatalf("%d bytes written, %v", written, err)
			}
			rest = rest[n:]
		}
		if err := o.failure(); err != nil {
			t.Fatal(err)
		}
		if b.String() != want {
			t.Fatalf("in pieces of %d bytes: got %q", size, &b)
		}
	}
}
