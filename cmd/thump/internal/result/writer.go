package result

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/thumpmq/thump/internal/printable"
)

// line is a line of a run file: an object with the version and one of the others. A file
// has, for each of its runs, one begin, then samples and events, and one end; and after all of
// them what a search has found.
type line struct {
	Version int     `json:"version"`
	Begin   *rawRun `json:"begin,omitempty"`
	Sample  *Sample `json:"sample,omitempty"`
	Event   *Event  `json:"event,omitempty"`
	End     *rawRun `json:"end,omitempty"`
	Search  *Search `json:"search,omitempty"`
}

// Writer writes a run file as its runs go: a line of JSON for the begin of a run, for each
// sample and event, and for its end. Each line is written at once, and whole: whatever
// becomes of the writer, ReadFile reads what it has written. A nil Writer writes nothing.
// It is safe for concurrent use.
type Writer struct {
	mu  sync.Mutex
	w   io.Writer
	any bool
	err error
}

// NewWriter returns a writer of a file with nothing in it.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Begin writes that a run begins: its settings, and nothing else that it has.
func (w *Writer) Begin(r *Run) {
	w.write(&line{Begin: &rawRun{Run: Run{
		Command: r.Command, Verdict: Unfinished, StartedAt: r.StartedAt, Settings: r.Settings, Broker: r.Broker,
	}}})
}

// Sample writes a sample of the run that has begun.
func (w *Writer) Sample(s *Sample) { w.write(&line{Sample: s}) }

// Event writes an event of the run that has begun.
func (w *Writer) Event(e *Event) { w.write(&line{Event: e}) }

// End writes the whole run, but for its samples and events, which are in the file already.
func (w *Writer) End(r *Run) {
	w.write(&line{End: &rawRun{Run: *r}})
}

// Search writes what a search has found, after all of its runs.
func (w *Writer) Search(s *Search) { w.write(&line{Search: s}) }

// Empty reports whether nothing was written.
func (w *Writer) Empty() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.any
}

// Err is the first write that failed, or nil. After it nothing more is written.
func (w *Writer) Err() error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *Writer) write(l *line) {
	if w == nil {
		return
	}
	l.Version = Version
	text, err := json.Marshal(l)
	if err == nil && len(text) >= lineMost {
		err = errors.New("a line is too long to be read again")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	if err == nil {
		_, err = w.w.Write(append(printable.JSON(text), '\n'))
		w.any = true
	}
	if err != nil {
		w.err = fmt.Errorf("result: writing a run file: %w", err)
	}
}
