package thump

import (
	"fmt"

	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
)

const (
	// inflatedMost is the largest size that a sub-entry batch may say it has when
	// it is not compressed, and about how much of that is in memory at a time;
	// the official Java client has the same limit.
	inflatedMost = 64 << 20
)

// chunkReader reads the messages of a chunk. What it returns aliases the chunk,
// or where that was compressed its own memory, until reuse.
type chunkReader struct {
	position *position // nil while no chunk is open
	arrival  *streamconn.Arrival
	chunk    streamproto.Chunk
	entries  streamproto.EntryReader

	from   uint64 // messages of lower offsets are dropped
	offset uint64 // of the next message

	// The batch that is being read. To cut it, instead of counting, would cost a
	// write barrier a message.
	batch []byte
	at    int
	left  int // messages

	inflated [][]byte // memory for what was compressed
	used     int      // of them, since reuse
	bytes    int      // in those
	over     bool     // every message was returned

	sections streamproto.Message // scratch of the receiver
}

// open begins with a chunk, of which the CRC was checked.
func (r *chunkReader) open(a *streamconn.Arrival, p *position, from uint64) {
	r.position, r.arrival, r.chunk = p, a, a.Chunk
	r.entries = r.chunk.Reader()
	r.from, r.offset = from, r.chunk.FirstOffset
	r.left, r.over = 0, false
}

// reuse says that what was returned is not needed any more.
func (r *chunkReader) reuse() {
	if r.position == nil {
		return
	}
	if r.over {
		r.close()
	}
	r.bytes = 0
	if r.left > 0 && r.used > 0 {
		// The last one is still being read.
		r.inflated[0], r.inflated[r.used-1] = r.inflated[r.used-1], r.inflated[0]
		r.used, r.bytes = 1, len(r.inflated[0])
		return
	}
	r.used = 0
}

// close gives back the chunk that is open, if there is one.
func (r *chunkReader) close() {
	if r.position != nil {
		r.arrival.Release()
		r.position, r.chunk, r.entries, r.batch, r.left = nil, streamproto.Chunk{}, streamproto.EntryReader{}, nil, 0
	}
}

// full reports whether enough was inflated for one batch.
func (r *chunkReader) full() bool { return r.bytes >= inflatedMost }

// message returns the next message and its offset; ok is false at the end of the
// chunk.
func (r *chunkReader) message() (message []byte, offset uint64, ok bool, err error) {
	for {
		if r.left > 0 {
			if message, err = r.batched(); err != nil {
				return nil, 0, false, err
			}
		} else if message, ok = r.entries.NextMessage(); !ok {
			if ok, err = r.entry(); !ok {
				r.over = err == nil
				return nil, 0, false, err
			}
			continue
		}
		offset = r.offset
		r.offset++
		if offset >= r.from {
			return message, offset, true, nil
		}
	}
}

// batched returns the next message of the batch, of which some are left.
func (r *chunkReader) batched() ([]byte, error) {
	message, rest, ok := streamproto.NextBatched(r.batch[r.at:])
	if !ok {
		return nil, fmt.Errorf("a batch is shorter than its %d more messages", r.left)
	}
	r.left--
	r.at = len(r.batch) - len(rest)
	if r.left == 0 && len(rest) > 0 {
		return nil, fmt.Errorf("a batch is %d bytes longer than its messages", len(rest))
	}
	return message, nil
}

// entry begins with the next entry, which is a batch, since NextMessage did not
// take it; ok is false where there is none.
func (r *chunkReader) entry() (ok bool, err error) {
	e, ok := r.entries.Next()
	if !ok {
		return false, r.entries.Err()
	}
	data, err := r.inflate(&e)
	if err != nil {
		return false, err
	}
	if e.Count == 0 && len(data) > 0 {
		return false, fmt.Errorf("a batch of no messages has %d bytes", len(data))
	}
	r.batch, r.at, r.left = data, 0, e.Count
	return true, nil
}

// inflate returns the messages of a batch as they were before compression.
func (r *chunkReader) inflate(e *streamproto.Entry) ([]byte, error) {
	if compress.Codec(e.Compression) == compress.None {
		return e.Data, nil
	}
	if e.UncompressedSize > inflatedMost {
		return nil, fmt.Errorf("a compressed batch says that it has %d bytes, more than the %d that are accepted", e.UncompressedSize, inflatedMost)
	}
	if r.used == len(r.inflated) {
		r.inflated = append(r.inflated, nil)
	}
	data, err := compress.Decompress(r.inflated[r.used][:0], compress.Codec(e.Compression), e.Data, e.UncompressedSize)
	if err != nil {
		return nil, fmt.Errorf("a batch of %d messages: %w", e.Count, err)
	}
	r.inflated[r.used] = data
	r.used++
	r.bytes += len(data)
	return data, nil
}
