package move

// Receipt is what became of the messages of a move, all of which it counts:
// Taken = Confirmed + Known + Left + Skipped, where it was not cut short.
type Receipt struct {
	// Taken counts the messages that were taken from the source, each once.
	Taken uint64 `json:"taken"`
	// Confirmed counts those that the target confirmed to this move.
	Confirmed uint64 `json:"confirmed"`
	// Known counts those that the journal knew to be at the target: they were acked only.
	Known uint64 `json:"known"`
	// Acked counts those that were acked at the source; of a stream, those that it need
	// not read again.
	Acked uint64 `json:"acked"`
	// Left counts those that stay at the source, Reasons why, by reason.
	Left    uint64            `json:"left"`
	Reasons map[string]uint64 `json:"reasons"`
	// Skipped counts those that were not to be moved.
	Skipped uint64 `json:"skipped"`
	// MayBeTwice counts those that may be at the target twice. Doubled names them: the
	// first doubledMost of them.
	MayBeTwice uint64   `json:"may_be_twice"`
	Doubled    []Double `json:"doubled"`
}

// Double is a message that may be at the target twice.
type Double struct {
	Message string `json:"message"` // what to find it by
	Why     string `json:"why"`
}

// whyUnpublished is why a message stays that was taken when the move ended.
const whyUnpublished = "the move ended before it was published"

// doubledMost bounds the list, not the count. It is more than is ever in flight.
const doubledMost = 100_000

// Why a message may be there twice.
const (
	whyKilled = "it was published before a move ended, and no confirm of it was noted"
	whyUnfit  = "a move has published one like it before, and the source does not deliver what it delivered then"
	whyResent = "the connection to the target was lost before its confirm, and it was sent again"
	whyNoWord = "no confirm has come"
)

// reasonsMost bounds how many different reasons are told apart.
const reasonsMost = 50

func (r *Receipt) leave(why string) {
	r.Left++
	if r.Reasons == nil {
		r.Reasons = make(map[string]uint64)
	}
	if _, there := r.Reasons[why]; !there && len(r.Reasons) >= reasonsMost {
		why = "other reasons"
	}
	r.Reasons[why]++
}

func (r *Receipt) double(d Double) {
	r.MayBeTwice++
	if len(r.Doubled) < doubledMost {
		r.Doubled = append(r.Doubled, d)
	}
}
