//go:build unix

package main

import (
	"os"
	"runtime"
	"syscall"
)

// ownCPUSeconds is the user and system time of this process so far.
func ownCPUSeconds() float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

// peakRSSBytes is the most memory that a child had at once, or 0 if that is
// unknown. On Linux a child inherits the figure of its parent, so that no child
// shows less than the 15 MB or so of this program.
func peakRSSBytes(p *os.ProcessState) int64 {
	r, ok := p.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return int64(r.Maxrss) //nolint:unconvert // it has 32 bits on some systems
	}
	return int64(r.Maxrss) << 10 //nolint:unconvert // kilobytes; see above
}
