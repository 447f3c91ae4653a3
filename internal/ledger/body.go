package ledger

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"strconv"
)

// MinBodySize is the smallest sized body in bytes: its header and no filler.
const MinBodySize = 16

// tutorialPrefix starts every body of the tutorial: "Message 1", "Message 2".
const tutorialPrefix = "Message "

// Class is what a body turned out to be.
type Class uint8

const (
	// Ours is a body that is, byte for byte, that of a message of this run.
	Ours Class = iota
	// Corrupted is a body that is one of this run's by its shape, and damaged.
	Corrupted
	// Unexpected is a body that is no message of this run.
	Unexpected
)

// Format makes the bodies of a run and knows them again.
//
// A tutorial body is the text "Message N", and N is the identity. A sized body
// is, big endian,
//
//	0       4           6          12        16
//	+-------+-----------+----------+---------+-----------
//	| run   | publisher | sequence | CRC-32C | filler ...
//	+-------+-----------+----------+---------+-----------
//
// where sequence counts from 1 within the publisher's range and the checksum
// is over every other byte.
//
// A Format is not changed by its methods and is safe for concurrent use.
type Format struct {
	plan   Plan
	run    uint32
	filler []byte       // nil for tutorial bodies
	table  *crc32.Table // nil for tutorial bodies
}

// Tutorial returns the format of the tutorial's bodies.
func Tutorial(plan Plan) Format { return Format{plan: plan} }

// Sized returns the format of bodies of size bytes. The run number tells the
// bodies of one run from those of another.
func Sized(plan Plan, size int, run uint32) (Format, error) {
	if size < MinBodySize {
		return Format{}, fmt.Errorf("ledger: body of %d bytes, the smallest is %d", size, MinBodySize)
	}
	f := Format{plan: plan, run: run, table: crc32.MakeTable(crc32.Castagnoli)}
	// The filler must not be compressible away by a proxy or a file system, so
	// it is the output of a small generator (xorshift64) rather than zeros.
	f.filler = make([]byte, size-MinBodySize)
	x := uint64(run) | 1<<40
	for i := range f.filler {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		f.filler[i] = byte(x)
	}
	return f, nil
}

// MaxSize is the size in bytes of the format's largest body.
func (f *Format) MaxSize() int {
	if f.table != nil {
		return MinBodySize + len(f.filler)
	}
	return len(tutorialPrefix) + len(strconv.FormatUint(f.plan.Count, 10))
}

// Append appends the body of message n, which must be in 1..Count, to dst.
func (f *Format) Append(dst []byte, n uint64) []byte {
	if f.table == nil {
		return strconv.AppendUint(append(dst, tutorialPrefix...), n, 10)
	}
	publisher := f.plan.owner(n)
	sequence := n - f.plan.Range(publisher).First + 1
	start := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, f.run)
	// Publisher and sequence are neighbours of 16 and 48 bits: one store.
	dst = binary.BigEndian.AppendUint64(dst, uint64(publisher)<<48|sequence)
	crc := crc32.Update(crc32.Update(0, f.table, dst[start:]), f.table, f.filler)
	dst = binary.BigEndian.AppendUint32(dst, crc)
	return append(dst, f.filler...)
}

// Parse says what body is, and which message when it is Ours.
func (f *Format) Parse(body []byte) (n uint64, class Class) {
	if f.table == nil {
		return f.parseTutorial(body)
	}
	return f.parseSized(body)
}

func (f *Format) parseTutorial(body []byte) (uint64, Class) {
	n, ok := parseNumbered(body)
	switch {
	case ok && n <= f.plan.Count:
		return n, Ours
	case !ok && len(body) > 0 && body[0] == tutorialPrefix[0]:
		// There is no checksum to go by. What begins as ours does is more
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
	if len(body) != MinBodySize+len(f.filler) {
		if run == f.run {
			return 0, Corrupted // ours, cut or grown
		}
		return 0, Unexpected
	}
	crc := crc32.Update(crc32.Update(0, f.table, body[:12]), f.table, body[16:])
	if crc != binary.BigEndian.Uint32(body[12:]) {
		return 0, Corrupted
	}
	id := binary.BigEndian.Uint64(body[4:])
	publisher, sequence := int(id>>48), id&MaxCount
	if run != f.run || publisher >= f.plan.Publishers {
		return 0, Unexpected
	}
	own := f.plan.Range(publisher)
	if sequence < 1 || sequence > own.Len() {
		return 0, Unexpected
	}
	return own.First + sequence - 1, Ours
}

// parseNumbered returns N of a body that is exactly "Message N" with N from 1,
// in decimal without sign or leading zeros.
func parseNumbered(body []byte) (n uint64, ok bool) {
	if len(body) <= len(tutorialPrefix) || string(body[:len(tutorialPrefix)]) != tutorialPrefix {
		return 0, false
	}
	digits := body[len(tutorialPrefix):]
	if digits[0] == '0' || len(digits) > 20 {
		return 0, false
	}
	for _, c := range digits {
		d := uint64(c - '0')
		if d > 9 || n > (math.MaxUint64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}
