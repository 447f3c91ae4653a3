package ledger

import "encoding/binary"

// Masked is the format of the same bodies, but with a filler that differs throughout from that of
// every other: eight bytes that follow from the identity are combined with each eight of it. What
// is equal in none of two bodies no compression finds again. The tutorial's bodies stay as they are.
//
// The checksum is that of the body before that.
func (f Format) Masked() Format {
	if f.sized == nil {
		return f
	}
	f.sized = f.sized.asMasked()
	if f.mix != nil {
		mix := *f.mix
		mix.sizes = make([]*sized, len(f.mix.sizes))
		for i, s := range f.mix.sizes {
			mix.sizes[i] = s.asMasked()
		}
		f.mix = &mix
	}
	return f
}

// asMasked is a copy of s that is masked.
func (s *sized) asMasked() *sized {
	masked := *s
	masked.masked = true
	return &masked
}

// maskOf is what the body of that run with that identity has combined with its filler.
func maskOf(run uint32, id uint64) uint64 { return scramble(id ^ uint64(run)<<32) }

// appendMasked appends the filler, combined with the mask, to dst.
func appendMasked(dst, filler []byte, mask uint64) []byte {
	start := len(dst)
	dst = append(dst, filler...)
	words := dst[start:]
	for len(words) >= 32 { // four at a time: half of the time of one at a time
		binary.LittleEndian.PutUint64(words, binary.LittleEndian.Uint64(words)^mask)
		binary.LittleEndian.PutUint64(words[8:], binary.LittleEndian.Uint64(words[8:])^mask)
		binary.LittleEndian.PutUint64(words[16:], binary.LittleEndian.Uint64(words[16:])^mask)
		binary.LittleEndian.PutUint64(words[24:], binary.LittleEndian.Uint64(words[24:])^mask)
		words = words[32:]
	}
	for len(words) >= 8 {
		binary.LittleEndian.PutUint64(words, binary.LittleEndian.Uint64(words)^mask)
		words = words[8:]
	}
	for i := range words {
		words[i] ^= byte(mask >> (8 * i))
	}
	return dst
}

// isMasked reports whether b is the filler combined with the mask; they are of one size.
func isMasked(b, filler []byte, mask uint64) bool {
	for len(b) >= 32 && len(filler) >= 32 {
		differs := binary.LittleEndian.Uint64(b) ^ binary.LittleEndian.Uint64(filler) ^ mask
		differs |= binary.LittleEndian.Uint64(b[8:]) ^ binary.LittleEndian.Uint64(filler[8:]) ^ mask
		differs |= binary.LittleEndian.Uint64(b[16:]) ^ binary.LittleEndian.Uint64(filler[16:]) ^ mask
		differs |= binary.LittleEndian.Uint64(b[24:]) ^ binary.LittleEndian.Uint64(filler[24:]) ^ mask
		if differs != 0 {
			return false
		}
		b, filler = b[32:], filler[32:]
	}
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b)^mask != binary.LittleEndian.Uint64(filler) {
			return false
		}
		b, filler = b[8:], filler[8:]
	}
	for i := range b {
		if b[i]^byte(mask>>(8*i)) != filler[i] {
			return false
		}
	}
	return true
}
