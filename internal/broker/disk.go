//go:build linux || darwin

package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
)

// DiskFree is how many bytes are free on the disk with the node's data. ok is false if
// that is unknown.
func (n *Node) DiskFree() (bytes uint64, ok bool) { return diskFree(n.Dir) }

// diskFree is how many bytes are free on the disk where dir is, or would be made.
func diskFree(dir string) (bytes uint64, ok bool) {
	var disk syscall.Statfs_t
	err := syscall.Statfs(dir, &disk)
	if errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
		return diskFree(filepath.Dir(dir))
	}
	return disk.Bavail * uint64(disk.Bsize), err == nil
}

// checkDisk returns an error if a node in dir would soon have no room for messages. It
// would run, but block whoever publishes.
func checkDisk(dir string) error {
	free, ok := diskFree(dir)
	if !ok || free >= DiskReserve {
		return nil
	}
	return fmt.Errorf("broker: too little disk for a node: %d MB are free at %s, and it takes %d MB, because RabbitMQ accepts no message when its disk is nearly full",
		free/1e6, dir, uint64(DiskReserve)/1e6)
}
