package streamproto

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/thumpmq/thump/internal/wire"
)

// A Publish frame (PROTOCOL.adoc, Publish) is a header and entries:
//
//	 0        4       6         8             9         13
//	+--------+-------+---------+-------------+---------+-----------------
//	|  size  |  key  | version | publisher id| entries | entry entry ...
//	+--------+-------+---------+-------------+---------+-----------------
//	 uint32   uint16  uint16    uint8         uint32
//
// An entry is one message, or a batch of them that has one publishing id and one
// confirm; broker and stream treat it as one thing, which is what makes batches
// fast.
//
//	version 1   uint64 id, uint32 size, message
//	            uint64 id, batch
//	version 2   uint64 id, filter value, uint32 size, message
//	batch       uint8  1:1, compression:3, 0:4
//	            uint16 messages
//	            uint32 bytes of the messages, with their lengths, before compression
//	            uint32 bytes of what follows: (uint32 size, message) for each
//	                   message, compressed
//
// A batch in a frame of version 2 makes RabbitMQ close the connection.
//
// The functions here append the pieces and patch the sizes afterwards. None of
// them allocates where dst has room.
const (
	// PublishHeaderSize is what BeginPublish appends, in bytes.
	PublishHeaderSize = FrameHeaderSize + 5

	// BatchHeaderSize is what a batch has in front of its data, in bytes,
	// without the publishing id of 8 bytes before it.
	BatchHeaderSize = 11

	// BatchCountMax is how many messages a batch can hold.
	BatchCountMax = math.MaxUint16

	entryHeaderSize = 12 // of a version 1 entry: id and size
	idSize          = 8
	lengthSize      = 4
	batchBit        = 0x80
	compressionMax  = 7 // what fits in the three bits
)

// BeginPublish appends the header of a Publish frame, with a size and a number
// of entries of zero for EndPublish to patch. version is 1, or 2 for entries
// with filter values.
func BeginPublish(dst []byte, version uint16, publisherID uint8) []byte {
	return append(dst, 0, 0, 0, 0, 0, byte(KeyPublish), byte(version>>8), byte(version), publisherID, 0, 0, 0, 0)
}

// EndPublish patches the size and the number of entries of the frame that was
// begun at dst[start] and ends where dst ends.
func EndPublish(dst []byte, start, entries int) {
	frame := dst[start:]
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-sizeFieldSize))
	binary.BigEndian.PutUint32(frame[FrameHeaderSize+1:], uint32(entries))
}

// DataEntrySize is how many bytes AppendDataEntry appends for a body of that
// size: a caller adds it up to see whether the frame stays within the size that
// was agreed.
func DataEntrySize(body int) int { return entryHeaderSize + DataSize(body) }

// AppendDataEntry appends a version 1 entry whose message is one data section
// around body.
func AppendDataEntry(dst []byte, id uint64, body []byte) []byte {
	start := len(dst)
	if len(body) <= math.MaxUint8 {
		const header = entryHeaderSize + dataShortHeader
		size := header + len(body)
		dst = grow(dst, size)[:start+size]
		entry := dst[start:]
		_ = entry[header-1]
		binary.BigEndian.PutUint64(entry, id)
		binary.BigEndian.PutUint32(entry[8:], uint32(dataShortHeader+len(body)))
		binary.BigEndian.PutUint32(entry[12:], dataShort)
		entry[16] = byte(len(body))
		copy(entry[header:], body)
		return dst
	}
	const header = entryHeaderSize + dataLongHeader
	size := header + len(body)
	dst = grow(dst, size)[:start+size]
	entry := dst[start:]
	_ = entry[header-1]
	binary.BigEndian.PutUint64(entry, id)
	binary.BigEndian.PutUint32(entry[8:], uint32(dataLongHeader+len(body)))
	binary.BigEndian.PutUint32(entry[12:], dataLong)
	binary.BigEndian.PutUint32(entry[16:], uint32(len(body)))
	copy(entry[header:], body)
	return dst
}

// BeginEntry appends the head of a version 1 entry. The caller appends the
// message, and calls EndEntry with the length that dst had before it.
func BeginEntry(dst []byte, id uint64) []byte {
	return append(binary.BigEndian.AppendUint64(dst, id), 0, 0, 0, 0)
}

// BeginFilteredEntry appends the head of a version 2 entry, whose last 4 bytes
// are the size that EndEntry patches. An empty filter value is none. The error
// is *StringTooLongError, and leaves dst as it was. The broker takes values of at
// most 255 bytes.
func BeginFilteredEntry(dst []byte, id uint64, filter string) ([]byte, error) {
	if len(filter) > math.MaxInt16 {
		return dst, fmt.Errorf("streamproto: Publish: %w", &StringTooLongError{Field: "FilterValue", Length: len(filter)})
	}
	dst = binary.BigEndian.AppendUint64(dst, id)
	if filter == "" {
		return append(dst, 0xFF, 0xFF, 0, 0, 0, 0), nil
	}
	dst = append(dst, byte(len(filter)>>8), byte(len(filter)))
	dst = append(dst, filter...)
	return append(dst, 0, 0, 0, 0), nil
}

// EndEntry patches the size of the message that begins at messageStart, the
// length of dst right after BeginEntry or BeginFilteredEntry, and ends where dst
// ends.
func EndEntry(dst []byte, messageStart int) {
	binary.BigEndian.PutUint32(dst[messageStart-lengthSize:], uint32(len(dst)-messageStart))
}

