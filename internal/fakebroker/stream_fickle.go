package fakebroker

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/thumpmq/thump/internal/streamproto"
)

// Fickle is a broker that settles what publisher 0 publishes in every way, at
// random: confirmed or refused, at once, late or never, in order or not. It keeps
// account of what it has received and said, so that a test can compare what the
// client makes of it. Bodies begin with a number, the message's own, and a space.
//
// After Left entries, unless that is negative, it does End instead.
type Fickle struct {
	Random  *rand.Rand
	Session *StreamSession
	Left    int
	End     func(*StreamSession)

	Received  map[uint64]int // how often, by number
	Confirmed map[uint64]bool
	Refused   map[uint64]bool

	open []PublishedEntry // neither confirmed nor refused
}

// NewFickle returns a Fickle that never ends the connection.
func NewFickle(random *rand.Rand) *Fickle {
	return &Fickle{
		Random: random, Left: -1,
		Received: make(map[uint64]int), Confirmed: make(map[uint64]bool), Refused: make(map[uint64]bool),
	}
}

// Handle is for StreamSession.Serve.
func (f *Fickle) Handle(r *StreamReceived) bool {
	p, ok := r.Command.(*Published)
	if !ok {
		return false
	}
	for _, e := range p.Entries {
		for _, body := range e.Bodies {
			f.Received[f.number(body)]++
		}
	}
	f.open = append(f.open, p.Entries...)
	if f.Left >= 0 {
		if f.Left -= len(p.Entries); f.Left < 0 {
			f.End(f.Session)
			return true
		}
	}
	switch f.Random.IntN(6) {
	case 0:
		f.confirm(len(f.open))
	case 1:
		n := f.Random.IntN(len(f.open) + 1)
		f.Session.Offer(streamproto.AppendPublishError(nil, 0, streamproto.CodePreconditionFailed, f.settle(f.Refused, n)...))
	case 2:
		f.Random.Shuffle(len(f.open), func(i, j int) { f.open[i], f.open[j] = f.open[j], f.open[i] })
		f.confirm(f.Random.IntN(len(f.open) + 1))
	case 3:
		f.confirm(min(1, len(f.open)))
	}
	return true
}

func (f *Fickle) confirm(n int) {
	f.Session.Offer(streamproto.AppendPublishConfirm(nil, 0, f.settle(f.Confirmed, n)...))
}

// settle takes n of the open entries and returns their ids. It notes what will be
// said of them before it is: it may get through.
func (f *Fickle) settle(said map[uint64]bool, n int) (ids []uint64) {
	for _, e := range f.open[:n] {
		ids = append(ids, e.ID)
		for _, body := range e.Bodies {
			said[f.number(body)] = true
		}
	}
	f.open = f.open[n:]
	return ids
}

// number is a message's own, which its body begins with.
func (f *Fickle) number(body string) uint64 {
	f.Session.raw.t.Helper()
	digits, _, _ := strings.Cut(body, " ")
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		f.Session.raw.fail("a body that begins with no number: %.40q", body)
	}
	return n
}

// Deaths are the ways in which a Fickle ends a connection, or the stream that it
// serves.
func Deaths(stream string) map[string]func(*StreamSession) {
	update, err := streamproto.AppendMetadataUpdate(nil, &streamproto.MetadataUpdate{Code: streamproto.CodeStreamNotAvailable, Stream: stream})
	if err != nil {
		panic(err)
	}
	offer := func(frame []byte) func(*StreamSession) {
		return func(s *StreamSession) {
			s.Offer(frame)
			s.Discard()
		}
	}
	return map[string]func(*StreamSession){
		"closed":               (*StreamSession).Close,
		"reset":                (*StreamSession).Reset,
		"silence":              (*StreamSession).Discard,
		"garbage":              offer([]byte("garbage! garbage!")),
		"goodbye":              offer(StreamRequest(1, &streamproto.Close{Code: streamproto.CodeInternalError, Reason: "bye"})),
		"a confirm of nothing": offer(streamproto.AppendPublishConfirm(nil, 0, 1<<60)),
		"the stream goes": func(s *StreamSession) { // and the connection stays
			s.Offer(update)
			s.Serve(func(r *StreamReceived) bool {
				p, ok := r.Command.(*Published)
				return ok && s.Offer(streamproto.AppendPublishError(nil, p.PublisherID, streamproto.CodePublisherDoesNotExist, p.IDs()...))
			})
		},
	}
}

// Death is one of Deaths, at random.
func Death(random *rand.Rand, stream string) (name string, end func(*StreamSession)) {
	deaths := Deaths(stream)
	name = slices.Sorted(maps.Keys(deaths))[random.IntN(len(deaths))]
	return name, deaths[name]
}
