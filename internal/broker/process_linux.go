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

// stat returns the fields of /proc/PID/stat after the name, or nil. Everybody may
// read it for every process, unlike environ, for which root in a container lacks
// the right once the node runs as another user.
func stat(pid int) []string {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	// The name stands in brackets and may hold brackets and blanks itself.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) <= statStart {
		return nil
	}
	return fields
}

// identity is what no later process with the same pid has in common with this
// one: the boot and the clock tick it was started in. Empty for a process that is
// gone, or a zombie whose last thread has ended: until then it may still hold its
// listeners.
func identity(pid int) string {
	fields := stat(pid)
	if fields == nil || fields[statState] == "X" || fields[statState] == "Z" && fields[statThreads] <= "1" {
		return ""
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fields[statStart]
	}
	return strings.TrimSpace(string(boot)) + "/" + fields[statStart]
}

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
	const ticksPerSecond = 100 // USER_HZ: fixed in Linux's interface on what Go runs on
	fields := stat(pid)
	if fields == nil {
		return 0, false
	}
	user, err1 := strconv.ParseFloat(fields[statUserTicks], 64)
	system, err2 := strconv.ParseFloat(fields[statSysTicks], 64)
	return (user + system) / ticksPerSecond, err1 == nil && err2 == nil
}

// memoryTotalBytes is the machine's memory, 0 where it is not known.
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
