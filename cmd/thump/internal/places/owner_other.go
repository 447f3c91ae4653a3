//go:build !unix

package places

import "io/fs"

// checkOwner accepts every file where a mode does not say who may write it.
func checkOwner(fs.FileInfo) error { return nil }
