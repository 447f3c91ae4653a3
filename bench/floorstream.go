package main

import (
	"errors"

	"github.com/thumpmq/thump/internal/streamproto"
)

const (
	floorPublisher    = 0
	floorSubscription = 0

	// floorFrameBytes bounds a frame. RabbitMQ takes up to 1 MiB, but that would be
	// more than half a window of small messages.
	floorFrameBytes = 256 << 10
	// floorStreamWriteBytes bounds one write. Confirms that come during a write
	// wait in the sockets' buffers.
	floorStreamWriteBytes = 1 << 20
	// floorEntries bounds the unconfirmed entries. RabbitMQ itself stops reading at
	// that number. The confirms of that many fit the sockets' buffers, so the floor
	// and the broker can't wait for each other while the floor writes and does not
	// read.
	floorEntries = 50_000

	floorCredit = 10 // in chunks
)

func floorStreamSender(t task) (job, error) {
	c, err := dialBareStream(t.URL)
	if err != nil {
		return job{}, err
	}
	if err := c.call(&streamproto.DeclarePublisher{PublisherID: floorPublisher, Stream: t.Queue}); err != nil {
		return job{}, err
	}
	p := encodeStream(t)
	window := min(floorEntries, t.Window/max(1, t.SubEntry)) // in entries
	return job{
		work: func() error { return p.send(c, window) },
		close: func() error {
			return errors.Join(c.call(&streamproto.Close{Code: streamproto.CodeOK}), c.socket.Close())
		},
	}, nil
}

// publishes are the encoded Publish frames of a measurement.
type publishes struct {
	bytes   []byte
	frames  []publishFrame
	entries int
}

// publishFrame is where a frame ends, in bytes and in entries from the first
// frame on.
type publishFrame struct{ end, entries int }

// encodeStream encodes every message: t.SubEntry of them share a sub-entry batch,
// or, if that is 0, each has an entry of its own. Publishing ids count up from 1.
func encodeStream(t task) publishes {
	var p publishes
	var body []byte
	start := 0 // of the frame
	inFrame := 0
	p.bytes = streamproto.BeginPublish(nil, 1, floorPublisher)
	endFrame := func() {
		streamproto.EndPublish(p.bytes, start, inFrame)
		p.frames = append(p.frames, publishFrame{end: len(p.bytes), entries: p.entries})
	}
	for next := 1; next <= t.Count; {
		if inFrame > 0 && len(p.bytes)-start+entryBytes(max(1, t.SubEntry)) > floorFrameBytes {
			endFrame()
			start, inFrame = len(p.bytes), 0
			p.bytes = streamproto.BeginPublish(p.bytes, 1, floorPublisher)
		}
		p.entries++
		inFrame++
		if t.SubEntry == 0 {
			body = appendBody(body[:0], next)
			p.bytes = streamproto.AppendDataEntry(p.bytes, uint64(p.entries), body)
			next++
			continue
		}
		batch := len(p.bytes)
		p.bytes = streamproto.BeginBatch(p.bytes)
		last := min(next+t.SubEntry-1, t.Count)
		count := last - next + 1
		for ; next <= last; next++ {
			body = appendBody(body[:0], next)
			p.bytes = streamproto.AppendBatchedData(p.bytes, body)
		}
		streamproto.EndBatch(p.bytes, batch, uint64(p.entries), count)
	}
	endFrame()
	return p
}

// entryBytes is the largest size of an entry with that many messages.
func entryBytes(messages int) int {
	const longest = len("Message ") + 19 // digits of the highest number there is
	return 8 + streamproto.BatchHeaderSize + messages*streamproto.BatchedDataSize(longest)
}

// send writes frames while the window of entries has room, and reads confirms
// while it has not.
func (p *publishes) send(c *bareStream, window int) error {
	confirms := newConfirmCount(p.entries)
	written, next := 0, 0
	for confirms.count < p.entries {
		if last := p.fit(next, confirms.count, window); last > next {
			end := p.frames[last-1].end
			if _, err := c.socket.Write(p.bytes[written:end]); err != nil {
				return err
			}
			written, next = end, last
			continue
		}
		if err := c.read(); err != nil {
			return err
		}
		if err := c.walkConfirms(confirms); err != nil {
			return err
		}
	}
	return nil
}

// fit is how many frames may be written by now, of which next already are, when
// that many entries are confirmed. If nothing is unconfirmed one more frame may,
// whatever its size.
func (p *publishes) fit(next, confirmed, window int) int {
	begin, sent := 0, 0
	if next > 0 {
		begin, sent = p.frames[next-1].end, p.frames[next-1].entries
	}
	last := next
	for ; last < len(p.frames); last++ {
		f := p.frames[last]
		full := f.entries-confirmed > window || f.end-begin > floorStreamWriteBytes
		if full && (last > next || sent > confirmed) {
			break
		}
	}
	return last
}

// walkConfirms handles every complete frame that was read.
func (c *bareStream) walkConfirms(confirms *confirmCount) error {
	for {
		f, ok, err := c.frame()
		if err != nil || !ok {
			return err
		}
		if f.Key != streamproto.KeyPublishConfirm {
			return unexpectedFrame(f)
		}
		_, ids, err := streamproto.ParsePublishConfirm(f)
		if err != nil {
			return err
		}
		for i := range ids.Len() {
			if err := confirms.confirm(ids.At(i), false); err != nil {
				return err
			}
		}
	}
}

func floorStreamReceiver(t task) (job, error) {
	c, err := dialBareStream(t.URL)
	if err != nil {
		return job{}, err
	}
	// The broker may go on sending for a while, and nobody waits for that.
	return job{work: func() error { return floorStreamReceive(c, t) }, close: c.socket.Close}, nil
}

// floorStreamReceive walks chunks, and returns the credit of each when it is
// walked.
func floorStreamReceive(c *bareStream, t task) error {
	err := c.call(&streamproto.Subscribe{
		SubscriptionID: floorSubscription, Stream: t.Queue,
		Offset: streamproto.OffsetSpec{Type: streamproto.OffsetFirst}, Credit: floorCredit,
	})
	if err != nil {
		return err
	}
	w := chunkWalk{check: newBodyCheck(t.Count)}
	var credit []byte
	for {
		n, chunks, err := w.walk(c.unread())
		if err != nil {
			return err
		}
		c.start += n
		if w.check.count >= t.Count {
			return nil
		}
		if chunks > 0 {
			credit = streamproto.AppendCredit(credit[:0], streamproto.Credit{SubscriptionID: floorSubscription, Credit: uint16(chunks)})
			if _, err := c.socket.Write(credit); err != nil {
				return err
			}
		}
		if err := c.read(); err != nil {
			return err
		}
	}
}
