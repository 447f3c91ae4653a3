package main

import (
	"encoding/binary"
	"fmt"

	"github.com/thumpmq/thump/internal/streamproto"
)

// chunkWalk walks chunks as they are read, and remembers where in a chunk it is. A
// chunk of sub-entry batches can have tens of MiB: walked at once, its messages
// are still in the processor's cache, and the buffer stays small. The CRC is not
// checked, because the floor trusts the broker.
type chunkWalk struct {
	check   *bodyCheck
	entries int // left in this chunk
	batched int // messages left in this batch
}

const (
	deliverHeader = streamproto.FrameHeaderSize + 1 + 48 // version 1, with the chunk's header
	batchBit      = 0x80
	sizeBytes     = 4
)

// walk handles what is complete: the first n bytes of b, in which so many chunks
// end.
func (w *chunkWalk) walk(b []byte) (n, chunks int, err error) {
	for {
		rest := b[n:]
		var used int
		switch {
		case w.batched > 0:
			used, err = w.messages(rest)
		case w.entries == 0:
			used, err = w.header(rest)
		case len(rest) >= streamproto.BatchHeaderSize && rest[0]&batchBit != 0:
			w.batched = int(binary.BigEndian.Uint16(rest[1:]))
			used = streamproto.BatchHeaderSize
		default:
			if used, err = w.message(rest); used > 0 {
				w.entries--
			}
		}
		if err != nil {
			return n, chunks, err
		}
		if used == 0 {
			return n, chunks, w.check.err()
		}
		n += used
		if w.entries == 0 && w.batched == 0 {
			chunks++
		}
	}
}

// header begins a chunk.
func (w *chunkWalk) header(b []byte) (used int, err error) {
	if len(b) < deliverHeader {
		return 0, nil
	}
	size := int(binary.BigEndian.Uint32(b)) + sizeBytes
	key := streamproto.Key(binary.BigEndian.Uint16(b[4:]))
	chunk := b[streamproto.FrameHeaderSize+1:]
	if data := int(binary.BigEndian.Uint32(chunk[36:])); key != streamproto.KeyDeliver || size != deliverHeader+data {
		return 0, fmt.Errorf("a frame that is no chunk, or one with a trailer: %v of %d bytes", key, size)
	}
	w.entries = int(binary.BigEndian.Uint16(chunk[2:]))
	return deliverHeader, nil
}

// chunkEnd is the offset that follows the chunk at the start of b; ok is false
// while its header is incomplete.
func chunkEnd(b []byte) (offset int, ok bool) {
	if len(b) < deliverHeader {
		return 0, false
	}
	chunk := b[streamproto.FrameHeaderSize+1:]
	records := binary.BigEndian.Uint32(chunk[4:])
	first := binary.BigEndian.Uint64(chunk[24:])
	return int(first) + int(records), true
}

// messages handles messages of a batch.
func (w *chunkWalk) messages(b []byte) (used int, err error) {
	for w.batched > 0 {
		n, err := w.message(b[used:])
		if err != nil || n == 0 {
			return used, err
		}
		used += n
		w.batched--
	}
	w.entries--
	return used, nil
}

// message handles a message with its size before it.
func (w *chunkWalk) message(b []byte) (used int, err error) {
	if len(b) < sizeBytes {
		return 0, nil
	}
	used = sizeBytes + int(binary.BigEndian.Uint32(b))
	if used > len(b) {
		return 0, nil
	}
	return used, w.check.addData(b[sizeBytes:used])
}
