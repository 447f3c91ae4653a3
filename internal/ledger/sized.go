package ledger

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// sized is what the sized bodies of a run have in common.
//
// A CRC is linear: where two bodies of one size differ in certain bits, their
// checksums differ in bits that depend on those alone. All bodies of a run are
// the same but for the identity (publisher and sequence, as one number), so
// their checksums follow from it, whatever the size of the body: each bit of
// the identity that is set flips bits of the checksum of identity 0.
type sized struct {
	run    uint32
	filler []byte
	table  *crc32.Table

	zero  uint32         // the checksum of identity 0
	flips [8][256]uint32 // by the identity's bytes, the lowest first
	// steps leads from the checksum of one identity to that of the next, by
	// the number of zeros that the next ends in: counting up flips just those
	// and the bit before them.
	steps [64]uint32
}

func newSized(size int, run uint32) *sized {
	s := &sized{run: run, table: crc32.MakeTable(crc32.Castagnoli)}
	// The filler must not be compressible away by a proxy or a file system, so
	// it is the output of a small generator (xorshift64) rather than zeros.
	s.filler = make([]byte, size-MinBodySize)
	x := uint64(run) | 1<<40
	for i := range s.filler {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		s.filler[i] = byte(x)
	}
	s.zero = crc32.Update(crc32.Update(0, s.table, s.append(nil, &header{})[:12]), s.table, s.filler)

	// The register of a CRC that has taken nothing but zeros and then the bit
	// 1 is the polynomial; the filler follows. A bit that is taken one earlier
	// has had one more zero shifted in after it. Of each byte the lowest bit is
	// taken first, of the identity the highest byte.
	flip := crc32.Update(crc32.Castagnoli, s.table, s.filler) ^ crc32.Update(0, s.table, s.filler)
	for i := range s.flips {
		for bit := 7; bit >= 0; bit-- {
			s.flips[i][1<<bit] = flip
			flip = flip>>1 ^ crc32.Castagnoli*(flip&1)
		}
		for value := range s.flips[i] {
			s.flips[i][value] = s.flips[i][value&(value-1)] ^ s.flips[i][value&-value]
		}
	}
	for zeros := range s.steps {
		s.steps[zeros] = s.zero ^ s.checksum(2<<zeros-1)
	}
	return s
}

// size is the size of a body in bytes.
func (s *sized) size() int { return MinBodySize + len(s.filler) }

// checksum returns the checksum of the body with the identity id.
func (s *sized) checksum(id uint64) uint32 {
	sum := s.zero
	for i := range s.flips {
		sum ^= s.flips[i][byte(id>>(8*i))]
	}
	return sum
}

// checksumOf returns the checksum over body, which must be of our size.
func (s *sized) checksumOf(body []byte) uint32 {
	if binary.BigEndian.Uint32(body) == s.run && bytes.Equal(body[16:], s.filler) {
		// Looking at every byte costs less than computing with it.
		return s.checksum(readHeader(body).id)
	}
	return crc32.Update(crc32.Update(0, s.table, body[:12]), s.table, body[16:])
}

// header is the header of one body, but for the run.
type header struct {
	id  uint64 // publisher and sequence, 16 and 48 bits
	sum uint32
}

// readHeader returns the header of body, which must not be shorter than one.
func readHeader(body []byte) header {
	return header{id: binary.BigEndian.Uint64(body[4:]), sum: binary.BigEndian.Uint32(body[12:])}
}

// words returns the header as it is in a body of the given run.
func (h *header) words(run uint32) (first, second uint64) {
	return uint64(run)<<32 | h.id>>32, h.id<<32 | uint64(h.sum)
}

// advance turns the header into that of the publisher's next message.
func (h *header) advance(s *sized) {
	h.id++
	h.sum ^= s.steps[bits.TrailingZeros64(h.id)%64]
}

// append appends the body with the header h to dst.
func (s *sized) append(dst []byte, h *header) []byte {
	first, second := h.words(s.run)
	dst = binary.BigEndian.AppendUint64(dst, first)
	dst = binary.BigEndian.AppendUint64(dst, second)
	return append(dst, s.filler...)
}

// matches reports whether body is, in every byte, the body with the header h.
func (s *sized) matches(h *header, body []byte) bool {
	first, second := h.words(s.run)
	return len(body) == s.size() &&
		binary.BigEndian.Uint64(body) == first &&
		binary.BigEndian.Uint64(body[8:]) == second &&
		(len(body) == MinBodySize || bytes.Equal(body[MinBodySize:], s.filler))
}
