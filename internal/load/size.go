package load

import (
	"math"
	"strconv"
)

// What RabbitMQ stores of messages in a stream (osiris_log.erl): a chunk of
// entries has a header with its Bloom filter, and an entry in the index; a
// message has its length and, as AMQP 1.0 has it, the head of a data section; a
// sub-entry batch has a header of its own.
const (
	chunkBytes     = 48 + 16 + 29
	lengthBytes    = 4
	sectionBytes   = 5 // of bodies up to 255 bytes
	sectionBytesOf = 8 // of larger ones
	batchHeadBytes = 11

	// entriesOfChunk is how many entries a chunk has at least, on average, when
	// publishers keep the broker busy.
	entriesOfChunk = 8
)

// StreamBytes is about what the messages take on the disk of a node that has the
// stream; compression may make it less.
func (cfg *SendConfig) StreamBytes() uint64 {
	section := uint64(sectionBytes)
	if cfg.LargestBody() > math.MaxUint8 {
		section = sectionBytesOf
	}
	bytes := cfg.bodyBytes() + cfg.Count*(lengthBytes+section)
	entries := cfg.Count
	if batch := uint64(max(1, cfg.Stream.SubEntry)); batch > 1 {
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
	// Every number from 1 on has one digit, from 10 on one more, and so on.
	for from := uint64(1); from <= cfg.Count; from *= 10 {
		bytes += cfg.Count - from + 1
	}
	return bytes
}

// LargestBody is the size in bytes of the largest body that cfg asks for.
func (cfg *SendConfig) LargestBody() int {
	if cfg.BodyBytes > 0 {
		return cfg.BodyBytes
	}
	return len("Message ") + len(strconv.FormatUint(cfg.Count, 10))
}
