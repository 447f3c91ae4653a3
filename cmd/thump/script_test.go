package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/broker"
	"github.com/thumpmq/thump/internal/brokertest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"thump": main})
}

// TestUsage runs the scripts that need no broker.
func TestUsage(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/usage",
		Setup: func(e *testscript.Env) error { return isolate(e) },
		Cmds:  map[string]func(*testscript.TestScript, bool, []string){"exits": cmdExits, "notamqp": cmdNotAMQP},
	})
}

// TestScripts runs every command as a user does, against every broker.
//
// The scripts have a name of their own in QUEUE, for a queue or a stream, and with -exchange
// for an exchange, the broker in THUMP_URL, THUMP_STREAM_URL and THUMP_MANAGEMENT_URL, with the
// parts of the first in USER, PASSWORD and ADDRESS, the commands below, and conditions like
// [rabbitmq:3.10].
func TestScripts(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		testscript.Run(t, testscript.Params{
			Dir:   "testdata/script",
			Setup: func(e *testscript.Env) error { return setup(e, b) },
			Condition: func(condition string) (bool, error) {
				series, ok := strings.CutPrefix(condition, "rabbitmq:")
				if !ok {
					return false, fmt.Errorf("no condition %q", condition)
				}
				return b.Name == series, nil
			},
			Cmds: map[string]func(*testscript.TestScript, bool, []string){
				"exits":       cmdExits,
				"eventually":  cmdEventually,
				"queue":       cmdQueue,
				"consumers":   cmdConsumers,
				"stream":      cmdStream,
				"superstream": cmdSuperStream,
				"json":        cmdJSON,
				"saved":       cmdSaved,
				"notamqp":     cmdNotAMQP,
			},
		})
	})
}

// TestBroker runs the scripts that start brokers of their own.
func TestBroker(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/broker",
		Setup: func(e *testscript.Env) error { return isolate(e) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": cmdExits, "eventually": cmdEventually, "json": cmdJSON, "saved": cmdSaved, "killbroker": cmdKillBroker,
		},
	})
}

// cmdKillBroker kills the broker of thump broker start, and all of its processes but epmd.
func cmdKillBroker(ts *testscript.TestScript, _ bool, _ []string) {
	node, err := broker.Open(filepath.Join(ts.Getenv("THUMP_HOME"), "broker"))
	ts.Check(err)
	output, err := exec.Command("ps", "-o", "ppid=", "-p", strconv.Itoa(node.PID)).Output()
	ts.Check(err)
	keeper, err := strconv.Atoi(strings.TrimSpace(string(output)))
	ts.Check(err)
	for _, pid := range []int{keeper, node.PID} {
		p, err := os.FindProcess(pid)
		ts.Check(err)
		ts.Check(p.Kill())
	}
	for begin := time.Now(); node.Running(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > 10*time.Second {
			ts.Fatalf("RabbitMQ doesn't end")
		}
	}
}

// home makes a folder for THUMP_HOME: one that RabbitMQ's own user can pass
// through. The function removes it, with any broker that is left in it.
func home() (dir string, remove func() error, err error) {
	if dir, err = brokertest.TempDir(""); err != nil {
		return "", nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", nil, err
	}
	return dir, func() error {
		entries, err := os.ReadDir(dir)
		for _, entry := range entries {
			if node, openErr := broker.Open(filepath.Join(dir, entry.Name())); openErr == nil {
				err = errors.Join(err, fmt.Errorf("a broker was left in %s", entry.Name()), node.Kill())
			}
		}
		return errors.Join(err, os.RemoveAll(dir))
	}, nil
}

// isolate keeps a script from finding a broker of the user's.
func isolate(e *testscript.Env) error {
	dir, remove, err := home()
	if err != nil {
		return err
	}
	e.Setenv("THUMP_HOME", dir)
	e.Setenv("THUMP_URL", "")
	e.Setenv("THUMP_STREAM_URL", "")
	e.Setenv("THUMP_URL_FILE", "")
	e.Setenv("THUMP_URL_COMMAND", "")
	e.Setenv("THUMP_MANAGEMENT_URL", "")
	e.Setenv("THUMP_AT", "")
	e.Setenv("THUMP_CONFIG", "")
	for _, flag := range flagVariables() {
		e.Setenv(variableOf(flag), "")
	}
	e.Defer(func() {
		if err := remove(); err != nil {
			e.T().Fatal(err)
		}
	})
	return nil
}

