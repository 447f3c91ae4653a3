package streamproto

import (
	"encoding/binary"
	"hash/crc32"
	"strconv"

	"github.com/thumpmq/thump/internal/wire"
)

// The types of chunks (osiris_log.erl).
const (
	ChunkUser             = 0 // messages
	ChunkTrackingDelta    = 1 // stored offsets and publisher sequences: not for consumers
	ChunkTrackingSnapshot = 2 // likewise
)

const (
	chunkHeaderSize = 48
	chunkMagic      = 0x50 // magic 5, version 0
)

// Chunk is what a broker delivers: a piece of a stream's log with the messages
// that were published together (PROTOCOL.adoc, Deliver; osiris_log.erl). In the
// frame it follows the subscription id and, in version 2, the committed chunk id:
//
//	0   uint8   magic 5:4, version 0:4
//	1   uint8   type
//	2   uint16  entries
//	4   uint32  records
//	8   int64   timestamp
//	16  uint64  epoch
//	24  uint64  first offset
//	32  uint32  CRC-32 of the data
//	36  uint32  length of the data
//	40  uint32  length of a trailer
//	44  uint8   length of a bloom filter
//	45  uint24  reserved
//	48          data: the entries
//
// The header is as it stands in the broker's log, with the lengths of a trailer
// and a bloom filter, but RabbitMQ sends neither.
//
// A record is a message: it has an offset, the first offset plus its number in
// the chunk. An entry is one record or a batch of them. Offsets of consecutive
// chunks need not be consecutive: chunks that are not for consumers have offsets
// too, and a filter leaves chunks out.
type Chunk struct {
	SubscriptionID   uint8
	CommittedChunkID uint64 // version 2: the first offset of the last chunk that a majority has

	Type          uint8
	Entries       uint16
	Records       uint32
	Timestamp     int64 // milliseconds since 1970
	Epoch         uint64
	FirstOffset   uint64
	CRC           uint32 // as the broker computed it
	TrailerLength uint32 // bytes in the broker's log, and not here
	BloomSize     uint8  // likewise
	Data          []byte // the entries; aliases the frame
}

// ParseDeliver reads a Deliver frame of version 1 or 2. It allocates nothing,
// and does not look at the entries: CheckCRC and Reader do. The errors are
// *UnexpectedFrameError, and *ChunkError for a header that can't be, or data
// that is not all there. What follows the data is left alone.
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
	c.Data = b[:length:length]
	return c, nil
}

// CheckCRC compares the chunk's CRC-32 (IEEE) with that of its data. The error
// is *CRCError.
func (c *Chunk) CheckCRC() error {
	if got := crc32.ChecksumIEEE(c.Data); got != c.CRC {
		return &CRCError{FirstOffset: c.FirstOffset, Header: c.CRC, Got: got}
	}
	return nil
}

// Entry is one entry of a chunk or a Publish: a message, or a batch of them. Data
// aliases the frame.
type Entry struct {
	Batched          bool   // a batch, for NextBatched to read once it is uncompressed
	Compression      uint8  // of a batch: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd; 5 to 7 mean nothing
	Count            int    // messages; 1 unless it is a batch, and then what its publisher said
	UncompressedSize int    // of a batch, in bytes: what its publisher said
	Data             []byte // the message, or the batch
}

// EntryReader takes the entries off a chunk. It is a small value, and not safe
// for concurrent use. It allocates nothing but errors.
type EntryReader struct {
	data        []byte
	at          int    // where in data; to cut data would cost a write barrier an entry
	left        int    // entries
	records     uint64 // of the entries so far
	wantRecords uint64
	firstOffset uint64
	err         error
}

// Reader returns a reader of the chunk's entries, at the first of them.
func (c *Chunk) Reader() EntryReader {
	return EntryReader{
		data:        c.Data,
		left:        int(c.Entries),
		wantRecords: uint64(c.Records),
		firstOffset: c.FirstOffset,
	}
}

// NextMessage returns the next entry where that is a message and not a batch. It
// is Next made quick for what most chunks hold; where ok is false, Next says what
// is there instead.
func (r *EntryReader) NextMessage() (message []byte, ok bool) {
	if b := r.data[r.at:]; r.left > 0 && len(b) >= lengthSize {
		n := uint64(binary.BigEndian.Uint32(b)) + lengthSize
		if n < batchBit<<24 && n <= uint64(len(b)) {
			r.at += int(n)
			r.left--
			r.records++
			return b[lengthSize:n:n], true
		}
	}
	return nil, false
}

// Next returns the next entry; ok is false when there is none, or it is not all
// there: Err says which.
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

// Err says, after Next returned false, what was wrong with the chunk. nil means
// that all its entries were there, that their messages are as many as its header
// says, and that no byte was left. Otherwise it is a *ChunkError.
func (r *EntryReader) Err() error { return r.err }

// end looks at what there is when no entry can be read any more.
func (r *EntryReader) end(problem string) {
	switch {
	case r.err != nil:
		return
	case problem != "":
	case r.at < len(r.data):
		problem = strconv.Itoa(len(r.data)-r.at) + " bytes are left behind its entries"
	case r.records != r.wantRecords:
		problem = "it says that it has " + strconv.FormatUint(r.wantRecords, 10) +
			" messages, and its entries that they have " + strconv.FormatUint(r.records, 10)
	default:
		return
	}
	r.err = &ChunkError{r.firstOffset, problem}
}

// NextBatched takes the first message off an uncompressed batch. message and
// rest alias b. ok is false, and rest b, when there is none: at the end of the
// batch, where b is empty, or where a message is not all there, and it is not. It
// is for the caller to count the messages and compare with Entry.Count.
func NextBatched(b []byte) (message, rest []byte, ok bool) {
	if len(b) >= lengthSize {
		if n := uint64(binary.BigEndian.Uint32(b)) + lengthSize; n <= uint64(len(b)) {
			return b[lengthSize:n:n], b[n:], true
		}
	}
	return nil, b, false
}

// AppendDeliver appends a Deliver frame of version 1 or 2 with the chunk in it,
// as a broker does. It computes the CRC unless c.CRC is set.
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
