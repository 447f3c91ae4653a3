package streamproto

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/wire"
)

// A Publish frame (PROTOCOL.adoc, Publish) is a header and entries:
//
//	 0        4       6         8              9         13
//	+--------+-------+---------+--------------+---------+-----------------
//	|  size  |  key  | version | publisher id | entries | entry entry ...
//	+--------+-------+---------+--------------+---------+-----------------
//	 uint32   uint16  uint16    uint8          uint32
//
// An entry is a message or a batch. A batch has one publishing id and one confirm:
// broker and stream treat it as one thing, which makes batches fast.
//
//	message         +------+------+-----------+
//	(version 1)     |  id  | size |  message  |
//	                +------+------+-----------+
//	                 uint64 uint32
//
//	message         +------+--------------+------+-----------+
//	(version 2)     |  id  | filter value | size |  message  |
//	                +------+--------------+------+-----------+
//	                 uint64     string     uint32
//
//	batch           +------+---+-------------+---+-------+----------+--------+------+
//	(version 1)     |  id  | 1 | compression | 0 | count | raw size |  size  | data |
//	                +------+---+-------------+---+-------+----------+--------+------+
//	                 uint64 1    3 bits        4  uint16   uint32     uint32
//
// A batch's data is (uint32 size, message) for each of its count messages, raw size
// bytes in all, and size bytes after compression. RabbitMQ closes the connection on a
// batch in a frame of version 2.
//
// The functions here append the parts and fill in the sizes afterwards. They allocate
// only to grow dst.

// Sizes of a Publish and its entries, in bytes but for BatchCountMax.
const (
	// BatchHeaderSize is what a batch has between its publishing id and its data.
	BatchHeaderSize = 11

	// BatchCountMax is how many messages a batch can have.
	BatchCountMax = math.MaxUint16

	entryHeaderSize = 12 // id and size of a message in version 1
	idSize          = 8
	lengthSize      = 4
	dataHeaderMax   = 8 // the word in which a data section's header is written
	batchBit        = 0x80
	compressionMax  = 7 // the largest that fits in three bits
)

// BeginPublish appends the header of a Publish frame, with zeros for the size and the
// number of entries. EndPublish fills them in. version is 1, or 2 for entries with
// filter values.
func BeginPublish(dst []byte, version uint16, publisherID uint8) []byte {
	return append(dst, 0, 0, 0, 0, 0, byte(KeyPublish), byte(version>>8), byte(version), publisherID, 0, 0, 0, 0)
}

// EndPublish fills in the size and the number of entries of the frame that begins at
// dst[start] and ends with dst.
func EndPublish(dst []byte, start, entries int) {
	frame := dst[start:]
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-sizeFieldSize))
	binary.BigEndian.PutUint32(frame[FrameHeaderSize+1:], uint32(entries))
}

// DataEntrySize is how many bytes AppendDataEntry appends for a body of that size. A
// caller adds these up to keep the frame within the size that was agreed.
func DataEntrySize(body int) int { return entryHeaderSize + amqp10.DataSize(body) }

// AppendDataEntry appends an entry of version 1 whose message is one data section
// around body.
func AppendDataEntry(dst []byte, id uint64, body []byte) []byte {
	header, n := amqp10.DataHeader(len(body))
	start := len(dst)
	dst = grow(dst, entryHeaderSize+dataHeaderMax+len(body))
	head := dst[start : start+entryHeaderSize+dataHeaderMax]
	binary.BigEndian.PutUint64(head, id)
	binary.BigEndian.PutUint32(head[8:], uint32(n+len(body)))
	binary.BigEndian.PutUint64(head[entryHeaderSize:], header)
	bodyStart := start + entryHeaderSize + n
	dst = dst[:bodyStart+len(body)]
	copy(dst[bodyStart:], body)
	return dst
}

