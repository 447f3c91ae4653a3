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

// ReadUsage returns what this process has used so far.
func ReadUsage() (u Usage, ok bool) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return Usage{}, false
	}
	u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	// Kilobytes, but for macOS, where it is bytes.
	u.PeakRSSBytes = uint64(r.Maxrss)
	if runtime.GOOS != "darwin" && runtime.GOOS != "ios" {
		u.PeakRSSBytes *= 1024
	}
	// Linux hands ru_maxrss down through exec: a small process started by a
	// large one shows the large one's peak. VmHWM is this program's own.
	if peak, ok := procPeakRSS(); ok {
		u.PeakRSSBytes = peak
	}
	return u, true
}

// procPeakRSS reads VmHWM of /proc/self/status, where there is one.
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
