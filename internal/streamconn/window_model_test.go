package streamconn

import (
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/thumpmq/thump/internal/outcome"
)

// windowModel does slowly, with maps, what a window does.
type windowModel struct {
	t      *testing.T
	seed   uint64
	random *rand.Rand
	limit  int

	p     *Publisher
	taken []outcome.Outcome
	got   map[uint64]outcome.Status // by ref

	entries  []*modelEntry // in order; of those settled before all others, the last alone
	byID     map[uint64]*modelEntry
	filling  []uint64 // refs of the entry that is not complete
	refs     uint64   // the next
	lastID   uint64
	want     map[uint64]outcome.Status // by ref, of what is settled
	kept     int                       // settled and not handed over
	firstBad outcome.Outcome
}

type modelEntry struct {
	id      uint64
	refs    []uint64
	settled bool
}

// TestWindowRandom runs windows against a model, far around their rings.
func TestWindowRandom(t *testing.T) {
	for seed := range uint64(25) {
		m := newWindowModel(t, seed)
		for range 2500 {
			m.step()
			if got, want := m.p.window.free(), m.free(); got != want {
				t.Fatalf("seed %d: %d free, want %d", seed, got, want)
			}
		}
		m.end()
	}
}

func newWindowModel(t *testing.T, seed uint64) *windowModel {
	random := rand.New(rand.NewPCG(seed, 7))
	limit := []int{1, 7, 60, 1500, 6000}[seed%5]
	return &windowModel{
		t: t, seed: seed, random: random, limit: limit, p: windowPublisher(limit, true),
		got: map[uint64]outcome.Status{}, want: map[uint64]outcome.Status{}, byID: map[uint64]*modelEntry{},
	}
}

// step does one of the things that happen to a window.
func (m *windowModel) step() {
	switch n := m.random.IntN(10); {
	case n < 3:
		for range 1 + m.random.IntN(60) {
			m.add()
		}
	case n < 4:
		m.seal()
	case n < 7:
		for range 1 + m.random.IntN(60) {
			m.settle(m.choose())
		}
	case n < 8:
		m.take()
	case n < 9:
		m.settle(m.random.Uint64N(m.lastID + 3)) // in flight, settled long ago, or never there
	default:
		if got := m.p.TakeFirstBad(); got != m.firstBad {
			m.t.Fatalf("seed %d: the first bad one is %+v, want %+v", m.seed, got, m.firstBad)
		}
		m.firstBad = outcome.Outcome{}
	}
}

func (m *windowModel) add() {
	if m.free() <= 0 {
		m.seal()
		return
	}
	m.p.window.add(m.refs + 1_000_000)
	m.filling = append(m.filling, m.refs+1_000_000)
	m.refs++
	if m.random.IntN(4) == 0 {
		m.seal()
	}
}

func (m *windowModel) seal() {
	if len(m.filling) == 0 {
		return
	}
	m.lastID += 1 + m.random.Uint64N(3)
	m.p.window.seal(m.lastID)
	e := &modelEntry{id: m.lastID, refs: m.filling}
	m.entries, m.byID[e.id], m.filling = append(m.entries, e), e, nil
}

// choose returns the id of an entry that is in flight: mostly one of the oldest.
func (m *windowModel) choose() uint64 {
	front := m.front()
	if front == len(m.entries) {
		return m.lastID
	}
	open := m.entries[front:]
	if m.random.IntN(8) > 0 {
		open = open[:min(len(open), 3)]
	}
	return open[m.random.IntN(len(open))].id
}

// front is the index of the first entry that is not settled.
func (m *windowModel) front() int {
	for i, e := range m.entries {
		if !e.settled {
			return i
		}
	}
	return len(m.entries)
}

// free is the room there should be: of messages from the first that is in flight
// on, and of those whose outcomes were not handed over.
func (m *windowModel) free() int {
	used := len(m.filling)
	for _, e := range m.entries[m.front():] {
		used += len(e.refs)
	}
	return m.limit - used - m.kept
}

func (m *windowModel) settle(id uint64) {
	status, code, text := outcome.Confirmed, uint16(0), ""
	if m.random.IntN(3) == 0 {
		status, code, text = outcome.Rejected, 17, "no"
	}
	front := m.front()
	e := m.byID[id]
	// What was never published can't be told from what was settled long ago.
	known := e != nil || front > 0 && id <= m.entries[front-1].id
	if got := m.p.window.settle(id, status, code, text); got != known {
		m.t.Fatalf("seed %d: id %d is known: %v, want %v", m.seed, id, got, known)
	}
	if e != nil && !e.settled {
		e.settled = true
		m.count(e.refs, outcome.Outcome{Status: status, Code: code, Text: text})
		front = m.front()
		m.entries = m.entries[max(front, 1)-1:] // the others no longer matter
	}
}

// count notes what became of messages.
func (m *windowModel) count(refs []uint64, o outcome.Outcome) {
	for _, ref := range refs {
		m.want[ref] = o.Status
		if o.Ref = ref; o.Status != outcome.Confirmed && m.firstBad.Status == 0 {
			m.firstBad = o
		}
	}
	m.kept += len(refs)
}

// take takes outcomes, which hands over those that were taken before.
func (m *windowModel) take() {
	m.kept -= len(m.taken)
	m.taken = takeRuns(m.t, m.p, m.taken)
	for _, o := range m.taken {
		if m.got[o.Ref] != 0 {
			m.t.Fatalf("seed %d: a second outcome for %d", m.seed, o.Ref)
		}
		m.got[o.Ref] = o.Status
	}
}

// end abandons the window, and compares everything.
func (m *windowModel) end() {
	m.p.window.abandon()
	for _, e := range m.entries {
		if !e.settled {
			m.count(e.refs, outcome.Outcome{Status: outcome.Unknown})
		}
	}
	m.count(m.filling, outcome.Outcome{Status: outcome.Unknown})
	m.take()
	if !maps.Equal(m.got, m.want) {
		m.t.Errorf("seed %d: the outcomes of %d messages are not those of %d", m.seed, len(m.got), len(m.want))
		for ref, want := range m.want {
			if m.got[ref] != want {
				m.t.Fatalf("message %d is %v, want %v", ref, m.got[ref], want)
			}
		}
	}
	n := m.p.window.totals
	if n.Published != n.Confirmed+n.Rejected+n.Unknown || n.Published != m.refs || len(m.want) != int(m.refs) {
		m.t.Errorf("seed %d: totals %+v, %d messages", m.seed, n, m.refs)
	}
}
