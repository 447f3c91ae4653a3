package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// partFile is what a dump with --resume is written to until it is whole: FILE.part. What an
// earlier one has left there is FILE.part.old while it is copied.
type partFile struct {
	name string   // of the whole dump
	old  *os.File // nil if there is nothing to go on from
	*os.File
}

func (p *partFile) partName() string { return p.name + ".part" }
func (p *partFile) oldName() string  { return p.name + ".part.old" }

// openPart opens the file to write, and what there is of it already.
func openPart(name string) (*partFile, error) {
	p := &partFile{name: name}
	// One that is there already is what a killed copy began with.
	if _, err := os.Stat(p.oldName()); errors.Is(err, fs.ErrNotExist) {
		if err := os.Rename(p.partName(), p.oldName()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", p.partName(), cause(err))
		}
	}
	old, err := os.Open(p.oldName())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", p.oldName(), cause(err))
	}
	if err == nil {
		p.old = old
	}
	if p.File, err = os.OpenFile(p.partName(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, modeNew); err != nil {
		p.closeOld()
		return nil, fmt.Errorf("%s: %w", p.partName(), cause(err))
	}
	return p, nil
}

// reader is what there is already; nil for nothing.
func (p *partFile) reader() io.Reader {
	if p.old == nil {
		return nil
	}
	return p.old
}

func (p *partFile) closeOld() {
	if p.old != nil {
		_ = p.old.Close() // it was only read
	}
	p.old = nil
}

// copied removes what was there, once the disk has it in the new file.
func (p *partFile) copied() error {
	if err := p.Sync(); err != nil {
		return err
	}
	p.closeOld()
	return os.Remove(p.oldName())
}

// keep gives the whole dump its name.
func (p *partFile) keep() error {
	if err := errors.Join(p.Sync(), p.Close(), os.Rename(p.partName(), p.name)); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(p.name))
}

// suspend keeps what there is for the next time. Where it has not been copied yet, that is the
// old file.
func (p *partFile) suspend() (name string) {
	if p.old != nil {
		p.closeOld()
		_ = p.Close()
		_ = os.Remove(p.partName())
		return p.oldName()
	}
	_ = p.Sync() // a crash may take some of it, and what is whole is gone on from
	_ = p.Close()
	return p.partName()
}
