//go:build !linux

package load

import "time"

// nap sleeps for a short time, as exactly as the system does it.
func nap(d time.Duration) { time.Sleep(d) }
