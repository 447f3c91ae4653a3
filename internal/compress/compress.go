// Package compress compresses and uncompresses the batches of the RabbitMQ
// stream protocol, in the formats that the official clients write: gzip, the
// framing format of snappy, LZ4 frames and zstd frames.
//
// What Decompress is given comes from a publisher that may be broken or hostile,
// and the size it should have is a claim. No input makes it panic, or use memory
// out of proportion to what really comes out.
package compress

import (
	"fmt"
	"strings"
)

// Codec is a way to compress, as the three bits of a batch's header number them.
type Codec uint8

// The codecs.
const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2
	LZ4    Codec = 3
	Zstd   Codec = 4
)

// String is the codec's name, as Parse reads it: "gzip".
func (c Codec) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("compression %d", uint8(c))
}

// Parse is the codec of that name, in small or capital letters: none, gzip,
// snappy, lz4 or zstd.
func Parse(name string) (Codec, error) {
	for c := range Zstd + 1 {
		if strings.EqualFold(name, c.String()) {
			return c, nil
		}
	}
	return None, fmt.Errorf("compress: unknown compression %q: it is none, gzip, snappy, lz4 or zstd", name)
}

// UnknownError is returned for a Codec that is none of the constants.
type UnknownError struct {
	Codec Codec
}

// Error says which number it was.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("compress: compression %d is unknown", uint8(e.Codec))
}

// SizeError is returned where the data uncompressed is not as long as it should
// be.
type SizeError struct {
	Codec Codec
	Want  int // bytes
	Got   int // bytes; one more than Want stands for any number more
}

// Error says how long it should have been.
func (e *SizeError) Error() string {
	got := fmt.Sprintf("%d bytes", e.Got)
	if e.Got > e.Want {
		got = "more"
	}
	return fmt.Sprintf("compress: %v: %d bytes should come out, but there are %s", e.Codec, e.Want, got)
}
