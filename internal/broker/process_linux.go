package broker

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Fields of /proc/PID/stat, counted from the one after the command's name.
const (
	statState     = 0
	statParent    = 1
	statUserTicks = 11
	statSysTicks  = 12
	statThreads   = 17
	statStart     = 19
)

// stat returns the fields of /proc/PID/stat after the name, or nil. Every user may read
// that file of every process, unlike environ, which even root in a container may not
// read if the process belongs to another user.
func stat(pid int) []string {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	// The name is in brackets, and may itself contain brackets and blanks.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) <= statStart {
		return nil
	}
	return fields
}

// identity distinguishes a process from any later one with the same pid: it is the boot
// and the clock tick in which it was started. It is empty for a process that has ended,
// or is a zombie whose last thread has ended; until then its listeners may be open.
func identity(pid int) string {
	fields := stat(pid)
	if fields == nil || fields[statState] == "X" || fields[statState] == "Z" && fields[statThreads] <= "1" {
		return ""
	}
	return bootID() + "/" + fields[statStart]
}

// isStopped reports whether a process is stopped by a signal.
func isStopped(pid int) bool {
	fields := stat(pid)
	return fields != nil && fields[statState] == "T"
}

// bootID is new each time the host starts, and empty if /proc is not there.
func bootID() string {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(boot))
}

// place names the set of processes that our pids are of: the boot of a host, and the pid
// namespace within it, which containers have of their own. It is empty if /proc is not
// there.
func place() string {
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return bootID() + "/" + namespace
}

// processesHint is why identity or place may be unknown.
const processesHint = ": /proc is not mounted, and without it no node can be started or stopped safely"

// parents maps every process to its parent.
func parents() map[int]int {
	all := map[int]int{}
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			continue
		}
		if fields := stat(pid); fields != nil {
			all[pid], _ = strconv.Atoi(fields[statParent])
		}
	}
	return all
}

// cpuSeconds is the user and system time that a process has used.
func cpuSeconds(pid int) (float64, bool) {
	const ticksPerSecond = 100 // USER_HZ, which is the same on all systems that Go supports
	fields := stat(pid)
	if fields == nil {
		return 0, false
	}
	user, err1 := strconv.ParseFloat(fields[statUserTicks], 64)
	system, err2 := strconv.ParseFloat(fields[statSysTicks], 64)
	return (user + system) / ticksPerSecond, err1 == nil && err2 == nil
}

// memoryTotalBytes is the size of the machine's memory, 0 if it is unknown.
func memoryTotalBytes() int64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kibibytes, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kibibytes << 10
		}
	}
	return 0
}
