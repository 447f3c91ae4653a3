package record

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// Reader reads the messages of a file, many at a time. It reads ahead no more than comes
// with what it needs, and its memory is bounded by the largest message. One goroutine at a
// time may use it.
type Reader struct {
	from   io.Reader
	format Format
	parser Parser

	buffer     []byte
	start, end int // what is in the buffer and was not handed out
	scanned    int // bytes after start in which no message ends
	number     uint64
	over       error // why nothing follows what is in the buffer
}

const (
	readSize = 256 << 10
	// unitMost is the longest line: a body of BodyMost as base64, with what is around it.
	unitMost = BodyMost/3*4 + 64<<20
)

// NewReader returns a reader of messages.
func NewReader(from io.Reader, format Format) *Reader {
	return &Reader{from: from, format: format, buffer: make([]byte, readSize)}
}

// MessageError says which message of a file can't be used, and why. The reader goes on after
// it.
type MessageError struct {
	Unit   string // "line" or "message"
	Number uint64 // counted from 1
	Err    error
}

// Error is like "line 17: column 4: ...".
func (e *MessageError) Error() string { return fmt.Sprintf("%s %d: %v", e.Unit, e.Number, e.Err) }

// Unwrap returns what is wrong.
func (e *MessageError) Unwrap() error { return e.Err }

// Number is the line that was read last, or the message, counted from 1.
func (r *Reader) Number() uint64 { return r.number }

// Read reads messages into records and their numbers into numbers, which is as long: at least
// one, and as many more as have come with it. It waits for no more than one. What the records
// have is valid until the next call.
//
// The error is io.EOF at the end, a *MessageError for one that can't be used, after which the
// next Read goes on, and otherwise why the file can't be read. Those before it are in records.
func (r *Reader) Read(records []Record, numbers []uint64) (n int, err error) {
	r.parser.forget()
	for n < len(records) {
		unit, ok, err := r.next(n == 0)
		if err != nil || !ok {
			return n, err
		}
		r.number++
		if r.format.Layout != JSON {
			records[n] = Record{Body: unit}
		} else if blank(unit) {
			continue
		} else if err := r.parser.parse(unit, &records[n]); err != nil {
			return n, &MessageError{r.format.Unit(), r.number, err}
		}
		numbers[n] = r.number
		n++
	}
	return n, nil
}

// blank reports whether there is nothing in a line.
func blank(line []byte) bool {
	return !slices.ContainsFunc(line, func(c byte) bool { return c != ' ' && c != '\t' && c != '\r' })
}

// next returns the next message as it is in the file. It reads, where wait is set, what of
// it is not there; then nothing that was handed out before is valid any more.
func (r *Reader) next(wait bool) (unit []byte, ok bool, err error) {
	for {
		data := r.buffer[r.start:r.end]
		ended := errors.Is(r.over, io.EOF)
		if len(data) > 0 || ended && r.format.Layout == Raw && r.number == 0 {
			unit, size, err := r.format.split(data, r.scanned, ended)
			if err != nil {
				return nil, false, fmt.Errorf("%s %d: %w", r.format.Unit(), r.number+1, err)
			}
			if size > 0 || ended && len(data) == 0 {
				r.start, r.scanned = r.start+size, 0
				return unit, true, nil
			}
			r.scanned = len(data)
		}
		if r.over != nil || !wait {
			return nil, false, r.over
		}
		if err := r.fill(); err != nil {
			return nil, false, err
		}
	}
}

// fill reads once, behind what is in the buffer.
func (r *Reader) fill() error {
	copy(r.buffer, r.buffer[r.start:r.end])
	r.start, r.end = 0, r.end-r.start
	if r.end == len(r.buffer) {
		if r.end >= unitMost {
			return fmt.Errorf("%s %d is longer than %d bytes", r.format.Unit(), r.number+1, unitMost)
		}
		r.buffer = append(r.buffer, make([]byte, len(r.buffer))...)
	}
	n, err := r.from.Read(r.buffer[r.end:])
	r.end += n
	r.over = err
	return nil
}
