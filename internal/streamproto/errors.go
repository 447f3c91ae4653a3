package streamproto

import (
	"errors"
	"fmt"
	"math"
)

// ErrFrameSize is returned by ParseFrame for a frame too small to hold a key and
// a version.
var ErrFrameSize = errors.New("streamproto: frame of less than 4 bytes")

var (
	errStringLength  = errors.New("a string of negative length")
	errBool          = errors.New("a boolean that is neither 0 nor 1")
	errFilteredBatch = errors.New("a batch in a frame of version 2")
)

// FrameTooLargeError is returned by ParseFrame for a frame that claims to be
// larger than the caller accepts.
type FrameTooLargeError struct {
	Key   Key
	Size  uint32 // bytes, without the size field
	Limit uint32 // bytes, likewise
}

// Error says how large, and what was allowed.
func (e *FrameTooLargeError) Error() string {
	return fmt.Sprintf("streamproto: frame %v of %d bytes is larger than the %d allowed", e.Key, e.Size, e.Limit)
}

// UnexpectedFrameError is returned by a Parse function for a frame of another
// command, direction or version than the one it reads; ParseRequest and
// ParseResponse return it for commands this package does not have, too.
type UnexpectedFrameError struct {
	Key      Key
	Response bool
	Version  uint16
}

// Error names the frame.
func (e *UnexpectedFrameError) Error() string {
	return fmt.Sprintf("streamproto: unexpected frame: %v%s, version %d", e.Key, responseWord(e.Response), e.Version)
}

func responseWord(response bool) string {
	if response {
		return " response"
	}
	return ""
}

// unexpected makes the error of a frame that should not be here.
func unexpected(f *Frame) error {
	return &UnexpectedFrameError{Key: f.Key, Response: f.Response, Version: f.Version}
}

// StringTooLongError is returned where a string does not fit its length field of
// 16 bits, signed.
type StringTooLongError struct {
	Field  string // PROTOCOL.adoc's name
	Length int    // bytes
}

// Error names the field, its length and the limit.
func (e *StringTooLongError) Error() string {
	return fmt.Sprintf("%s is %d bytes long, at most %d fit", e.Field, e.Length, math.MaxInt16)
}

// OffsetTypeError is returned for an offset type the protocol does not have.
type OffsetTypeError struct {
	Type OffsetType
}

// Error says which type it was.
func (e *OffsetTypeError) Error() string {
	return fmt.Sprintf("unknown offset type %d", uint16(e.Type))
}

// ChunkError is returned for a chunk whose header or entries contradict
// themselves or the bytes that are there. Nothing of such a chunk can be relied
// on, nor can what the broker's log holds there.
type ChunkError struct {
	FirstOffset uint64 // which chunk, as far as its header could be read
	Problem     string
}

// Error says what is wrong with which chunk.
func (e *ChunkError) Error() string {
	return fmt.Sprintf("streamproto: chunk at offset %d: %s", e.FirstOffset, e.Problem)
}

// CRCError is returned by CheckCRC for a chunk whose data is not what the broker
// computed the checksum of.
type CRCError struct {
	FirstOffset uint64 // which chunk
	Header, Got uint32 // the checksum in the header, and that of the data
}

// Error says which chunk, and both checksums.
func (e *CRCError) Error() string {
	return fmt.Sprintf("streamproto: chunk at offset %d: its CRC-32 is %#08x, its data's %#08x", e.FirstOffset, e.Header, e.Got)
}