// BeginBatch appends the publishing id and the header of a batch, all zero, for
// EndBatch to patch: 8 + BatchHeaderSize bytes. The messages of the batch follow.
func BeginBatch(dst []byte) []byte {
	return append(dst, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
}

// BatchedDataSize is how many bytes AppendBatchedData appends for a body of that
// size.
func BatchedDataSize(body int) int { return lengthSize + DataSize(body) }

// AppendBatchedData appends a message to a batch: its length, and one data
// section around body.
func AppendBatchedData(dst, body []byte) []byte {
	start := len(dst)
	if len(body) <= math.MaxUint8 {
		const header = lengthSize + dataShortHeader
		size := header + len(body)
		dst = grow(dst, size)[:start+size]
		message := dst[start:]
		_ = message[header-1]
		binary.BigEndian.PutUint64(message, uint64(dataShortHeader+len(body))<<32|dataShort)
		message[8] = byte(len(body))
		copy(message[header:], body)
		return dst
	}
	const header = lengthSize + dataLongHeader
	size := header + len(body)
	dst = grow(dst, size)[:start+size]
	message := dst[start:]
	_ = message[header-1]
	binary.BigEndian.PutUint64(message, uint64(dataLongHeader+len(body))<<32|dataLong)
	binary.BigEndian.PutUint32(message[8:], uint32(len(body)))
	copy(message[header:], body)
	return dst
}

// BeginBatched appends the length of a message in a batch, zero. The caller
// appends the message, and calls EndBatched with the length that dst had before
// it.
func BeginBatched(dst []byte) []byte { return append(dst, 0, 0, 0, 0) }

// EndBatched patches the length of the message that begins at messageStart, and
// ends where dst ends.
func EndBatched(dst []byte, messageStart int) { EndEntry(dst, messageStart) }

// EndBatch patches publishing id and header of the uncompressed batch of count
// messages, 1 to BatchCountMax, that was begun at dst[start] and ends where dst
// ends.
func EndBatch(dst []byte, start int, id uint64, count int) {
	batch := dst[start:]
	size := len(batch) - idSize - BatchHeaderSize
	putBatchHeader(batch, id, 0, count, size, size)
}

// AppendBatch appends a batch of count messages, 1 to BatchCountMax, whose data
// is there already: each message behind its length of 32 bits, compressed as
// compression says (0 to 7), and uncompressedSize bytes before that.
func AppendBatch(dst []byte, id uint64, compression uint8, count, uncompressedSize int, data []byte) []byte {
	start := len(dst)
	dst = BeginBatch(grow(dst, idSize+BatchHeaderSize+len(data)))
	putBatchHeader(dst[start:], id, compression, count, uncompressedSize, len(data))
	return append(dst, data...)
}

// putBatchHeader writes publishing id and header. The panic is for a caller of
// ours: the broker would take a wrong count, and every reader fall over it.
func putBatchHeader(b []byte, id uint64, compression uint8, count, uncompressedSize, size int) {
	if count < 1 || count > BatchCountMax || compression > compressionMax {
		panic("streamproto: internal: a batch with a number of messages or a compression that does not exist")
	}
	_ = b[idSize+BatchHeaderSize-1]
	binary.BigEndian.PutUint64(b, id)
	b[8] = batchBit | compression<<4
	binary.BigEndian.PutUint16(b[9:], uint16(count))
	binary.BigEndian.PutUint32(b[11:], uint32(uncompressedSize))
	binary.BigEndian.PutUint32(b[15:], uint32(size))
}

// PublishReader takes the entries off a Publish frame, as a broker does. It is a
// small value, and not safe for concurrent use.
type PublishReader struct {
	r        wire.Reader
	left     int
	filtered bool
}

// ParsePublish reads the header of a Publish frame of version 1 or 2. entries is
// how many the frame says it has; r reads them. The errors are
// *UnexpectedFrameError and wire's.
func ParsePublish(f Frame) (publisherID uint8, entries int, r PublishReader, err error) {
	if f.Key != KeyPublish || f.Response || f.Version != 1 && f.Version != 2 {
		return 0, 0, r, unexpected(&f)
	}
	in := newReader(f.Body)
	publisherID = in.U8()
	entries = in.count(entryHeaderSize)
	if in.Err() != nil {
		return 0, 0, r, in.finish(&f)
	}
	return publisherID, entries, PublishReader{r: in.Reader, left: entries, filtered: f.Version == 2}, nil
}

// Next returns the next entry; ok is false when there is none, or it is not all
// there: Err says which. filter is empty for none. e.Data aliases the frame.
func (r *PublishReader) Next() (id uint64, filter string, e Entry, ok bool) {
	if r.left == 0 || r.r.Err() != nil {
		return 0, "", Entry{}, false
	}
	r.left--
	id = r.r.U64()
	if r.filtered {
		in := reader{Reader: r.r}
		in.text("FilterValue", &filter)
		r.r = in.Reader
	}
	e = readEntry(&r.r)
	if r.filtered && e.Batched {
		r.r.Fail(errFilteredBatch)
	}
	if r.r.Err() != nil {
		return 0, "", Entry{}, false
	}
	return id, filter, e, true
}

// Err says, after Next returned false, whether all entries were there and
// nothing behind them.
func (r *PublishReader) Err() error {
	in := r.r
	return in.Finish()
}

// readEntry reads an entry behind its id: of a chunk, where it has none, or of a
// Publish.
func readEntry(r *wire.Reader) (e Entry) {
	head := r.U8()
	if head&batchBit == 0 {
		size := int(head)<<24 | int(r.U8())<<16 | int(r.U16())
		return Entry{Count: 1, Data: r.Bytes(size)}
	}
	e.Batched = true
	e.Compression = head >> 4 & compressionMax
	e.Count = int(r.U16())
	e.UncompressedSize = int(r.U32())
	size := r.U32()
	if uint64(size) > uint64(r.Len()) {
		r.Fail(wire.ErrShort)
		return e
	}
	e.Data = r.Bytes(int(size))
	return e
}
