package load

import (
	"math"
	"strconv"

	"github.com/thumpmq/thump/internal/ledger"
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

// Sizes are those of bodies that are not all of one size.
type Sizes struct {
	Text   string // what the user wrote
	Shares []Share
}

// Share is a size, and how many bodies have it among those of other sizes.
type Share = ledger.Share

// SharesMost is the most sizes that the bodies of a run may have.
const SharesMost = ledger.SharesMost

// average is the average size; 0 if there are none.
func (s *Sizes) average() float64 {
	var bytes, weights float64
	for _, share := range s.Shares {
		bytes += float64(share.Bytes) * share.Weight
		weights += share.Weight
	}
	if weights == 0 {
		return 0
	}
	return bytes / weights
}

// largest is the largest size; 0 if there are none.
func (s *Sizes) largest() int {
	var most int
	for _, share := range s.Shares {
		most = max(most, share.Bytes)
	}
	return most
}

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
	switch {
	case cfg.Sizes.Shares != nil:
		return uint64(float64(cfg.Count) * cfg.Sizes.average())
	case cfg.BodyBytes > 0:
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
	if most := max(cfg.BodyBytes, cfg.Sizes.largest()); most > 0 {
		return most
	}
	return len("Message ") + len(strconv.FormatUint(cfg.Count, 10))
}
