package streamconn

import (
	"fmt"

	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
	"github.com/thumpmq/thump/internal/window"
)

// batchBytesMost bounds a sub-entry batch: far below a frame, and enough that
// its header is nothing beside its messages.
const batchBytesMost = 256 << 10

// compressedMargin is more than compression adds to what it can't compress.
const compressedMargin = 64 << 10

// What the layout of a Publish frame (streamproto) adds to a message, in bytes.
const (
	entryOverhead   = 8 + 2 + 4                       // id, the length of a filter value, size
	batchedOverhead = 4                               // size
	batchOverhead   = 8 + streamproto.BatchHeaderSize // id and header, once for a batch
)

// message is one message to publish.
type message struct {
	data   []byte // all its sections, or with bare its body
	bare   bool   // it is a body and nothing else
	filter string
	body   int // bytes of the body
}

// entrySize and batchedSize are what the message takes as an entry, and in a
// batch.
func (m *message) entrySize() int {
	if m.bare {
		return streamproto.DataEntrySize(len(m.data))
	}
	return entryOverhead + len(m.filter) + len(m.data)
}

func (m *message) batchedSize() int {
	if m.bare {
		return streamproto.BatchedDataSize(len(m.data))
	}
	return batchedOverhead + len(m.data)
}

// batcher fills the Publish frame of a publisher at the end of what waits for the
// writer, and in it a sub-entry batch:
//
//	conn.Out   ... other frames | Publish header | entry | entry | batch header | message | message
//	                            ^ frame                          ^ batch
//
// Both stay open while the writer is busy. They are completed when a batch is
// full, when the writer takes the buffer, or when another frame has to follow. The
// messages of a batch that is to be compressed gather in raw instead.
//
// The lock of the connection guards it, and the window is locked where messages
// or entries are added.
type batcher struct {
	p    *Publisher
	conn *Conn

	// known is the highest publishing id that the stream had of the reference
	// when the publisher was made. Messages up to it may be published again, and
	// the broker drops them. No batch goes over it: the broker drops or keeps a
	// batch whole, by the id of its last message.
	known  uint64
	lastID uint64 // of the last message

	frame   int    // where in conn.Out the frame begins, while conn.open is the publisher
	entries int    // complete ones in it
	batch   int    // where in conn.Out the batch, or the last run, begins
	batched int    // messages in the batch
	raw     []byte // messages of the batch, where they are to be compressed
	packed  []byte // room for that
	broken  error  // a batch could not be completed

	bodies uint64 // bytes of the messages' bodies
	wire   uint64 // bytes of the frames
}

func newBatcher(p *Publisher) batcher { return batcher{p: p, conn: p.conn} }

// highest is the highest publishing id that was used or that the stream knew.
func (b *batcher) highest() uint64 { return max(b.lastID, b.known) }

func (b *batcher) compressed() bool { return b.p.cfg.Compression != compress.None }

// runMost is how many entries a run has at most: it is sent again whole.
const runMost = 256

// appendRun appends messages that are bodies and nothing else behind the last one, at most so
// many, as long as there is nothing to complete or to begin for that, and enters them into the
// window. It returns how many.
func (b *batcher) appendRun(bodies [][]byte, tags []window.Tag, most int) (n int) {
	out := &b.conn.Out
	if b.conn.open != b.p || b.compressed() || b.p.cfg.Filtered {
		return 0
	}
	room, id, start := min(b.frameRoom(), transport.OutRoom-len(*out)), b.highest()+1, len(*out)
	if subEntry := b.p.cfg.SubEntry; subEntry == 1 {
		most = min(most, runMost)
		*out, n = streamproto.AppendDataEntries(*out, id, bodies[:min(len(bodies), most)], room)
	} else if b.batched > 0 && b.lastID > b.known {
		most, room = min(most, subEntry-b.batched), min(room, batchBytesMost-b.size())
		*out, n = streamproto.AppendBatchedBodies(*out, bodies[:min(len(bodies), most)], room)
	}
	if n == 0 {
		return 0
	}
	b.p.carrier.AddRun(n, tags)
	b.lastID = id + uint64(n) - 1
	for _, body := range bodies[:n] {
		b.bodies += uint64(len(body))
	}
	if b.p.cfg.SubEntry == 1 {
		b.batch = start
		b.seal(b.lastID, n)
	} else {
		b.batched += n
	}
	return n
}

