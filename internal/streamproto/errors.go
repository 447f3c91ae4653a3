package streamproto

import (
	"errors"
	"fmt"
	"math"
)

// ErrFrameSize is ParseFrame's error for a frame that is too small for a key and a
// version.
var ErrFrameSize = errors.New("frame of less than 4 bytes")

var (
	errStringLength  = errors.New("a string of negative length")
	errBool          = errors.New("a boolean that is neither 0 nor 1")
	errFilteredBatch = errors.New("a batch in a frame of version 2")
)

// FrameTooLargeError is ParseFrame's error for a frame that claims to be larger than
// the caller accepts.
type FrameTooLargeError struct {
	Key   Key
	Size  uint32 // bytes, without the size field
	Limit uint32 // bytes, without the size field
}

func (e *FrameTooLargeError) Error() string {
	return fmt.Sprintf("frame %v of %d bytes is larger than the %d allowed", e.Key, e.Size, e.Limit)
}

// UnexpectedFrameError is a Parse function's error for a frame of another command,
// direction or version than the one that it reads. From ParseRequest and
// ParseResponse it can also mean a command that this package does not know.
type UnexpectedFrameError struct {
	Key      Key
	Response bool
	Version  uint16
}

func (e *UnexpectedFrameError) Error() string {
	return fmt.Sprintf("unexpected frame: %v%s, version %d", e.Key, responseWord(e.Response), e.Version)
}

// responseWord marks a response in the text of an error.
func responseWord(response bool) string {
	if response {
		return " response"
	}
	return ""
}

// unexpected makes an UnexpectedFrameError.
func unexpected(f *Frame) error {
	return &UnexpectedFrameError{Key: f.Key, Response: f.Response, Version: f.Version}
}

// StringTooLongError is the error for a string that does not fit its length field,
// which has 16 bits and is signed.
type StringTooLongError struct {
	Field  string // PROTOCOL.adoc's name
	Length int    // bytes
}

func (e *StringTooLongError) Error() string {
	return fmt.Sprintf("%s is %d bytes long, at most %d fit", e.Field, e.Length, math.MaxInt16)
}

// OffsetTypeError is the error for an offset type that the protocol does not have.
type OffsetTypeError struct {
	Type OffsetType
}

func (e *OffsetTypeError) Error() string {
	return fmt.Sprintf("unknown offset type %d", uint16(e.Type))
}

// ChunkError is the error for a chunk whose header and entries contradict each other
// or the number of bytes. Neither such a chunk nor the broker's log at that place can
// be relied on.
type ChunkError struct {
	FirstOffset uint64 // of the chunk; 0 if its header could not be read
	Problem     string
}

func (e *ChunkError) Error() string {
	return fmt.Sprintf("chunk at offset %d: %s", e.FirstOffset, e.Problem)
}

// CRCError is CheckCRC's error for a chunk whose data does not have the checksum in
// its header.
type CRCError struct {
	FirstOffset uint64 // of the chunk
	Header, Got uint32 // the checksum in the header, and the one of the data
}

func (e *CRCError) Error() string {
	return fmt.Sprintf("chunk at offset %d: its CRC-32 is %#08x, but that of its data %#08x", e.FirstOffset, e.Header, e.Got)
}
