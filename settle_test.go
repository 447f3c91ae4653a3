package thump

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// settleModel does slowly what unsettled does, for a queue and for a stream, and
// plays the broker of a queue: it knows which tags are unsettled.
type settleModel struct {
	t       *testing.T
	seed    uint64
	random  *rand.Rand
	u       unsettled
	batches []*Batch

	open    map[uint64]bool // tags that the broker has out
	passed  []uint64        // offsets in order, with a stream: of deliveries, and of what was skipped
	acked   map[uint64]bool // offsets
	upTo    uint64          // the offset that acked told last, and one more
	more    int             // deliveries that acked told of
	nextTag uint64
	offset  uint64
}

// TestSettleRandom settles batches and deliveries in random order, and compares
// what the broker is told, and how far a stream counts as acked, with a model.
func TestSettleRandom(t *testing.T) {
	for seed := range uint64(200) {
		m := &settleModel{t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 11)), open: map[uint64]bool{}, acked: map[uint64]bool{}}
		m.u.send = m.send
		if seed%2 == 0 {
			m.u.acked = m.told
		}
		for range 400 {
			m.step()
			m.check()
		}
		for _, b := range m.batches {
			m.settleBatch(b)
			m.check()
		}
		if len(m.open) > 0 || m.u.count() != 0 {
			m.fail("%d deliveries are out, and %d count as such, after all were settled", len(m.open), m.u.count())
		}
	}
}

func (m *settleModel) step() {
	switch n := m.random.IntN(10); {
	case n < 3:
		m.handOut()
	case n < 4 && m.u.acked != nil:
		m.offset += 1 + m.random.Uint64N(5)
		m.passed = append(m.passed, m.offset)
		m.acked[m.offset] = true
		m.u.skip(0, m.offset)
	case len(m.batches) == 0:
	case n < 6:
		m.settleBatch(m.batches[m.random.IntN(len(m.batches))])
	default:
		b := m.batches[m.random.IntN(len(m.batches))]
		m.settleOne(&b.Deliveries[m.random.IntN(len(b.Deliveries))])
	}
}

func (m *settleModel) handOut() {
	b := &Batch{hold: &hold{}}
	for range 1 + m.random.IntN(6) {
		m.nextTag++
		m.offset += 1 + m.random.Uint64N(3)
		b.Deliveries = append(b.Deliveries, Delivery{tag: m.nextTag, Offset: m.offset, hold: b.hold})
		m.passed = append(m.passed, m.offset)
		m.open[m.nextTag] = true
	}
	last := m.offset
	if m.random.IntN(2) == 0 { // a filter dropped what followed
		m.offset += 1 + m.random.Uint64N(4)
		last = m.offset
		m.passed = append(m.passed, last)
		m.acked[last] = true
	}
	m.u.add(b, last)
	m.batches = append(m.batches, b)
}

func (m *settleModel) settleBatch(b *Batch) {
	was := b.hold.whole
	if err := b.Ack(); was != errors.Is(err, ErrSettled) || !was && err != nil {
		m.fail("acking a batch, settled as such already: %v: %v", was, err)
	}
	for i := range b.Deliveries {
		if m.open[b.Deliveries[i].tag] {
			m.fail("tag %d is out after its batch was acked", b.Deliveries[i].tag)
		}
		m.acked[b.Deliveries[i].Offset] = true
	}
}

func (m *settleModel) settleOne(d *Delivery) {
	was := m.acked[d.Offset]
	err := d.Ack()
	if was != errors.Is(err, ErrSettled) || !was && err != nil {
		m.fail("tag %d, settled already: %v: acking it: %v", d.tag, was, err)
	}
	if m.open[d.tag] {
		m.fail("tag %d is out after it was acked", d.tag)
	}
	m.acked[d.Offset] = true
}

// send is the broker: it must never be told of a tag twice, and multiple must
// name a tag that is out.
func (m *settleModel) send(_ settlement, multiple bool, tags ...uint64) error {
	for _, tag := range tags {
		if !m.open[tag] {
			m.fail("tag %d was settled, and is not out", tag)
		}
		delete(m.open, tag)
		for other := range m.open {
			if multiple && other < tag {
				delete(m.open, other)
			}
		}
	}
	return nil
}

func (m *settleModel) told(offset uint64, more int) {
	if offset+1 <= m.upTo && more > 0 {
		m.fail("acked up to %d and %d more, after up to %d", offset, more, m.upTo-1)
	}
	m.upTo = max(m.upTo, offset+1)
	m.more += more
}

