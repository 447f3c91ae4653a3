//go:build !unix

package main

import "os"

// ownCPUSeconds is unknown on this system: figures include the start of a child.
func ownCPUSeconds() float64 { return 0 }

// peakRSSBytes is unknown on this system.
func peakRSSBytes(*os.ProcessState) int64 { return 0 }
