package load

import (
	"syscall"
	"time"
)

// ReadUsage returns the CPU time that this process has used so far. ok is false if
// Windows does not tell. The peak memory is left out: package syscall has no call
// for it.
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

// filetimeDuration converts a time that Windows counts in units of 100 ns.
func filetimeDuration(t syscall.Filetime) time.Duration {
	return time.Duration(uint64(t.HighDateTime)<<32|uint64(t.LowDateTime)) * 100
}
