package move

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestJournalFile: a journal is for one move, for one at a time, and stays small.
func TestJournalFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, err := OpenJournal(path, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	name := j.Publisher()
	if runtime.GOOS != "windows" {
		if _, err := OpenJournal(path, "a", "b"); err == nil || !strings.Contains(err.Error(), "another move is using it") {
			t.Errorf("opened twice: %v", err)
		}
	}
	if _, err := j.restart(nil); err != nil {
		t.Fatal(err)
	}
	const batch = 500
	for i := range 100_000 / batch {
		list := make([]entry, batch)
		for k := range list {
			list[k] = entry{id: inStream("s", uint64(i*batch+k)), status: sent}
		}
		first, err := j.taken(list)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.mark([]marking{{first, first + batch, confirmed}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := j.expected(); n > 2*prefetch {
		t.Errorf("it remembers %d messages", n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > journalSize+recordMost {
		t.Errorf("its file: %v, %v", info, err)
	}
	if _, err := OpenJournal(path, "a", "c"); !errors.Is(err, errOtherMove) {
		t.Errorf("opened for another move: %v", err)
	}
	j, err = OpenJournal(path, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	if j.Publisher() != name || j.tail.next() != 100_001 {
		t.Errorf("it is %s and goes on at %d", j.Publisher(), j.tail.next())
	}
}

// FuzzJournal reads anything as the records of a journal, two with the right checksum.
func FuzzJournal(f *testing.F) {
	entries := appendEntries(make([]byte, 12), []entry{{status: sent}, {status: left}})
	f.Add(20_000, recordAll, entries, recordMark, make([]byte, 17))
	f.Add(1, recordTaken, entries, recordFinished, []byte{})
	f.Add(-1, recordTaken, entries, recordTaken, entries)
	f.Fuzz(func(_ *testing.T, prefetch int, kind1 byte, payload1 []byte, kind2 byte, payload2 []byte) {
		var w Journal
		w.buf = fmt.Appendf(nil, `{"thump_move_journal":1,"prefetch":%d}`+"\n", prefetch)
		w.record(kind1, func(b []byte) []byte { return append(b, payload1...) })
		w.record(kind2, func(b []byte) []byte { return append(b, payload2...) })
		var j Journal
		if j.read(bufio.NewReader(bytes.NewReader(w.buf))) == nil {
			j.fit([]identity{{}, {}})
			j.remains()
			j.resumeAt()
		}
	})
}
