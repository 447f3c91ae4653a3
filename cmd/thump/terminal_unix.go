//go:build !windows

package main

import "os"

// obeysEscapes makes a terminal obey escape sequences. It reports whether it does.
func obeysEscapes(*os.File) bool { return os.Getenv("TERM") != "dumb" }
