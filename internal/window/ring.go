package window

import "math/bits"

// Ring is a slice of which numbers are the places, modulo its length, a power of two. Nil is
// empty. It is for whatever keeps something for each number in flight.
type Ring[T any] []T

// At is the place of a number. The ring is not nil.
func (r Ring[T]) At(i uint64) *T { return &r[i&uint64(len(r)-1)] }

// ringLeast is the length that a ring begins with: few messages are in flight in most of many
// publishers.
const ringLeast = 16

// Grown returns the ring with the numbers from first to next-1, each in its place, and
// room for n more. An eighth of it is left free besides, so that a ring that is nearly
// full is not asked for each message.
func (r Ring[T]) Grown(first, next uint64, n int) Ring[T] {
	want := next - first + uint64(n)
	if want <= uint64(len(r)-len(r)/8) {
		return r
	}
	length := max(ringLeast, 2*len(r))
	for want > uint64(length-length/8) {
		length *= 2
	}
	return r.resized(length, first, next)
}

// resized returns a ring of that length with the numbers from first to next-1, each
// in its place. There are no more of them than either ring holds.
func (r Ring[T]) resized(length int, first, next uint64) Ring[T] {
	other := make(Ring[T], length)
	for i := first; i < next && len(r) > 0; i++ {
		*other.At(i) = *r.At(i)
	}
	return other
}

// bitRing is a bit for each number in flight, set where the message has its
// outcome. Its length in bits is a power of two.
type bitRing []uint64

func newBitRing(numbers int) bitRing {
	n := 1
	for n*64 < numbers {
		n <<= 1
	}
	return make(bitRing, n)
}

// next returns the first number from first on whose bit is as asked, or end.
func (b bitRing) next(first, end uint64, set bool) uint64 {
	for i := first; i < end; {
		word := b[i/64&uint64(len(b)-1)]
		if !set {
			word = ^word
		}
		if word >>= i % 64; word != 0 {
			return min(end, i+uint64(bits.TrailingZeros64(word)))
		}
		i += 64 - i%64
	}
	return end
}

func (b bitRing) set(first, end uint64) {
	for i := first; i < end; {
		word, mask, until := b.span(i, end)
		*word |= mask
		i = until
	}
}

func (b bitRing) clear(first, end uint64) {
	for i := first; i < end; {
		word, mask, until := b.span(i, end)
		*word &^= mask
		i = until
	}
}

// span is the part of the numbers from first to end-1 that shares a word: the
// word, those bits in it, and the number after them.
func (b bitRing) span(first, end uint64) (word *uint64, mask, until uint64) {
	until = min(end, first-first%64+64)
	mask = ^uint64(0) << (first % 64)
	if left := until % 64; left != 0 {
		mask &^= ^uint64(0) << left
	}
	return &b[first/64&uint64(len(b)-1)], mask, until
}
