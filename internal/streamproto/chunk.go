package streamproto

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"

	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/wire"
)

// The types of chunks (osiris_log.erl).
const (
	ChunkUser             = 0 // messages
	ChunkTrackingDelta    = 1 // stored offsets and publisher sequences; not for consumers
	ChunkTrackingSnapshot = 2 // the same, all of them; not for consumers
)

const (
	chunkHeaderSize = 48
	chunkMagic      = 0x50 // magic 5, version 0
)

// Chunk is what a broker delivers: a part of a stream's log, with messages that were
// published at about the same time (PROTOCOL.adoc, Deliver; osiris_log.erl). In the
// frame it follows the subscription id and, in version 2, the committed chunk id:
//
//	 0       1        2         4         8           16       24
//	+-------+--------+---------+---------+-----------+--------+----------------+
//	| magic |  type  | entries | records | timestamp | epoch  |  first offset  |
//	+-------+--------+---------+---------+-----------+--------+----------------+
//	  uint8   uint8    uint16    uint32     int64      uint64       uint64
//
//	 32      36            40               44           45         48
//	+-------+-------------+----------------+------------+----------+-----------+
//	|  CRC  | data length | trailer length | bloom size | reserved |   data    |
//	+-------+-------------+----------------+------------+----------+-----------+
//	 uint32     uint32          uint32         uint8       uint24    the entries
//
// The first byte is magic 5 and version 0, four bits each. The header is copied from
// the broker's log, with the sizes of a trailer and a bloom filter that RabbitMQ does
// not send.
//
// A record is a message. Its offset is the first offset plus its number in the chunk.
// An entry is one record or a batch of them. There can be gaps between the offsets of
// consecutive chunks: chunks that are not for consumers take offsets too, and a filter
// leaves chunks out.
type Chunk struct {
	SubscriptionID   uint8
	CommittedChunkID uint64 // version 2: the first offset of the newest chunk that a majority has

	Type          uint8
	Entries       uint16
	Records       uint32
	Timestamp     int64 // milliseconds since 1970
	Epoch         uint64
	FirstOffset   uint64
	CRC           uint32 // as the broker computed it
	TrailerLength uint32 // bytes, in the broker's log alone
	BloomSize     uint8  // bytes, in the broker's log alone
	Data          []byte // the entries; aliases the frame
}

// ParseDeliver reads a Deliver frame of version 1 or 2, but not the entries; CheckCRC
// and Reader do that. Nothing may follow the data: RabbitMQ sends no trailer, and whoever
// keeps the chunk would keep it too. It allocates nothing. The errors are
// *UnexpectedFrameError, and *ChunkError for a wrong header, and for a frame that is
// shorter or longer than the header says.
func ParseDeliver(f Frame) (c Chunk, err error) {
	if f.Key != KeyDeliver || f.Response || f.Version != 1 && f.Version != 2 {
		return c, unexpected(&f)
	}
	b := f.Body
	head := 1
	if f.Version == 2 {
		head = 9
	}
	if len(b) < head+chunkHeaderSize {
		return c, &ChunkError{Problem: "its header is cut short"}
	}
	c.SubscriptionID = b[0]
	if f.Version == 2 {
		c.CommittedChunkID = binary.BigEndian.Uint64(b[1:])
	}
	b = b[head:]
	_ = b[chunkHeaderSize-1]
	c.Type = b[1]
	c.Entries = binary.BigEndian.Uint16(b[2:])
	c.Records = binary.BigEndian.Uint32(b[4:])
	c.Timestamp = int64(binary.BigEndian.Uint64(b[8:]))
	c.Epoch = binary.BigEndian.Uint64(b[16:])
	c.FirstOffset = binary.BigEndian.Uint64(b[24:])
	c.CRC = binary.BigEndian.Uint32(b[32:])
	length := binary.BigEndian.Uint32(b[36:])
	c.TrailerLength = binary.BigEndian.Uint32(b[40:])
	c.BloomSize = b[44]
	if b[0] != chunkMagic {
		return c, &ChunkError{c.FirstOffset, "it begins with " + strconv.Itoa(int(b[0])) + ", not magic 5 and version 0"}
	}
	b = b[chunkHeaderSize:]
	if uint64(length) > uint64(len(b)) {
		return c, &ChunkError{c.FirstOffset, "its data is cut short"}
	}
	if more := uint64(len(b)) - uint64(length); more > 0 {
		return c, &ChunkError{c.FirstOffset, strconv.FormatUint(more, 10) + " bytes follow its data"}
	}
	c.Data = b[:length:length]
	return c, nil
}

