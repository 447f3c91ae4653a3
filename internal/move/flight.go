package move

import "github.com/thumpmq/thump"

// flight is a batch on its way from the source to the target: as many of its deliveries
// as are to be moved.
type flight struct {
	batch *thump.Batch
	list  []entry         // what the journal knows of them
	first uint64          // the position of the first
	msgs  []thump.Message // of those that are published
	fates []fate
	open  int            // messages without a fate
	why   map[int]string // why some stay, where that is to be told
	twice map[int]string // why some may be at the target twice
}

// fate is what became of one message of a flight.
type fate uint8

const (
	waiting    fate = iota
	arrived         // confirmed now
	known           // confirmed to an earlier move, or before a connection was lost
	stays           // it goes back to the source
	skipped         // so does this, which was not to be moved
	unanswered      // so does this; it may be at the target
)

// rejected is a message that a full target has rejected.
type rejected struct {
	f *flight
	i int
}

// settleFate gives message i, which has none, its fate.
func (f *flight) settleFate(i int, to fate) {
	f.fates[i] = to
	f.open--
}

// stay lets message i, which is not published, stay at the source.
func (f *flight) stay(i int, why string) {
	f.fates[i] = stays
	if f.why == nil {
		f.why = make(map[int]string)
	}
	f.why[i] = why
}

// double notes that message i may be at the target twice.
func (f *flight) double(i int, why string) {
	if f.twice == nil {
		f.twice = make(map[int]string)
	}
	f.twice[i] = why
}
