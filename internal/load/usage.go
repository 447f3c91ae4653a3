package load

import "time"

// Usage is what this process has used of the machine.
type Usage struct {
	CPU time.Duration // user and system, all threads
	// PeakRSSBytes is the most memory that was resident at a time; 0 where the
	// system does not say.
	PeakRSSBytes uint64
}
