package move

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// model is a source, a target and moves between them that are killed: what a mover and a
// broker do, without either.
type model struct {
	random *rand.Rand
	ready  []message // in the source
	target map[int]int
	named  map[identity]int // how often
	held   int              // prefetch
	kinds  byte             // of contents: the fewer, the more are alike
	uids   int
	all    []message // that were ever in the source
}

// message has a number that nobody but the model sees, and a content.
type message struct {
	uid     int
	content identity
}

func (w *model) add(n int) {
	for range n {
		m := message{uid: w.uids, content: w.content()}
		w.ready, w.all = append(w.ready, m), append(w.all, m)
		w.uids++
	}
}

func (w *model) content() (id identity) {
	if w.kinds == 0 { // no two are alike
		id[0], id[1], id[2] = byte(w.uids), byte(w.uids>>8), byte(w.uids>>16)
		id[3] = 1
		return id
	}
	id[0] = byte(w.random.IntN(int(w.kinds)))
	return id
}

// move moves with a journal until it is killed, at a random instant, or done.
func (w *model) move(t *testing.T, j *Journal) (done bool) {
	t.Helper()
	alive := w.random.IntN(3 * w.held) // steps
	dies := func() bool { alive--; return alive < 0 }
	var unacked []message // delivered, oldest first
	deliver := func() {
		n := min(w.held-len(unacked), len(w.ready))
		unacked = append(unacked, w.ready[:n]...)
		w.ready = w.ready[n:]
	}
	// A kill gives back what is not acked, before what is ready.
	defer func() { w.ready = append(unacked, w.ready...) }()
	deliver()

	var came []identity
	for _, m := range unacked[:min(len(unacked), j.expected())] {
		came = append(came, m.content)
	}
	finished := j.tail.finished
	known, doubt := j.fit(came)
	doubtful := make(map[identity]int)
	for _, e := range doubt {
		if e.status != left {
			doubtful[e.id]++
		}
	}
	// plan decides on messages, as decide does.
	plan := func(messages []message, known []entry) []entry {
		list := make([]entry, len(messages))
		for i, m := range messages {
			e := entry{id: m.content}
			if i < len(known) {
				e = known[i]
			}
			if e.status == sent {
				w.named[m.content]++
			}
			if e.status == fresh && doubtful[e.id] > 0 {
				doubtful[e.id]--
				w.named[m.content]++
				if w.kinds == 0 && !finished { // no two are alike: what came again is known
					t.Errorf("message %d is not recognised", m.uid)
				}
			}
			if e.status != confirmed {
				e.status = sent
				if w.random.IntN(20) == 0 {
					e.status = left // unroutable
				}
			}
			list[i] = e
		}
		return list
	}
	list := plan(unacked[:len(came)], known)
	if dies() {
		return false
	}
	first, err := j.restart(list)
	if err != nil {
		t.Fatal(err)
	}
	base := first // the position of unacked[0], had nothing been acked
	taken, acked := len(list), 0
	positions := make(map[int]uint64)
	statuses := make(map[int]status)
	var open []message // published or to be, without an outcome
	admit := func(messages []message, list []entry, first uint64) {
		for i, m := range messages {
			positions[m.uid], statuses[m.uid] = first+uint64(i), list[i].status
			if list[i].status == sent {
				open = append(open, m)
			}
		}
	}
	admit(unacked[:taken], list, base)
	var order []message // taken and not acked, oldest first
	order = append(order, unacked[:taken]...)
	stored := 0 // of open, published
	for {
		if dies() {
			// What is on its way may be stored or not: in order, up to somewhere.
			for _, m := range open[min(stored, len(open)):][:w.random.IntN(len(open)-min(stored, len(open))+1)] {
				w.target[m.uid]++
			}
			return false
		}
		deliver()
		fresh := unacked[len(order):]
		switch w.random.IntN(3) {
		case 0: // take
			n := min(len(fresh), 1+w.random.IntN(5))
			if n == 0 {
				break
			}
			list := plan(fresh[:n], nil)
			first, err := j.taken(list)
			if err != nil {
				t.Fatal(err)
			}
			admit(fresh[:n], list, first)
			order = append(order, fresh[:n]...)
		case 1: // outcomes, in order
			n := min(len(open), 1+w.random.IntN(5))
			var marks []marking
			for _, m := range open[:n] {
				s := confirmed
				if w.random.IntN(20) == 0 {
					s = left
				} else {
					w.target[m.uid]++
				}
				statuses[m.uid] = s
				marks = append(marks, marking{positions[m.uid], positions[m.uid] + 1, s})
			}
			open = open[n:]
			if err := j.mark(marks); err != nil {
				t.Fatal(err)
			}
		default: // ack the oldest that is confirmed, unless it is the newest
			for i, m := range order {
				if statuses[m.uid] == sent || i == len(order)-1 {
					break
				}
				if statuses[m.uid] == confirmed {
					order = slices.Delete(order, i, i+1)
					unacked = slices.Delete(unacked, i, i+1)
					acked++
					break
				}
			}
		}
		if len(w.ready) == 0 && len(unacked) == len(order) && len(open) == 0 && w.random.IntN(4) == 0 {
			break
		}
	}
	// The end: everything but the last is acked, then the last.
	finish := func(keep int) {
		for i := 0; i < len(order)-keep; {
			if statuses[order[i].uid] == confirmed {
				order = slices.Delete(order, i, i+1)
				unacked = slices.Delete(unacked, i, i+1)
			} else {
				i++
			}
		}
	}
	finish(1)
	if dies() {
		return false
	}
	if err := j.finish(); err != nil {
		t.Fatal(err)
	}
	if w.random.IntN(2) == 0 && dies() {
		return false
	}
	finish(0)
	if dies() {
		return false
	}
	if _, err := j.restart(nil); err != nil {
		t.Fatal(err)
	}
	return len(order) == 0
}

