package streamproto

import "encoding/binary"

// A frame (PROTOCOL.adoc, Frame Structure) is a header and a body:
//
//	 0        4        6         8         4+size
//	+--------+--------+---------+-----------+
//	|  size  |  key   | version |   body    |
//	+--------+--------+---------+-----------+
//	  uint32   uint16   uint16
//
// size counts what follows it. The highest bit of the key is set in a response. The
// body depends on the kind of command:
//
//	request          0                4
//	                +----------------+------------+
//	                | correlation id |   fields   |
//	                +----------------+------------+
//	                      uint32
//
//	response         0                4        6
//	                +----------------+--------+------------+
//	                | correlation id |  code  |   fields   |   Metadata: no code
//	                +----------------+--------+------------+
//	                      uint32       uint16
//
//	no answer       +------------+
//	                |   fields   |   Publish (publish.go), PublishConfirm, PublishError,
//	                +------------+   Deliver (chunk.go), StoreOffset, MetadataUpdate,
//	                                 Credit and its error, Tune and its answer
//
//	Heartbeat       nothing

// Frame layout and limits, in bytes.
const (
	// FrameHeaderSize is the size of a frame's header: size, key and version.
	FrameHeaderSize = 8

	sizeFieldSize   = 4
	correlationSize = 4
	responseBit     = 0x8000

	// frameSizeLimit replaces a limit of 0, "no limit". RabbitMQ's frames have at
	// most 1 MiB and its chunks a few, so a frame that claims more than this is an
	// attack or garbage. It fits an int everywhere.
	frameSizeLimit = 1 << 30
)

// Limits says how large a frame may be, in bytes and without the size field, as the
// protocol counts it. 0 is the protocol's "no limit"; a frame of more than 1 GiB is
// refused even then.
type Limits struct {
	Frame   uint32 // as agreed in Tune
	Deliver uint32 // for KeyDeliver: RabbitMQ sends chunks of several MiB, whatever was agreed
}

// Frame is one frame. Its layout is drawn at the head of this file.
type Frame struct {
	Key      Key
	Response bool // the response bit; a client asks IsResponse instead
	Version  uint16
	Body     []byte // aliases the bytes given to ParseFrame
}

// IsResponse says whether f, received by a client, answers one of its requests. That
// is f.Response, except for Route and Partitions, which RabbitMQ 3.10 answers
// without the bit. No server sends those as requests.
func (f *Frame) IsResponse() bool {
	return f.Response || f.Key == KeyRoute || f.Key == KeyPartitions
}

// ParseFrame reads the frame at the start of b. n is its length on the wire, or 0 as
// long as that is not known. The frame is complete if n > 0 && n <= len(b); otherwise
// f is zero, and b has to grow to n bytes, or to FrameHeaderSize if n is 0.
//
// ParseFrame checks the size as soon as it has the header, so a peer can't make the
// caller wait for, or make room for, a frame that will be refused. An unknown key or
// version is not an error here. The errors are *FrameTooLargeError and ErrFrameSize.
// After either the caller must close the connection: nobody knows where the next
// frame begins.
func ParseFrame(b []byte, limits Limits) (f Frame, n int, err error) {
	if len(b) < FrameHeaderSize {
		if len(b) >= sizeFieldSize && binary.BigEndian.Uint32(b) < FrameHeaderSize-sizeFieldSize {
			return Frame{}, 0, ErrFrameSize
		}
		return Frame{}, 0, nil
	}
	size := binary.BigEndian.Uint32(b)
	key := binary.BigEndian.Uint16(b[4:])
	limit := limits.Frame
	if Key(key) == KeyDeliver { // and no response bit
		limit = limits.Deliver
	}
	if limit == 0 || limit > frameSizeLimit {
		limit = frameSizeLimit
	}
	if size < FrameHeaderSize-sizeFieldSize {
		return Frame{}, 0, ErrFrameSize
	}
	if size > limit {
		return Frame{}, 0, &FrameTooLargeError{Key: Key(key &^ responseBit), Size: size, Limit: limit}
	}
	n = int(size) + sizeFieldSize
	if n > len(b) {
		return Frame{}, n, nil
	}
	f.Key = Key(key &^ responseBit)
	f.Response = key&responseBit != 0
	f.Version = binary.BigEndian.Uint16(b[6:])
	f.Body = b[FrameHeaderSize:n:n]
	return f, n, nil
}

// AppendHeartbeat appends a heartbeat frame (PROTOCOL.adoc, Heartbeat).
func AppendHeartbeat(dst []byte) []byte {
	return append(dst, 0, 0, 0, 4, 0, byte(KeyHeartbeat), 0, 1)
}

// beginFrame appends a frame's header with a size of zero. endFrame fills the size
// in after the body. The key of a response has the response bit.
func beginFrame(dst []byte, key, version uint16) []byte {
	return append(dst, 0, 0, 0, 0, byte(key>>8), byte(key), byte(version>>8), byte(version))
}

// endFrame fills in the size of the frame that begins at start and ends with dst. A
// caller that appends strings of any length compares the frame's length with the
// size that was agreed, which is far below 4 GiB.
func endFrame(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-sizeFieldSize))
	return dst
}

// expect returns an error unless f has that key, is a response or not, and has
// version 1, the only one of most commands.
func expect(f *Frame, key Key, response bool) error {
	if f.Key != key || f.Response != response || f.Version != 1 {
		return unexpected(f)
	}
	return nil
}