// AppendDataEntries is AppendDataEntry for bodies from the first on, whose ids follow each
// other from id on, as long as all of them take no more than so many bytes. It returns how
// many bodies that were.
func AppendDataEntries(dst []byte, id uint64, bodies [][]byte, bytes int) (_ []byte, n int) {
	for end := len(dst) + bytes; n < len(bodies); n++ {
		body := bodies[n]
		header, size := amqp10.DataHeader(len(body))
		head := len(dst)
		at := head + entryHeaderSize + size
		if len(body) > end-at {
			break
		}
		dst = grow(dst, entryHeaderSize+dataHeaderMax+len(body))[:at+len(body)]
		binary.BigEndian.PutUint64(dst[head:], id+uint64(n))
		binary.BigEndian.PutUint32(dst[head+idSize:], uint32(size+len(body)))
		binary.BigEndian.PutUint64(dst[head+entryHeaderSize:head+entryHeaderSize+dataHeaderMax], header)
		put(dst[at:], body)
	}
	return dst, n
}

// EntrySize is how many bytes the first entry of b takes, a message of version 1 that was
// appended whole.
func EntrySize(b []byte) int { return entryHeaderSize + int(binary.BigEndian.Uint32(b[idSize:])) }

// BeginEntry appends id and size of an entry of version 1. The caller then appends
// the message, and calls EndEntry with the length that dst had before the message.
func BeginEntry(dst []byte, id uint64) []byte {
	return append(binary.BigEndian.AppendUint64(dst, id), 0, 0, 0, 0)
}

// BeginFilteredEntry does what BeginEntry does for an entry of version 2. An empty
// filter value means none. The broker accepts values of at most 255 bytes. The error
// is *StringTooLongError.
func BeginFilteredEntry(dst []byte, id uint64, filter string) ([]byte, error) {
	if len(filter) > math.MaxInt16 {
		return dst, fmt.Errorf("a Publish frame: %w", &StringTooLongError{Field: "FilterValue", Length: len(filter)})
	}
	dst = binary.BigEndian.AppendUint64(dst, id)
	if filter == "" {
		return append(dst, 0xFF, 0xFF, 0, 0, 0, 0), nil
	}
	dst = append(dst, byte(len(filter)>>8), byte(len(filter)))
	dst = append(dst, filter...)
	return append(dst, 0, 0, 0, 0), nil
}

// EndEntry fills in the size of the message that begins at messageStart and ends with
// dst. messageStart is the length of what BeginEntry or BeginFilteredEntry returned.
func EndEntry(dst []byte, messageStart int) {
	binary.BigEndian.PutUint32(dst[messageStart-lengthSize:], uint32(len(dst)-messageStart))
}

