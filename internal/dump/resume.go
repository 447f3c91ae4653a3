package dump

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/record"
)

// resumption is what there is of a dump of a stream, or a super stream, that was cut short.
type resumption struct {
	messages uint64
	stream   string // that the last message is in
	offset   uint64 // of the last message
	line     []byte // its record
	checked  bool   // it was looked whether the stream has that message
}

// resume copies the records of a dump that was cut short into another one.
func (s *Saving) resume(w *Writer) (*resumption, error) {
	r, err := NewReader(s.Old)
	switch {
	case errors.Is(err, errFirstLine):
		return new(resumption), nil // it was killed before it had written a line
	case err != nil:
		return nil, err
	}
	if of := &r.Header.Queue; of.Kind != s.From.Kind || of.Name != s.From.Name {
		return nil, fmt.Errorf("it is the beginning of a dump of %q, not of the stream %q", of.Name, s.From.Name)
	} else if !slices.Equal(of.Streams(), s.From.Streams()) {
		return nil, fmt.Errorf("it is the beginning of a dump of the partitions %.300q, and %q has %.300q by now", of.Streams(), of.Name, s.From.Streams())
	}
	from := new(resumption)
	var line []byte
	var p record.Parser
	var rec record.Record
	for {
		if isClosed(s.Interrupted) {
			return nil, ErrInterrupted
		}
		line, err = r.ReadLine(line[:0])
		switch {
		case errors.Is(err, ErrCutShort), errors.Is(err, io.EOF): // or it lacks only its name
			return from, nil
		case err != nil:
			return nil, err
		}
		if err := r.Parse(&p, line, &rec); err != nil {
			return nil, err
		}
		if !slices.Contains(s.From.Streams(), rec.Stream) {
			return nil, fmt.Errorf("it has a message of %q, which is not in a dump of %q", rec.Stream, s.From.Name)
		}
		if err := w.writeLine(line, rec.Stream); err != nil {
			return nil, errWriting{err}
		}
		from.messages++
		from.stream, from.offset, from.line = rec.Stream, rec.Offset, append(from.line[:0], line...)
	}
}

// begin is where the stream is to be read on: with the last message that the dump has.
func (r *resumption) begin() Begin {
	return Begin{Start: thump.FromOffset(r.offset), Offset: r.offset}
}

// check looks, with the first message that comes, whether the stream still has the last one of
// the dump. It reports whether the message is that one.
func (r *resumption) check(w *Writer, batch *thump.Batch, d *thump.Delivery) (same bool, err error) {
	if r.checked {
		return false, nil
	}
	r.checked = true
	switch {
	case d.Offset != r.offset:
		return false, fmt.Errorf("the dump ends with offset %d, and the stream %q has nothing before %d any more", r.offset, r.stream, d.Offset)
	case !bytes.Equal(w.encode(batch, d), r.line):
		return false, fmt.Errorf("the dump ends with offset %d, where the stream %q has another message: it is not the stream that it was", r.offset, r.stream)
	}
	return true, nil
}
