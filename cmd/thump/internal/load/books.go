package load

import (
	"cmp"
	"slices"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/ledger"
)

// books are the ledgers of a run: one for each reader of a message. The consumers
// of a queue, or of several between which messages are shared out, share one ledger, because they
// share the messages. Each consumer of a stream has its own, because it receives all of them.
type books []*ledger.Ledger

func newBooks(format ledger.Format, cfg *RunConfig) books {
	b := make(books, cfg.To.Readers(cfg.Consumers))
	for i := range b {
		b[i] = ledger.New(format)
	}
	return b
}

// sink makes a sink for what consumer i receives from the queue, or from one
// stream. The streams of a super stream get one each: order is within a stream.
func (r *runner) sink(i int, stream string) sink {
	if i == r.cfg.Consumers {
		return r.expiredSink()
	}
	s := &ledgerSink{
		consumer:  r.books[r.cfg.To.reader(i)].Consumer(),
		stopwatch: r.sent.times.stopwatch(), latencies: &r.cfg.Progress.receiveLatency,
	}
	if stream != "" {
		return &streamSink{ledgerSink: s}
	}
	return s
}

// ledgerSink records deliveries in a ledger, and how long they took that are the first of
// their message.
type ledgerSink struct {
	consumer  *ledger.Consumer
	stopwatch *stopwatch
	latencies *latencies
}

func (s *ledgerSink) record(deliveries []thump.Delivery, now time.Time) (foreign bool) {
	for i := range deliveries {
		d := &deliveries[i]
		s.consumer.Add(d.Body, d.Redelivered)
	}
	return s.commit(now)
}

func (s *ledgerSink) commit(now time.Time) (foreign bool) {
	foreign = s.consumer.Bad() > 0
	s.consumer.Commit()
	for _, a := range s.consumer.Arrivals() {
		s.stopwatch.stop(a.Publisher, a.First, a.Last, now)
	}
	s.stopwatch.record(s.latencies)
	return foreign
}

// isForeign reports whether a delivery is not the run's, or not as the run has published it.
func (r *runner) isForeign(d thump.Delivery) bool {
	_, class := r.sent.format.Parse(d.Body)
	return class != ledger.Ours
}

// streamSink is a ledgerSink for one stream. What has come from an offset before is the
// same message, which is delivered again.
type streamSink struct {
	*ledgerSink
	next uint64 // the offset after the last that has come
}

func (s *streamSink) record(deliveries []thump.Delivery, now time.Time) (foreign bool) {
	for i := range deliveries {
		d := &deliveries[i]
		if d.Offset >= s.next {
			s.next = deliveries[len(deliveries)-1].Offset + 1
			return s.ledgerSink.record(deliveries[i:], now)
		}
		s.consumer.Add(d.Body, true)
	}
	return s.commit(now)
}

// unconfirmed notes messages that were published and not confirmed.
func (b books) unconfirmed(numbers []uint64) {
	for _, l := range b {
		l.Unconfirmed(numbers)
	}
}

// resent notes messages that were sent again, or may have been.
func (b books) resent(numbers []uint64) {
	for _, l := range b {
		l.Resent(numbers)
	}
}

// lost notes that a consumer has lost its connection, or has one again; unmarked is the
// ledger's.
func (b books) lost(unmarked bool) {
	for _, l := range b {
		l.Lost(unmarked)
	}
}

// published notes how many messages each publisher has published.
func (b books) published(counts []uint64) {
	for _, l := range b {
		for i, n := range counts {
			l.Published(i, n)
		}
	}
}

// allReceived reports whether every message has come; expected is how many
// deliveries that takes at least. Missing compares sets and Unique reads a number,
// so it asks for Missing only if enough have come.
func (b books) allReceived(expected uint64) bool {
	var unique uint64
	for _, l := range b {
		unique += l.Unique()
	}
	return unique >= expected && b.missing() == 0
}

// missing is how many messages have not come, summed over the ledgers.
func (b books) missing() uint64 {
	var n uint64
	for _, l := range b {
		n += l.Missing()
	}
	return n
}

// missingRanges are the first ranges of messages that are missing from any of the
// ledgers, at most limit of them.
func (b books) missingRanges(limit int) []ledger.Range {
	var all []ledger.Range
	for _, l := range b {
		all = append(all, l.MissingRanges(limit)...)
	}
	slices.SortFunc(all, func(a, b ledger.Range) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
	all = slices.Compact(all)
	return all[:min(limit, len(all))]
}

// totals are the sums over the ledgers.
func (b books) totals() ledger.Totals {
	var sum ledger.Totals
	for _, l := range b {
		t := l.Totals()
		sum.Received += t.Received
		sum.Unique += t.Unique
		sum.Duplicated += t.Duplicated
		sum.Reordered += t.Reordered
		sum.Corrupted += t.Corrupted
		sum.Unexpected += t.Unexpected
		sum.Redelivered += t.Redelivered
		sum.DeliveredAgain += t.DeliveredAgain
		sum.SentAgain += t.SentAgain
		sum.FarthestReorder = max(sum.FarthestReorder, t.FarthestReorder)
	}
	return sum
}
