package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/thumpmq/thump/internal/printable"
)

// file is what a command writes for its user under a name that the user gives. An older
// file of that name is there, whole, until the new one is: that is written beside it and
// takes its name at the end. Where that can't be, because the file is mounted, as into a
// container, or because nobody may make another in its folder, it is written over. A pipe,
// a terminal or another device is written as the bytes come.
//
//	f, err := createFile(ctx, name, stdout, stderr)
//	defer f.discard()
//	... write to f ...
//	return f.keep()
//
// fill does the last three at once.
type file struct {
	name string    // what the user gave, for errors
	out  io.Writer // a device, or what a descriptor stands for; nil for a file

	// The rest is for a file.
	path      string // where it will be: what name leads to
	older     bool   // there is one already
	over      bool   // it is written over: there is no place for another beside it
	mode      fs.FileMode
	temporary *os.File // open from the first Write on; with over, the older file itself
}

const (
	linksMost = 40    // as many as Linux follows
	modeNew   = 0o666 // less the umask
)

// createFile finds out whether name can be written, before the work begins, and leaves
// no trace: what is there stays until keep. Links are followed now, and not again
// later. A pipe that nobody reads is waited for, until ctx ends. stdout and stderr are what
// the names of those descriptors stand for.
func createFile(ctx context.Context, name string, stdout, stderr io.Writer) (*file, error) {
	f := &file{name: name, mode: modeNew}
	info, err := f.follow(stdout, stderr)
	switch {
	case err != nil:
		return nil, f.failed(err)
	case f.out != nil:
		return f, nil
	case info == nil: // it does not exist
	case info.IsDir():
		return nil, f.failed(errors.New("it is a folder"))
	case !info.Mode().IsRegular():
		f.out, err = interruptibly(ctx, func() (io.Writer, error) { return os.OpenFile(f.path, os.O_WRONLY, 0) })
		if err != nil {
			return nil, f.failed(err)
		}
		return f, nil
	default:
		f.mode, f.older = info.Mode().Perm(), true
		// Who may not write it may not replace it either.
		existing, err := os.OpenFile(f.path, os.O_WRONLY, 0)
		if err != nil {
			return nil, f.failed(err)
		}
		_ = existing.Close() // nothing was written
	}
	if err := f.begin(); err != nil {
		f.over = f.older && errors.Is(err, fs.ErrPermission)
		if !f.over {
			return nil, err
		}
	}
	f.discard()
	return f, nil
}

// follow sets path to what the name leads to, and returns what is there, nil for nothing.
// For a descriptor it sets out.
func (f *file) follow(stdout, stderr io.Writer) (fs.FileInfo, error) {
	f.path = f.name
	for range linksMost {
		if number, ok := descriptor(f.path); ok {
			switch number {
			case 1:
				f.out = stdout
			case 2:
				f.out = stderr
			default:
				inherited := os.NewFile(number, f.name)
				f.out = inherited
				return inherited.Stat() // is it open?
			}
			return nil, nil
		}
		info, err := os.Lstat(f.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case err != nil || info.Mode()&fs.ModeSymlink == 0:
			return info, err
		}
		target, err := os.Readlink(f.path)
		if err != nil {
			return nil, err
		}
		if !filepath.IsAbs(target) {
			// Not filepath.Join: it drops "folder/..", and folder may be a link.
			folder, _ := filepath.Split(f.path)
			target = folder + target
		}
		f.path = target
	}
	return nil, errors.New("too many links")
}

// descriptor returns the number of the open file that a path stands for.
func descriptor(path string) (number uintptr, ok bool) {
	switch path {
	case "/dev/stdout":
		return 1, true
	case "/dev/stderr":
		return 2, true
	}
	for _, folder := range []string{"/dev/fd/", "/proc/self/fd/"} {
		if digits, found := strings.CutPrefix(path, folder); found {
			n, err := strconv.ParseUint(digits, 10, 31)
			return uintptr(n), err == nil
		}
	}
	return 0, false
}

