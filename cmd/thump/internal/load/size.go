package load

import (
	"math"
	"strconv"
)

// What RabbitMQ stores for the messages of a stream (osiris_log.erl). A chunk of
// entries has a header with a Bloom filter, and an entry in the index. A message
// has its length and the head of an AMQP 1.0 data section. A sub-entry batch has a
// header of its own.
const (
	chunkBytes     = 48 + 16 + 29
	lengthBytes    = 4
	sectionBytes   = 5 // of bodies up to 255 bytes
	sectionBytesOf = 8 // of larger ones
	batchHeadBytes = 11

	// entriesOfChunk is the least average of entries in a chunk while publishers keep
	// the broker busy.
	entriesOfChunk = 8
)

// StreamBytes estimates what the messages take on the disk of each node that has
// the stream, with sub-entry batches of up to subEntry messages. Compression may
// make it less. It is math.MaxUint64 where it is the time that ends the sending.
func (cfg *SendConfig) StreamBytes(subEntry int) uint64 {
	if cfg.Count == 0 {
		return math.MaxUint64
	}
	section := uint64(sectionBytes)
	if cfg.LargestBody() > math.MaxUint8 {
		section = sectionBytesOf
	}
	bytes := cfg.bodyBytes() + cfg.Count*(lengthBytes+section)
	entries := cfg.Count
	if batch := uint64(max(1, subEntry)); batch > 1 {
		entries = (cfg.Count + batch - 1) / batch
		bytes += entries * batchHeadBytes
	}
	return bytes + (entries/entriesOfChunk+1)*chunkBytes
}

// bodyBytes is the size of all bodies.
func (cfg *SendConfig) bodyBytes() uint64 {
	if cfg.BodyBytes > 0 {
		return cfg.Count * uint64(cfg.BodyBytes)
	}
	bytes := cfg.Count * uint64(len("Message "))
	// Numbers from 1 on have one digit, those from 10 on one more, and so on.
	for from := uint64(1); from <= cfg.Count; from *= 10 {
		bytes += cfg.Count - from + 1
	}
	return bytes
}

// LargestBody is the size of the largest body in bytes.
func (cfg *SendConfig) LargestBody() int {
	if cfg.BodyBytes > 0 {
		return cfg.BodyBytes
	}
	return len("Message ") + len(strconv.FormatUint(cfg.Count, 10))
}
