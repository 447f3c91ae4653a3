package ledger

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// model is the ledger in its plainest form: a map of what has come, and a look at
// every delivery by itself.
type model struct {
	format      Format
	totals      Totals
	came        map[uint64]bool
	unconfirmed map[uint64]bool
	published   []uint64
	consumers   []modelConsumer

	marked map[uint64]bool // came for the first time as redelivered, and never again unmarked
	lost   bool
	before map[uint64]bool // had come at the latest loss
	again  map[uint64]bool // and came once more
	copies map[uint64]int  // came again unmarked, and nothing else explains that
	resent map[uint64]bool

	arrived []uint64 // came for the first time with the latest commit
}

type modelConsumer struct {
	pending []modelDelivery
	highest map[int]uint64 // by publisher, of what came for the first time
}

type modelDelivery struct {
	body        []byte
	redelivered bool
}

func newModel(format Format, consumers int) *model {
	m := &model{
		format: format, came: map[uint64]bool{}, unconfirmed: map[uint64]bool{}, consumers: make([]modelConsumer, consumers),
		copies: map[uint64]int{}, resent: map[uint64]bool{}, marked: map[uint64]bool{},
	}
	m.published = make([]uint64, format.plan.Publishers)
	for i := range m.consumers {
		m.consumers[i].highest = map[int]uint64{}
	}
	return m
}

func (m *model) commit(consumer int) {
	c := &m.consumers[consumer]
	t := &m.totals
	m.arrived = m.arrived[:0]
	for _, d := range c.pending {
		t.Received++
		n, class := plainParse(&m.format, d.body)
		if class == Corrupted {
			t.Corrupted++
		}
		if class == Unexpected {
			t.Unexpected++
		}
		if class != Ours {
			continue
		}
		publisher := m.format.plan.owner(n)
		switch highest := c.highest[publisher]; {
		case m.came[n]:
			t.Duplicated++
			switch {
			case d.redelivered:
				t.Redelivered++
			case m.marked[n]:
				t.Redelivered++
				delete(m.marked, n)
			case m.before[n] && !m.again[n]:
				t.DeliveredAgain++
				m.again[n] = true
			default:
				m.copies[n]++
			}
			continue
		case d.redelivered:
			m.marked[n] = true
		case n < highest:
			t.Reordered++
			t.FarthestReorder = max(t.FarthestReorder, highest-n)
		default:
			c.highest[publisher] = n
		}
		t.Unique++
		m.came[n] = true
		m.arrived = append(m.arrived, n)
	}
	c.pending = c.pending[:0]
}

// final returns what Ledger.Totals and Missing should be.
func (m *model) final() (t Totals, missing uint64) {
	t = m.totals
	for n := range m.came {
		publisher := m.format.plan.owner(n)
		if n-m.format.plan.Range(publisher).First >= m.published[publisher] {
			t.Unique--
			t.Unexpected++
		} else if !m.unconfirmed[n] {
			missing--
		}
	}
	for _, published := range m.published {
		missing += published
	}
	for n, copies := range m.copies {
		if m.resent[n] {
			t.SentAgain += uint64(min(copies, copiesMost))
		}
	}
	if m.lost {
		t.DeliveredAgain += t.Redelivered
	}
	return t, missing - uint64(len(m.unconfirmed))
}

// lose is Ledger.Lost.
func (m *model) lose(unmarked bool) {
	if m.lost = true; unmarked {
		m.before, m.again = maps.Clone(m.came), map[uint64]bool{}
	}
}

// missingRanges is for plans of few messages.
func (m *model) missingRanges() (ranges []Range) {
	for publisher, published := range m.published {
		first := m.format.plan.Range(publisher).First
		for n := first; n < first+published; n++ {
			if !m.came[n] && !m.unconfirmed[n] {
				ranges = appendRange(ranges, Range{First: n, Last: n})
			}
		}
	}
	return ranges
}

// trial delivers the same to a ledger and to the model.
type trial struct {
	random    *rand.Rand
	format    Format
	ledger    *Ledger
	consumers []*Consumer
	model     *model
	consumer  int      // to which deliveries go
	next      []uint64 // by publisher: what would be in order
}

func (tr *trial) add(body []byte, redelivered bool) {
	tr.consumers[tr.consumer].Add(body, redelivered)
	c := &tr.model.consumers[tr.consumer]
	c.pending = append(c.pending, modelDelivery{body: bytes.Clone(body), redelivered: redelivered})
}

// place returns a number of the publisher, by preference where something may go
// wrong.
func (tr *trial) place(publisher int) uint64 {
	own := tr.format.plan.Range(publisher)
	borders := []uint64{
		own.First, own.Last, tr.next[publisher], 100, 9999, 99_999_999, 1e12, own.First + 1<<32 - 1,
		own.First + pageLen, own.First + 2*pageLen,
	}
	n := borders[tr.random.IntN(len(borders))] - 10 + tr.random.Uint64N(20)
	if n < own.First || n > own.Last {
		n = own.First + tr.random.Uint64N(min(own.Len(), 100))
	}
	return n
}