// begin makes sure that a message fits where it is going: into the batch that is
// being filled or a new one, in a frame that has room for it.
func (b *batcher) begin(id uint64, m *message) error {
	if id <= b.lastID {
		return &IDError{ID: id, Last: b.lastID}
	}
	subEntry := b.p.cfg.SubEntry
	if b.conn.open != b.p {
		b.beginFrame()
	}
	if subEntry > 1 && b.batched > 0 && b.full(id, m.batchedSize()) {
		if b.endBatch(); b.broken != nil {
			return b.broken
		}
	}
	if b.needs(m) > b.takes() {
		if b.endFrame(); b.broken != nil {
			return b.broken
		}
		b.beginFrame()
		if need := b.needs(m); need > b.takes() {
			return fmt.Errorf("a message that takes %d bytes does not fit a frame of at most %d, as agreed with the broker", need, b.conn.server.FrameMax)
		}
	}
	if subEntry > 1 && b.batched == 0 && !b.compressed() {
		b.batch = len(b.conn.Out)
		b.conn.Out = streamproto.BeginBatch(b.conn.Out)
	}
	return nil
}

// add appends a message where begin has made room for it.
func (b *batcher) add(id uint64, m *message) error {
	out := &b.conn.Out
	if b.compressed() {
		out = &b.raw
	}
	dst := *out
	batched := b.p.cfg.SubEntry > 1
	if !batched {
		b.batch = len(dst)
	}
	switch {
	case batched && m.bare:
		dst = streamproto.AppendBatchedData(dst, m.data)
	case m.bare:
		dst = streamproto.AppendDataEntry(dst, id, m.data)
	case batched:
		dst = streamproto.BeginBatched(dst)
		start := len(dst)
		dst = append(dst, m.data...)
		streamproto.EndBatched(dst, start)
	default:
		if b.p.cfg.Filtered {
			var err error
			if dst, err = streamproto.BeginFilteredEntry(dst, id, m.filter); err != nil {
				return err
			}
		} else {
			dst = streamproto.BeginEntry(dst, id)
		}
		start := len(dst)
		dst = append(dst, m.data...)
		streamproto.EndEntry(dst, start)
	}
	*out = dst
	return nil
}

// added notes a message that was appended and is in the window.
func (b *batcher) added(id uint64, m *message) {
	b.lastID = id
	b.bodies += uint64(m.body)
	if b.p.cfg.SubEntry == 1 {
		b.seal(id, 1)
	} else {
		b.batched++
	}
}

// full reports whether the message of this id and size belongs to another batch
// than the one that is being filled.
func (b *batcher) full(id uint64, size int) bool {
	return b.batched == b.p.cfg.SubEntry || b.size()+size > batchBytesMost ||
		b.lastID <= b.known && id > b.known
}

// needs is how many bytes of the frame a message takes, with the batch that it
// begins.
func (b *batcher) needs(m *message) int {
	switch {
	case b.p.cfg.SubEntry == 1:
		return m.entrySize()
	case b.batched == 0:
		return m.batchedSize() + batchOverhead
	default:
		return m.batchedSize()
	}
}

// takes is how many more bytes of messages the frame takes. What is compressed
// must fit a frame even where nothing comes of that.
func (b *batcher) takes() int {
	if b.compressed() {
		frameMax := int(b.conn.server.FrameMax)
		return frameMax - min(compressedMargin, frameMax/2) - len(b.raw)
	}
	return b.frameRoom()
}

// size is the size of the batch so far.
func (b *batcher) size() int {
	if b.compressed() {
		return len(b.raw)
	}
	return len(b.conn.Out) - b.batch
}

// frameRoom is how many more bytes the frame may have.
func (b *batcher) frameRoom() int {
	return int(b.conn.server.FrameMax) + frameSizeBytes - (len(b.conn.Out) - b.frame)
}

