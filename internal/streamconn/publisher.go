package streamconn

import (
	"context"
	"fmt"

	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/streamproto"
)

// batchBytesMost bounds a sub-entry batch: far below a frame, and enough that
// its header is nothing beside its messages.
const batchBytesMost = 256 << 10

// windowBytesMost bounds what is in flight beside the number of messages: it may
// all become one chunk of the stream, of which each consumer holds several.
const windowBytesMost = 8 << 20

// What the layout of a Publish frame (streamproto) adds to a message, in bytes.
const (
	entryOverhead   = 8 + 2 + 4                       // id, the length of a filter value, size
	batchedOverhead = 4                               // size
	batchOverhead   = 8 + streamproto.BatchHeaderSize // id and header, once for a batch
)

// PublisherConfig says what a Publisher publishes to and how.
type PublisherConfig struct {
	Stream    string
	Reference string // the publisher's name, for deduplication; empty for none

	Window   int  // most messages in flight
	Collect  bool // keep outcomes for Outcomes
	SubEntry int  // most messages in a sub-entry batch; 1 for an entry per message

	Compression compress.Codec
	Filtered    bool // send a filter value with each message; SubEntry is 1 then
}

// Publisher is one publisher of a connection. Like the connection it lives once:
// when the broker takes its stream away it stays ended. It is safe for
// concurrent use.
type Publisher struct {
	conn *Conn
	cfg  PublisherConfig
	id   uint8
	done chan struct{}

	// known is the highest publishing id that the stream had of the reference
	// when the publisher was made. Messages up to it may be published again, and
	// the broker drops them. No batch goes over it: the broker drops or keeps a
	// batch whole, by the id of its last message.
	known uint64

	// Guarded by conn.mu. The frame that is being filled is the end of conn.out
	// while conn.open is this publisher.
	window  *window
	room    int    // messages that the window takes, between Begin and End
	quick   quick  // likewise
	lastID  uint64 // of the last message
	frame   int    // where in conn.out the frame begins
	entries int    // complete ones in it
	batch   int    // where in conn.out the batch begins; compressed: in raw, always 0
	batched int    // messages in the batch
	raw     []byte // messages of the batch, where they are to be compressed
	packed  []byte // room for that
	bodies  uint64 // bytes of the messages' bodies
	wire    uint64 // bytes of the frames
	flushAt uint64 // WaitConfirms waits for oldest to get here; 0: nobody does
	err     error  // why the publisher ended
}

// Publisher declares a publisher (PROTOCOL.adoc DeclarePublisher), after it has
// asked which publishing ids the stream knows of its reference.
func (c *Conn) Publisher(ctx context.Context, cfg PublisherConfig) (*Publisher, error) {
	if cfg.Filtered {
		if err := c.server.Supports("filtering", streamproto.KeyPublish, 2); err != nil {
			return nil, err
		}
	}
	p := &Publisher{conn: c, cfg: cfg, done: make(chan struct{}), window: newWindow(cfg.Window, cfg.Collect)}
	c.mu.Lock()
	id, err := freeID(&c.publishers, p)
	if err == nil && c.err != nil {
		err = c.err
	}
	p.id = id
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if _, err = c.Call(ctx, &streamproto.DeclarePublisher{PublisherID: id, Reference: cfg.Reference, Stream: cfg.Stream}); err == nil && cfg.Reference != "" {
		err = p.ask(ctx)
	}
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		p.end(err)
		return nil, err
	}
	return p, nil
}

// ask finds out which ids the stream knows. It comes after the declaration: a
// reference belongs to one publisher at a time, and until then another one of
// that name may be at work.
func (p *Publisher) ask(ctx context.Context) error {
	r, err := p.conn.Call(ctx, &streamproto.QueryPublisherSequence{Reference: p.cfg.Reference, Stream: p.cfg.Stream})
	if err != nil {
		return err
	}
	p.known = r.(*streamproto.QueryPublisherSequenceResponse).Sequence
	return nil
}

// Done is closed when the publisher has ended.
func (p *Publisher) Done() <-chan struct{} { return p.done }

