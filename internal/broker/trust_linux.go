package broker

import "syscall"

// hasACL reports whether who may use a file or folder is said by a POSIX access control
// list, and not by its mode alone: acl(5).
func hasACL(path string) bool {
	size, err := syscall.Getxattr(path, "system.posix_acl_access", nil)
	return err == nil && size > 0
}
