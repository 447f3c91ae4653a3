package load

import "time"

// Usage is what this process has used of the machine.
type Usage struct {
	CPU time.Duration // user and system, all threads
	// PeakRSSBytes is the largest resident memory so far; 0 if the system does not
	// tell.
	PeakRSSBytes uint64
}
