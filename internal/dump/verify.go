package dump

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/record"
)

// Progress is how far something is. It is safe for concurrent use.
type Progress struct {
	// Messages is how many are done, of Total, which is 0 while it is not known.
	Messages, Total atomic.Uint64
}

// Contents is what is in a dump file that was read through.
type Contents struct {
	Header Header
	// Messages is their number, and BodyBytes the size of their bodies.
	Messages, BodyBytes uint64
	// InPartition is how many messages each partition of a super stream has, by its name.
	InPartition map[string]uint64
	// Digest is that of Trailer.MessagesSHA256.
	Digest string
	// Routed is how many messages came through another exchange than the default one, or
	// name further queues (header CC).
	Routed uint64
	// Unpublishable is how many messages no queue takes, and why the first one is that;
	// UnpublishableToStream how many a stream doesn't.
	Unpublishable, UnpublishableToStream uint64
	Why                                  string
}

// Verify reads a dump file through. With ErrCutShort the contents are those of what is there;
// any other error says that it is no dump or that it is damaged, and where. ErrInterrupted
// says that interrupted, which may be nil, was closed.
func Verify(in io.Reader, p *Progress, interrupted <-chan struct{}) (Contents, error) {
	r, err := NewReader(in)
	if err != nil {
		return Contents{}, err
	}
	c := Contents{Header: r.Header, InPartition: make(map[string]uint64)}
	var rec record.Record
	for {
		if isClosed(interrupted) {
			return c, ErrInterrupted
		}
		err := r.Read(&rec)
		c.Messages, c.Digest = r.read, ""
		switch {
		case errors.Is(err, io.EOF):
			c.Digest = r.end.MessagesSHA256
			return c, nil
		case errors.Is(err, ErrCutShort):
			c.Digest = r.digestSoFar()
			return c, err
		case err != nil:
			return c, err
		}
		c.add(&rec)
		p.Messages.Store(c.Messages)
	}
}

func (c *Contents) add(rec *record.Record) {
	c.BodyBytes += uint64(len(rec.Body))
	if c.Header.Queue.Kind == SuperStream {
		c.InPartition[rec.Stream]++
	}
	if rec.Exchange != "" || names(rec.Properties.Headers, "CC") || names(rec.Properties.Headers, "BCC") {
		c.Routed++
	}
	why := publishable(rec, false)
	if why == nil {
		return
	}
	if c.Unpublishable == 0 {
		c.Why = fmt.Sprintf("message %d: %v", c.Messages, why)
	}
	c.Unpublishable++
	if publishable(rec, true) != nil {
		c.UnpublishableToStream++
	}
}

// names reports whether a header is there.
func names(headers thump.Table, key string) bool {
	_, found := headers.Get(key)
	return found
}
