package ledger

// repeats is what may explain that messages of one publisher came twice, though the
// broker had not marked the copy that was recorded last as redelivered. The sets number
// them as publisherBooks does. They stay empty while no connection is lost and no message
// is redelivered or comes twice.
type repeats struct {
	// marked are those whose first copy to be recorded was marked: a consumer may record what
	// it was delivered later than another one records the redelivery. paired are those of them
	// whose unmarked copy has come since.
	marked, paired set
	// before are those that had come when a consumer lost its connection last: the broker
	// may not know that, and may deliver each of them again. again are those that it has.
	before, again set
	// resent are those that their publisher may have sent again.
	resent set
	// came[i] are those that came again, for no other reason, i+1 times or more.
	came []set
}

// copiesMost is how many copies of a message resending can explain. Each costs a set.
const copiesMost = 8

// Lost says that a consumer has lost its connection, which explains what is redelivered.
// With unmarked, what the ledger has by then may be delivered once more without being
// marked so: a broker that was killed has forgotten acks, and marks. Call it when the
// connection is lost and when there is another one, as a batch of the old one may be
// recorded late.
func (l *Ledger) Lost(unmarked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost = true; !unmarked {
		return
	}
	for i := range l.publishers {
		b := &l.publishers[i]
		if b.repeats.before.len != b.received.len {
			b.repeats.before = b.received.clone()
		}
		b.repeats.again = set{}
	}
}

// Resent notes messages that their publisher has sent again, or may have, because the
// broker may have lost them: it may have each more than once. Numbers outside the plan are
// ignored. The slice is not kept.
func (l *Ledger) Resent(numbers []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spans(numbers, func(b *publisherBooks, first, last uint64) { b.repeats.resent.addRange(first, last) })
}

// repeated looks for what explains the messages that have just come again unmarked. The
// caller holds the lock.
func (l *Ledger) repeated(b *publisherBooks) {
	for _, r := range b.received.repeated {
		for n := r.First; n <= r.Last; n++ {
			switch {
			case b.repeats.redelivered(n):
				l.totals.Redelivered++
			case b.repeats.deliveredAgain(n):
				l.totals.DeliveredAgain++
			default:
				b.repeats.note(n)
			}
		}
	}
}

// redelivered reports whether the copy of n that was recorded first was the redelivered one
// of two. It explains one copy.
func (r *repeats) redelivered(n uint64) bool {
	if !r.marked.has(n) {
		return false
	}
	added, _ := r.paired.add(n)
	return added
}

// deliveredAgain reports whether a lost connection of a consumer explains that n came
// again. It explains one copy.
func (r *repeats) deliveredAgain(n uint64) bool {
	if !r.before.has(n) {
		return false
	}
	added, _ := r.again.add(n)
	return added
}

// note keeps a copy of n until it is known what was sent again.
func (r *repeats) note(n uint64) {
	for i := range r.came {
		if added, _ := r.came[i].add(n); added {
			return
		}
	}
	if len(r.came) < copiesMost {
		r.came = append(r.came, set{})
		r.came[len(r.came)-1].add(n)
	}
}

// sentAgain counts the copies that were sent again, as far as is known.
func (r *repeats) sentAgain() uint64 {
	var n uint64
	for i := range r.came {
		n += r.came[i].common(&r.resent)
	}
	return n
}
