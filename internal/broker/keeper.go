//go:build linux || darwin

package broker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// keeperScript is a node's keeper: the shell that starts the node's epmd and server, is
// their parent, and ends both as soon as the server ends, or its lifeline. The process
// that starts the node holds the lifeline's other end, and writes two words to it:
// "serve" once epmd answers, and "stay" if the node is to outlive it. So whenever that
// process ends before, and however it ends, nothing of the node is left.
//
// RabbitMQ would start epmd itself, as a daemon of unknown pid that outlives it;
// erlangEnvironment keeps it from that.
//
// What it starts it reports by process id; where nobody reads that any more, the signal
// PIPE says so. A umask keeps data and logs private, and the limit of open files is enough
// for thousands of connections; Go can set neither for a child. All processes are in the
// keeper's group, so "kill 0" is all of them and nobody else. The server inherits the lock
// (descriptor 4) and what the remover watches (6), so both last as long as it does, even if
// somebody kills the keeper. Only builtins are used: a chroot may have no more.
const keeperScript = `trap 'kill -s KILL 0' PIPE
umask 077
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -H -n)" 2>/dev/null || :
"$1" -address "$2" -port "$3" </dev/null >&5 2>&5 3<&- 4>&- &
echo $!
read -r word <&3 && [ "$word" = serve ] || kill -s KILL 0
"$4" </dev/null >&2 3<&- 5>&- &
server=$!
echo $server
{ read -r word && [ "$word" = stay ] || kill -s KILL 0; } <&3 4>&- 5>&- 6>&- &
exec >&2 3<&- 5>&-
wait $server
kill -s KILL 0
`

// keeper is the keeper of a node that this process has started.
type keeper struct {
	process
	ended    <-chan struct{} // closed once the keeper has ended and was reaped
	lifeline *os.File        // the keeper ends the node when this is closed, unless it has read "stay"
	words    *os.File        // the process ids that it writes
	lines    *bufio.Reader   // of words
}

// keeperOptions say what a keeper starts.
type keeperOptions struct {
	chroot, dir  string // dir is the working folder, inside chroot
	epmd, server string // programs, inside chroot
	epmdPort     int
	env          []string
	account      account
	epmdLog      string       // file for epmd's output, outside chroot
	serverLog    string       // the same for the server's
	lock         *runningLock // which the server inherits
	alive        *os.File     // the server and epmd inherit it too; nil for none
}

// startKeeper starts a keeper, and epmd with it. Its session is its own, so that neither
// the terminal's Ctrl-C nor our end reaches it, and it has none of our standard streams.
func startKeeper(o keeperOptions) (k *keeper, epmd process, err error) {
	var theirs []*os.File
	defer func() {
		for _, file := range theirs {
			file.Close()
		}
		if err != nil {
			k, err = nil, fmt.Errorf("broker: starting the node's keeper: %w", err)
		}
	}()
	for _, path := range []string{o.epmdLog, o.serverLog} {
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, process{}, err
		}
		theirs = append(theirs, file)
	}
	lifelineEnd, lifeline, err := os.Pipe()
	if err != nil {
		return nil, process{}, err
	}
	theirs = append(theirs, lifelineEnd)
	words, wordsEnd, err := os.Pipe()
	if err != nil {
		lifeline.Close()
		return nil, process{}, err
	}
	theirs = append(theirs, wordsEnd)

	cmd := exec.Command("/bin/sh", "-c", keeperScript, "sh", o.epmd, loopback, strconv.Itoa(o.epmdPort), o.server)
	cmd.Dir, cmd.Env = o.dir, o.env
	cmd.Stdout, cmd.Stderr = wordsEnd, theirs[1]
	cmd.ExtraFiles = []*os.File{lifelineEnd, o.lock.file, theirs[0]}
	if o.alive != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, o.alive)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Chroot: o.chroot, Credential: o.account.credential()}
	closeInheritedOnExec()
	if err := cmd.Start(); err != nil {
		lifeline.Close()
		words.Close()
		return nil, process{}, err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it always kills itself
		close(ended)
		runtime.KeepAlive(lifeline) // who has started the node need not keep it
	}()
	k = &keeper{
		process: newProcess(cmd.Process.Pid), ended: ended,
		lifeline: lifeline, words: words, lines: bufio.NewReader(words),
	}
	epmd, err = k.child()
	if err != nil {
		err = errors.Join(err, k.end(holder{Keeper: k.process}))
	}
	return k, epmd, err
}

