// Package compress compresses and uncompresses the batches of the RabbitMQ
// stream protocol, in the formats that the official clients write: gzip, the
// framing format of snappy, LZ4 frames and zstd frames.
//
// Decompress reads what a publisher sent that may be broken or hostile, and the
// uncompressed size is only a claim of that publisher. No input makes it panic, or use
// much more memory than the uncompressed bytes need.
package compress

import (
	"fmt"
	"strings"
)

// Codec is a compression format. Its values are those of the three bits in a batch's
// header.
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

// Parse returns the codec with that name: none, gzip, snappy, lz4 or zstd, in lower or
// upper case.
func Parse(name string) (Codec, error) {
	for c := range Zstd + 1 {
		if strings.EqualFold(name, c.String()) {
			return c, nil
		}
	}
	return None, fmt.Errorf("unknown compression %q: it is none, gzip, snappy, lz4 or zstd", name)
}

// UnknownError is the error for a Codec that is not one of the constants.
type UnknownError struct {
	Codec Codec
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("compression %d is unknown", uint8(e.Codec))
}

// SizeError is the error for data that does not have the claimed size once it is
// uncompressed.
type SizeError struct {
	Codec Codec
	Want  int // bytes, as claimed
	Got   int // bytes; Want+1 stands for any larger number
}

func (e *SizeError) Error() string {
	got := fmt.Sprintf("%d bytes", e.Got)
	if e.Got > e.Want {
		got = "more"
	}
	return fmt.Sprintf("%v: want %d bytes uncompressed, got %s", e.Codec, e.Want, got)
}
