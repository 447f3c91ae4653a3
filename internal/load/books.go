package load

import (
	"cmp"
	"slices"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/ledger"
)

// books are the ledgers of a run: one for a queue, whose consumers share the
// messages; one for each consumer of a stream, who gets them all.
type books struct {
	ledgers []*ledger.Ledger
}

func newBooks(format ledger.Format, cfg Config) *books {
	n := 1
	if cfg.To.Streams() {
		n = cfg.Consumers
	}
	b := &books{ledgers: make([]*ledger.Ledger, n)}
	for i := range b.ledgers {
		b.ledgers[i] = ledger.New(format)
	}
	return b
}

// sink makes a sink for what consumer i gets of one stream, or of the queue. A
// super stream keeps the order of messages within each of its streams, so that
// each gets a sink of its own, which judges order for itself.
func (b *books) sink(i int) sink {
	return &ledgerSink{b.ledgers[min(i, len(b.ledgers)-1)].Consumer()}
}

// ledgerSink records deliveries with a ledger's consumer.
type ledgerSink struct{ consumer *ledger.Consumer }

func (s *ledgerSink) record(deliveries []thump.Delivery) {
	for i := range deliveries {
		d := &deliveries[i]
		s.consumer.Add(d.Body, d.Redelivered)
	}
	s.consumer.Commit()
}

// unconfirmed hears of messages that were published and not confirmed.
func (b *books) unconfirmed(numbers []uint64) {
	for _, l := range b.ledgers {
		l.Unconfirmed(numbers)
	}
}

// published hears how many messages each publisher has published.
func (b *books) published(counts []uint64) {
	for _, l := range b.ledgers {
		for i, n := range counts {
			l.Published(i, n)
		}
	}
}

// came says whether everything has come, which is goal deliveries at least.
// Missing looks closely and Unique is one number: it asks for the former only
// when there is a chance.
func (b *books) came(goal uint64) bool {
	var unique uint64
	for _, l := range b.ledgers {
		unique += l.Unique()
	}
	return unique >= goal && b.missing() == 0
}

// missing is how many messages have not come, over all ledgers.
func (b *books) missing() uint64 {
	var n uint64
	for _, l := range b.ledgers {
		n += l.Missing()
	}
	return n
}

// missingRanges are the first ranges of the messages that have not come, to
// whichever consumer; at most limit of them.
func (b *books) missingRanges(limit int) []ledger.Range {
	var all []ledger.Range
	for _, l := range b.ledgers {
		all = append(all, l.MissingRanges(limit)...)
	}
	slices.SortFunc(all, func(a, b ledger.Range) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
	all = slices.Compact(all)
	return all[:min(limit, len(all))]
}

// totals are the sums over all ledgers.
func (b *books) totals() ledger.Totals {
	var sum ledger.Totals
	for _, l := range b.ledgers {
		t := l.Totals()
		sum.Received += t.Received
		sum.Unique += t.Unique
		sum.Duplicated += t.Duplicated
		sum.Reordered += t.Reordered
		sum.Corrupted += t.Corrupted
		sum.Unexpected += t.Unexpected
		sum.Redelivered += t.Redelivered
		sum.FarthestReorder = max(sum.FarthestReorder, t.FarthestReorder)
	}
	return sum
}
