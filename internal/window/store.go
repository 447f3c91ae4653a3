package window

import (
	"math/bits"
	"sync"
)

// Store keeps what is in flight in its encoded form, such as messages, by numbers that
// count from 0: one after another in blocks. A block is let go when nothing in it is in
// flight, and used again. The zero Store is ready for use, by one goroutine at a time.
type Store struct {
	// BlockSize is the size of the largest block in bytes, 64 KiB where it is 0: a block is as
	// large as what is in flight when it begins, so that few small messages take little. What
	// is larger has a block of its own, which is not used again.
	BlockSize int

	blocks []*block    // oldest first
	held   int         // bytes of all blocks
	places Ring[place] // by number
	first  uint64      // the number of the first block
	oldest uint64      // no place of a lower number is needed
	next   uint64      // the number of the next message
}

const (
	// blockSize is the size of the largest block in bytes, where none is asked for.
	blockSize = 64 << 10

	// blockLeast is the size of the smallest.
	blockLeast = 1 << 10
)

// spareBlocks keep blocks that nothing is in, of any store, by the length of their size in
// bits. A pool in each store would hold that store, and whatever that is part of, until two
// garbage collections later: with stores that come and go the heap would grow and grow.
//
//nolint:gochecknoglobals // pools have no state that anyone sees
var spareBlocks [32]sync.Pool

func spareFor(size int) *sync.Pool { return &spareBlocks[bits.Len32(uint32(size))%len(spareBlocks)] }

// block holds messages; last is the number of the last one.
type block struct {
	bytes []byte
	last  uint64
}

// place is where a message is.
type place struct {
	block    uint64 // the number of the block
	at, size uint32
}

// Add copies what is encoded, of the next number. It returns by how many bytes the memory
// of the store grew.
func (s *Store) Add(encoded []byte) (grown int) {
	last := len(s.blocks) - 1
	if last < 0 || len(s.blocks[last].bytes)+len(encoded) > cap(s.blocks[last].bytes) {
		grown = s.begin(len(encoded))
		last = len(s.blocks) - 1
	}
	b := s.blocks[last]
	if s.next-s.oldest >= uint64(len(s.places)) {
		s.places = s.places.Grown(s.oldest, s.next, 1)
	}
	*s.places.At(s.next) = place{block: s.first + uint64(last), at: uint32(len(b.bytes)), size: uint32(len(encoded))}
	b.bytes = append(b.bytes, encoded...)
	b.last = s.next
	s.next++
	return grown
}

// begin begins a block with room for a message of that size.
func (s *Store) begin(size int) (grown int) {
	if s.BlockSize == 0 {
		s.BlockSize = blockSize
	}
	var b *block
	if size <= s.BlockSize {
		size = max(size, min(max(s.held, blockLeast), s.BlockSize))
		b, _ = spareFor(size).Get().(*block)
	}
	if b == nil || cap(b.bytes) < size {
		b = &block{bytes: make([]byte, 0, size)}
	}
	s.blocks = append(s.blocks, b)
	s.held += cap(b.bytes)
	return cap(b.bytes)
}

// Drop says that nothing below that number is needed. It returns by how many bytes the
// memory of the store shrank.
func (s *Store) Drop(oldest uint64) (shrunk int) {
	s.oldest = oldest
	n := 0
	for n < len(s.blocks) && s.blocks[n].last < oldest {
		b := s.blocks[n]
		shrunk += cap(b.bytes)
		if cap(b.bytes) <= s.BlockSize {
			b.bytes = b.bytes[:0]
			spareFor(cap(b.bytes)).Put(b)
		}
		n++
	}
	s.held -= shrunk
	if n > 0 {
		s.first += uint64(n)
		left := copy(s.blocks, s.blocks[n:])
		clear(s.blocks[left:])
		s.blocks = s.blocks[:left]
	}
	return shrunk
}

// At returns what was added under a number and was not dropped. It is valid until it is.
func (s *Store) At(number uint64) []byte {
	p := s.places.At(number)
	b := s.blocks[p.block-s.first].bytes
	return b[p.at : p.at+p.size : p.at+p.size]
}
