//go:build linux || darwin

package broker

import (
	"errors"
	"os"
	"syscall"
)

// newProcess is the process that has a pid now.
func newProcess(pid int) process { return process{PID: pid, Identity: identity(pid)} }

// checkProcesses returns an error if this process can't tell one process from another,
// which is what makes it safe to end one.
func checkProcesses() error {
	if identity(os.Getpid()) == "" || place() == "" {
		return errors.New("broker: can't see which processes run" + processesHint)
	}
	return nil
}

// hostname is this host's name, for people.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

// alive reports whether this very process is running: it has not ended, is no zombie,
// and is not a later process with its pid.
func (p process) alive() bool {
	return p.PID > 1 && p.Identity != "" && identity(p.PID) == p.Identity
}

// signal sends a signal to this very process. If it has ended, no process gets it.
func (p process) signal(sig syscall.Signal) {
	if p.alive() {
		_ = syscall.Kill(p.PID, sig) // an error means that it has just ended, as it should
	}
}

// stopped reports whether this very process is stopped, as SIGSTOP does.
func (p process) stopped() bool { return p.alive() && isStopped(p.PID) }

func (p process) kill() { p.signal(syscall.SIGKILL) }

// descendants returns the living processes that p has started, those that these have
// started, and so on.
func (p process) descendants() []process {
	if !p.alive() {
		return nil
	}
	children := map[int][]int{}
	for pid, parent := range parents() {
		children[parent] = append(children[parent], pid)
	}
	var found []process
	for next := children[p.PID]; len(next) > 0; next = next[1:] {
		if id := identity(next[0]); id != "" {
			found = append(found, process{PID: next[0], Identity: id})
		}
		next = append(next, children[next[0]]...)
	}
	return found
}