// step does one of the things that can happen to a consumer.
func (tr *trial) step() {
	r, plan := tr.random, tr.format.plan
	if r.IntN(3) == 0 {
		tr.consumer = r.IntN(len(tr.consumers))
	}
	publisher := r.IntN(int(min(uint64(plan.Publishers), plan.Count)))
	own := plan.Range(publisher)
	length, stride, publishers := uint64(r.IntN(40)), uint64(1), 1
	redelivered := []float64{0, 0, 0, 0, 0.5, 1}[r.IntN(6)]
	switch r.IntN(12) {
	case 0:
		length *= 200
	case 1:
		tr.next[publisher] = tr.place(publisher)
	case 2, 3:
		tr.next[publisher] -= min(r.Uint64N(50), tr.next[publisher]-own.First)
	case 4:
		stride = r.Uint64N(4) // 0: the same again and again
	case 5, 6:
		publishers = 1 + r.IntN(4) // they take turns
	case 7:
		tr.spoil(tr.format.Append(nil, min(tr.next[publisher], own.Last)))
		return
	}
	for i := range length {
		p := (publisher + int(i)%publishers) % len(tr.next)
		if own := plan.Range(p); tr.next[p] >= own.First && tr.next[p] <= own.Last {
			tr.add(tr.format.Append(nil, tr.next[p]), r.Float64() < redelivered)
			tr.next[p] += stride
		} else if own.Len() > 0 {
			tr.next[p] = tr.place(p)
		}
	}
}

// spoil delivers a body that something has happened to.
func (tr *trial) spoil(body []byte) {
	r := tr.random
	switch r.IntN(5) {
	case 0:
		body = body[:r.IntN(len(body))]
	case 1:
		body = append(body, '0')
	case 2:
		body = tr.format.Append(nil, tr.format.plan.Count)
		body[len(body)-1]++
	default:
		body[r.IntN(len(body))] ^= 1 << r.IntN(8)
	}
	tr.add(body, r.IntN(4) == 0)
}

// end says what was published and what was not confirmed.
func (tr *trial) end() {
	plan := tr.format.plan
	numbers := []uint64{0}
	for p := range plan.Publishers {
		own := plan.Range(p)
		published := own.Len() - tr.random.Uint64N(min(own.Len(), 20)+1)
		tr.ledger.Published(p, published)
		tr.model.published[p] = published
		for range min(published, 5) {
			n := tr.place(p)
			for range tr.random.IntN(200) {
				if n >= own.First && n < own.First+published {
					numbers = append(numbers, n)
					tr.model.unconfirmed[n] = true
				}
				n++
			}
		}
	}
	slices.Sort(numbers)
	tr.ledger.Unconfirmed(append(numbers, plan.Count+1, plan.Count+2))
}

// resend says that some of what came, and of what did not, was sent again.
func (tr *trial) resend() {
	numbers := []uint64{0, tr.format.plan.Count + 1}
	for range 3 {
		n := tr.place(tr.random.IntN(int(min(uint64(tr.format.plan.Publishers), tr.format.plan.Count))))
		for range tr.random.IntN(300) {
			if n <= tr.format.plan.Count {
				numbers = append(numbers, n)
				tr.model.resent[n] = true
			}
			n++
		}
	}
	slices.Sort(numbers)
	tr.ledger.Resent(numbers)
}

// TestLedgerAgainstModel delivers at random, in order for the most part, and
// wants every total to be what the model says after every commit.
func TestLedgerAgainstModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, plan := range []Plan{{200_000, 1}, {200_000, 3}, {1000, 64}, {7, 9}, {MaxCount, 1}, {MaxCount, 5}} {
		for name, format := range map[string]Format{"tutorial": Tutorial(plan), "16": mustSized(t, plan, 16), "50": mustSized(t, plan, 50), "mixed": mustMix(t, plan)} {
			t.Run(fmt.Sprintf("%d of %d, %s", plan.Count, plan.Publishers, name), func(t *testing.T) {
				againstModel(t, format, rand.New(rand.NewPCG(seed, 0)))
			})
		}
	}
}

func againstModel(t *testing.T, format Format, random *rand.Rand) {
	t.Helper()
	const consumers = 3
	losses := random.IntN(4) > 0
	tr := &trial{random: random, format: format, ledger: New(format), model: newModel(format, consumers)}
	for range consumers {
		tr.consumers = append(tr.consumers, tr.ledger.Consumer())
	}
	for p := range format.plan.Publishers {
		tr.next = append(tr.next, format.plan.Range(p).First)
	}
	commit := func(i int) {
		unique := tr.consumers[i].Commit()
		tr.model.commit(i)
		if got, want := tr.ledger.totals, tr.model.totals; got != want || unique != want.Unique {
			t.Fatalf("totals, %d unique\n got %+v\nwant %+v", unique, got, want)
		}
		var arrived []uint64
		for _, a := range tr.consumers[i].Arrivals() {
			for place := a.First; place <= a.Last; place++ {
				arrived = append(arrived, format.plan.Range(a.Publisher).First+place)
			}
		}
		slices.Sort(arrived)
		if slices.Sort(tr.model.arrived); !slices.Equal(arrived, tr.model.arrived) {
			t.Fatalf("%v came for the first time, want %v", arrived, tr.model.arrived)
		}
	}
	for range 300 {
		tr.step()
		if random.IntN(3) == 0 {
			commit(random.IntN(consumers))
		}
		if losses && random.IntN(30) == 0 {
			unmarked := random.IntN(4) > 0
			tr.ledger.Lost(unmarked)
			tr.model.lose(unmarked)
		}
		if losses && random.IntN(30) == 0 {
			tr.resend()
		}
	}
	for i := range consumers {
		commit(i)
	}
	tr.end()
	want, missing := tr.model.final()
	if got := tr.ledger.Totals(); got != want {
		t.Errorf("totals in the end\n got %+v\nwant %+v", got, want)
	}
	if got := tr.ledger.Missing(); got != missing {
		t.Errorf("%d missing, want %d", got, missing)
	}
	if format.plan.Count > 1_000_000 {
		return
	}
	ranges := tr.model.missingRanges()
	if got := tr.ledger.MissingRanges(len(ranges) + 1); !slices.Equal(got, ranges) {
		t.Errorf("missing %v, want %v", got, ranges)
	}
}