// BeginBatch appends 8 + BatchHeaderSize zeros for the publishing id and the header
// of a batch. EndBatch fills them in, after the messages.
func BeginBatch(dst []byte) []byte {
	return append(dst, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
}

// BatchedDataSize is how many bytes AppendBatchedData appends for a body of that
// size.
func BatchedDataSize(body int) int { return lengthSize + amqp10.DataSize(body) }

// AppendBatchedData appends a message to a batch: its size, and one data section
// around body.
func AppendBatchedData(dst, body []byte) []byte {
	header, n := amqp10.DataHeader(len(body))
	start := len(dst)
	dst = grow(dst, lengthSize+dataHeaderMax+len(body))
	head := dst[start : start+lengthSize+dataHeaderMax]
	binary.BigEndian.PutUint32(head, uint32(n+len(body)))
	binary.BigEndian.PutUint64(head[lengthSize:], header)
	bodyStart := start + lengthSize + n
	dst = dst[:bodyStart+len(body)]
	copy(dst[bodyStart:], body)
	return dst
}

// AppendBatchedBodies is AppendBatchedData for bodies from the first on, as long as all of
// them take no more than so many bytes. It returns how many bodies that were.
func AppendBatchedBodies(dst []byte, bodies [][]byte, bytes int) (_ []byte, n int) {
	for end := len(dst) + bytes; n < len(bodies); n++ {
		body := bodies[n]
		header, size := amqp10.DataHeader(len(body))
		head := len(dst)
		at := head + lengthSize + size
		if len(body) > end-at {
			break
		}
		dst = grow(dst, lengthSize+dataHeaderMax+len(body))[:at+len(body)]
		binary.BigEndian.PutUint32(dst[head:], uint32(size+len(body)))
		binary.BigEndian.PutUint64(dst[head+lengthSize:head+lengthSize+dataHeaderMax], header)
		put(dst[at:], body)
	}
	return dst, n
}

// put is copy(dst, body) where dst is as long as body. Words that overlap take less time than a
// call, and many bodies have so few bytes.
func put(dst, body []byte) {
	n := len(body)
	if uint(n-8) > 16 || len(dst) != n { // fewer than 8 bytes, or more than 24
		copy(dst, body)
		return
	}
	middle := min(8, n-8)
	first, second, last := binary.NativeEndian.Uint64(body), binary.NativeEndian.Uint64(body[middle:]), binary.NativeEndian.Uint64(body[n-8:])
	binary.NativeEndian.PutUint64(dst, first)
	binary.NativeEndian.PutUint64(dst[middle:], second)
	binary.NativeEndian.PutUint64(dst[n-8:], last)
}

// BeginBatched appends a zero for the size of a message in a batch. The caller then
// appends the message, and calls EndBatched with the length that dst had before the
// message.
func BeginBatched(dst []byte) []byte { return append(dst, 0, 0, 0, 0) }

// EndBatched fills in the size of the message that begins at messageStart and ends
// with dst.
func EndBatched(dst []byte, messageStart int) { EndEntry(dst, messageStart) }

// EndBatch fills in publishing id and header of the uncompressed batch that begins at
// dst[start] and ends with dst. It has count messages, 1 to BatchCountMax.
func EndBatch(dst []byte, start int, id uint64, count int) {
	batch := dst[start:]
	size := len(batch) - idSize - BatchHeaderSize
	putBatchHeader(batch, id, 0, count, uint32(size), size)
}

// AppendBatch appends a batch of count messages, 1 to BatchCountMax. data is the
// batch's data, compressed as compression (0 to 7) says; it had uncompressedSize
// bytes before.
func AppendBatch(dst []byte, id uint64, compression uint8, count int, uncompressedSize uint32, data []byte) []byte {
	start := len(dst)
	dst = BeginBatch(grow(dst, idSize+BatchHeaderSize+len(data)))
	putBatchHeader(dst[start:], id, compression, count, uncompressedSize, len(data))
	return append(dst, data...)
}

// putBatchHeader writes publishing id and header. It panics on a fault of ours,
// because the broker would accept a wrong count, and no consumer could read the batch.
func putBatchHeader(b []byte, id uint64, compression uint8, count int, uncompressedSize uint32, size int) {
	if count < 1 || count > BatchCountMax || compression > compressionMax {
		panic("streamproto: internal: a batch with a number of messages or a compression that does not exist")
	}
	_ = b[idSize+BatchHeaderSize-1]
	binary.BigEndian.PutUint64(b, id)
	b[8] = batchBit | compression<<4
	binary.BigEndian.PutUint16(b[9:], uint16(count))
	binary.BigEndian.PutUint32(b[11:], uncompressedSize)
	binary.BigEndian.PutUint32(b[15:], uint32(size))
}

// PublishReader reads the entries of a Publish frame, as a broker does. It is a small
// value, and not safe for concurrent use.
type PublishReader struct {
	r        wire.Reader
	left     int
	filtered bool
}

// ParsePublish reads the header of a Publish frame of version 1 or 2. entries is how
// many entries the frame says it has; r reads them. The errors are
// *UnexpectedFrameError and those of package wire.
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

// Next returns the next entry. ok is false after the last entry, and for one that
// can't be read; Err says which. filter is empty if there is none. e.Data aliases the
// frame.
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

// Err returns, after Next returned false, nil if the frame had all its entries and
// nothing after them.
func (r *PublishReader) Err() error {
	in := r.r
	return in.Finish()
}

// readEntry reads an entry of a chunk, or what follows the id and filter value of an
// entry of a Publish.
func readEntry(r *wire.Reader) (e Entry) {
	head := r.U8()
	if head&batchBit == 0 {
		size := int(head)<<24 | int(r.U8())<<16 | int(r.U16())
		return Entry{Count: 1, Data: r.Bytes(size)}
	}
	e.Batched = true
	e.Compression = head >> 4 & compressionMax
	e.Count = int(r.U16())
	e.UncompressedSize = r.U32()
	size := r.U32()
	if uint64(size) > uint64(r.Len()) {
		r.Fail(wire.ErrShort)
		return e
	}
	e.Data = r.Bytes(int(size))
	return e
}

// grow returns dst with room for n more bytes. Unlike slices.Grow it can be inlined,
// for the usual case that there is room.
func grow(dst []byte, n int) []byte {
	if cap(dst)-len(dst) < n {
		return slices.Grow(dst, n)
	}
	return dst
}
