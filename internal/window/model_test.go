package window

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/thumpmq/thump/internal/outcome"
)

// model does slowly, with slices and maps, what a window with several carriers
// does.
type model struct {
	t      *testing.T
	random *rand.Rand
	seed   uint64
	cfg    Config

	w        *Window
	carriers []*Carrier
	taken    []outcome.Outcome

	messages []*modelMessage   // by number in the window
	carried  [][]*modelMessage // by carrier, by its number
	ended    []bool
	waiting  []outcome.Outcome // known and not taken
	handing  int               // taken and not handed over
	firstBad outcome.Outcome
	told     outcome.Totals
	resent   uint64
}

type modelMessage struct {
	ref     uint64
	encoded []byte
	outcome outcome.Outcome // its Status is 0 while there is none
	sent    bool            // a connection has carried it
	resent  bool
}

// TestRandom runs windows against a model, far around their rings: with one
// carrier and several, collecting and not, keeping messages and not.
func TestRandom(t *testing.T) {
	for seed := range uint64(60) {
		m := newModel(t, seed)
		for i := range 1500 {
			m.step()
			if i%25 == 0 {
				m.check()
			}
		}
		m.end()
	}
}

func newModel(t *testing.T, seed uint64) *model {
	random := rand.New(rand.NewPCG(seed, 7))
	cfg := Config{
		Messages: []int{1, 7, 60, 1024, 1500, 6000}[seed%6],
		Collect:  random.IntN(3) > 0,
		Keep:     random.IntN(3) == 0,
	}
	if cfg.Keep {
		cfg.Bytes = 3 * blockSize
	}
	m := &model{t: t, seed: seed, random: random, cfg: cfg, w: New(cfg)}
	for range 1 + seed%3 {
		m.carriers = append(m.carriers, m.w.Carry())
	}
	m.carried = make([][]*modelMessage, len(m.carriers))
	m.ended = make([]bool, len(m.carriers))
	return m
}

func (m *model) step() {
	c := m.random.IntN(len(m.carriers))
	switch n := m.random.IntN(14); {
	case n == 12 && m.cfg.Keep && len(m.carriers) == 1:
		m.reconnect()
	case n >= 12 && !m.cfg.Keep && m.random.IntN(4) == 0:
		m.sendAgain(c)
	case n >= 12:
	case n == 0 && !m.cfg.Keep:
		m.addRun(c)
	case n < 4:
		for range 1 + m.random.IntN(80) {
			m.add(c)
		}
	case n < 6:
		m.resolve(c, m.random.Uint64N(uint64(len(m.carried[c]))+1), 1)
	case n < 9: // all up to one, as with multiple
		m.resolve(c, 0, m.random.Uint64N(uint64(len(m.carried[c]))+1))
	case n < 10:
		first := m.random.Uint64N(uint64(len(m.carried[c])) + 1)
		m.resolve(c, first, m.random.Uint64N(uint64(len(m.carried[c]))-first+1))
	case n < 11:
		m.take()
	default:
		m.report()
	}
}

func (m *model) add(c int) {
	m.w.Lock()
	defer m.w.Unlock()
	if m.ended[c] || m.w.Free() <= 0 {
		return
	}
	message := &modelMessage{ref: m.ref()}
	number := uint64(len(m.carried[c]))
	var got uint64
	if m.cfg.Keep {
		message.encoded = bytes.Repeat([]byte{byte(message.ref)}, m.random.IntN(3000))
		got = m.carriers[c].AddEncoded(Tag{Ref: message.ref}, message.encoded)
		message.encoded = bytes.Clone(message.encoded)
	} else {
		got = m.carriers[c].Add(Tag{Ref: message.ref})
	}
	if got != number {
		m.fail("carrier %d numbers a message %d, want %d", c, got, number)
	}
	message.sent = true
	m.messages = append(m.messages, message)
	m.carried[c] = append(m.carried[c], message)
}

// ref is that of a message; those of some models have none, for long.
func (m *model) ref() uint64 {
	if m.seed%4 == 0 && len(m.messages) < 3000 {
		return 0
	}
	return m.random.Uint64()
}

// addRun adds messages together, with refs or none.
func (m *model) addRun(c int) {
	m.w.Lock()
	defer m.w.Unlock()
	if m.ended[c] {
		return
	}
	n := m.random.IntN(1 + max(0, min(100, m.w.Free())))
	tags, tagged := make([]Tag, n), m.seed%4 != 0 && m.random.IntN(2) == 0
	for i := range tags {
		if tagged {
			tags[i].Ref = m.ref()
		}
		message := &modelMessage{ref: tags[i].Ref, sent: true}
		m.messages = append(m.messages, message)
		m.carried[c] = append(m.carried[c], message)
	}
	if !tagged {
		tags = nil
	}
	m.carriers[c].AddRun(n, tags)
	if got, want := m.carriers[c].Next(), uint64(len(m.carried[c])); got != want {
		m.fail("carrier %d has %d messages, want %d", c, got, want)
	}
}

