package dump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/thumpmq/thump"
)

// Saving says what to write into a dump file.
type Saving struct {
	From        Definition // see Describe
	Out         io.Writer
	Compression string // see Compression

	// For a stream: where to begin, and what to end with. See Reading.
	Begin Begin
	Until time.Time

	// Skip, where set, says which messages are left out.
	Skip func(*thump.Delivery) (bool, error)

	// Old, where set, is what there is of a dump of the same stream that was cut short: it is
	// copied, which Copied is then told, and the stream is read on from there. With an error Out
	// then has all that was read, and can be the next Old.
	Old    io.Reader
	Copied func(messages uint64) error
	// Resumable says that there may be a next time.
	Resumable bool

	Progress    *Progress
	Interrupted <-chan struct{}
}

// Save writes the messages of a queue or a stream as a dump file, those that are there when it
// begins, and takes nothing away: see Browse and ReadStream. With an error the file is not
// whole, and without its last line.
func Save(ctx context.Context, client *thump.Client, s Saving) (Trailer, error) {
	w, err := NewWriter(s.Out, s.Compression, Header{Queue: s.From})
	if err != nil {
		return Trailer{}, err
	}
	if s.From.Kind == Stream {
		err = s.saveStream(ctx, client, w)
	} else {
		err = s.saveQueue(ctx, client, w)
	}
	if err != nil && s.Resumable {
		return w.end, errors.Join(err, w.finish())
	}
	if err != nil {
		return w.end, err
	}
	return w.Close()
}

func (s *Saving) saveQueue(ctx context.Context, client *thump.Client, w *Writer) error {
	info, err := client.InspectQueue(ctx, s.From.Name)
	if err != nil {
		return err
	}
	s.Progress.Total.Store(uint64(info.Messages))
	_, err = Browse(ctx, client, Browsing{
		Queue: s.From.Name, Interrupted: s.Interrupted,
		Each: func(d *thump.Delivery) error { return s.write(w, nil, d) },
	})
	return err
}

func (s *Saving) saveStream(ctx context.Context, client *thump.Client, w *Writer) error {
	from, begin := &resumption{checked: true}, s.Begin
	if s.Old != nil {
		var err error
		if from, err = s.resume(w); err != nil {
			return err
		}
		if err := s.Copied(from.messages); err != nil {
			return err
		}
	}
	if from.messages > 0 {
		begin = from.begin()
	} else {
		from.checked = true // there is nothing to look for
	}
	end, found, err := StreamEnd(ctx, client, s.From.Name)
	switch {
	case err != nil:
		return err
	case from.messages > 0 && (!found || end.before(&begin)):
		return fmt.Errorf("the dump ends with offset %d, and the stream before it: it is not the stream that it was", from.offset)
	case !found:
		return nil
	}
	_, err = ReadStream(ctx, client, Reading{
		Stream: s.From.Name, From: begin, End: end, Until: s.Until, Interrupted: s.Interrupted,
		Each: func(batch *thump.Batch, d *thump.Delivery) error {
			if same, err := from.check(w, batch, d); same || err != nil {
				return err
			}
			if s.Progress.Total.Load() == 0 {
				s.Progress.Total.Store(end.Offset - d.Offset + 1)
			}
			return s.write(w, batch, d)
		},
	})
	return err
}

func (s *Saving) write(w *Writer, batch *thump.Batch, d *thump.Delivery) error {
	if s.Skip != nil {
		if skip, err := s.Skip(d); skip || err != nil {
			return err
		}
	}
	if err := w.Write(batch, d); err != nil {
		return errWriting{err}
	}
	s.Progress.Messages.Add(1)
	return nil
}

// errWriting is the error of the file.
type errWriting struct{ error }

func (e errWriting) Unwrap() error { return e.error }

// IsWriting reports whether err is that of what a dump is written to.
func IsWriting(err error) bool {
	_, ok := errors.AsType[errWriting](err)
	return ok
}