// begin makes the temporary file. Nobody may read it who may not read the older one.
func (f *file) begin() (err error) {
	if f.over {
		f.temporary, err = os.OpenFile(f.path, os.O_WRONLY|os.O_TRUNC, 0)
		return f.failed(err)
	}
	folder := filepath.Dir(f.path)
	temporary, err := os.OpenFile(filepath.Join(folder, ".thump-"+rand.Text()[:12]), os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
	if err != nil {
		return f.failed(fmt.Errorf("making a file in its folder, %s: %w", folder, cause(err)))
	}
	f.temporary = temporary
	return nil
}

// Write writes p to the new file.
func (f *file) Write(p []byte) (int, error) {
	if f.out != nil {
		n, err := f.out.Write(p)
		return n, f.failed(err)
	}
	if f.temporary == nil {
		if err := f.begin(); err != nil {
			return 0, err
		}
	}
	n, err := f.temporary.Write(p)
	return n, f.failed(err)
}

// fill lets write write all of the file, and keeps it. A device may take its bytes
// slowly, or never: ctx ends the wait for it.
func (f *file) fill(ctx context.Context, write func(io.Writer) error) error {
	all := func() (struct{}, error) {
		err := write(f)
		if err == nil {
			err = f.keep()
		}
		return struct{}{}, err
	}
	if _, device := f.out.(*os.File); device {
		_, err := interruptibly(ctx, all)
		return err
	}
	_, err := all()
	return err
}

// fillJSON fills the file with a record, as indented JSON in which no terminal finds anything
// to obey.
func (f *file) fillJSON(ctx context.Context, record any) error {
	return f.fill(ctx, func(w io.Writer) error {
		text, err := json.MarshalIndent(record, "", "  ")
		if err == nil {
			_, err = w.Write(append(printable.JSON(text), '\n'))
		}
		return err
	})
}

// keep gives the new file its name, once the disk has all of it. Where that fails the
// older one is as it was.
func (f *file) keep() error {
	if device, ok := f.out.(*os.File); ok {
		return f.failed(device.Close())
	}
	if f.temporary == nil {
		return nil // nothing was written, or the stream is not ours to close
	}
	defer f.discard()
	var err error
	if f.older {
		err = f.temporary.Chmod(f.mode)
	}
	if err := errors.Join(err, f.temporary.Sync(), f.temporary.Close()); err != nil || f.over {
		return f.failed(err)
	}
	written := f.temporary.Name()
	err = os.Rename(written, f.path)
	if err == nil {
		err = syncFolder(filepath.Dir(f.path)) // which the name is in
	} else if f.older {
		err = f.writeOver(written)
	}
	if err != nil {
		f.temporary = nil
		return f.failed(fmt.Errorf("it can't be replaced: %w; what was to be in it is in %s", cause(err), written))
	}
	return nil
}

// writeOver copies the temporary file into the older one, which can't be replaced.
func (f *file) writeOver(written string) error {
	from, err := os.Open(written)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(f.path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Sync(), to.Close())
}

// discard removes what was written so far. After keep it does nothing.
func (f *file) discard() {
	if f == nil || f.temporary == nil {
		return
	}
	_ = f.temporary.Close() // it goes
	if !f.over {
		_ = os.Remove(f.temporary.Name()) // not there any more, where it has its name
	}
	f.temporary = nil
}

// failed says with which file err has to do.
func (f *file) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", f.name, cause(err))
}

// cause is err without the path that package os gives it: that may be a temporary file's.
func cause(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	if link, ok := errors.AsType[*os.LinkError](err); ok {
		return link.Err
	}
	return err
}

// interruptibly returns what do returns, or ctx's error once ctx has ended: do may wait
// for somebody who never comes, in a system call that nothing ends.
func interruptibly[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		value, err := do()
		done <- answer{value, err}
	}()
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