// Err says why the publisher ended; nil while it lives.
func (p *Publisher) Err() error {
	p.conn.mu.Lock()
	defer p.conn.mu.Unlock()
	return p.err
}

// quick is how much can be appended to the batch that is being filled before
// anything else has to be looked at: what makes publishing small messages cheap.
type quick struct {
	messages int
	bytes    int
}

// Begin waits until a message can be published, and takes the connection's
// lock: messages are encoded straight into what the writer will send, in the
// order of their ids. Unless it returns an error, End must follow, without
// anything slow between.
func (p *Publisher) Begin(ctx context.Context) error {
	p.conn.mu.Lock()
	p.room = p.window.free()
	if p.err != nil || !p.canPublish() {
		if err := p.waitForRoom(ctx); err != nil {
			p.conn.mu.Unlock()
			return err
		}
	}
	p.quick = quick{} // another's, and of a batch that may be gone
	return nil
}

// End lets the writer have what was encoded.
func (p *Publisher) End() {
	if p.conn.hasWork() {
		p.conn.wakeWriter()
	}
	p.conn.mu.Unlock()
}

// canPublish reports whether one more message may be encoded. conn.mu is held.
func (p *Publisher) canPublish() bool {
	return p.room > 0 && len(p.conn.out)+len(p.raw) < outRoom && p.window.bytes < windowBytesMost
}

// enoughRoom reports whether it is worth waking a publisher. conn.mu is held.
func (p *Publisher) enoughRoom() bool {
	return p.window.free() > p.cfg.Window/8 && p.window.bytes < windowBytesMost*7/8
}

