package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"time"
)

// The child's side of a peer: one process that sends or receives, and nothing
// else, so that its CPU time and memory are its own. The Go peers are this
// program started again; pika's two programs speak the same few lines:
//
//	parent to child   a task, one line of JSON
//	child to parent   a readiness, once it is connected
//	parent to child   "go"
//	child to parent   a finish, once all is sent or received
//
// A child that fails says why on standard error and exits with 1.

// Roles of a child.
const (
	roleSend    = "send"
	roleReceive = "receive"
)

// task is what a child is to do. It travels by standard input, not on the
// command line, because the URL holds a password.
type task struct {
	URL      string `json:"url"`
	Queue    string `json:"queue"` // or stream; declared by the parent
	Count    int    `json:"count"`
	Safe     bool   `json:"safe"`      // see scenario
	Window   int    `json:"window"`    // unconfirmed messages, where Safe
	Prefetch int    `json:"prefetch"`  // unacked deliveries, where Safe
	AckEvery int    `json:"ack_every"` // for peers that choose when to ack many
	Stream   bool   `json:"stream"`    // Queue is a stream, URL for the stream protocol; Window is that of streams
	SubEntry int    `json:"sub_entry"` // messages in an entry of the stream; 0: one, as it is
	Backlog  int    `json:"-"`         // messages in a stream that is only read; for the parent
	Profile  string `json:"profile"`   // file for a CPU profile of the work; Go peers only
}

// readiness says that a child is connected, and what it cost to get there:
// starting a process and logging in are not part of a message's price.
type readiness struct {
	CPUSeconds float64 `json:"cpu_seconds"`
}

// finish is when a child's work began and ended, by the clock that all
// processes of the machine share.
type finish struct {
	StartedNS int64 `json:"started_ns"` // since 1970
	EndedNS   int64 `json:"ended_ns"`
	Count     int   `json:"count"`
}

// job is a child's work, ready to begin.
type job struct {
	// work sends or receives everything. When it returns, the broker has read
	// (Safe: confirmed) all messages, or the last message was received.
	work func() error
	// close ends the connection in an orderly way, acks and all.
	close func() error
}

// opener connects and gets a job ready.
type opener func(task) (job, error)

// openers are the Go peers, by name and role.
func openers() map[string]map[string]opener {
	return map[string]map[string]opener{
		"floor":      {roleSend: floorSender, roleReceive: floorReceiver},
		"thump":      {roleSend: thumpSender, roleReceive: thumpReceiver},
		"amqp091-go": {roleSend: amqp091Sender, roleReceive: amqp091Receiver},

		thumpUnchecked: {roleSend: thumpSender, roleReceive: thumpUncheckedReceiver},
		streamGo:       {roleSend: streamGoSender, roleReceive: streamGoReceiver},
		streamGoRaised: {roleSend: streamGoRaisedSender, roleReceive: streamGoRaisedReceiver},
	}
}

// runWorker is the main function of a child.
func runWorker(peer, role string, in io.Reader, out io.Writer) error {
	open := openers()[peer][role]
	if open == nil {
		return fmt.Errorf("no worker %q %q", peer, role)
	}
	lines := bufio.NewReader(in)
	var t task
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("reading the task: %w", err)
	}
	if err := json.Unmarshal(line, &t); err != nil {
		return fmt.Errorf("reading the task: %w", err)
	}
	j, err := open(t)
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	reply := json.NewEncoder(out)
	if err := reply.Encode(readiness{CPUSeconds: ownCPUSeconds()}); err != nil {
		return err
	}
	if _, err := lines.ReadBytes('\n'); err != nil {
		return fmt.Errorf("waiting for the start: %w", err)
	}
	started, ended, err := timed(j.work, t.Profile)
	if err != nil {
		return err
	}
	if err := j.close(); err != nil {
		return fmt.Errorf("closing: %w", err)
	}
	return reply.Encode(finish{StartedNS: started.UnixNano(), EndedNS: ended.UnixNano(), Count: t.Count})
}

// timed does the work, with a CPU profile where a file for one is named.
func timed(work func() error, profile string) (started, ended time.Time, err error) {
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return started, ended, err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return started, ended, errors.Join(err, f.Close())
		}
		defer func() {
			pprof.StopCPUProfile()
			_ = f.Close() // a profile that is cut off says so itself
		}()
	}
	started = time.Now()
	err = work()
	return started, time.Now(), err
}
