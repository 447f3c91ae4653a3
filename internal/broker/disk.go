//go:build linux || darwin

package broker

import "syscall"

// DiskFree is how many bytes are free where the node keeps its data.
func (n *Node) DiskFree() (bytes uint64, ok bool) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(n.Dir, &disk); err != nil {
		return 0, false
	}
	return disk.Bavail * uint64(disk.Bsize), true
}