// beginFrame begins a Publish frame.
func (b *batcher) beginFrame() {
	c := b.conn
	version := uint16(1)
	if b.p.cfg.Filtered {
		version = 2
	}
	c.open, b.frame, b.entries = b.p, len(c.Out), 0
	c.Out = streamproto.BeginPublish(c.Out, version, b.p.id)
}

// endBatch completes the batch, if there is one.
func (b *batcher) endBatch() {
	if b.batched == 0 {
		return
	}
	if b.compressed() {
		if b.compress(); b.broken != nil {
			return
		}
	} else {
		streamproto.EndBatch(b.conn.Out, b.batch, b.lastID, b.batched)
	}
	b.seal(b.lastID, 1)
	b.batched = 0
}

// seal notes that what begins at batch is so many entries, and complete.
func (b *batcher) seal(id uint64, entries int) {
	b.p.backlog.seal(id, entries, b.conn.Out[b.batch:], !b.p.offline && b.p.err == nil)
	b.entries += entries
}

// compress appends the batch, compressed, in a frame with room for it. Compressing into
// memory does not fail; if it does, what was to be sent is not, and the publisher ends.
//
// The window is not locked meanwhile: it takes some 100 µs, and whoever waits for an
// outcome, or publishes to another partition, needs it. The connection's lock keeps the
// order of what is published here, and the publisher from ending.
func (b *batcher) compress() {
	b.p.window.Unlock()
	data, err := compress.Compress(b.packed[:0], b.p.cfg.Compression, b.raw)
	b.p.window.Lock()
	if err != nil {
		b.broken = fmt.Errorf("compressing a batch: %w", err)
		return
	}
	b.packed = data
	if batchOverhead+len(data) > b.frameRoom() {
		b.closeFrame()
		b.beginFrame()
	}
	b.batch = len(b.conn.Out)
	b.conn.Out = streamproto.AppendBatch(b.conn.Out, b.lastID, uint8(b.p.cfg.Compression), b.batched, uint32(len(b.raw)), data)
	b.raw = b.raw[:0]
}

// endFrame completes the frame, with the batch in it.
func (b *batcher) endFrame() {
	if b.endBatch(); b.broken == nil {
		b.closeFrame()
	}
}

// closeFrame patches the frame, or drops it if it is empty.
func (b *batcher) closeFrame() {
	c := b.conn
	c.open = nil
	if b.entries == 0 {
		c.Out = c.Out[:b.frame]
		return
	}
	streamproto.EndPublish(c.Out, b.frame, b.entries)
	if !b.p.offline {
		b.wire += uint64(len(c.Out) - b.frame)
	}
}

// close completes the frame, if there is one; there is no batch.
func (b *batcher) close() {
	if b.conn.open == b.p {
		b.closeFrame()
	}
}

// goOn makes this batcher, which is new, the next one after other, which is used no more
// and has nothing to complete.
func (b *batcher) goOn(other *batcher) {
	b.known, b.lastID, b.bodies, b.wire = other.known, other.lastID, other.bodies, other.wire
	b.raw, b.packed = other.raw, other.packed
}

// finish completes the batch, if there is one, for the backlog alone: the frame will never
// be sent.
func (b *batcher) finish() {
	c := b.conn
	if c.open != b.p {
		return
	}
	frame := b.frame
	b.endBatch()
	c.open, c.Out = nil, c.Out[:frame]
}

// drop drops what is not complete: it will never be sent.
func (b *batcher) drop() {
	if c := b.conn; c.open == b.p {
		c.open = nil
		c.Out = c.Out[:b.frame]
	}
	b.raw, b.batched = nil, 0
}

// seal completes the Publish frame that is being filled, if there is one:
// something else is to follow it. The lock is held, and no window is locked.
func (c *Conn) seal() {
	p := c.open
	if p == nil {
		return
	}
	p.window.Lock()
	p.batch.endFrame()
	p.window.Unlock()
	p.endIfBroken()
}

// IDError says that a publishing id does not follow the last one.
type IDError struct {
	ID, Last uint64
}

// Error names both ids.
func (e *IDError) Error() string {
	return fmt.Sprintf("publishing id %d is not above the last one, %d: the broker would drop the message and confirm it", e.ID, e.Last)
}
