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

// A child is one process that only sends or only receives, so that its CPU time
// and memory are those of one side. The Go peers are this program started again.
// They and pika's two programs exchange these lines with the parent:
//
//	parent to child   a task, one line of JSON
//	child to parent   a readiness, when it is connected
//	parent to child   "go"
//	child to parent   a finish, when everything is sent or received
//
// A child that fails says why on standard error and exits with 1.
//
// The parent and the children of a baseline are builds from two commits. So any
// change to the lines, to the command line of a child, or to what a field asks for
// needs a new workerProtocol: a build would silently ignore a field that it does
// not know, and measure something else. A role of its own needs none, nor do fields
// that are for it alone: a build that does not know the role refuses.

// workerProtocol is the version of these lines. A child that does not say which it
// speaks, speaks version 1.
const workerProtocol = 1

// Roles of a child.
const (
	roleSend    = "send"
	roleReceive = "receive"
)

// task is what a child must do. It comes on standard input, not on the command
// line, because the URL holds a password.
type task struct {
	URL      string `json:"url"`
	Queue    string `json:"queue"` // or stream; the parent has declared it
	Count    int    `json:"count"`
	Safe     bool   `json:"safe"`      // see scenario
	Window   int    `json:"window"`    // unconfirmed messages, where Safe
	Prefetch int    `json:"prefetch"`  // unacked deliveries, where Safe
	AckEvery int    `json:"ack_every"` // deliveries, for peers that ack many at a time
	Stream   bool   `json:"stream"`    // Queue is a stream, and URL and Window are for streams
	SubEntry int    `json:"sub_entry"` // messages in a sub-entry batch; 0: no batches
	Backlog  int    `json:"-"`         // messages in a stream that is only consumed; for the parent alone
	Profile  string `json:"profile"`   // file for a CPU profile of the work; Go peers only

	Account bool `json:"-"` // messages have their numbers, by which outcomes are told; of roleBoth

	Roles []string `json:"roles,omitempty"` // of the stub's clients
	Rate  int      `json:"rate,omitempty"`  // messages a second, of the paced roles
	Warm  int      `json:"warm,omitempty"`  // of theirs: the first messages, whose latency does not count
}

// readiness says that a child is connected, and how much CPU time it took so far:
// starting a process and logging in are not part of a message's cost.
type readiness struct {
	CPUSeconds float64 `json:"cpu_seconds"`
	Protocol   int     `json:"protocol"`      // workerProtocol of the child; 0 is 1
	URL        string  `json:"url,omitempty"` // where the stub listens
}

// finish says when a child's work began and ended, by the machine's clock, which
// all processes share.
type finish struct {
	StartedNS int64 `json:"started_ns"` // since 1970
	EndedNS   int64 `json:"ended_ns"`
	Count     int   `json:"count"`

	Timings *timings `json:"timings,omitempty"` // of the paced roles
}

// job is a child's work, ready to begin.
type job struct {
	// work sends or receives everything. When it returns, the broker has read all
	// messages (Safe and Stream: confirmed them), or the last one was received.
	work func() error
	// close closes the connection so that the broker has every ack.
	close func() error
	// timings are of a paced role; nil for others.
	timings func() *timings
	// url is where a stub listens.
	url string
}

// opener connects and prepares a job.
type opener func(task) (job, error)

// openers are the Go peers, by name and role.
func openers() map[string]map[string]opener {
	return map[string]map[string]opener{
		"floor": {
			roleSend: floorSender, roleReceive: floorReceiver,
			rolePacedSend: floorPacedSender, rolePacedReceive: floorPacedReceiver,
		},
		thumpTitle: {
			roleSend: thumpSender, roleReceive: thumpReceiver,
			rolePacedSend: thumpPacedSender, rolePacedReceive: thumpPacedReceiver,
		},
		"amqp091-go": {
			roleSend: amqp091Sender, roleReceive: amqp091Receiver,
			rolePacedSend: amqp091PacedSender, rolePacedReceive: amqp091PacedReceiver,
		},

		stubTitle: {roleServe: stubServer},

		thumpEach:    {roleSend: thumpEachSender},
		amqp091Each:  {roleSend: amqp091EachSender},
		amqp091Alone: {roleSend: amqp091AloneSender},

		aloneTitle: {roleBoth: thumpAlone},

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
	if err := reply.Encode(readiness{CPUSeconds: ownCPUSeconds(), Protocol: workerProtocol, URL: j.url}); err != nil {
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
	done := finish{StartedNS: started.UnixNano(), EndedNS: ended.UnixNano(), Count: t.Count}
	if j.timings != nil {
		done.Timings = j.timings()
	}
	return reply.Encode(done)
}

// timed does the work, and writes a CPU profile if a file for one is named.
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
