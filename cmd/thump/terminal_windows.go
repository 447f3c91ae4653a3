package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// obeysEscapes makes a terminal obey escape sequences. It reports whether it does.
func obeysEscapes(terminal *os.File) bool {
	console := windows.Handle(terminal.Fd())
	var mode uint32
	if windows.GetConsoleMode(console, &mode) != nil {
		return false
	}
	return windows.SetConsoleMode(console, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