// TestJournalModel runs random programs of moves that are killed at any instant, in
// sources with messages that are all different, mostly alike, and all alike. None is lost,
// and every double was named.
func TestJournalModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	killed := 0
	for program := range uint64(1000) {
		random := rand.New(rand.NewPCG(seed, program))
		w := &model{random: random, target: make(map[int]int), named: make(map[identity]int), held: 2 + random.IntN(30), kinds: byte(random.IntN(4))}
		w.add(1 + random.IntN(100))
		file := program%100 == 0
		j := &Journal{prefetch: w.held, tail: tail{first: 1}}
		path := filepath.Join(t.TempDir(), "journal")
		open := func() {
			var err error
			if j, err = OpenJournal(path, "a", "b"); err != nil {
				t.Fatalf("program %d: %v", program, err)
			}
			j.prefetch = w.held
		}
		if file {
			open()
		}
		for kills := 0; !w.move(t, j); kills++ {
			if file {
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
				cutShort(t, path, random)
				open()
			}
			if kills < 20 && random.IntN(3) == 0 {
				w.add(random.IntN(10))
			}
			killed++
			if kills > 2000 {
				t.Fatalf("program %d does not end: %d messages are ready", program, len(w.ready))
			}
		}
		_ = j.Close()
		// Messages that are alike can't be told apart: they are counted together.
		surplus := make(map[identity]int)
		for _, m := range w.all {
			surplus[m.content] += w.target[m.uid] - 1
		}
		for content, n := range surplus {
			if n < 0 {
				t.Errorf("program %d: %d messages with the content %v are lost (%d kinds of contents)", program, -n, content, w.kinds)
			}
			if n > w.named[content] {
				t.Errorf("program %d: %d messages with the content %v are there twice, and %d were named", program, n, content, w.named[content])
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d kills", killed)
}

// cutShort adds what a kill leaves of a record that is being written.
func cutShort(t *testing.T, path string, random *rand.Rand) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	junk := make([]byte, random.IntN(30))
	for i := range junk {
		junk[i] = byte(random.Uint32())
	}
	if len(junk) > 0 {
		junk[0] = recordTaken
	}
	if _, err := f.Write(junk); err != nil {
		t.Fatal(err)
	}
}
