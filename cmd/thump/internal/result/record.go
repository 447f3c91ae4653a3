// Package result is the record that a command keeps of its work: what was asked
// for, what was measured, and the verdict. Reports read it and nothing else, so
// whatever they say can be said again from the JSON alone.
//
// Every command writes the same JSON, a Record:
//
//	{
//	  "version": 1,
//	  "verdict": "ok",
//	  "runs": [
//	    {
//	      "command": "run",
//	      "verdict": "ok",
//	      "reason": null,
//	      "settings": {"queue": "hello", "kind": "classic", "count": 1000000, ...},
//	      "broker": {"product": "RabbitMQ", "version": "4.3.0", "private": true},
//	      "sent": 1000000,
//	      "confirmed": 1000000,
//	      ...
//	    }
//	  ]
//	}
//
// thump send, receive and run write one run, and run --kind all one for each kind; with
// --repeat and --versus there are more, in the order in which they were.
// The verdict at the top is the worst of the runs' verdicts. Every key is always
// there; a number that is not known, or that the command does not measure, is
// null. The fields of Run and Settings say what the keys mean.
package result

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/thumpmq/thump/internal/printable"
)

// Version is the version of the JSON that this package writes. It changes when a
// key goes or changes its meaning. New keys do not change it.
const Version = 1

// Record is what a command writes: one run, or several of the same messages.
type Record struct {
	Version int     `json:"version"`
	Verdict Verdict `json:"verdict"` // the worst of the runs'
	Runs    []*Run  `json:"runs"`
	Search  *Search `json:"search"` // of run --find-max; else nil
}

// New returns the record of runs that have their verdicts.
func New(runs ...*Run) *Record {
	rec := &Record{Version: Version, Verdict: OK, Runs: runs}
	for _, r := range runs {
		if r.Verdict.severity() > rec.Verdict.severity() {
			rec.Verdict = r.Verdict
		}
	}
	return rec
}

// Write writes the record as one indented JSON object with a newline at its end. What
// is not to be seen, as a broker may have written it, is escaped: a terminal does not obey
// it.
func (rec *Record) Write(w io.Writer) error {
	b, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return fmt.Errorf("result: %w", err)
	}
	if _, err := w.Write(append(printable.JSON(b), '\n')); err != nil {
		return fmt.Errorf("result: writing the JSON: %w", err)
	}
	return nil
}

// Read reads a record that Write wrote. It refuses those of a newer version, and what holds
// more than any record has.
func Read(rd io.Reader) (*Record, error) {
	rec, err := readWhole(rd)
	if err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	return rec, nil
}
