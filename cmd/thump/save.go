package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// runFile is the file of --save. A nil one takes everything, and writes nothing.
type runFile struct {
	file *os.File
	*result.Writer
}

// createRunFile makes the file that --save names, before the work begins. It returns nil for
// "". A file that exists is the record of another run, and stays.
func createRunFile(name string) (*runFile, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // which writes nothing
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, modeNew)
	if errors.Is(err, os.ErrExist) {
		err = errors.New("it exists already")
	}
	if err != nil {
		return nil, saveError(name, err)
	}
	return &runFile{file, result.NewWriter(file)}, nil
}

// writer is what writes it.
func (f *runFile) writer() *result.Writer {
	if f == nil {
		return nil
	}
	return f.Writer
}

// closeAfter closes the file after a command that ends with err, and returns what it ends
// with: err, and why not everything is in the file. A file in which no run has begun goes.
func (f *runFile) closeAfter(err error) error {
	closing := f.close()
	switch {
	case err == nil || closing != nil && errors.Is(err, errInterrupted):
		return closing
	case closing != nil:
		return fmt.Errorf("%w; %w", err, closing)
	default:
		return err
	}
}

func (f *runFile) close() error {
	if f == nil {
		return nil
	}
	if f.Empty() && f.Err() == nil {
		_ = f.file.Close()
		_ = os.Remove(f.file.Name()) // where that fails, an empty file stays
		return nil
	}
	return saveError(f.file.Name(), errors.Join(f.Err(), f.file.Sync(), f.file.Close()))
}

func saveError(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("--save: %s: %w", name, cause(err))
}
