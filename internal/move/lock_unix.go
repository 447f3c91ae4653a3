//go:build linux || darwin

package move

import (
	"errors"
	"os"
	"syscall"
)

// lockFile keeps other moves from the journal while this one has it open.
func lockFile(file *os.File) error {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errors.New("another move is using it")
	}
	return err
}

// syncFolder makes sure that a file's new name lasts.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}
