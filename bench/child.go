package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// child is the parent's side of a worker process; see worker.go.
type child struct {
	role    string
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	stderr  *bytes.Buffer
	ready   readiness
}

// startChild starts a worker and waits until it is connected. The worker is
// killed when ctx ends.
func startChild(ctx context.Context, role string, argv []string, t task) (*child, error) {
	c := &child{role: role, command: exec.CommandContext(ctx, argv[0], argv[1:]...), stderr: &bytes.Buffer{}}
	c.command.Stderr = c.stderr
	in, err := c.command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.in, c.out = in, bufio.NewReader(out)
	if err := c.command.Start(); err != nil {
		return nil, fmt.Errorf("starting the %s process: %w", role, err)
	}
	line, err := json.Marshal(t)
	if err != nil {
		return nil, c.failed(err)
	}
	c.writeLine(string(line))
	if err := c.reply(&c.ready); err != nil {
		return nil, c.failed(err)
	}
	if spoken := max(1, c.ready.Protocol); spoken != workerProtocol {
		return nil, c.failed(fmt.Errorf("it speaks version %d of the worker protocol, and this program version %d: "+
			"the two builds are too far apart to be compared", spoken, workerProtocol))
	}
	return c, nil
}

// writeLine writes a line to the child. An error does not matter: the child is
// gone then, and reply says why.
func (c *child) writeLine(line string) {
	_, _ = io.WriteString(c.in, line+"\n")
}

// reply reads the child's next line.
func (c *child) reply(v any) error {
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("it ended before it answered: %w", err)
	}
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("it answered %.60q: %w", line, err)
	}
	return nil
}

// begin lets the child's work begin.
func (c *child) begin() { c.writeLine("go") }

// work is what one child did.
type work struct {
	finish
	cpuSeconds float64 // from connected to gone
	rssBytes   int64   // peak
}

// wait returns once the child has done its work and is gone.
func (c *child) wait() (work, error) {
	var w work
	if err := c.reply(&w.finish); err != nil {
		return w, c.failed(err)
	}
	if err := c.command.Wait(); err != nil {
		return w, c.failed(err)
	}
	state := c.command.ProcessState
	total := state.UserTime() + state.SystemTime()
	w.cpuSeconds = total.Seconds() - c.ready.CPUSeconds
	w.rssBytes = peakRSSBytes(state)
	return w, nil
}

// failed ends the child and explains err with its exit status and its last
// words.
func (c *child) failed(err error) error {
	if errors.Is(err, io.EOF) {
		// It has closed its output, so it is exiting, and its status says more.
		if exit := c.command.Wait(); exit != nil {
			err = exit
		}
	}
	c.stop()
	return fmt.Errorf("the %s process: %w%s", c.role, err, lastLines(c.stderr.String()))
}

// stop kills a child that is no longer needed. It does nothing to one that is
// gone.
func (c *child) stop() {
	_ = c.in.Close()
	if c.command.ProcessState == nil {
		_ = c.command.Process.Signal(os.Kill)
		_ = c.command.Wait() // it was killed: its status says nothing
	}
}

// lastLines is the end of a process's output, for an error.
func lastLines(output string) string {
	const most = 600
	output = strings.TrimSpace(output)
	if output == "" {
		return ""
	}
	if len(output) > most {
		output = "…" + output[len(output)-most:]
	}
	return ": " + output
}
