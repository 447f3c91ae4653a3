package dump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/thumpmq/thump"
)

// Saving says what to write into a dump file.
type Saving struct {
	From        Definition // see Describe
	Out         io.Writer
	Compression string // see Compression

	// For a stream, or each partition of a super stream: where to begin, and what to end with. See
	// Reading.
	Begin Begin
	Until time.Time

	// Skip, where set, says which messages are left out.
	Skip func(*thump.Delivery) (bool, error)

	// Old, where set, is what there is of a dump of the same stream or super stream that was cut
	// short: it is copied, which Copied is then told, and the stream is read on from there. Of a
	// super stream, that is in the partition that the dump had come to. With an error Out then has
	// all that was read, and can be the next Old.
	Old    io.Reader
	Copied func(messages uint64) error
	// Resumable says that there may be a next time.
	Resumable bool

	// Begins, where set, is told how many messages there are, before the first one is read; of a
	// stream the most that there can be.
	Begins func(messages uint64)

	Progress    *Progress
	Interrupted <-chan struct{}
}

// Save writes the messages of a queue, a stream or a super stream as a dump file, those that are
// there when it begins, and takes nothing away: see Browse and ReadStream. The partitions of a super
// stream are read one after another. With an error the file is not whole, and without its last line.
func Save(ctx context.Context, client *thump.Client, s Saving) (Trailer, error) {
	w, err := NewWriter(s.Out, s.Compression, Header{Queue: s.From})
	if err != nil {
		return Trailer{}, err
	}
	if streams := s.From.Streams(); streams != nil {
		err = s.saveStreams(ctx, client, w, streams)
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
	s.begins()
	_, err = Browse(ctx, client, Browsing{
		Queue: s.From.Name, Interrupted: s.Interrupted,
		Each: func(d *thump.Delivery) error { return s.write(w, nil, d) },
	})
	return err
}

// saveStreams writes the messages of streams, one after another, each up to where it ends now.
func (s *Saving) saveStreams(ctx context.Context, client *thump.Client, w *Writer, streams []string) error {
	from := new(resumption)
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
		streams = streams[slices.Index(streams, from.stream):] // those before are through
	}
	ends, err := StreamEnds(ctx, client, streams, s.Interrupted)
	if err != nil {
		return err
	}
	parts := make([]part, len(streams))
	for i, stream := range streams {
		parts[i] = part{stream: stream, begin: s.Begin, end: ends[i], from: &resumption{checked: true}} // there is nothing to look for
	}
	if from.messages > 0 {
		parts[0].begin, parts[0].from = from.begin(), from
	}
	for i := range parts {
		s.Progress.Total.Add(parts[i].most())
	}
	s.begins()
	for i := range parts {
		if err := s.savePart(ctx, client, w, &parts[i]); err != nil {
			return err
		}
	}
	return nil
}

// begins tells how much there is.
func (s *Saving) begins() {
	if s.Begins != nil {
		s.Begins(s.Progress.Total.Load())
	}
}

// part is what to save of a stream.
type part struct {
	stream string
	begin  Begin
	end    *End // nil where the stream has no message
	from   *resumption
}

// most is how many messages there can be, as far as the offsets say it.
func (p *part) most() uint64 {
	if p.end == nil || p.end.before(&p.begin) {
		return 0
	}
	return p.end.Offset + 1 - p.begin.Offset
}

// savePart writes the messages of a part.
func (s *Saving) savePart(ctx context.Context, client *thump.Client, w *Writer, p *part) error {
	switch {
	case p.from.messages > 0 && (p.end == nil || p.end.before(&p.begin)):
		return fmt.Errorf("the dump ends with offset %d, and the stream %q before it: it is not the stream that it was", p.from.offset, p.stream)
	case p.end == nil:
		return nil
	}
	counted := false
	_, err := ReadStream(ctx, client, Reading{
		Stream: p.stream, From: p.begin, End: *p.end, Until: s.Until, Interrupted: s.Interrupted,
		Each: func(batch *thump.Batch, d *thump.Delivery) error {
			if same, err := p.from.check(w, batch, d); same || err != nil {
				return err
			}
			if !counted { // now it is known where the stream begins
				counted = true
				s.Progress.Total.Add(p.end.Offset + 1 - d.Offset - p.most())
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
