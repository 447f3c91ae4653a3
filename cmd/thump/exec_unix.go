//go:build !windows

package main

import (
	"errors"
	"os/exec"
	"syscall"
)

// apart gives a command, and what it starts, a process group of its own: a Ctrl-C on the
// terminal is for this process, which lets the command finish. What ends the command ends
// the whole group.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// signaled reports whether a command failed because somebody has ended it, with a signal
// that ends this process, too: a shell says it with its exit code.
func signaled(err error) bool {
	failed, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return false
	}
	number := syscall.Signal(failed.ExitCode() - exitSignal)
	if status, ok := failed.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		number = status.Signal()
	}
	return number == syscall.SIGINT || number == syscall.SIGTERM || number == syscall.SIGHUP
}
