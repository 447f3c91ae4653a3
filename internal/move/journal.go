package move

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
)

// Journal remembers what a move has taken and what of it is confirmed, so that the next
// move with the same journal knows what comes again. The zero value is one in memory: it
// lives through a lost connection, not through the end of the process. OpenJournal makes
// one that is in a file. It is safe for concurrent use by the goroutines of one move.
//
// The file begins with a line of text that says which move it is for. What follows are
// records, each with its length and a checksum: what was taken, before it is published,
// and what became of it, before it is acked. Both are synced to the disk first, a batch
// at a time. What a kill cut short at the end is dropped: nothing was done yet of what it
// says. From time to time, and whenever a move begins, the file is written anew with no
// more than what may come again.
type Journal struct {
	mu       sync.Mutex
	tail     tail
	prefetch int

	path   string // "" in memory
	file   *os.File
	header header
	size   int64
	buf    []byte
	twice  *os.File // where the messages are named that may be there twice; nil until there is one
	err    error    // the first write that failed: nothing is remembered any more
}

const (
	journalVersion = 1
	// journalLineMost bounds the first line, recordMost a record.
	journalLineMost = 16 << 10
	recordMost      = 64 << 20
	// journalSize is when a journal is written anew.
	journalSize = 16 << 20

	recordHead = 1 + 4 // kind, and length of what follows
	recordTail = 4     // CRC-32C
	entryBytes = len(identity{}) + 1 + 8
)

// The kinds of records.
const (
	recordAll      byte = 'S' // all that may come again; what was before is void
	recordTaken    byte = 'T' // entries after the newest
	recordMark     byte = 'M' // a range of positions, and its status
	recordFinished byte = 'F' // the newest is acked, too
)

// errOtherMove is the error of a journal that is another move's.
var errOtherMove = errors.New("it is the journal of another move")

// taken notes what was taken, before it is published. It returns the position of the
// first.
func (j *Journal) taken(entries []entry) (first uint64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	first = j.tail.next()
	j.number(first, entries)
	j.tail.add(entries...)
	j.tail.trim(j.prefetch)
	if j.file != nil {
		j.record(recordTaken, func(b []byte) []byte {
			b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(b, first), 0)
			return appendEntries(b, entries)
		})
	}
	return first, j.write()
}

// marking is a range of positions that has a status.
type marking struct {
	from, to uint64
	status   status
}

// mark notes what became of messages, before they are acked.
func (j *Journal) mark(list []marking) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, m := range list {
		j.tail.mark(m.from, m.to, m.status)
		if j.file != nil {
			j.record(recordMark, func(b []byte) []byte {
				b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, m.from), m.to)
				return append(b, byte(m.status))
			})
		}
	}
	return j.write()
}

// finish notes that the newest message is about to be acked, too.
func (j *Journal) finish() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tail.finished = true
	if j.file != nil {
		j.record(recordFinished, func(b []byte) []byte { return b })
	}
	return j.write()
}

// restart makes the tail what came again, of which entries say what is known: a source has
// begun anew. Positions go on, and it returns that of the first.
func (j *Journal) restart(entries []entry) (first uint64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	first = j.tail.next()
	j.number(first, entries)
	j.tail = tail{noLefts: j.tail.noLefts, first: first, rest: append(make([]entry, 0, 3*j.prefetch), entries...)}
	if j.file == nil {
		return first, nil
	}
	j.header.Prefetch = j.prefetch
	return first, j.failed(j.compact())
}

// number gives publishing ids to those that have none: their positions.
func (j *Journal) number(first uint64, entries []entry) {
	for i := range entries {
		if entries[i].publishingID == 0 {
			entries[i].publishingID = first + uint64(i)
		}
	}
}

// fit is that of the tail, by a copy: nothing is changed.
func (j *Journal) fit(came []identity) (known, doubt []entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tail.fit(came)
}

// expected is how many messages may come again.
func (j *Journal) expected() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tail.expected()
}

// remains is what a queue is to deliver first when everything else is settled: what was left,
// and, with held, the newest message, which is held back.
func (j *Journal) remains() (ids []identity, held bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := len(j.tail.rest)
	if held = n > 0 && j.tail.rest[n-1].status == confirmed; held {
		n--
	}
	for _, e := range j.tail.again(n) {
		ids = append(ids, e.id)
	}
	return ids, held
}

// confirmed are the messages that may come again and are at the target.
func (j *Journal) confirmed() map[identity]bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	ids := make(map[identity]bool, len(j.tail.rest))
	for _, e := range j.tail.rest {
		if e.status == confirmed {
			ids[e.id] = true
		}
	}
	return ids
}

// keepsNoLefts is for streams as the source: what stays there does not come again by itself.
func (j *Journal) keepsNoLefts(streams bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.tail.noLefts = streams; streams {
		j.tail.lefts = nil
	}
}

// resumeAt is the offset of the first message of a stream that may come again.
func (j *Journal) resumeAt() (offset uint64, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.tail.rest) == 0 {
		return 0, false
	}
	return j.tail.rest[0].id.offset(), true
}

// Publisher is the name that a stream as the target knows this journal's move by: another
// for each journal. "" for a journal in memory.
func (j *Journal) Publisher() string {
	if j.header.ID == "" {
		return ""
	}
	return "thump-move-" + j.header.ID
}

// Close closes the file. What it says stays, for the next move.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	if j.twice != nil {
		err = errors.Join(err, j.twice.Close())
	}
	if err != nil {
		return fmt.Errorf("closing the journal %s: %w", j.path, pathless(err))
	}
	return nil
}
