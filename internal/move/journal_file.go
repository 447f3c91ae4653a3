package move

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"
)

// header is the first line of a journal.
type header struct {
	Journal  int       `json:"thump_move_journal"` // the version of the format
	ID       string    `json:"id"`
	Source   string    `json:"source"`
	Target   string    `json:"target"`
	Prefetch int       `json:"prefetch"`
	Created  time.Time `json:"created"`
}

// OpenJournal opens the journal in a file, or makes a new one. source and target name
// what it is for: a journal that was made for another move is refused. The caller closes
// it. No password belongs into the names: the file has them.
func OpenJournal(path, source, target string) (*Journal, error) {
	j := &Journal{path: path, prefetch: prefetch}
	if err := j.open(source, target); err != nil {
		if j.file != nil {
			_ = j.file.Close()
		}
		return nil, fmt.Errorf("the journal %s: %w", path, pathless(err))
	}
	return j, nil
}

func (j *Journal) open(source, target string) error {
	file, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	j.file = file
	if err := lockFile(file); err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is no file")
	}
	if info.Size() == 0 {
		j.header = header{
			Journal: journalVersion, ID: rand.Text()[:16], Source: source, Target: target,
			Prefetch: j.prefetch, Created: time.Now().UTC().Truncate(time.Second),
		}
		j.tail.first = 1 // publishing ids begin with 1
		return j.compact()
	}
	if err := j.read(bufio.NewReaderSize(file, 1<<16)); err != nil {
		return err
	}
	if j.header.Source != source || j.header.Target != target {
		return fmt.Errorf("%w: it moves from %s to %s, and this one from %s to %s", errOtherMove, j.header.Source, j.header.Target, source, target)
	}
	return nil
}

// read reads a journal, up to where it was cut short.
func (j *Journal) read(r *bufio.Reader) error {
	line, err := readLine(r)
	if err != nil || json.Unmarshal(line, &j.header) != nil || j.header.Journal == 0 {
		return errors.New("it is no journal of thump move")
	}
	if j.header.Journal != journalVersion {
		return fmt.Errorf("its format has version %d, and this thump knows version %d", j.header.Journal, journalVersion)
	}
	if j.header.Prefetch < 1 || j.header.Prefetch > prefetchMost {
		return errors.New("its prefetch makes no sense")
	}
	begun := false
	for {
		kind, payload, err := readRecord(r)
		if err != nil {
			if !begun {
				return errors.New("its beginning is damaged")
			}
			return nil
		}
		begun = true
		if !j.apply(kind, payload) {
			return errors.New("it has a record that makes no sense")
		}
	}
}

// prefetchMost is what basic.qos has room for.
const prefetchMost = 65_535

// readLine reads the first line, as far as it may be long.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for len(line) < journalLineMost {
		b, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		if b == '\n' {
			return line, nil
		}
		line = append(line, b)
	}
	return nil, errors.New("too long")
}

