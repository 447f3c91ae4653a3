package thump

import (
	"encoding/binary"
	"math/bits"
)

// murmur3Seed is the official clients' (super stream routing by hash): with
// another one, the same key would lead elsewhere than theirs.
const murmur3Seed = 104729

// murmur3 is the 32-bit MurmurHash3 of a routing key (Austin Appleby's
// MurmurHash3_x86_32, which is in the public domain).
func murmur3(key string) uint32 {
	const c1, c2 = 0xcc9e2d51, 0x1b873593
	mix := func(k uint32) uint32 { return bits.RotateLeft32(k*c1, 15) * c2 }

	h := uint32(murmur3Seed)
	rest := []byte(key)
	for ; len(rest) >= 4; rest = rest[4:] {
		h = bits.RotateLeft32(h^mix(binary.LittleEndian.Uint32(rest)), 13)*5 + 0xe6546b64
	}
	var tail [4]byte
	if copy(tail[:], rest) > 0 {
		h ^= mix(binary.LittleEndian.Uint32(tail[:]))
	}
	h ^= uint32(len(key))
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}
