package broker

import (
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// ps asks for columns of one process, or of all with pid 0, without a heading.
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

// identity is what no later process with the same pid has in common with this
// one: the second it was started in. Empty for a process that is gone, or a
// zombie.
func identity(pid int) string {
	if strings.HasPrefix(ps("state", pid), "Z") {
		return ""
	}
	return ps("lstart", pid)
}

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

// cpuSeconds is the user and system time that a process has used, which ps
// writes as [[days-]hours:]minutes:seconds.hundredths.
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

// memoryTotalBytes is needed only for a chroot, which is Linux's.
func memoryTotalBytes() int64 { return 0 }
