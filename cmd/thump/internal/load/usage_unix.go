//go:build unix

package load

import (
	"bufio"
	"bytes"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// ReadUsage returns what this process has used so far. ok is false if the system
// does not tell.
func ReadUsage() (u Usage, ok bool) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return Usage{}, false
	}
	u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	// In kilobytes, except on macOS, which counts bytes.
	u.PeakRSSBytes = uint64(r.Maxrss)
	if runtime.GOOS != "darwin" && runtime.GOOS != "ios" {
		u.PeakRSSBytes *= 1024
	}
	// On Linux ru_maxrss survives exec: a small process that a large one started
	// shows the large one's peak. VmHWM is this program's own.
	if peak, ok := procPeakRSS(); ok {
		u.PeakRSSBytes = peak
	}
	return u, true
}

// procPeakRSS reads VmHWM from /proc/self/status. ok is false if it is not there.
func procPeakRSS() (peak uint64, ok bool) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, false
	}
	for lines := bufio.NewScanner(bytes.NewReader(status)); lines.Scan(); {
		value, found := bytes.CutPrefix(lines.Bytes(), []byte("VmHWM:"))
		if !found {
			continue
		}
		value = bytes.TrimSpace(bytes.TrimSuffix(value, []byte("kB")))
		kib, err := strconv.ParseUint(string(value), 10, 64)
		return kib * 1024, err == nil
	}
	return 0, false
}