// closeInheritedOnExec keeps from the processes that we start what this process has
// inherited and Go does not know: a script's lock or pipe, which a node would hold for as
// long as it runs.
func closeInheritedOnExec() {
	open, _ := os.ReadDir("/dev/fd") // where there is none, there is nothing to do about it
	for _, entry := range open {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

// child reads the next process that the keeper says it has started.
func (k *keeper) child() (process, error) {
	const timeout = 10 * time.Second // a shell needs milliseconds
	if err := k.words.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return process{}, err
	}
	line, err := k.lines.ReadString('\n')
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("it ended at once")
		}
		return process{}, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 1 {
		return process{}, fmt.Errorf("it said %q, not a process id", line)
	}
	return newProcess(pid), nil
}

// serve lets the keeper start the server, and returns it.
func (k *keeper) serve() (server process, err error) {
	if _, err = io.WriteString(k.lifeline, "serve\n"); err == nil {
		server, err = k.child()
	}
	if err != nil {
		return server, fmt.Errorf("broker: starting the server: %w", err)
	}
	return server, nil
}

// stay lets the node outlive this process.
func (k *keeper) stay() error {
	if _, err := io.WriteString(k.lifeline, "stay\n"); err != nil {
		return fmt.Errorf("broker: letting go of the node: %w", err)
	}
	return k.close()
}

// end makes the keeper kill the node, which is h's, and itself, kills what it leaves, and
// returns once all of their processes have ended.
func (k *keeper) end(h holder) error {
	left := h.descendants()
	_ = k.close() // again, perhaps
	if err := killProcesses(h, left); err != nil {
		return err // and the keeper may be what has not ended
	}
	k.reap()
	return nil
}

// reap lets go of a keeper that has ended.
func (k *keeper) reap() {
	_ = k.close() // again, perhaps
	<-k.ended
}

// close closes our ends of the pipes.
func (k *keeper) close() error { return errors.Join(k.lifeline.Close(), k.words.Close()) }

// launch starts epmd and then the server, and writes both, with the keeper, to the lock.
func launch(ctx context.Context, dir string, st state, o keeperOptions) (*keeper, holder, error) {
	h := holder{Host: hostname(), Place: place(), StartedAt: time.Now()}
	if err := o.lock.record(h); err != nil { // before there is a node, so that one on a full disk does not begin
		return nil, h, err
	}
	l := layout{insideChroot(dir, st.Chroot)}
	epmd, err := findEPMD(st.Chroot)
	if err != nil {
		return nil, h, err
	}
	o.chroot, o.dir, o.env = st.Chroot, l.data(), environment(st, l)
	o.epmd, o.epmdPort, o.server = epmd, st.Ports.EPMD, st.Script
	o.epmdLog, o.serverLog = filepath.Join(dir, epmdLogName), filepath.Join(dir, startupLogName)
	k, epmdProcess, err := startKeeper(o)
	if err != nil {
		return nil, h, err
	}
	h.Keeper, h.EPMD = k.process, epmdProcess
	if err = waitForEPMD(ctx, st.Ports.EPMD, h.EPMD); err == nil {
		h.Server, err = k.serve()
	}
	if err == nil {
		err = o.lock.record(h)
	}
	if err != nil {
		return nil, h, errors.Join(err, k.end(h))
	}
	return k, h, nil
}

// findEPMD returns the path of Erlang's name server, as seen inside chroot. It looks on
// the search path, and beside the erl that is there.
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
