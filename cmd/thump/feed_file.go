package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/thumpmq/thump/internal/record"
)

// open opens the next file. The error is io.EOF after the last.
func (f *feed) open(ctx context.Context) error {
	if f.next == len(f.files) {
		if !f.loop || f.sent == f.before {
			return io.EOF
		}
		f.next, f.before, f.origin = 0, f.sent, time.Time{}
	}
	f.name = f.files[f.next]
	f.next++
	format, compression := f.layout.of(f.name)
	file, err := interruptibly(ctx, func() (*os.File, error) { return openInput(f.name) })
	if err != nil {
		return fmt.Errorf("%s: %w", f.name, cause(err))
	}
	f.file = file
	if f.name == "-" {
		f.name = "standard input"
	}
	if f.begun, err = file.Stat(); err != nil {
		return fmt.Errorf("%s: %w", f.name, cause(err))
	}
	plain, err := interruptibly(ctx, func() (io.ReadCloser, error) { return compression.Reader(file) })
	if err != nil {
		return f.unread(err)
	}
	f.plain, f.reader, f.format = plain, record.NewReader(plain, format), format
	return nil
}

// unread is the error of a file that can't be read, or not to its end.
func (f *feed) unread(err error) error {
	switch {
	case errors.Is(err, record.ErrNotCompressed):
		return fmt.Errorf("%s: %w (--compress none reads it as it is)", f.name, err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%s: it is cut short: what is compressed in it has no end; what came before that was sent", f.name)
	default:
		return fmt.Errorf("%s: reading it: %w; what came before that was sent", f.name, cause(err))
	}
}

// changed is an error for a file that has been read to its end, and is not what it was when that
// began: some of it may not have been there yet, or no more.
func (f *feed) changed() error {
	if !f.begun.Mode().IsRegular() {
		return nil
	}
	now, err := f.file.Stat()
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", f.name, cause(err))
	case now.Size() != f.begun.Size():
		return fmt.Errorf("%s: it has changed while it was read, from %d bytes to %d; what was read of it was sent", f.name, f.begun.Size(), now.Size())
	case !now.ModTime().Equal(f.begun.ModTime()):
		return fmt.Errorf("%s: it was written to while it was read; what was read of it was sent", f.name)
	}
	return nil
}

func openInput(name string) (*os.File, error) {
	if name == "-" {
		return os.Stdin, nil
	}
	return os.Open(name)
}

func (f *feed) closeFile() {
	if f.plain != nil {
		_ = f.plain.Close() // of what was read
	}
	if f.file != nil {
		_ = f.file.Close()
	}
	f.file, f.plain, f.reader = nil, nil, nil
}