func setup(e *testscript.Env, b brokertest.Broker) error {
	if err := isolate(e); err != nil {
		return err
	}
	u, err := url.Parse(b.URL)
	if err != nil {
		return errors.New("the test broker's URL does not parse")
	}
	password, _ := u.User.Password()
	queue := fmt.Sprintf("thump-%s-%d", filepath.Base(e.WorkDir), time.Now().UnixNano())
	for name, value := range map[string]string{
		"THUMP_URL": b.URL, "USER": u.User.Username(), "PASSWORD": password, "ADDRESS": u.Host,
		"THUMP_MANAGEMENT_URL": b.ManagementURL, "THUMP_STREAM_URL": b.StreamURL, "STREAMURL": b.StreamURL, "TLSURL": b.TLSURL, "QUEUE": queue,
	} {
		e.Setenv(name, value)
	}
	e.Defer(func() {
		ctx := context.Background()
		client, err := thump.Dial(ctx, thump.Config{URLs: []string{b.URL, b.StreamURL}})
		if err != nil {
			e.T().Fatal(err)
		}
		_, err = client.DeleteQueue(ctx, queue, thump.DeleteOptions{}) // or a stream
		err = errors.Join(err, client.DeleteExchange(ctx, queue+"-exchange", thump.DeleteOptions{}))
		if err := errors.Join(err, client.Close(ctx)); err != nil {
			e.T().Fatal(err)
		}
	})
	return nil
}

// cmdExits runs a command and checks its exit code: exits CODE COMMAND...
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s exits with %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// cmdEventually runs a command again and again until its output has a match: eventually PATTERN
// COMMAND... The management API lists a new queue, or what a name stands for, a little later.
func cmdEventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually PATTERN COMMAND...")
	}
	pattern := regexp.MustCompile("(?m)" + args[0])
	for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Since(begin) > time.Minute {
			ts.Fatalf("%s does not print %s", strings.Join(args[1:], " "), args[0])
		}
	}
}

// withClient lets f use a client of the script's broker.
func withClient(ts *testscript.TestScript, f func(context.Context, *thump.Client)) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{ts.Getenv("THUMP_URL"), ts.Getenv("THUMP_STREAM_URL")}})
	ts.Check(err)
	defer func() { ts.Check(client.Close(ctx)) }()
	f(ctx, client)
}

// cmdQueue checks a queue: queue NAME MESSAGES, or ! queue NAME for one that
// is not there; or makes one: queue NAME make [transient]; or queue NAME delete.
func cmdQueue(ts *testscript.TestScript, neg bool, args []string) {
	withClient(ts, func(ctx context.Context, client *thump.Client) {
		switch {
		case len(args) > 1 && args[1] == "make":
			_, err := client.DeclareQueue(ctx, thump.QueueSpec{Name: args[0], Transient: len(args) > 2})
			ts.Check(err)
			return
		case len(args) > 1 && args[1] == "delete":
			_, err := client.DeleteQueue(ctx, args[0], thump.DeleteOptions{})
			ts.Check(err)
			return
		}
		info, err := client.InspectQueue(ctx, args[0])
		if neg {
			if !thump.IsNotFound(err) {
				ts.Fatalf("the queue %s is there: %+v, %v", args[0], info, err)
			}
			return
		}
		ts.Check(err)
		// What a closed connection gives back takes the broker a moment.
		for begin := time.Now(); strconv.Itoa(info.Messages) != args[1] && time.Since(begin) < 5*time.Second; {
			time.Sleep(20 * time.Millisecond)
			info, err = client.InspectQueue(ctx, args[0])
			ts.Check(err)
		}
		if strconv.Itoa(info.Messages) != args[1] {
			ts.Fatalf("the queue %s holds %d messages, want %s", args[0], info.Messages, args[1])
		}
	})
}

