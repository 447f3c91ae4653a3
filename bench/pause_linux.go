package main

import (
	"syscall"
	"time"
)

// pause sleeps for about d, and may return early. An idle Go program's own timers are
// late by up to a millisecond on Linux, which would be most of what a message takes.
func pause(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&ts, nil) // a signal ends it early
}
