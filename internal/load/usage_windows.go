package load

import (
	"syscall"
	"time"
)

// ReadUsage returns what this process has used so far. Windows tells the CPU
// time in an easy way, and not the peak memory.
func ReadUsage() (u Usage, ok bool) {
	self, err := syscall.GetCurrentProcess()
	if err != nil {
		return Usage{}, false
	}
	var created, exited, kernel, user syscall.Filetime
	if err := syscall.GetProcessTimes(self, &created, &exited, &kernel, &user); err != nil {
		return Usage{}, false
	}
	u.CPU = filetimeDuration(kernel) + filetimeDuration(user)
	return u, true
}

// filetimeDuration converts a span that Windows counts in units of 100 ns.
func filetimeDuration(t syscall.Filetime) time.Duration {
	return time.Duration(uint64(t.HighDateTime)<<32|uint64(t.LowDateTime)) * 100
}