// cmdConsumers waits until a queue has N consumers: consumers NAME N.
func cmdConsumers(ts *testscript.TestScript, _ bool, args []string) {
	withClient(ts, func(ctx context.Context, client *thump.Client) {
		for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			info, err := client.InspectQueue(ctx, args[0])
			ts.Check(err)
			if strconv.Itoa(info.Consumers) == args[1] {
				return
			}
			if time.Since(begin) > 20*time.Second {
				ts.Fatalf("the queue %s has %d consumers, want %s", args[0], info.Consumers, args[1])
			}
		}
	})
}

// cmdStream checks that a stream is there: stream NAME; or is not: ! stream NAME.
func cmdStream(ts *testscript.TestScript, neg bool, args []string) {
	withClient(ts, func(ctx context.Context, client *thump.Client) {
		info, err := client.InspectStream(ctx, args[0])
		switch {
		case neg && !thump.IsNotFound(err):
			ts.Fatalf("the stream %s is there: %+v, %v", args[0], info, err)
		case !neg:
			ts.Check(err)
		}
	})
}

// cmdSuperStream deletes a super stream: superstream NAME delete.
func cmdSuperStream(ts *testscript.TestScript, _ bool, args []string) {
	withClient(ts, func(ctx context.Context, client *thump.Client) {
		ts.Check(client.DeleteSuperStream(ctx, args[0]))
	})
}

// cmdJSON checks a record: json FILE KEY=VALUE..., where VALUE "number" is any
// number. It fails unless the file is one record alone, with the keys of package
// result and no others, and with the verdict of its worst run. The keys version,
// verdict and runs are the record's own, as in runs.1.verdict. Any other key is that
// of its only run.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: json FILE KEY=VALUE...")
	}
	text := ts.ReadFile(args[0])
	var record result.Record
	strict := json.NewDecoder(strings.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&record); err != nil {
		ts.Fatalf("%s is not a record: %v", args[0], err)
	}
	if worst := result.New(record.Runs...); record.Version != worst.Version || record.Verdict != worst.Verdict || len(record.Runs) == 0 {
		ts.Fatalf("%s has version %d, verdict %q and %d runs", args[0], record.Version, record.Verdict, len(record.Runs))
	}
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		ts.Fatalf("%s is not a JSON object alone: %v", args[0], err)
	}
	for _, check := range args[1:] {
		key, want, _ := strings.Cut(check, "=")
		if outer, _, _ := strings.Cut(key, "."); object[outer] == nil {
			if len(record.Runs) != 1 {
				ts.Fatalf("%s has %d runs: which one's %s?", args[0], len(record.Runs), key)
			}
			key = "runs.0." + key
		}
		value, there := lookup(object, key)
		got := fmt.Sprint(value)
		switch value := value.(type) {
		case nil:
			got = "null"
		case float64:
			got = strconv.FormatFloat(value, 'f', -1, 64)
			if want == "number" {
				continue
			}
		}
		if !there || got != want {
			ts.Fatalf("%s is %s, want %s", key, got, want)
		}
	}
}

// cmdSaved checks a run file, as json checks a record: saved FILE KEY=VALUE...
func cmdSaved(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: saved FILE KEY=VALUE...")
	}
	name := ts.MkAbs(args[0])
	record, err := result.ReadFile(name)
	ts.Check(err)
	var text bytes.Buffer
	ts.Check(record.Write(&text))
	ts.Check(os.WriteFile(name+".json", text.Bytes(), 0o600))
	cmdJSON(ts, neg, append([]string{args[0] + ".json"}, args[1:]...))
}

// lookup finds a key like "broker.version" or "runs.0.verdict".
func lookup(value any, key string) (any, bool) {
	outer, inner, nested := strings.Cut(key, ".")
	var within any
	there := false
	switch value := value.(type) {
	case map[string]any:
		within, there = value[outer]
	case []any:
		if i, err := strconv.Atoi(outer); err == nil && i < len(value) {
			within, there = value[i], true
		}
	}
	if !nested || !there {
		return within, there
	}
	return lookup(within, inner)
}

// cmdNotAMQP starts a server that speaks something else, and puts its address
// in the variable: notamqp NAME.
func cmdNotAMQP(ts *testscript.TestScript, _ bool, args []string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = listener.Close() })
	ts.Setenv(args[0], listener.Addr().String())
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			_ = conn.Close()
		}
	}()
}
