package move

// status is what is known of a message that was taken from the source.
type status uint8

const (
	// fresh is a message of which nothing is known.
	fresh status = iota
	// sent was published, and its outcome is not known: it may be at the target.
	sent
	// confirmed is at the target, and is to be acked, or was.
	confirmed
	// left is not at the target: it was never published, or it was refused.
	left
)

// entry is one message that was taken.
type entry struct {
	id     identity
	status status
	// publishingID is what a stream as the target knows the message by; 0 if it has none.
	publishingID uint64
}

// tail is what was taken from the source and may come again, in the order in which it
// came. Positions count what was taken: the first of rest has the position first. Of
// what lies before rest only those that stayed at the source are kept.
//
// A source keeps order: what is not acked when its consumer goes comes again, first and
// in the same order. And a broker holds at most prefetch deliveries that are not acked:
// what is confirmed and further back than that has been acked.
type tail struct {
	// noLefts is for a stream, which keeps what stayed, and delivers from rest on.
	noLefts bool

	lefts []entry
	first uint64
	rest  []entry
	// finished says that the newest entry may have been acked too.
	finished bool
}

// next is the position after the newest.
func (t *tail) next() uint64 { return t.first + uint64(len(t.rest)) }

// add adds entries after the newest.
func (t *tail) add(entries ...entry) {
	t.rest = append(t.rest, entries...)
	t.finished = false
}

// mark sets the status of the entries from a position on up to another.
func (t *tail) mark(from, to uint64, s status) {
	for position := max(from, t.first); position < to && position < t.next(); position++ {
		t.rest[position-t.first].status = s
	}
}

// trim forgets what can't come again when at most prefetch deliveries are not acked.
func (t *tail) trim(prefetch int) {
	if len(t.rest) < 2*prefetch {
		return
	}
	cut := len(t.rest) - prefetch
	for i, e := range t.rest[:cut] {
		switch e.status {
		case left:
			if !t.noLefts {
				t.lefts = append(t.lefts, e)
			}
		case confirmed:
		default: // not settled: it holds up all behind it
			cut = i
		}
		if cut == i {
			break
		}
	}
	t.first += uint64(cut)
	t.rest = append(make([]entry, 0, 3*prefetch), t.rest[cut:]...)
}

// expected is how many messages come again at most.
func (t *tail) expected() int { return len(t.lefts) + len(t.rest) }

// again is what comes again if everything that is confirmed and before rest[from] was
// acked.
func (t *tail) again(from int) []entry {
	list := append([]entry(nil), t.lefts...)
	for _, e := range t.rest[:from] {
		if e.status == left {
			list = append(list, e)
		}
	}
	return append(list, t.rest[from:]...)
}

// fit finds out which entries the messages are that a source delivers first, in order:
// how many entries were acked before it. The messages have the identities came; there may
// be more of them than entries.
//
// Messages that are alike may fit in more than one way. Then the way is taken in which
// the most was acked: the fewest messages count as those that are confirmed, and none
// that is not at the target is taken for one that is. doubt is what is in question then,
// and, where nothing fits because somebody else took or added messages, all that may be
// at the target: whatever looks like one of these may be there already.
func (t *tail) fit(came []identity) (known, doubt []entry) {
	newest := len(t.rest)
	for i, e := range t.rest {
		if e.status == sent { // not acked, nor anything behind it
			newest = i
			break
		}
	}
	if newest == len(t.rest) && newest > 0 && !t.finished {
		newest-- // the newest is held back
	}
	leftBefore := make([]int, len(t.rest)+1)
	for i, e := range t.rest {
		leftBefore[i+1] = leftBefore[i]
		if e.status == left {
			leftBefore[i+1]++
		}
	}
	found := -1
	for from := newest; from >= 0; from-- {
		if !t.fits(from, leftBefore[from], came) {
			continue
		}
		if found < 0 {
			found = from
			known = t.again(from)
		} else {
			doubt = t.rest[from:found] // until there is one further back
		}
	}
	if found < 0 {
		doubt = t.again(0)
	}
	return known, doubt
}

// fits reports whether came begins with what comes again from rest[from] on, where so many
// before that were left.
func (t *tail) fits(from, leftBefore int, came []identity) bool {
	behind := len(t.lefts) + leftBefore
	if len(came) < behind+len(t.rest)-from {
		return false
	}
	for i, e := range t.rest[from:] {
		if came[behind+i] != e.id {
			return false
		}
	}
	for i, e := range t.lefts {
		if came[i] != e.id {
			return false
		}
	}
	came = came[len(t.lefts):]
	for i := 0; leftBefore > 0; i++ {
		if e := t.rest[i]; e.status == left {
			if came[0] != e.id {
				return false
			}
			came = came[1:]
			leftBefore--
		}
	}
	return true
}