// CheckCRC compares the chunk's CRC-32 (IEEE) with that of its data. The error is
// *CRCError.
func (c *Chunk) CheckCRC() error {
	if got := crc32.ChecksumIEEE(c.Data); got != c.CRC {
		return &CRCError{FirstOffset: c.FirstOffset, Header: c.CRC, Got: got}
	}
	return nil
}

// Entry is one entry of a chunk or a Publish: a message or a batch. Data aliases the
// frame.
type Entry struct {
	Batched          bool   // a batch, which NextBatched reads once it is uncompressed
	Compression      uint8  // of a batch: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd; 5 to 7 are unused
	Count            int    // messages: 1, or for a batch what its publisher claims
	UncompressedSize uint32 // of a batch, in bytes: what its publisher claims
	Data             []byte // the message, or the data of the batch
}

// EntryReader reads the entries of a chunk. It is a small value, and not safe for
// concurrent use. It allocates only errors.
type EntryReader struct {
	data        []byte
	at          int    // index in data: to reslice data would cost a write barrier for each entry
	left        int    // entries
	records     uint64 // in the entries so far
	wantRecords uint64
	firstOffset uint64
	err         error
}

// Reader returns a reader of the chunk's entries.
func (c *Chunk) Reader() EntryReader {
	return EntryReader{
		data:        c.Data,
		left:        int(c.Entries),
		wantRecords: uint64(c.Records),
		firstOffset: c.FirstOffset,
	}
}

// NextMessage returns the next entry if that is a message and not a batch. It is a
// faster Next, for what most chunks hold. If ok is false, the caller calls Next.
func (r *EntryReader) NextMessage() (message []byte, ok bool) {
	if b := r.data[r.at:]; r.left > 0 && len(b) >= lengthSize {
		n := uint64(binary.BigEndian.Uint32(b)) + lengthSize
		if n < batchBit<<24 && n <= uint64(len(b)) {
			r.Took(1, int(n))
			return b[lengthSize:n:n], true
		}
	}
	return nil, false
}

// ShortBody returns the body of the message at the start of b, which is the rest of a
// chunk's entries or of a batch, and how many bytes the message takes there. taken is 0 where
// the message is anything else than a body of at most 255 bytes, or is not all there. The
// body aliases b.
func ShortBody(b []byte) (body []byte, taken int) {
	const head = lengthSize + amqp10.ShortDataHeader
	if len(b) < head {
		return nil, 0
	}
	taken = head + int(b[head-1])
	if taken > len(b) || binary.BigEndian.Uint64(b) != uint64(taken-lengthSize)<<32|amqp10.ShortData {
		return nil, 0
	}
	return b[head:taken:taken], taken
}

// Rest returns the bytes of the entries that are left, and how many entries these are. Who
// reads some of them there says so with Took.
func (r *EntryReader) Rest() (data []byte, entries int) { return r.data[r.at:], r.left }

// Took goes past the first n entries of Rest, which are messages and take so many bytes.
func (r *EntryReader) Took(n, bytes int) {
	r.at += bytes
	r.left -= n
	r.records += uint64(n)
}

// Next returns the next entry. ok is false after the last entry, and for one that
// can't be read; Err says which.
func (r *EntryReader) Next() (e Entry, ok bool) {
	if message, ok := r.NextMessage(); ok {
		return Entry{Count: 1, Data: message}, true
	}
	if r.left == 0 {
		r.end("")
		return e, false
	}
	in := wire.NewReader(r.data[r.at:])
	e = readEntry(&in)
	if in.Err() != nil {
		r.left = 0
		r.end("an entry is cut short")
		return Entry{}, false
	}
	r.at = len(r.data) - in.Len()
	r.left--
	r.records += uint64(e.Count)
	return e, true
}