// reconnect loses the connection, accepts messages that none carries, and lets others
// carry what has no outcome; the last of them carries all of it.
func (m *model) reconnect() {
	m.w.Lock()
	defer m.w.Unlock()
	for last := false; !last; {
		m.carriers[0].Leave()
		for range m.random.IntN(20) {
			if m.w.Free() > 0 {
				message := &modelMessage{ref: m.ref(), encoded: bytes.Repeat([]byte{1}, m.random.IntN(3000))}
				m.w.Accept(Tag{Ref: message.ref}, message.encoded)
				m.messages = append(m.messages, message)
			}
		}
		carrier := m.w.Carry()
		m.carriers[0], m.carried[0] = carrier, nil
		last = m.random.IntN(2) == 0
		for number := range m.w.Unresolved(0) {
			if !last && m.random.IntN(100) == 0 {
				break
			}
			message := m.messages[number]
			if got := carrier.AddAgain(number); got != uint64(len(m.carried[0])) {
				m.fail("message %d is sent again as %d, want %d", number, got, len(m.carried[0]))
			}
			m.carried[0] = append(m.carried[0], message)
			if message.sent {
				message.resent = true
				m.resent++
			}
			message.sent = true
		}
	}
}

// sendAgain lets another connection go on with what a carrier has in flight.
func (m *model) sendAgain(c int) {
	m.w.Lock()
	defer m.w.Unlock()
	exact, n := m.random.IntN(2) == 0, uint64(0)
	below := len(m.carried[c]) - m.random.IntN(1+len(m.carried[c]))
	for _, message := range m.carried[c][:below] {
		if message.outcome.Status == 0 {
			n++
			message.resent = message.resent || !exact
		}
	}
	m.resent += n
	m.carriers[c].SentAgain(uint64(below), n, exact)
}

func (m *model) resolve(c int, first, n uint64) {
	n = min(n, uint64(len(m.carried[c]))-first)
	status := outcome.Status(1 + m.random.IntN(3))
	code := uint16(status) * 100
	m.w.Lock()
	m.carriers[c].Resolve(first, n, status, code, status.String())
	m.w.Wake()
	m.w.Unlock()
	if !m.ended[c] {
		m.know(m.carried[c][first:first+n], outcome.Outcome{Status: status, Code: code, Text: status.String()})
	}
}

func (m *model) know(messages []*modelMessage, o outcome.Outcome) {
	for _, message := range messages {
		if message.outcome.Status != 0 {
			continue
		}
		o.Ref, o.Resent = message.ref, message.resent
		message.outcome = o
		if o.Status != outcome.Confirmed && m.firstBad.Status == 0 {
			m.firstBad = o
		}
		if m.cfg.Collect {
			m.waiting = append(m.waiting, o)
		}
	}
}

// take takes outcomes, where there are some: it would wait otherwise.
func (m *model) take() {
	if !m.cfg.Collect || len(m.waiting) == 0 {
		return
	}
	var err error
	if m.taken, err = takeOutcomes(m.w); err != nil {
		m.fail("taking outcomes: %v", err)
	}
	m.compare()
}

func (m *model) compare() {
	if len(m.taken) != len(m.waiting) {
		m.fail("%d outcomes, want %d", len(m.taken), len(m.waiting))
	}
	for i, o := range m.taken {
		if o != m.waiting[i] {
			m.fail("outcome %d is %+v, want %+v", i, o, m.waiting[i])
		}
	}
	m.handing, m.waiting = len(m.waiting), nil
}

func (m *model) oldest() int {
	oldest := 0
	for oldest < len(m.messages) && m.messages[oldest].outcome.Status != 0 {
		oldest++
	}
	return oldest
}

func (m *model) totals() (t outcome.Totals) {
	for _, message := range m.messages {
		t.Published++
		t.Count(message.outcome.Status, 1)
	}
	t.Resent = m.resent
	return t
}

func (m *model) report() {
	now := m.totals()
	want := Report{Counts: now.Since(m.told), InFlight: now.InFlight(), First: m.firstBad}
	want.Counts.Published = want.Counts.Confirmed + want.Counts.Bad()
	if got := m.w.Report(); got != want {
		m.fail("Report is %+v, want %+v", got, want)
	}
	m.told = now
	m.firstBad = outcome.Outcome{}
}

