//go:build !unix

package secretfile

import "io/fs"

// ours is false where a mode does not say who may read a file.
func ours(fs.FileInfo) bool { return false }