// waitForRoom waits until a worthwhile part of the window is free: a publisher
// that woke for every confirm would send small batches, and be confirmed by
// small ones. conn.mu is held.
func (p *Publisher) waitForRoom(ctx context.Context) error {
	c := p.conn
	defer c.wakeAt(ctx, &c.room)()
	c.waiting++
	defer func() { c.waiting-- }()
	for {
		if p.err != nil {
			return p.err
		}
		p.room = p.window.free()
		if p.canPublish() && p.enoughRoom() {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		c.room.Wait()
	}
}

// Publish encodes, between Begin and End, a message that is a body and nothing
// else. It reports false when there is no more room: end, and begin again. id is
// the publishing id, 0 for the next. An error means that this message cannot be
// sent; nothing of it was, and the publisher is fine.
func (p *Publisher) Publish(ref, id uint64, body []byte) (bool, error) {
	size := streamproto.BatchedDataSize(len(body))
	if id == 0 && p.quick.messages > 0 && size <= p.quick.bytes {
		p.quick.messages--
		p.quick.bytes -= size
		p.conn.out = streamproto.AppendBatchedData(p.conn.out, body)
		p.batched++
		p.note(ref, p.lastID+1, len(body))
		return true, nil
	}
	return p.publishBody(ref, id, body)
}

// publishBody is Publish with all there is to look at.
func (p *Publisher) publishBody(ref, id uint64, body []byte) (bool, error) {
	p.quick = quick{}
	if !p.canPublish() {
		return false, nil
	}
	if id == 0 {
		id = p.highest() + 1
	}
	if err := p.begin(id, streamproto.DataEntrySize(len(body)), streamproto.BatchedDataSize(len(body))); err != nil {
		return false, err
	}
	out := p.target()
	if p.cfg.SubEntry > 1 {
		*out = streamproto.AppendBatchedData(*out, body)
	} else {
		*out = streamproto.AppendDataEntry(*out, id, body)
	}
	p.added(ref, id, len(body), streamproto.DataEntrySize(len(body)))
	p.lookAhead()
	return true, nil
}

// lookAhead finds out how much more can be appended to the batch without a look
// at its bounds: those of begin and canPublish.
func (p *Publisher) lookAhead() {
	if p.cfg.SubEntry == 1 || p.cfg.Compression != compress.None || p.lastID <= p.known {
		return
	}
	p.quick.messages = min(p.room, p.cfg.SubEntry-p.batched)
	p.quick.bytes = min(batchBytesMost-p.batchBytes(), p.frameRoom(), outRoom-len(p.conn.out))
}

// PublishMessage is Publish for a message of which the caller has encoded all
// sections, with a filter value where the publisher is Filtered.
func (p *Publisher) PublishMessage(ref, id uint64, message []byte, filter string, bodyBytes int) (bool, error) {
	p.quick = quick{}
	if !p.canPublish() {
		return false, nil
	}
	if id == 0 {
		id = p.highest() + 1
	}
	if err := p.begin(id, entryOverhead+len(filter)+len(message), batchedOverhead+len(message)); err != nil {
		return false, err
	}
	out := p.target()
	switch {
	case p.cfg.SubEntry > 1:
		b := streamproto.BeginBatched(*out)
		start := len(b)
		b = append(b, message...)
		streamproto.EndBatched(b, start)
		*out = b
	case p.cfg.Filtered:
		b, err := streamproto.BeginFilteredEntry(*out, id, filter)
		if err != nil {
			return false, err
		}
		start := len(b)
		b = append(b, message...)
		streamproto.EndEntry(b, start)
		*out = b
	default:
		b := streamproto.BeginEntry(*out, id)
		start := len(b)
		b = append(b, message...)
		streamproto.EndEntry(b, start)
		*out = b
	}
	p.added(ref, id, bodyBytes, entryOverhead+len(filter)+len(message))
	return true, nil
}

// target is where the next message goes.
func (p *Publisher) target() *[]byte {
	if p.cfg.Compression != compress.None {
		return &p.raw
	}
	return &p.conn.out
}

// begin makes sure that a message fits where it is going: into the batch that is
// being filled or a new one, in a frame that has room for it. The sizes are those
// of the message as an entry, and within a batch.
func (p *Publisher) begin(id uint64, entrySize, batchedSize int) error {
	if id <= p.lastID {
		return &IDError{ID: id, Last: p.lastID}
	}
	c := p.conn
	if c.open != p {
		c.seal()
		p.beginFrame()
	}
	if p.cfg.SubEntry > 1 && p.batched > 0 && p.batchFull(id, batchedSize) {
		if err := p.endBatch(); err != nil {
			return err
		}
	}
	if p.needs(entrySize, batchedSize) > p.frameTakes() {
		p.endFrame()
		if p.err != nil {
			return p.err
		}
		p.beginFrame()
		if need := p.needs(entrySize, batchedSize); need > p.frameTakes() {
			return fmt.Errorf("a message that takes %d bytes does not fit a frame of at most %d, as agreed with the broker", need, c.server.FrameMax)
		}
	}
	if p.cfg.SubEntry > 1 && p.batched == 0 && p.cfg.Compression == compress.None {
		p.batch = len(c.out)
		c.out = streamproto.BeginBatch(c.out)
	}
	return nil
}

// batchFull reports whether the message of this id and size belongs to another
// batch than the one that is being filled.
func (p *Publisher) batchFull(id uint64, size int) bool {
	return p.batched == p.cfg.SubEntry || p.batchBytes()+size > batchBytesMost ||
		p.lastID <= p.known && id > p.known
}

// needs is how many bytes a message takes in the frame.
func (p *Publisher) needs(entrySize, batchedSize int) int {
	switch {
	case p.cfg.SubEntry == 1:
		return entrySize
	case p.batched == 0:
		return batchedSize + batchOverhead
	default:
		return batchedSize
	}
}

// compressedMargin is more than compression adds to what it can't compress.
const compressedMargin = 64 << 10

// frameTakes is how many more bytes of messages the frame takes. What is compressed
// must fit a frame even where nothing comes of that.
func (p *Publisher) frameTakes() int {
	if p.cfg.Compression != compress.None {
		return int(p.conn.server.FrameMax) - min(compressedMargin, int(p.conn.server.FrameMax)/2) - len(p.raw)
	}
	return p.frameRoom()
}

// batchBytes is the size of the batch so far.
func (p *Publisher) batchBytes() int {
	if p.cfg.Compression != compress.None {
		return len(p.raw)
	}
	return len(p.conn.out) - p.batch
}

// added notes a message that was encoded, with its size as an entry.
func (p *Publisher) added(ref, id uint64, bodyBytes, entrySize int) {
	p.note(ref, id, bodyBytes)
	if p.cfg.SubEntry > 1 {
		p.batched++
		return
	}
	p.window.seal(id)
	p.window.weigh(entrySize)
	p.entries++
}

// note enters a message into the books.
func (p *Publisher) note(ref, id uint64, bodyBytes int) {
	p.lastID = id
	p.room--
	p.bodies += uint64(bodyBytes)
	p.window.add(ref)
}

// beginFrame begins a Publish frame at the end of what waits for the writer.
func (p *Publisher) beginFrame() {
	c := p.conn
	version := uint16(1)
	if p.cfg.Filtered {
		version = 2
	}
	c.open, p.frame, p.entries = p, len(c.out), 0
	c.out = streamproto.BeginPublish(c.out, version, p.id)
}

// frameRoom is how many more bytes the frame may have.
func (p *Publisher) frameRoom() int {
	return int(p.conn.server.FrameMax) + frameSizeBytes - (len(p.conn.out) - p.frame)
}

// endBatch completes the batch that is being filled.
func (p *Publisher) endBatch() error {
	c := p.conn
	if p.batched == 0 {
		return nil
	}
	size := len(c.out) - p.batch
	if p.cfg.Compression == compress.None {
		streamproto.EndBatch(c.out, p.batch, p.lastID, p.batched)
	} else {
		if err := p.compressBatch(); err != nil {
			return err
		}
		size = len(p.packed)
	}
	p.window.seal(p.lastID)
	p.window.weigh(size)
	p.entries++
	p.batched = 0
	return nil
}

// compressBatch appends the batch that is being filled, compressed, in a frame
// with room for it.
func (p *Publisher) compressBatch() error {
	c := p.conn
	data, err := compress.Compress(p.packed[:0], p.cfg.Compression, p.raw)
	if err != nil {
		return fmt.Errorf("compressing a batch: %w", err)
	}
	p.packed = data
	if batchOverhead+len(data) > p.frameRoom() {
		p.closeFrame()
		p.beginFrame()
	}
	c.out = streamproto.AppendBatch(c.out, p.lastID, uint8(p.cfg.Compression), p.batched, len(p.raw), data)
	p.raw = p.raw[:0]
	return nil
}

// endFrame completes the frame that is being filled, with the batch in it.
func (p *Publisher) endFrame() {
	if err := p.endBatch(); err != nil {
		// Compressing into memory does not fail. If it does, what was to be sent
		// is not: the messages' outcome is Unknown, as for all that did not leave.
		p.end(err)
		return
	}
	p.closeFrame()
}

// closeFrame patches the frame that is being filled, or drops it if it is empty.
func (p *Publisher) closeFrame() {
	c := p.conn
	c.open = nil
	if p.entries == 0 {
		c.out = c.out[:p.frame]
		return
	}
	streamproto.EndPublish(c.out, p.frame, p.entries)
	p.wire += uint64(len(c.out) - p.frame)
}

// IDError says that a publishing id does not follow the last one.
type IDError struct {
	ID, Last uint64
}

// Error names both ids.
func (e *IDError) Error() string {
	return fmt.Sprintf("publishing id %d is not above the last one, %d: the broker would drop the message and confirm it", e.ID, e.Last)
}

// highest is the highest publishing id that was used or that the stream knew.
func (p *Publisher) highest() uint64 { return max(p.lastID, p.known) }

// LastID is the highest publishing id that was used or that the stream knew.
func (p *Publisher) LastID() uint64 {
	p.conn.mu.Lock()
	defer p.conn.mu.Unlock()
	return p.highest()
}

// Bytes returns how many bytes the bodies had that were published, and how many
// the frames that they went out in; both so far.
func (p *Publisher) Bytes() (bodies, wire uint64) {
	p.conn.mu.Lock()
	defer p.conn.mu.Unlock()
	return p.bodies, p.wire
}

// Totals returns the counts so far.
func (p *Publisher) Totals() outcome.Totals {
	p.conn.mu.Lock()
	defer p.conn.mu.Unlock()
	return p.window.totals
}
