package ledger

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
)

// MinBodySize is the smallest sized body in bytes: its header and no filler.
const MinBodySize = 16

// tutorialPrefix starts every body of the tutorial: "Message 1", "Message 2".
const tutorialPrefix = "Message "

// Class says whose a body is.
type Class uint8

const (
	// Ours is the body of a message of this run, byte for byte. A sized body whose
	// filler and checksum were both forged passes too.
	Ours Class = iota
	// Corrupted is a damaged body that looks like one of this run's.
	Corrupted
	// Unexpected is a body of no message of this run.
	Unexpected
)

// Format makes the bodies of a run and recognises them.
//
// A tutorial body is the text "Message N", where N is the message's number. A
// sized body is, big endian,
//
//	0       4           6          12        16
//	+-------+-----------+----------+---------+-----------
//	| run   | publisher | sequence | CRC-32C | filler ...
//	+-------+-----------+----------+---------+-----------
//
// where sequence counts from 1 within the publisher's range, and the checksum
// covers every other byte.
//
// A Format's methods do not change it. It is safe for concurrent use.
type Format struct {
	plan  Plan
	sized *sized // nil for tutorial bodies; of several sizes, the largest
	mix   *mix   // nil for bodies of one size
}

// Tutorial returns the format of the tutorial's bodies.
func Tutorial(plan Plan) Format { return Format{plan: plan} }

// Sized returns the format of bodies of size bytes, at least MinBodySize. The run
// number tells the bodies of one run from those of another.
func Sized(plan Plan, size int, run uint32) (Format, error) {
	if size < MinBodySize {
		return Format{}, fmt.Errorf("ledger: body of %d bytes, the smallest is %d", size, MinBodySize)
	}
	return Format{plan: plan, sized: newSized(size, run)}, nil
}

// MaxSize is the size in bytes of the format's largest body.
func (f *Format) MaxSize() int {
	if f.sized != nil {
		return f.sized.size()
	}
	var digits [maxDigits]byte
	return len(tutorialPrefix) + len(strconv.AppendUint(digits[:0], f.plan.Count, 10))
}

// Append appends the body of message n, from 1 to Count, to dst.
func (f *Format) Append(dst []byte, n uint64) []byte {
	if f.sized != nil {
		h := f.header(n)
		return f.of(h.id).append(dst, &h)
	}
	return strconv.AppendUint(append(dst, tutorialPrefix...), n, 10)
}

// AppendRun appends to dst the bodies of n messages, from message first on, and to
// ends the offset in dst at which each body ends. All must be in the range of one
// publisher. It costs a fraction of n calls of Append. It allocates nothing if dst
// has room for n bodies of MaxSize and ends for n numbers.
func (f *Format) AppendRun(dst []byte, first uint64, n int, ends []int) ([]byte, []int) {
	if n <= 0 {
		return dst, ends
	}
	if f.mix != nil {
		return f.appendMixed(dst, first, n, ends)
	}
	dst, ends = slices.Grow(dst, n*f.MaxSize()), slices.Grow(ends, n)
	if f.sized != nil {
		h := f.header(first)
		for range n {
			dst = f.sized.append(dst, &h)
			ends = append(ends, len(dst))
			h.advance(f.sized)
		}
		return dst, ends
	}
	var t text
	t.setNumber(first)
	for next := first + 1; next <= first+uint64(n); next++ {
		start := len(dst)
		dst = dst[:start+t.size]
		t.put(dst[start:])
		ends = append(ends, len(dst))
		t.advance(next)
	}
	return dst, ends
}

// header returns the header of the body of message n.
func (f *Format) header(n uint64) header {
	publisher := f.plan.owner(n)
	sequence := n - f.plan.Range(publisher).First + 1
	id := uint64(publisher)<<48 | sequence
	return header{id: id, sum: f.of(id).checksum(id)}
}

// Parse says whose body it is, and of which message if it is Ours. The body is not
// kept.
func (f *Format) Parse(body []byte) (n uint64, class Class) {
	if f.sized != nil {
		return f.parseSized(body)
	}
	n, ok := parseNumbered(body)
	switch {
	case ok && n <= f.plan.Count:
		return n, Ours
	case !ok && len(body) > 0 && body[0] == tutorialPrefix[0]:
		// There is no checksum to decide it. A body that begins like ours is more
		// likely damaged than foreign.
		return 0, Corrupted
	default:
		return 0, Unexpected
	}
}

func (f *Format) parseSized(body []byte) (uint64, Class) {
	if len(body) < MinBodySize {
		return 0, Unexpected
	}
	run := binary.BigEndian.Uint32(body)
	h := readHeader(body)
	shape := f.of(h.id)
	if len(body) != shape.size() {
		if run == f.sized.run {
			return 0, Corrupted // ours, cut or grown
		}
		return 0, Unexpected
	}
	if h.sum != shape.checksumOf(body) {
		return 0, Corrupted
	}
	publisher, sequence := int(h.id>>48), h.id&MaxCount
	if run != f.sized.run || publisher >= f.plan.Publishers {
		return 0, Unexpected
	}
	own := f.plan.Range(publisher)
	if sequence < 1 || sequence > own.Len() {
		return 0, Unexpected
	}
	return own.First + sequence - 1, Ours
}
