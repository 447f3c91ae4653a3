//go:build linux || darwin

package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// OpenLog opens the log of the node that is, or was, in dir, if only we, root and
// RabbitMQ's own user can have put it there, and nothing else is in its place. The error
// wraps fs.ErrNotExist if there is none.
func OpenLog(dir string) (*os.File, error) {
	dir, err := absolute(dir)
	if err != nil {
		return nil, err
	}
	if err := believe(filepath.Join(dir, stateFileName)); err != nil {
		return nil, err
	}
	return openPlain(LogFile(dir))
}

// openPlain opens a file that RabbitMQ's user may have put there, for reading. What that
// user can't read he could have us read by a link, and a pipe would have us wait for ever.
func openPlain(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("broker: %s is a link, and no log", path)
	}
	if err != nil {
		return nil, fmt.Errorf("broker: opening a log: %w", err)
	}
	info, err := file.Stat()
	switch {
	case err != nil:
		err = fmt.Errorf("broker: opening a log: %w", err)
	case !info.Mode().IsRegular():
		err = fmt.Errorf("broker: %s is no plain file, and no log", path)
	case info.Sys().(*syscall.Stat_t).Nlink > 1:
		err = fmt.Errorf("broker: %s has a second name, and is no log", path)
	default:
		return file, nil
	}
	file.Close()
	return nil, err
}

// withLogTail adds what the node's logs say to the error of a start. A cancelled start
// needs no explanation.
func withLogTail(err error, dir string, since time.Time) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	var tail strings.Builder
	for _, path := range []string{filepath.Join(dir, startupLogName), LogFile(dir)} {
		text, found := tellingLines(path, since)
		if text != "" {
			tail.WriteString("\n" + filepath.Base(path) + ":\n" + text)
		}
		if found {
			break
		}
	}
	return fmt.Errorf("%w%s", err, tail.String())
}

// tellingLines returns the lines around RabbitMQ's notice that it can't start, up to the
// one that says that a port was in use if there is such a line, and whether there is a
// notice; if there is none, the last lines. It returns nothing from a log that was not
// written to since the start.
func tellingLines(path string, since time.Time) (text string, found bool) {
	const bytesMax, before, after, last = 64 << 10, 10, 8, 15
	file, err := openPlain(path)
	if err != nil {
		return "", false
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.ModTime().Before(since.Add(-time.Second)) {
		return "", false
	}
	data := make([]byte, bytesMax)
	read, _ := file.ReadAt(data, max(0, info.Size()-bytesMax))
	lines := strings.Split(strings.TrimSpace(string(data[:read])), "\n")
	from, to := max(0, len(lines)-last), len(lines)
	// After the notice comes a screenful of Erlang's own crash report.
	notice := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, "BOOT FAILED") })
	if notice >= 0 {
		from, to = max(0, notice-before), min(len(lines), notice+after)
		inUse := slices.IndexFunc(lines[notice:], func(line string) bool { return strings.Contains(line, portInUse) })
		to = max(to, notice+inUse+1)
	}
	return strings.TrimSpace(strings.Join(lines[from:to], "\n")), notice >= 0
}
