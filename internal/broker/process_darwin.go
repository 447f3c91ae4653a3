package broker

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ps returns columns of one process, or of all if pid is 0, without a heading.
func ps(names string, pid int) string {
	var columns []string
	for column := range strings.SplitSeq(names, " ") {
		columns = append(columns, "-o", column+"=")
	}
	which := []string{"-p", strconv.Itoa(pid)}
	if pid == 0 {
		which = []string{"-ax"}
	}
	output, err := exec.Command("/bin/ps", append(which, columns...)...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(output))
}

// identity distinguishes a process from any later one with the same pid: it is the
// second in which it was started. It is empty for a process that has ended, or is a
// zombie.
func identity(pid int) string {
	if strings.HasPrefix(ps("state", pid), "Z") {
		return ""
	}
	return ps("lstart", pid)
}

// isStopped reports whether a process is stopped by a signal.
func isStopped(pid int) bool { return strings.HasPrefix(ps("state", pid), "T") }

// bootID is new each time the host starts.
func bootID() string {
	boot, _ := syscall.Sysctl("kern.bootsessionuuid")
	return boot
}

// place names the set of processes that our pids are of: the boot of a host.
func place() string { return bootID() }

// processesHint is why identity or place may be unknown.
const processesHint = ": /bin/ps does not work, and without it no node can be started or stopped safely"

// parents maps every process to its parent.
func parents() map[int]int {
	all := map[int]int{}
	for line := range strings.Lines(ps("pid ppid", 0)) {
		fields := strings.Fields(line)
		if len(fields) != 2 {
			continue
		}
		pid, err := strconv.Atoi(fields[0])
		if err != nil {
			continue
		}
		all[pid], _ = strconv.Atoi(fields[1])
	}
	return all
}

// cpuSeconds is the user and system time that a process has used. ps writes it as
// [[days-]hours:]minutes:seconds.hundredths.
func cpuSeconds(pid int) (float64, bool) {
	text := ps("time", pid)
	if text == "" {
		return 0, false
	}
	days, clock, found := strings.Cut(text, "-")
	if !found {
		days, clock = "0", text
	}
	total, err := strconv.ParseFloat(days, 64)
	if err != nil {
		return 0, false
	}
	total *= (24 * time.Hour).Seconds()
	var ofDay float64
	for part := range strings.SplitSeq(clock, ":") {
		value, err := strconv.ParseFloat(part, 64)
		if err != nil {
			return 0, false
		}
		ofDay = ofDay*60 + value
	}
	return total + ofDay, true
}

// memoryTotalBytes is needed only for a chroot, and those are on Linux.
func memoryTotalBytes() int64 { return 0 }
