package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/record"
)

const (
	// outletBuffer is how many bytes are written at a time.
	outletBuffer = 1 << 20
	// tailMost is how much of a file is looked at for the end of its last whole message.
	tailMost = 1 << 20
)

// outlet is where receive puts messages: a file, one file after another, or standard output.
// It is safe for concurrent use.
type outlet struct {
	outputFiles
	stdout *os.File        // for the name "-"
	ctx    context.Context // ends a write that nobody takes

	syncing sync.Mutex // one at a time waits for the disk; comes before mu, which is free meanwhile

	mu       sync.Mutex
	name     string // of the file that is open
	number   int    // of that file, with --split
	file     *os.File
	compress record.Writer
	format   record.Format
	record   record.Record
	buffer   []byte // what the file does not have yet
	dirty    bool   // something was written that is not safe
	written  int64  // bytes of this file, after compression
	safe     int64  // bytes that the disk has
	split    uint64 // messages whose body has the delimiter in it
	failed   error
}

// outputFiles say what receive is to write.
type outputFiles struct {
	name     string // "-" for standard output
	layout   formatFlags
	add      bool   // to what is there
	splitAt  uint64 // bytes of a file; 0 for one file
	terminal io.Writer
}

// openOutlet opens the output, before a message is received for it.
func openOutlet(ctx context.Context, files outputFiles, stdout *os.File) (*outlet, error) {
	o := &outlet{outputFiles: files, stdout: stdout, ctx: ctx, number: 1}
	if err := o.open(); err != nil {
		return nil, err
	}
	return o, nil
}

// String is where the messages go.
func (f *outputFiles) String() string {
	format, compression := f.layout.of(f.name)
	what := string(format.Layout)
	if format.Layout == record.JSON {
		what = "records"
	}
	if compression != record.None {
		what += ", " + string(compression)
	}
	name := f.name
	switch {
	case f.terminal != nil && f.layout.layout == "" && f.layout.delimiter == "":
		return "this terminal, a line a message"
	case name == "-":
		name = "standard output"
	}
	return fmt.Sprintf("%s (%s)", name, what)
}

// open opens the next file.
func (o *outlet) open() error {
	format, compression := o.layout.of(o.outputFiles.name)
	o.format = format
	if o.terminal != nil { // which may be shown no more than text
		return nil
	}
	o.name = o.outputFiles.name
	if o.name == "-" {
		o.file, o.name = o.stdout, "standard output"
	} else {
		if o.splitAt > 0 {
			o.name = fmt.Sprintf(o.name, o.number)
		}
		file, at, err := o.create()
		if err != nil {
			return fmt.Errorf("%s: %w", o.name, cause(err))
		}
		o.file, o.written, o.safe = file, at, at
	}
	compress, err := compression.Writer(counted{o})
	if err != nil {
		return fmt.Errorf("%s: %w", o.name, err)
	}
	o.compress = compress
	return nil
}

// create makes the file, or opens what is there: a pipe, a device or, to add to it, a file.
// It returns where in the file to write.
func (o *outlet) create() (*os.File, int64, error) {
	file, err := os.OpenFile(o.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, modeNew)
	if err == nil {
		// Its name has to be as safe as what is in it.
		return file, 0, syncFolder(filepath.Dir(o.name))
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, 0, err
	}
	info, err := os.Stat(o.name)
	switch {
	case err != nil:
		return nil, 0, err
	case info.IsDir():
		return nil, 0, errors.New("it is a folder")
	case !info.Mode().IsRegular():
		file, err := interruptibly(o.ctx, func() (*os.File, error) { return os.OpenFile(o.name, os.O_WRONLY, 0) })
		return file, 0, err
	case !o.add:
		return nil, 0, errors.New("it exists already (--append adds to it)")
	}
	if file, err = os.OpenFile(o.name, os.O_RDWR, 0); err != nil {
		return nil, 0, err
	}
	at, err := o.wholeEnd(file, info.Size())
	return file, at, err
}

// wholeEnd cuts off what a receive that was killed has left of a message at the end of the
// file: that message was not acked. It returns where the file ends.
func (o *outlet) wholeEnd(file *os.File, size int64) (int64, error) {
	delimiter := o.format.Delimiter
	if delimiter == "" {
		delimiter = "\n"
	}
	tail := make([]byte, min(size, tailMost))
	if _, err := file.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	end := bytes.LastIndex(tail, []byte(delimiter))
	if end < 0 && size > 0 {
		return 0, errors.New("its last message has no end: is this a file of lines?")
	}
	cut := int64(len(tail) - max(0, end+len(delimiter)))
	if size == 0 {
		cut = 0
	}
	if cut > 0 {
		if err := file.Truncate(size - cut); err != nil {
			return 0, err
		}
	}
	return file.Seek(size-cut, io.SeekStart)
}

// syncFolder waits until the disk has a folder. Where folders can't be synced, there is
// nothing to wait for.
func syncFolder(name string) error {
	folder, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer folder.Close()
	_ = folder.Sync() // not everywhere
	return nil
}

