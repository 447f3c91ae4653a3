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
// or where that was compressed memory of its own: for ever, or until reuse where it
// lends.
type chunkReader struct {
	lends bool

	position *position // nil while no chunk is open
	arrival  *streamconn.Arrival
	chunk    streamproto.Chunk
	entries  streamproto.EntryReader

	from   uint64 // messages of lower offsets are dropped
	offset uint64 // of the next message
	period uint64 // of unsettled, when from was looked up

	// The batch that is being read. To cut it, instead of counting, would cost a
	// write barrier a message.
	batch []byte
	at    int
	left  int // messages

	inflated [][]byte // where it lends, memory for what was compressed
	held     int      // its bytes
	used     int      // of them, since reuse
	bytes    int      // that were uncompressed since reuse, or that it was tried with
	over     bool     // every message was returned

	unopened error  // what is wrong with the batch that message returned
	source   source // of the last message, for the receiver
}

// open begins with a chunk whose CRC was checked.
func (r *chunkReader) open(a *streamconn.Arrival, p *position) {
	r.position, r.arrival, r.chunk = p, a, a.Chunk
	r.entries = r.chunk.Reader()
	r.offset = r.chunk.FirstOffset
	r.left, r.over = 0, false
}

// reuse says that what it lent is not needed any more.
func (r *chunkReader) reuse() {
	if r.position == nil {
		return
	}
	if r.over {
		r.close()
	}
	r.bytes = 0
	if r.lends && r.left > 0 && r.used > 0 {
		// The last one is still being read.
		r.inflated[0], r.inflated[r.used-1] = r.inflated[r.used-1], r.inflated[0]
		r.used, r.bytes = 1, len(r.inflated[0])
	} else {
		r.used = 0
	}
	if r.held > inflatedMost { // each of them grows to the largest batch that it was used for
		clear(r.inflated[r.used:])
		r.inflated, r.held = r.inflated[:r.used], 0
		for _, data := range r.inflated {
			r.held += cap(data)
		}
	}
}

// close ends the chunk that is open, if there is one.
func (r *chunkReader) close() {
	if r.position != nil {
		if r.lends {
			r.arrival.Release()
		} else {
			r.arrival.LetGo()
		}
		r.position, r.chunk, r.entries, r.batch, r.left = nil, streamproto.Chunk{}, streamproto.EntryReader{}, nil, 0
	}
}

// full reports whether enough was inflated for one batch. What is left of the last one
// can always be read: nothing more is inflated for it.
func (r *chunkReader) full() bool { return r.left == 0 && r.bytes >= inflatedMost }

// message returns the next message and its offset; ok is false at the end of the
// chunk. If a batch can't be opened, unopened says why, message is the data of the
// batch, and offset that of its last message.
func (r *chunkReader) message() (message []byte, offset uint64, ok bool, err error) {
	if r.unopened != nil {
		r.unopened = nil
	}
	for {
		n := uint64(1)
		if r.left > 0 {
			message = r.batched()
		} else if message, ok = r.entries.NextMessage(); !ok {
			e, ok := r.entries.Next() // a batch, since NextMessage did not take it
			if !ok {
				err = r.entries.Err()
				r.over = err == nil
				return nil, 0, false, err
			}
			if end := r.offset + uint64(e.Count); end <= r.from { // nothing of it is wanted
				r.offset = end
				continue
			}
			if r.unopened = r.begin(&e); r.unopened == nil {
				continue
			}
			message, n = e.Data, uint64(e.Count)
		}
		r.offset += n
		if r.offset > r.from {
			return message, r.offset - 1, true, nil
		}
		r.unopened = nil
	}
}

