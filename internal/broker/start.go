//go:build linux || darwin

package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const startTimeoutDefault = 2 * time.Minute

// Start starts the node of o.Dir and returns once it serves AMQP, streams and
// its management API. The node is in a session of its own: it outlives this process
// and gets none of the terminal's signals; whoever wants it gone calls Stop.
//
// Errors: ErrRunning, *NotFoundError, ctx's own, and else one that ends with the
// last lines of the node's log. After an error nothing is left running.
func Start(ctx context.Context, o Options) (*Node, error) {
	if o.StartTimeout == 0 {
		o.StartTimeout = startTimeoutDefault
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.StartTimeout,
		fmt.Errorf("broker: the node did not serve within %v", o.StartTimeout))
	defer cancel()

	dir, script, err := o.resolve()
	if err != nil {
		return nil, err
	}
	account, err := serverAccount(o.Chroot)
	if err != nil {
		return nil, err
	}
	if err := makeFolders(dir, account); err != nil {
		return nil, err
	}
	unlock, err := lock(dir, ctx.Done())
	if err != nil {
		return nil, errors.Join(err, context.Cause(ctx))
	}
	defer unlock()

	st, err := takeUp(dir)
	if err != nil {
		return nil, err
	}
	st.Chroot, st.Script = o.Chroot, script
	return startOnFreePorts(ctx, dir, st, account, o)
}

// resolve returns the node's folder, absolute, and its start script.
func (o Options) resolve() (dir, script string, err error) {
	if o.Dir == "" {
		return "", "", errors.New("broker: no folder given for the node")
	}
	if dir, err = filepath.Abs(o.Dir); err != nil {
		return "", "", fmt.Errorf("broker: finding the folder %s: %w", o.Dir, err)
	}
	if o.Chroot != "" && !strings.HasPrefix(dir, filepath.Clean(o.Chroot)+"/") {
		return "", "", fmt.Errorf("broker: the node's folder %s is not inside its root %s", dir, o.Chroot)
	}
	if strings.ContainsAny(dir, " \t\n\"'\\") {
		// RabbitMQ's scripts split such paths into words.
		return "", "", fmt.Errorf("broker: RabbitMQ can't live in %q: the path has a space or a quote in it", dir)
	}
	script, err = findServer(o.Server, o.Chroot)
	return dir, script, err
}

// takeUp returns the state that an earlier node left in dir, with none of its
// processes alive, or a new one.
func takeUp(dir string) (state, error) {
	st, err := readState(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return newState(), nil
	}
	if err != nil {
		return st, err
	}
	if st.Server.alive() {
		return st, fmt.Errorf("%w: process %d in %s", ErrRunning, st.Server.PID, dir)
	}
	// The node was killed, or the machine was: its epmd may have outlived it.
	st.EPMD.kill()
	st.Server, st.EPMD = process{}, process{}
	return st, nil
}

// startOnFreePorts starts the node, on other ports where somebody took one
// between our look and the node's bind.
func startOnFreePorts(ctx context.Context, dir string, st state, account account, o Options) (*Node, error) {
	const attempts = 5
	for attempt := 1; ; attempt++ {
		if !st.Ports.free() {
			picked, err := pickPorts()
			if err != nil {
				return nil, err
			}
			st.Ports = picked
		}
		node, err := startOnce(ctx, dir, st, account, o)
		if err == nil || attempt == attempts || ctx.Err() != nil || st.Ports.free() {
			return node, err
		}
	}
}

// startOnce starts epmd and the server and waits until they serve; on an error
// it has killed both.
func startOnce(ctx context.Context, dir string, st state, account account, o Options) (*Node, error) {
	if err := writeConfig(dir, st, account, o); err != nil {
		return nil, err
	}
	server, err := launch(ctx, dir, &st, account)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*Node, error) {
		if leftover := killServer(st, nil); leftover != nil {
			return nil, errors.Join(err, leftover)
		}
		<-server
		st.Server, st.EPMD = process{}, process{}
		return nil, errors.Join(err, st.write(dir))
	}
	if err := st.write(dir); err != nil {
		return fail(err)
	}
	version, err := waitUntilServing(ctx, st, server)
	if err != nil {
		return fail(withLogTail(err, dir, st))
	}
	st.Version = version
	if err := st.write(dir); err != nil {
		return fail(err)
	}
	return newNode(dir, st, server), nil
}

// launch starts epmd and then the server and records both in st. The channel is
// closed when the server has ended and been reaped.
//
// RabbitMQ would start epmd itself, as a daemon that nobody knows the pid of and
// that outlives it. Where one answers on the node's port already it does not.
func launch(ctx context.Context, dir string, st *state, account account) (<-chan struct{}, error) {
	l := layout{insideChroot(dir, st.Chroot)}
	epmd, err := findEPMD(st.Chroot)
	if err != nil {
		return nil, err
	}
	st.StartedAt = time.Now()
	spawner := spawner{chroot: st.Chroot, dir: l.data(), account: account}
	spawner.output = filepath.Join(dir, logDirName, "epmd.log")
	spawner.env = erlangEnvironment(*st, l)
	var epmdDone <-chan struct{}
	st.EPMD, epmdDone, err = spawner.start(epmd, "-address", loopback, "-port", strconv.Itoa(st.Ports.EPMD))
	if err != nil {
		return nil, err
	}
	if err := waitForEPMD(ctx, st.Ports.EPMD, epmdDone); err != nil {
		st.EPMD.kill()
		<-epmdDone
		return nil, err
	}
	spawner.output = startupLog(dir)
	spawner.env = environment(*st, l)
	var done <-chan struct{}
	st.Server, done, err = spawner.start(st.Script)
	if err != nil {
		st.EPMD.kill()
		<-epmdDone
		return nil, err
	}
	return done, nil
}

// startupLog is the output of the start script: what it says before RabbitMQ has
// a log.
func startupLog(dir string) string { return filepath.Join(dir, logDirName, "startup.log") }

// withLogTail adds to a start's error what the node's logs say of it. A cancelled
// start needs no explanation.
func withLogTail(err error, dir string, st state) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	var tail strings.Builder
	for _, path := range []string{startupLog(dir), LogFile(dir)} {
		text, found := tellingLines(path, st.StartedAt)
		if text != "" {
			tail.WriteString("\n" + filepath.Base(path) + ":\n" + text)
		}
		if found {
			break
		}
	}
	return fmt.Errorf("%w%s", err, tail.String())
}

// tellingLines returns the lines around RabbitMQ's notice that it can't start,
// and whether there is one; else the last lines. It returns nothing of a log that
// was not written to since the start.
func tellingLines(path string, since time.Time) (text string, found bool) {
	const bytesMax, before, after, last = 64 << 10, 10, 8, 15
	file, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.ModTime().Before(since.Add(-time.Second)) {
		return "", false
	}
	data := make([]byte, bytesMax)
	read, _ := file.ReadAt(data, max(0, info.Size()-bytesMax))
	lines := strings.Split(strings.TrimSpace(string(data[:read])), "\n")
	from, to := max(0, len(lines)-last), len(lines)
	// A screenful of Erlang's own crash report comes after the notice.
	notice := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, "BOOT FAILED") })
	if notice >= 0 {
		from, to = max(0, notice-before), min(len(lines), notice+after)
	}
	return strings.TrimSpace(strings.Join(lines[from:to], "\n")), notice >= 0
}
