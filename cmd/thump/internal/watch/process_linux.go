package watch

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	ticksPerSecond = 100 // USER_HZ, which is the same on all systems that Go supports
	// searchEvery is how often a process is looked for that is not there.
	searchEvery = 5 * time.Second

	// Fields of /proc/PID/stat, counted from the one after the command's name.
	statUserTicks = 11
	statSysTicks  = 12
	statStart     = 19
	statRSS       = 21
)

// Listener is the broker's process on this machine that listens on a port. It finds the next
// one where that has ended. It is safe for concurrent use.
type Listener struct {
	port uint16

	mu       sync.Mutex
	pid      string // "" while there is none
	started  string // tells it from a later one with the same pid
	searched time.Time
}

// NewListener is for a broker that listens on this port of this machine.
func NewListener(port uint16) *Listener { return &Listener{port: port} }

// Used is what the process has used so far: processor time in seconds, and the memory that it
// has now. ok is false if there is no such process, if this user may not see which
// process listens, or if it is not a broker but something before it.
func (l *Listener) Used() (cpuSeconds float64, memoryBytes uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pid != "" {
		if cpu, memory, ok := l.read(); ok {
			return cpu, memory, true
		}
		l.pid = ""
	}
	if time.Since(l.searched) < searchEvery || !l.searched.IsZero() && l.started == "" {
		return 0, 0, false // what was not found at first will not be
	}
	l.searched = time.Now()
	if l.find(); l.pid == "" {
		return 0, 0, false
	}
	return l.read()
}

func (l *Listener) read() (cpuSeconds float64, memoryBytes uint64, ok bool) {
	fields := stat(l.pid)
	if len(fields) <= statRSS || fields[statStart] != l.started {
		return 0, 0, false
	}
	user, err1 := strconv.ParseFloat(fields[statUserTicks], 64)
	system, err2 := strconv.ParseFloat(fields[statSysTicks], 64)
	pages, err3 := strconv.ParseUint(fields[statRSS], 10, 64)
	return (user + system) / ticksPerSecond, pages * uint64(os.Getpagesize()), err1 == nil && err2 == nil && err3 == nil
}

// find looks for the process among those that may be brokers: of one in a container, what
// listens here passes on what comes.
func (l *Listener) find() {
	sockets := l.sockets()
	if len(sockets) == 0 {
		return
	}
	names, _ := filepath.Glob("/proc/[0-9]*/comm") // no error: the pattern is right
	for _, name := range names {
		command, err := os.ReadFile(name)
		if err != nil || !isBroker(strings.TrimSpace(string(command))) {
			continue
		}
		pid := filepath.Base(filepath.Dir(name))
		if fields := stat(pid); len(fields) > statRSS && holds(pid, sockets) {
			l.pid, l.started = pid, fields[statStart]
			return
		}
	}
}

// isBroker reports whether a process with that name may be one: RabbitMQ runs in Erlang's.
func isBroker(command string) bool {
	return strings.HasPrefix(command, "beam") || strings.HasPrefix(command, "lavinmq")
}

// sockets are those that listen on the port, as links in /proc/PID/fd name them.
func (l *Listener) sockets() map[string]bool {
	const listening = "0A"
	found := make(map[string]bool)
	port := fmt.Sprintf(":%04X", l.port)
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			// sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
			fields := strings.Fields(lines.Text())
			if len(fields) > 9 && strings.HasSuffix(fields[1], port) && fields[3] == listening {
				found["socket:["+fields[9]+"]"] = true
			}
		}
		_ = f.Close() // it was only read
	}
	return found
}

// holds reports whether a process has one of the sockets.
func holds(pid string, sockets map[string]bool) bool {
	folder := "/proc/" + pid + "/fd"
	descriptors, err := os.ReadDir(folder)
	if err != nil {
		return false
	}
	for _, d := range descriptors {
		if target, err := os.Readlink(folder + "/" + d.Name()); err == nil && sockets[target] {
			return true
		}
	}
	return false
}

// stat returns the fields of /proc/PID/stat after the name, or nil.
func stat(pid string) []string {
	data, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return nil
	}
	// The name is in brackets, and may itself contain brackets and blanks.
	text := string(data)
	return strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
}
