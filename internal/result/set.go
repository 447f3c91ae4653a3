package result

import (
	"encoding/json"
	"fmt"
	"io"
)

// Set is the records of runs of the same messages, one after another.
type Set struct {
	Version int       `json:"version"`
	Verdict Verdict   `json:"verdict"` // the worst of the runs'
	Runs    []*Result `json:"runs"`
}

// NewSet returns the set of the given records.
func NewSet(runs []*Result) *Set {
	s := &Set{Version: Version, Verdict: OK, Runs: runs}
	for _, r := range runs {
		if r.Verdict.severity() > s.Verdict.severity() {
			s.Verdict = r.Verdict
		}
	}
	return s
}

// severity orders the verdicts: a violation is true whatever else went wrong,
// and a failure says more than that the user ended it.
func (v Verdict) severity() int {
	switch v {
	case OK:
		return 0
	case Interrupted:
		return 1
	case Violated:
		return 3
	default:
		return 2
	}
}

// Write writes s as one line-broken JSON object with a newline at its end.
func (s *Set) Write(w io.Writer) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("result: %w", err)
	}
	if _, err := w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("result: writing the JSON: %w", err)
	}
	return nil
}