// readRecord reads a record, or returns an error at the end of what is whole.
func readRecord(r io.Reader) (kind byte, payload []byte, err error) {
	var head [recordHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > recordMost {
		return 0, nil, errors.New("too long")
	}
	var body bytes.Buffer // which grows as the bytes come
	if _, err := io.CopyN(&body, r, int64(size)+recordTail); err != nil {
		return 0, nil, err
	}
	payload = body.Bytes()[:size]
	sum := crc32.Update(crc32.Checksum(head[:], castagnoli()), castagnoli(), payload)
	if sum != binary.BigEndian.Uint32(body.Bytes()[size:]) {
		return 0, nil, errors.New("damaged")
	}
	return head[0], payload, nil
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// apply does to the tail what a record says, and reports whether that makes sense.
func (j *Journal) apply(kind byte, p []byte) bool {
	switch kind {
	case recordAll, recordTaken:
		if len(p) < 12 {
			return false
		}
		first, lefts := binary.BigEndian.Uint64(p), int(binary.BigEndian.Uint32(p[8:]))
		entries, ok := parseEntries(p[12:])
		if !ok || lefts > len(entries) {
			return false
		}
		if kind == recordAll {
			j.tail = tail{lefts: entries[:lefts:lefts], first: first, rest: entries[lefts:]}
			return true
		}
		if first != j.tail.next() {
			return false
		}
		j.tail.add(entries...)
		j.tail.trim(j.header.Prefetch)
	case recordMark:
		if len(p) != 17 {
			return false
		}
		j.tail.mark(binary.BigEndian.Uint64(p), binary.BigEndian.Uint64(p[8:]), status(p[16]))
	case recordFinished:
		j.tail.finished = true
	default:
		return false
	}
	return true
}

func parseEntries(p []byte) ([]entry, bool) {
	if len(p)%entryBytes != 0 {
		return nil, false
	}
	entries := make([]entry, 0, len(p)/entryBytes)
	for ; len(p) > 0; p = p[entryBytes:] {
		entries = append(entries, entry{id: identity(p[:16]), status: status(p[16]), publishingID: binary.BigEndian.Uint64(p[17:])})
	}
	return entries, true
}

func appendEntries(b []byte, entries []entry) []byte {
	for i := range entries {
		b = append(b, entries[i].id[:]...)
		b = append(b, byte(entries[i].status))
		b = binary.BigEndian.AppendUint64(b, entries[i].publishingID)
	}
	return b
}

// record appends a record to the buffer; payload appends what is in it.
func (j *Journal) record(kind byte, payload func([]byte) []byte) {
	begin := len(j.buf)
	j.buf = payload(append(j.buf, kind, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(j.buf[begin+1:], uint32(len(j.buf)-begin-recordHead))
	j.buf = binary.BigEndian.AppendUint32(j.buf, crc32.Checksum(j.buf[begin:], castagnoli()))
}

// write writes the buffer and syncs it. j.mu is held.
func (j *Journal) write() error {
	if j.file == nil || j.err != nil || len(j.buf) == 0 {
		return j.err
	}
	n, err := j.file.WriteAt(j.buf, j.size)
	j.size += int64(n)
	j.buf = j.buf[:0]
	if err == nil {
		err = j.file.Sync()
	}
	if err == nil && j.size > journalSize {
		err = j.compact()
	}
	return j.failed(err)
}

// failed remembers an error: after it the journal says nothing any more.
func (j *Journal) failed(err error) error {
	if err != nil && j.err == nil {
		j.err = fmt.Errorf("writing the journal %s: %w", j.path, pathless(err))
	}
	return j.err
}

// compact writes the file anew, with what may come again and nothing else. It is beside the
// old one until it is whole.
func (j *Journal) compact() error {
	line, err := json.Marshal(j.header)
	if err != nil {
		return err
	}
	j.buf = append(append(j.buf[:0], line...), '\n')
	j.record(recordAll, func(b []byte) []byte {
		b = binary.BigEndian.AppendUint64(b, j.tail.first)
		b = binary.BigEndian.AppendUint32(b, uint32(len(j.tail.lefts)))
		return appendEntries(appendEntries(b, j.tail.lefts), j.tail.rest)
	})
	if j.tail.finished {
		j.record(recordFinished, func(b []byte) []byte { return b })
	}
	defer func() { j.buf = j.buf[:0] }()
	folder := filepath.Dir(j.path)
	file, err := os.CreateTemp(folder, ".thump-journal-*")
	if err != nil {
		return err
	}
	_, err = file.Write(j.buf)
	if err = errors.Join(err, lockFile(file), file.Sync()); err == nil {
		err = os.Rename(file.Name(), j.path)
	}
	if err != nil {
		_ = file.Close()
		_ = os.Remove(file.Name())
		return err
	}
	_ = j.file.Close() // what it said is in the new one
	j.file, j.size = file, int64(len(j.buf))
	return syncFolder(folder)
}

// TwicePath is the file beside a journal that names the messages that may be at the target
// twice, a JSON object a line, before they are published again.
func TwicePath(journal string) string { return journal + ".twice" }

// name writes down messages that may be at the target twice.
func (j *Journal) name(list []Double) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil || len(list) == 0 || j.err != nil {
		return j.err
	}
	var err error
	if j.twice == nil {
		j.twice, err = os.OpenFile(TwicePath(j.path), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	}
	var lines []byte
	for _, d := range list {
		line, marshal := json.Marshal(d)
		err = errors.Join(err, marshal)
		lines = append(append(lines, line...), '\n')
	}
	if err == nil {
		_, err = j.twice.Write(lines)
	}
	if err == nil {
		err = j.twice.Sync()
	}
	return j.failed(err)
}

// pathless is err without the path that package os gives it.
func pathless(err error) error {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err
	}
	return err
}
