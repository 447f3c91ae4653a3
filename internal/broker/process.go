//go:build linux || darwin

package broker

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// spawner starts the processes of a node.
type spawner struct {
	chroot  string
	dir     string // working folder, inside chroot
	output  string // file that gets standard output and error, outside chroot
	env     []string
	account account
}

// start starts a program in a session of its own, so that neither the terminal's
// Ctrl-C nor our end reaches it, and with files instead of our standard streams.
// The channel is closed when the process has ended and been reaped.
func (s spawner) start(program string, args ...string) (process, <-chan struct{}, error) {
	output, err := os.OpenFile(s.output, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return process{}, nil, fmt.Errorf("broker: starting %s: %w", filepath.Base(program), err)
	}
	defer output.Close()
	// The shell sets what Go can't for a child: a umask that keeps data and logs
	// private, and as many open files as thousands of connections need.
	const prepare = `umask 077; ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -H -n)" 2>/dev/null || :; exec "$@"`
	cmd := exec.Command("/bin/sh", append([]string{"-c", prepare, "sh", program}, args...)...)
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Chroot: s.chroot, Credential: s.account.credential()}
	if err := cmd.Start(); err != nil {
		return process{}, nil, fmt.Errorf("broker: starting %s: %w", filepath.Base(program), err)
	}
	done := make(chan struct{})
	p := process{PID: cmd.Process.Pid, Identity: identity(cmd.Process.Pid)}
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(done)
	}()
	return p, done, nil
}

// findEPMD returns the path of Erlang's name server, as seen inside chroot: on
// the search path, or beside the erl found there.
func findEPMD(chroot string) (string, error) {
	var candidates []string
	for folder := range strings.SplitSeq(searchPath(chroot), ":") {
		candidates = append(candidates, filepath.Join(folder, "epmd"))
		if erl, err := filepath.EvalSymlinks(filepath.Join(folder, "erl")); err == nil && chroot == "" {
			root := filepath.Dir(filepath.Dir(erl))
			inERTS, _ := filepath.Glob(filepath.Join(root, "erts-*", "bin", "epmd"))
			candidates = append(append(candidates, filepath.Join(root, "bin", "epmd")), inERTS...)
		}
	}
	for _, candidate := range candidates {
		if isFile(filepath.Join(chroot, candidate)) {
			return candidate, nil
		}
	}
	return "", errors.New("broker: Erlang's epmd is not installed, or not on PATH; it comes with Erlang, which RabbitMQ needs")
}

// alive reports whether this very process runs: not gone, not a zombie, and not
// another one that was given its pid.
func (p process) alive() bool {
	return p.PID > 1 && p.Identity != "" && identity(p.PID) == p.Identity
}

// signal sends a signal to this very process, and to nobody where it is gone.
func (p process) signal(sig syscall.Signal) {
	if p.alive() {
		_ = syscall.Kill(p.PID, sig) // it may have ended since: that is what we want
	}
}

func (p process) kill() { p.signal(syscall.SIGKILL) }

// descendants returns the living processes that p started, and those they started.
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
			found = append(found, process{next[0], id})
		}
		next = append(next, children[next[0]]...)
	}
	return found
}
