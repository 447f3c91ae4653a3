// Package secretfile reads files that hold a secret: a private key, or a URL with its
// password. One that others may read is refused, as ssh refuses a key.
package secretfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// most is how many bytes a secret may have: many times what a key has.
const most = 1 << 20

// Read returns what the file holds. It refuses a regular file of this process's user that
// the group or others have any access to; the mode of somebody else's file is not for
// this user to mend. On Windows, where a mode says nothing of that, it refuses none. The
// error names the file.
func Read(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if err := check(name, info); err != nil {
		return nil, err
	}
	secret, err := io.ReadAll(io.LimitReader(file, most+1))
	switch {
	case err != nil:
		return nil, err
	case len(secret) > most:
		return nil, fmt.Errorf("%s is larger than %d bytes: it holds something else", name, most)
	default:
		return secret, nil
	}
}

// check refuses an open file that others may read. A pipe is its maker's affair.
func check(name string, info fs.FileInfo) error {
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o077 != 0 && ours(info) {
		return fmt.Errorf("%s has mode %#o, so others than you have access to it: chmod 600 %[1]s", name, mode.Perm())
	}
	return nil
}
