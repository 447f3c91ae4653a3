package thump

import "sync/atomic"

// PublisherStats is what a publisher has done so far.
type PublisherStats struct {
	Counts

	// Reconnects is how often it came back after its connection was lost; for a super stream
	// those of all partitions.
	Reconnects uint64

	// BodyBytes is the size of the bodies that were accepted, and WireBytes, for streams, that
	// of the frames that carried them, after compression.
	BodyBytes, WireBytes uint64
}

// Stats returns what the publisher has done so far. It is safe for concurrent use.
func (p *Publisher) Stats() PublisherStats {
	s := PublisherStats{Counts: p.Counts(), Reconnects: p.engine.reconnects()}
	s.BodyBytes, s.WireBytes = p.engine.bytes()
	return s
}

// ConsumerStats is what a consumer has done so far.
type ConsumerStats struct {
	Delivered   uint64 // deliveries that were handed out
	Redelivered uint64 // those of them that the broker had sent to somebody before
	Settled     uint64 // those that were settled, by whichever connection
	Unsettled   uint64 // handed out, and neither settled nor lost with their connection
	BodyBytes   uint64 // of those that were handed out
	Reconnects  uint64 // how often it came back after a lost connection, all partitions together
}

// Stats returns what the consumer has done so far. It is safe for concurrent use.
func (c *Consumer) Stats() ConsumerStats {
	if c.engine == nil {
		return ConsumerStats{}
	}
	return ConsumerStats{
		Delivered: c.tally.delivered.Load(), Redelivered: c.tally.redelivered.Load(), BodyBytes: c.tally.bodyBytes.Load(),
		Settled: c.tally.settled.Load(), Unsettled: uint64(c.engine.unsettled()), Reconnects: c.engine.reconnects(),
	}
}

// tally is what a consumer counts. It changes once for each batch, or call that settles.
type tally struct{ delivered, redelivered, bodyBytes, settled atomic.Uint64 }

// handedOut counts a batch that is about to be handed out.
func (t *tally) handedOut(b *Batch) {
	var redelivered, bytes uint64
	for i := range b.Deliveries {
		d := &b.Deliveries[i]
		bytes += uint64(len(d.Body))
		if d.Redelivered {
			redelivered++
		}
	}
	t.delivered.Add(uint64(len(b.Deliveries)))
	t.redelivered.Add(redelivered)
	t.bodyBytes.Add(bytes)
}

// settle counts n deliveries of a batch that were settled.
func (h *hold) settle(n int) {
	if h.tally != nil {
		h.tally.settled.Add(uint64(n))
	}
}
