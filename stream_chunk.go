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

	// The batch that is being read; a simple entry is one of its own.
	left   int // messages
	rest   []byte
	single bool

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
	r.left, r.rest, r.over = 0, nil, false
}

// reuse says that what was returned is not needed any more.
func (r *chunkReader) reuse() {
	if r.position == nil {
		return
	}
	if r.over {
		r.arrival.Release()
		r.position, r.rest = nil, nil
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

// full reports whether enough was inflated for one batch.
func (r *chunkReader) full() bool { return r.bytes >= inflatedMost }

// message returns the next message and its offset; ok is false at the end of the
// chunk.
func (r *chunkReader) message() (message []byte, offset uint64, ok bool, err error) {
	for {
		if r.left == 0 {
			if ok, err := r.entry(); !ok {
				r.over = err == nil
				return nil, 0, false, err
			}
		}
		r.left--
		if message = r.rest; !r.single {
			if message, r.rest, ok = streamproto.NextBatched(r.rest); !ok {
				return nil, 0, false, fmt.Errorf("a batch is shorter than its %d messages", r.left+1)
			}
			if r.left == 0 && len(r.rest) > 0 {
				return nil, 0, false, fmt.Errorf("a batch is %d bytes longer than its messages", len(r.rest))
			}
		}
		offset = r.offset
		r.offset++
		if offset >= r.from {
			return message, offset, true, nil
		}
	}
}

// entry begins with the next entry; ok is false where there is none.
func (r *chunkReader) entry() (ok bool, err error) {
	e, ok := r.entries.Next()
	if !ok {
		return false, r.entries.Err()
	}
	r.left, r.rest, r.single = e.Count, e.Data, !e.Batched
	if compress.Codec(e.Compression) == compress.None {
		return true, nil
	}
	if e.UncompressedSize > inflatedMost {
		return false, fmt.Errorf("a compressed batch says that it has %d bytes, more than the %d that are accepted", e.UncompressedSize, inflatedMost)
	}
	if r.used == len(r.inflated) {
		r.inflated = append(r.inflated, nil)
	}
	data, err := compress.Decompress(r.inflated[r.used][:0], compress.Codec(e.Compression), e.Data, e.UncompressedSize)
	if err != nil {
		return false, fmt.Errorf("a batch of %d messages: %w", e.Count, err)
	}
	r.inflated[r.used], r.rest = data, data
	r.used++
	r.bytes += len(data)
	return true, nil
}