// check compares what can be looked at.
func (m *model) check() {
	oldest := m.oldest()
	m.w.Lock()
	defer m.w.Unlock()
	free := m.w.Free()
	if want := m.cfg.Messages - (len(m.messages) - oldest) - m.handing - len(m.waiting); !m.cfg.Keep && free != want {
		m.fail("%d free, want %d", free, want)
	} else if free > max(want, 0) {
		m.fail("%d free, want at most %d", free, want)
	}
	for c, carrier := range m.carriers {
		if m.ended[c] || len(m.carried[c]) == 0 {
			continue
		}
		if carrier.Next() != uint64(len(m.carried[c])) {
			m.fail("carrier %d: next is %d", c, carrier.Next())
		}
		i := m.random.IntN(len(m.carried[c]))
		if got, want := carrier.Resolved(uint64(i)), m.carried[c][i].outcome.Status != 0; got != want {
			m.fail("carrier %d: message %d resolved: %v", c, i, got)
		}
		open, some := uint64(0), m.carried[c][i:i+1+m.random.IntN(len(m.carried[c])-i)]
		for _, message := range some {
			if message.outcome.Status == 0 {
				open++
			}
		}
		if got := carrier.Open(uint64(i), uint64(len(some))); got != open {
			m.fail("carrier %d: %d of the %d messages from %d on have no outcome, want %d", c, got, len(some), i, open)
		}
		for i, message := range m.carried[c][:carrier.Oldest()] {
			if message.outcome.Status == 0 {
				m.fail("carrier %d: message %d has no outcome, and Oldest is %d", c, i, carrier.Oldest())
			}
		}
	}
	if m.cfg.Keep {
		m.checkKept(oldest)
	}
}

// checkKept compares what would be sent again, and the memory that it takes.
func (m *model) checkKept(oldest int) {
	i := oldest
	for number, encoded := range m.w.Unresolved(0) {
		for m.messages[i].outcome.Status != 0 {
			i++
		}
		if number != uint64(i) || !bytes.Equal(encoded, m.messages[i].encoded) {
			m.fail("to be sent again: message %d with %d bytes, want %d", number, len(encoded), i)
		}
		i++
	}
	for ; i < len(m.messages); i++ {
		if m.messages[i].outcome.Status == 0 {
			m.fail("message %d is not to be sent again, and has no outcome", i)
		}
	}
	held := 0
	for _, b := range m.w.store.blocks {
		held += cap(b.bytes)
	}
	if m.w.bytes != held || held > m.cfg.Bytes {
		m.fail("%d bytes are counted and %d held", m.w.bytes, held)
	}
}

// end ends the carriers, one after the other, and the window.
func (m *model) end() {
	for c, carrier := range m.carriers {
		m.w.Lock()
		carrier.End("")
		carrier.Resolve(0, carrier.Next(), outcome.Confirmed, 0, "") // too late
		m.w.Unlock()
		m.know(m.carried[c], outcome.Outcome{Status: outcome.Unknown})
		m.ended[c] = true
		m.check()
	}
	m.w.Fail(fmt.Errorf("over"))
	if m.cfg.Collect {
		if len(m.waiting) > 0 {
			m.taken, _ = takeOutcomes(m.w)
			m.compare()
		}
		if last, err := m.w.Outcomes(); last != nil || err == nil {
			m.fail("%d runs of outcomes after the end, and %v", len(last.Runs), err)
		}
	}
	if got, want := m.w.Totals(), m.totals(); got != want || want.InFlight() != 0 {
		m.fail("the totals are %+v, want %+v", got, want)
	}
}

func (m *model) fail(format string, what ...any) {
	m.t.Helper()
	m.t.Fatalf("seed %d, %+v: %s", m.seed, m.cfg, fmt.Sprintf(format, what...))
}

// TestBitRing compares the bits with a map, over their turns.
func TestBitRing(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 3))
		ring := newBitRing(200)
		set := map[uint64]bool{}
		base := random.Uint64N(1000)
		for range 300 {
			first := base + random.Uint64N(200)
			end := first + random.Uint64N(base+200-first+1)
			if random.IntN(2) == 0 {
				ring.set(first, end)
				for i := first; i < end; i++ {
					set[i] = true
				}
			} else {
				ring.clear(first, end)
				maps.DeleteFunc(set, func(i uint64, _ bool) bool { return first <= i && i < end })
			}
			for _, want := range []bool{false, true} {
				i := first
				for i < base+200 && set[i] != want {
					i++
				}
				if got := ring.next(first, base+200, want); got != i {
					t.Fatalf("seed %d: the first from %d on that is %v is %d, want %d", seed, first, want, got, i)
				}
			}
			if len(set) == 0 { // then all are clear, and may mean later numbers
				base += random.Uint64N(100)
			}
		}
	}
}