// Err returns, after Next returned false, nil if the chunk had all its entries, with
// as many messages as its header says, and nothing after them. Otherwise it returns a
// *ChunkError.
func (r *EntryReader) Err() error { return r.err }

// end sets the reader's error once no further entry can be read.
func (r *EntryReader) end(problem string) {
	switch {
	case r.err != nil:
		return
	case problem != "":
	case r.at < len(r.data):
		problem = strconv.Itoa(len(r.data)-r.at) + " bytes follow its entries"
	case r.records != r.wantRecords:
		problem = "its header says " + strconv.FormatUint(r.wantRecords, 10) +
			" messages, its entries have " + strconv.FormatUint(r.records, 10)
	default:
		return
	}
	r.err = &ChunkError{r.firstOffset, problem}
}

// NextBatched reads the first message of an uncompressed batch. message and rest alias
// b. If ok is false, rest is b: it is empty at the end of the batch, and otherwise
// holds an incomplete message. The caller counts the messages and compares the count
// with Entry.Count.
func NextBatched(b []byte) (message, rest []byte, ok bool) {
	if len(b) >= lengthSize {
		if n := uint64(binary.BigEndian.Uint32(b)) + lengthSize; n <= uint64(len(b)) {
			return b[lengthSize:n:n], b[n:], true
		}
	}
	return nil, b, false
}

// CheckBatch makes sure that an uncompressed batch has as many messages as it says, and nothing
// else. It looks at nothing but their sizes. As long as these are the same, a processor need not
// wait for one to know where to look for the next.
func CheckBatch(b []byte, count int) error {
	at := 0
	for i := 0; i < count; {
		n, size := sameSize(b[at:], count-i)
		if n == 0 {
			return fmt.Errorf("it is shorter than its %d more messages", count-i)
		}
		i += n
		at += n * size
	}
	if more := len(b) - at; more > 0 {
		return fmt.Errorf("it is %d bytes longer than its messages", more)
	}
	return nil
}

// sameSize counts the messages at the start of a batch that have the size of the first one, up
// to most of them. size is that of each in the batch. n is 0 where not all of the first one is
// there.
func sameSize(b []byte, most int) (n, size int) {
	first, _, ok := NextBatched(b)
	if !ok {
		return 0, 0
	}
	size = lengthSize + len(first)
	at := size
	for n = 1; n < most && len(b)-at >= size && binary.BigEndian.Uint32(b[at:]) == uint32(len(first)); n++ {
		at += size
	}
	return n, size
}

// BatchesSound reports whether CheckBatch has nothing to say of the chunk's batches that are not
// compressed. It does not look, and is false, where the header says that each entry is a message.
func (c *Chunk) BatchesSound() bool {
	if c.Records <= uint32(c.Entries) {
		return false
	}
	r := c.Reader()
	for {
		e, ok := r.Next()
		if !ok {
			return r.Err() == nil
		}
		if e.Batched && e.Compression == 0 && CheckBatch(e.Data, e.Count) != nil {
			return false
		}
	}
}

// AppendDeliver appends a Deliver frame of version 1 or 2 that holds the chunk. It
// computes the CRC unless c.CRC is set. Brokers send it.
func AppendDeliver(dst []byte, version uint16, c *Chunk) []byte {
	b := append(beginFrame(dst, uint16(KeyDeliver), version), c.SubscriptionID)
	if version == 2 {
		b = binary.BigEndian.AppendUint64(b, c.CommittedChunkID)
	}
	b = append(b, chunkMagic, c.Type)
	b = binary.BigEndian.AppendUint16(b, c.Entries)
	b = binary.BigEndian.AppendUint32(b, c.Records)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Timestamp))
	b = binary.BigEndian.AppendUint64(b, c.Epoch)
	b = binary.BigEndian.AppendUint64(b, c.FirstOffset)
	crc := c.CRC
	if crc == 0 {
		crc = crc32.ChecksumIEEE(c.Data)
	}
	b = binary.BigEndian.AppendUint32(b, crc)
	b = binary.BigEndian.AppendUint32(b, uint32(len(c.Data)))
	b = binary.BigEndian.AppendUint32(b, c.TrailerLength)
	b = append(b, c.BloomSize, 0, 0, 0)
	return endFrame(append(b, c.Data...), len(dst))
}
