package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// childCommand is the first argument of this test program as a child, the
// second what it does.
const childCommand = "child"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == javaCommand {
		os.Exit(fakeJava())
	}
	if len(os.Args) == 4 && os.Args[1] == workerCommand {
		main()
		return
	}
	if len(os.Args) == 3 && os.Args[1] == childCommand {
		os.Exit(childOf(os.Args[2]))
	}
	os.Exit(m.Run())
}

// childOf speaks the lines of worker.go, and moves no message.
func childOf(what string) int {
	lines := bufio.NewReader(os.Stdin)
	line, err := lines.ReadBytes('\n')
	var t task
	if err != nil || json.Unmarshal(line, &t) != nil || t.Count == 0 {
		fmt.Fprintln(os.Stderr, "no task")
		return 1
	}
	reply := json.NewEncoder(os.Stdout)
	switch what {
	case "refuses":
		fmt.Fprintln(os.Stderr, "no such queue")
		return 1
	case "babbles":
		fmt.Println("Hello World!")
		return 0
	case "is of the future":
		_ = reply.Encode(readiness{Protocol: workerProtocol + 1})
	default:
		_ = reply.Encode(readiness{})
	}
	if line, err := lines.ReadString('\n'); err != nil || line != "go\n" {
		fmt.Fprintln(os.Stderr, "no go")
		return 1
	}
	switch what {
	case "works":
		_ = reply.Encode(finish{StartedNS: 1e9, EndedNS: 3e9, Count: t.Count})
		return 0
	case "falls short":
		_ = reply.Encode(finish{StartedNS: 1e9, EndedNS: 3e9, Count: t.Count - 1})
		return 0
	case "dies":
		fmt.Fprintln(os.Stderr, "the window is broken")
		return 1
	case "leaves": // without a word
		return 0
	default:
		select {} // waits for messages
	}
}

// runPair is the pair's run with these two children.
func runPair(ctx context.Context, receiver, sender string) (sample, error) {
	p := &pair{title: "test", argv: map[string][]string{
		roleReceive: {os.Args[0], childCommand, receiver},
		roleSend:    {os.Args[0], childCommand, sender},
	}}
	return p.run(ctx, scenario{Sends: true, Receives: true}, task{Count: 1000})
}

func TestPairRun(t *testing.T) {
	got, err := runPair(t.Context(), "works", "works")
	if err != nil || got.Seconds != 2 {
		t.Errorf("got %+v, %v; want 2 seconds", got, err)
	}
}

// Whoever fails first ends the other, and is the one that the error names.
func TestPairRunEndsWithTheFirstFailure(t *testing.T) {
	for name, tt := range map[string]struct {
		receiver, sender string
		want             []string
	}{
		"the sender dies":             {"waits", "dies", []string{"the send process", "exit status 1", "the window is broken"}},
		"the receiver dies":           {"dies", "waits", []string{"the receive process", "exit status 1", "the window is broken"}},
		"the sender leaves":           {"waits", "leaves", []string{"the send process", "ended before it answered"}},
		"the sender can't begin":      {"waits", "refuses", []string{"the send process", "no such queue"}},
		"the receiver can't begin":    {"refuses", "waits", []string{"the receive process", "no such queue"}},
		"the sender is no worker":     {"waits", "babbles", []string{"the send process", "Hello World!"}},
		"the sender is another build": {"waits", "is of the future", []string{"the send process", "version 2", "version 1", "too far apart"}},
		"the sender sends too little": {"works", "falls short", []string{"the send process", "999 messages of 1000"}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := runPair(ctx, tt.receiver, tt.sender)
			if err == nil {
				t.Fatal("no error")
			}
			if ctx.Err() != nil {
				t.Errorf("it waited for %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

// A baseline speaks the lines as they were when it was built. Where this test
// has to change, so has workerProtocol.
func TestWorkerProtocol(t *testing.T) {
	for want, line := range map[string]any{
		`{"url":"amqp://h","queue":"q","count":1,"safe":true,"window":2,"prefetch":3,"ack_every":4,"stream":true,"sub_entry":5,"profile":"p"}`: task{
			URL: "amqp://h", Queue: "q", Count: 1, Safe: true, Window: 2, Prefetch: 3, AckEvery: 4, Stream: true, SubEntry: 5, Backlog: 6, Profile: "p",
		},
		`{"url":"","queue":"","count":1,"safe":false,"window":0,"prefetch":0,"ack_every":0,"stream":false,"sub_entry":0,"profile":"","rate":2,"warm":3}`: task{
			Count: 1, Rate: 2, Warm: 3,
		},
		`{"started_ns":1,"ended_ns":2,"count":3,"timings":{"late":{"count":4,"p50_us":5,"p99_us":6,"p99_9_us":7,"max_us":8}}}`: finish{
			StartedNS: 1, EndedNS: 2, Count: 3, Timings: &timings{Late: &latency{Count: 4, P50: 5, P99: 6, P999: 7, Most: 8}},
		},
		`{"cpu_seconds":0.5,"protocol":1}`:        readiness{CPUSeconds: 0.5, Protocol: workerProtocol},
		`{"started_ns":1,"ended_ns":2,"count":3}`: finish{StartedNS: 1, EndedNS: 2, Count: 3},
	} {
		got, err := json.Marshal(line)
		if err != nil || string(got) != want {
			t.Errorf("got  %s, %v\nwant %s", got, err, want)
		}
	}
	for _, role := range []string{roleSend, roleReceive, rolePacedSend, rolePacedReceive} {
		if openers()[thumpTitle][role] == nil || thumpTitle != "thump" {
			t.Errorf("there is no worker thump %s", role)
		}
	}
	if rolePacedSend != "paced-send" || rolePacedReceive != "paced-receive" ||
		roleSend != "send" || roleReceive != "receive" || workerCommand != "worker" {
		t.Error("a worker is started in another way")
	}
}

func TestPairRunEndsInTime(t *testing.T) {
	late := errors.New("it took longer than a moment")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, late)
	defer cancel()
	if _, err := runPair(ctx, "waits", "waits"); !errors.Is(err, late) {
		t.Errorf("the error is %v, want %v", err, late)
	}
}