// bodies makes deliveries in ds of the messages that come next, up to the first that is more
// than a short body, and returns how many. Nearly all are short bodies, so it is one tight
// loop. Their delivery tags count on from tag.
func (r *chunkReader) bodies(ds []Delivery, tag uint64, h *hold) int {
	if r.offset < r.from {
		return 0
	}
	data, left := r.entries.Rest()
	if r.left > 0 {
		data, left = r.batch[r.at:], r.left
	}
	n, bytes := shortBodies(ds[:min(left, len(ds))], data, r.offset, tag, h)
	if r.left > 0 {
		r.left -= n
		r.at += bytes
	} else {
		r.entries.Took(n, bytes)
	}
	r.offset += uint64(n)
	return n
}

// shortBodies is bodies for those at the start of data, and returns how many bytes they take.
// A delivery is set field by field: a composite literal would be made elsewhere and copied,
// which takes longer than all the rest. What no such message has is only cleared where the
// delivery had it before, which is cheaper to see than to do.
func shortBodies(ds []Delivery, data []byte, offset, tag uint64, h *hold) (n, bytes int) {
	for n = range ds {
		body, taken := streamproto.ShortBody(data[bytes:])
		if taken == 0 {
			return n, bytes
		}
		bytes += taken
		d := &ds[n]
		if len(d.Exchange)|len(d.RoutingKey) > 0 || d.properties != nil || d.parsed != nil {
			d.Exchange, d.RoutingKey, d.properties, d.parsed = "", "", nil, nil
		}
		d.Body, d.hold = body, h
		d.Redelivered, d.Format, d.sections = false, FormatData, true
		d.Offset, d.tag = offset+uint64(n), tag+uint64(n)
	}
	return len(ds), bytes
}

// batched returns the next message of the batch; there is one.
func (r *chunkReader) batched() []byte {
	message, rest, _ := streamproto.NextBatched(r.batch[r.at:])
	r.left--
	r.at = len(r.batch) - len(rest)
	return message
}

// begin opens a batch. What is wrong with one is its publisher's fault, and the broker
// does not look: it says nothing of the entries around it. One that says it has no
// messages has none.
func (r *chunkReader) begin(e *streamproto.Entry) error {
	if e.Count == 0 {
		return nil
	}
	data, err := r.inflate(e)
	if checked := r.arrival.Sound && compress.Codec(e.Compression) == compress.None; err == nil && !checked {
		err = streamproto.CheckBatch(data, e.Count)
	}
	if err != nil {
		return fmt.Errorf("a batch of %d messages can't be opened: %w", e.Count, err)
	}
	r.batch, r.at, r.left = data, 0, e.Count
	return nil
}

// inflate returns the messages of a batch as they were before compression.
func (r *chunkReader) inflate(e *streamproto.Entry) ([]byte, error) {
	if compress.Codec(e.Compression) == compress.None {
		return e.Data, nil
	}
	if e.UncompressedSize > inflatedMost {
		return nil, fmt.Errorf("it says that it has %d bytes, more than the %d that are accepted", e.UncompressedSize, inflatedMost)
	}
	size := int(e.UncompressedSize)
	r.bytes += size // it takes its time, also where it fails
	data, err := compress.Decompress(r.room(), compress.Codec(e.Compression), e.Data, size)
	if err != nil {
		return nil, err
	}
	if r.lends {
		r.held += cap(data) - cap(r.inflated[r.used])
		r.inflated[r.used] = data
		r.used++
	}
	return data, nil
}

// room is memory to uncompress into.
func (r *chunkReader) room() []byte {
	if !r.lends {
		return nil
	}
	if r.used == len(r.inflated) {
		r.inflated = append(r.inflated, nil)
	}
	return r.inflated[r.used][:0]
}

// deliveriesRoom is for how many deliveries a batch gets room at first, at most,
// whatever the chunk's header says.
const deliveriesRoom = 4096

// expected is how many more messages the chunk says it has, for room to be made.
func (r *chunkReader) expected() int {
	end := r.chunk.FirstOffset + uint64(r.chunk.Records)
	return int(min(end-min(end, max(r.offset, r.from)), deliveriesRoom))
}