// check compares how far everything is acked without a gap.
func (m *settleModel) check() {
	unsettled, deliveries := 0, 0
	for _, b := range m.batches {
		for i := range b.Deliveries {
			if !m.acked[b.Deliveries[i].Offset] {
				unsettled++
			}
		}
	}
	if got := m.u.count(); got != unsettled {
		m.fail("%d deliveries count as unsettled, want %d", got, unsettled)
	}
	if m.u.acked == nil {
		return
	}
	want := uint64(0)
	for _, offset := range m.passed {
		if !m.acked[offset] {
			break
		}
		want = offset + 1
	}
	for _, b := range m.batches {
		for i := range b.Deliveries {
			if b.Deliveries[i].Offset < want {
				deliveries++
			}
		}
	}
	// What was dropped after a delivery counts with the whole batch only.
	if m.upTo > want || m.upTo < want && !slices.Contains(m.passed[:slices.Index(m.passed, want-1)+1], m.upTo-1) {
		m.fail("acked up to %d, want %d", m.upTo, want)
	}
	if m.more != deliveries {
		m.fail("%d deliveries were told to be acked, want %d", m.more, deliveries)
	}
}

func (m *settleModel) fail(format string, what ...any) {
	m.t.Helper()
	m.t.Fatalf("seed %d: %s", m.seed, fmt.Sprintf(format, what...))
}

// TestSettleOwnOffsets: a caller may do with Deliveries what it likes.
func TestSettleOwnOffsets(t *testing.T) {
	for _, offsets := range [][]uint64{{10, 11, 12}, {10, 20, 30}} {
		told := uint64(0)
		u := unsettled{
			send:  func(settlement, bool, ...uint64) error { return nil },
			acked: func(offset uint64, _ int) { told = offset },
		}
		b := &Batch{hold: &hold{}}
		for i, offset := range offsets {
			b.Deliveries = append(b.Deliveries, Delivery{tag: uint64(i) + 1, Offset: offset, hold: b.hold})
		}
		first, second := b.Deliveries[0], b.Deliveries[1]
		u.add(b, offsets[2])
		b.Deliveries = slices.Delete(b.Deliveries, 0, 2)
		for i, d := range []Delivery{first, second} {
			if err := d.Ack(); err != nil || told != offsets[i] {
				t.Errorf("acking offset %d: %v, and everything up to %d is acked", d.Offset, err, told)
			}
		}
	}
}

// TestSettlePeriodOver: what was read before expire is not added, and what was dropped
// does not count.
func TestSettlePeriodOver(t *testing.T) {
	var told []uint64
	u := unsettled{
		send:  func(settlement, bool, ...uint64) error { return nil },
		acked: func(offset uint64, _ int) { told = append(told, offset) },
	}
	batch := func(offset uint64) *Batch {
		b := &Batch{hold: &hold{}}
		b.Deliveries = []Delivery{{tag: offset, Offset: offset, hold: b.hold}}
		return b
	}
	before := u.period.Load()
	u.expire(errInactive)
	if u.addLocked(before, batch(3), 3) || u.count() != 0 {
		t.Error("a batch of the period before was added")
	}
	u.skip(before, 4)
	if len(told) > 0 {
		t.Errorf("%v were acked", told)
	}
	now := batch(5)
	if !u.addLocked(u.period.Load(), now, 5) {
		t.Error("a batch of this period was refused")
	}
	u.skip(u.period.Load(), 6)
	if err := now.Ack(); err != nil || len(told) != 1 || told[0] != 6 {
		t.Errorf("acked %v, %v", told, err)
	}
}

// TestSettleAllOrNone: where the connection ends, a batch was told to the broker as a
// whole, or not at all; each way to settle is one call.
func TestSettleAllOrNone(t *testing.T) {
	for how := settleAck; how <= settleRelease; how++ {
		var told []uint64
		u := unsettled{send: func(_ settlement, _ bool, tags ...uint64) error {
			if told != nil {
				return ErrStale
			}
			told = slices.Clone(tags)
			return nil
		}}
		before, b := &Batch{hold: &hold{}}, &Batch{hold: &hold{}} // the first is open: no multiple
		before.Deliveries = []Delivery{{tag: 1, hold: before.hold}}
		b.Deliveries = []Delivery{{tag: 2, hold: b.hold}, {tag: 3, hold: b.hold}, {tag: 4, hold: b.hold}}
		u.add(before, 0)
		u.add(b, 0)
		if err := b.settle(how); err != nil || !slices.Equal(told, []uint64{2, 3, 4}) {
			t.Errorf("settlement %d: the broker was told %v: %v", how, told, err)
		}
	}
}