// Write writes deliveries: to a terminal at once, to a file when many have come together. Sync
// writes the rest.
func (o *outlet) Write(batch *thump.Batch, deliveries []thump.Delivery) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed != nil {
		return o.failed
	}
	for i := range deliveries {
		d := &deliveries[i]
		if o.terminal != nil && o.layout.layout == "" && o.layout.delimiter == "" {
			o.buffer = appendShown(o.buffer, d)
		} else {
			o.append(d, batch)
		}
		if len(o.buffer) >= outletBuffer || o.full() {
			if err := o.flush(); err != nil {
				return err
			}
		}
		if o.full() {
			if err := o.nextFile(); err != nil {
				return err
			}
		}
	}
	if o.terminal != nil {
		return o.flush()
	}
	o.dirty = o.dirty || len(o.buffer) > 0
	return nil
}

// append appends a delivery to the buffer as the format has it.
func (o *outlet) append(d *thump.Delivery, batch *thump.Batch) {
	if o.format.Layout == record.JSON {
		o.record.Set(d, batch)
	} else {
		o.record.Body = d.Body
		if o.format.Splits(d.Body) {
			o.split++
		}
	}
	o.buffer = o.format.Append(o.buffer, &o.record)
}

// full reports whether the file is as large as --split allows.
func (o *outlet) full() bool {
	return o.splitAt > 0 && uint64(o.written)+uint64(len(o.buffer)) >= o.splitAt
}

// flush writes what is in the buffer.
func (o *outlet) flush() error {
	if len(o.buffer) == 0 {
		return o.failed
	}
	o.dirty = true
	var err error
	if o.terminal != nil {
		_, err = o.terminal.Write(o.buffer)
	} else {
		_, err = o.compress.Write(o.buffer)
	}
	o.buffer = o.buffer[:0]
	return o.fail(err)
}

// fail keeps the first error, with the name of the file.
func (o *outlet) fail(err error) error { return o.failAt(o.name, err) }

// failAt is fail for a file that may not be the one that is open.
func (o *outlet) failAt(name string, err error) error {
	if err != nil && o.failed == nil {
		o.failed = fmt.Errorf("writing to %s: %w; what is not written stays where it was", name, cause(err))
		if o.terminal != nil {
			o.failed = err
		}
	}
	return o.failed
}

// Sync returns once what was written before is on the disk; to a pipe or device it was written.
// Others write on meanwhile.
func (o *outlet) Sync() error {
	o.syncing.Lock() // what another one waits for was written before, too
	defer o.syncing.Unlock()
	file, written, err := o.flushAll()
	if err != nil || file == nil {
		return err
	}
	return o.synced(file, written, syncFile(file))
}

// synced notes what came of syncing a file when so much was written of it.
func (o *outlet) synced(file *os.File, written int64, err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return o.failAt(file.Name(), err) // the disk tells it once, and not to whoever has ended the file meanwhile
	}
	if o.file != file { // it was ended meanwhile, and synced for that
		return o.failed
	}
	if err == nil {
		o.safe = written
	}
	return o.failed
}

// flushAll gives the file what the buffer and the compression still hold. It returns the file, and
// how much is in it, where that is not on the disk; else nil.
func (o *outlet) flushAll() (file *os.File, written int64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed != nil || !o.dirty || o.terminal != nil {
		return nil, 0, o.failed
	}
	if err := o.flush(); err != nil {
		return nil, 0, err
	}
	if err := o.fail(o.compress.Flush()); err != nil {
		return nil, 0, err
	}
	o.dirty = false
	return o.file, o.written, nil
}

// nextFile ends this file and begins the next.
func (o *outlet) nextFile() error {
	if err := o.end(); err != nil {
		return err
	}
	o.number++
	if err := o.open(); err != nil {
		o.failed = err
		return err
	}
	return nil
}

// end ends the file: it has what its compression writes at the end, is on the disk, and closed.
func (o *outlet) end() error {
	err := o.flush()
	if err == nil {
		err = o.compress.Close()
	}
	if err == nil {
		err = syncFile(o.file)
	}
	if err == nil {
		o.dirty, o.safe = false, o.written
	}
	if o.file != o.stdout {
		err = errors.Join(err, o.file.Close())
	}
	return o.fail(err)
}

// close ends the last file. Of one that could not be written it keeps what was acked, so
// that no half message is in it.
func (o *outlet) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.terminal != nil || o.file == nil {
		return o.failed
	}
	if o.failed == nil {
		return o.end()
	}
	if info, err := o.file.Stat(); err == nil && info.Mode().IsRegular() && o.file != o.stdout {
		_ = o.file.Truncate(o.safe) // what comes after is in the queue as well
		_ = o.file.Close()          // the error is known
	}
	return o.failed
}

// finish ends the output. It returns why the receiving ended: ended, or why the output could
// not be ended.
func (o *outlet) finish(r *result.Run, ended error) error {
	if err := o.close(); err != nil && ended == nil && r.Verdict == result.OK {
		r.Judge(err, false)
		return err
	}
	return ended
}

// note is what the total says besides.
func (o *outlet) note() string {
	if o.split == 0 {
		return ""
	}
	return fmt.Sprintf("     %d of them have the end of a line in them, and are several lines there; --format json keeps them whole\n", o.split)
}

// counted counts what is written to the file. A write that nobody takes, as to a pipe, ends
// with the outlet's context.
type counted struct{ o *outlet }

func (c counted) Write(p []byte) (int, error) {
	n, err := interruptibly(c.o.ctx, func() (int, error) { return c.o.file.Write(p) })
	c.o.written += int64(n)
	return n, err
}
