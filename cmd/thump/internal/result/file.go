package result

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// What a file may make its reader allocate.
const (
	fileMost   = 256 << 20 // bytes of a run file
	recordMost = 64 << 20  // bytes of a record in one piece
	lineMost   = 16 << 20  // bytes of a line of a run file; histograms are the longest part of one
	runsMost   = 1000      // in one file
	samplesAll = 1_000_000 // of all runs together
	listMost   = 100       // of lost ranges, or of alarms
	// EventsMost is how many events a run has at most.
	EventsMost = 10_000
)

// ReadFile reads the record in a file: a run file, finished or not, or what --json has
// written. Of a run whose end is not in the file the verdict is Unfinished, and the counts
// are those of its last sample. A file of a newer version is refused, and so is one that
// holds more than any run has.
func ReadFile(name string) (*Record, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	defer func() { _ = f.Close() }()
	rec, err := read(f)
	if err != nil {
		return nil, fmt.Errorf("result: %s: %w", name, err)
	}
	return rec, nil
}

// ReadFrom is ReadFile for what is open already.
func ReadFrom(rd io.Reader) (*Record, error) {
	rec, err := read(rd)
	if err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	return rec, nil
}

// read reads a record in one of both forms. A line of a run file is an object of its own,
// and what --json writes has no object in its first line.
func read(rd io.Reader) (*Record, error) {
	limited := &io.LimitedReader{R: rd, N: fileMost}
	in := bufio.NewReaderSize(limited, 64<<10)
	b := builder{budget: samplesAll}
	for n := 1; ; n++ {
		text, err := readLine(in)
		switch {
		case limited.N == 0:
			return nil, fmt.Errorf("it has more than %d bytes", fileMost)
		case errors.Is(err, io.EOF) && n > 1:
			return b.record() // half a line may be there, which the writer could not finish
		case err != nil && !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("line %d: %w", n, err)
		case n == 1 && (err != nil || !json.Valid(text)):
			return readWhole(io.MultiReader(bytes.NewReader(text), in))
		}
		if n == 1 && isRecord(text) {
			return readWhole(bytes.NewReader(text))
		}
		if err := b.add(text); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
}

// readLine reads up to the end of a line. io.EOF says that the line has none.
func readLine(in *bufio.Reader) ([]byte, error) {
	var text []byte
	for {
		part, err := in.ReadSlice('\n')
		text = append(text, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return text, err
		}
		if len(text) > lineMost {
			return nil, fmt.Errorf("it has more than %d bytes", lineMost)
		}
	}
}

// isRecord reports whether a line is a whole record: --json's, made compact by somebody.
func isRecord(text []byte) bool {
	var record struct{ Runs json.RawMessage }
	return json.Unmarshal(text, &record) == nil && record.Runs != nil
}

// builder puts the lines of a run file together.
type builder struct {
	runs   []*Run
	run    *Run // that has begun and not ended
	course Course
	budget int // of samples
	search *Search
}

func (b *builder) add(text []byte) error {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return fmt.Errorf("it is not a line of a run file: %w", err)
	}
	if err := checkVersion(l.Version); err != nil {
		return err
	}
	if b.run == nil && l.Begin == nil && l.Search == nil {
		return errors.New("no run has begun before it")
	}
	switch {
	case l.Search != nil:
		b.search = l.Search
	case l.Begin != nil:
		return b.begin(l.Begin.run())
	case l.Sample != nil:
		if b.budget--; b.budget < 0 {
			return errTooMany
		}
		b.course.Add(l.Sample.bounded())
	case l.Event != nil:
		if len(b.run.Events) == EventsMost {
			return errTooMany
		}
		b.run.Events = append(b.run.Events, *l.Event)
	case l.End != nil:
		events := b.run.Events
		*b.run = *l.End.run()
		b.run.Events = events
		b.close()
	}
	return nil
}

var (
	errTooMany = errors.New("the file holds more than any run has")
	errNoRun   = errors.New("there is no run in it")
)

func (b *builder) begin(r *Run) error {
	if len(b.runs) == runsMost {
		return errTooMany
	}
	b.unfinished()
	b.run, b.course = r, Course{}
	b.runs = append(b.runs, r)
	return nil
}

// close ends the run that has begun.
func (b *builder) close() {
	b.run.Samples = b.course.Samples()
	b.run = nil
}

// unfinished ends the run that has begun, if there is one, without its end.
func (b *builder) unfinished() {
	r := b.run
	if r == nil {
		return
	}
	b.close()
	r.setVerdict(Unfinished, "the file has no end of the run: it was killed, or still goes on")
	if n := len(r.Samples); n > 0 {
		last := &r.Samples[n-1]
		r.Sent, r.Confirmed, r.Received = &last.Sent, &last.Confirmed, &last.Received
		r.TotalSeconds = &last.Seconds
	}
}

func (b *builder) record() (*Record, error) {
	b.unfinished()
	if len(b.runs) == 0 {
		return nil, errNoRun
	}
	rec := New(b.runs...)
	rec.Search = b.search
	return rec, nil
}

func checkVersion(version int) error {
	if version < 1 || version > Version {
		return fmt.Errorf("record of version %d, this thump reads 1 to %d", version, Version)
	}
	return nil
}
