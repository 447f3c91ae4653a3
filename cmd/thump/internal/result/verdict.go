package result

import "fmt"

// Verdict is the outcome of a run in one word.
type Verdict string

const (
	// OK means that every message was confirmed (with confirms) and received once,
	// undamaged, and that nothing else came; what came more often, an outage explains.
	OK Verdict = "ok"
	// Violated means that a message was lost, duplicated (and nothing explains that),
	// corrupted or unexpected.
	Violated Verdict = "violated"
	// Failed means that the run could not be completed, or that the broker did not
	// take every message; Reason says which. What was received was as it should be.
	Failed Verdict = "failed"
	// Interrupted means that the user ended the run early, and that nothing was
	// wrong until then.
	Interrupted Verdict = "interrupted"
	// Unfinished is that of a run whose file has no end: it was killed, or still goes on.
	Unfinished Verdict = "unfinished"
)

// severity orders the verdicts. A violation is the worst: it is a fact, whatever
// else went wrong. A failure is worse than an interruption, which the user asked
// for.
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

// Judge sets the verdict and its reason from the counts. ended is why the run
// ended early, or nil; interrupted says that the user ended it.
func (r *Run) Judge(ended error, interrupted bool) {
	unconfirmed := Value(r.Rejected) + Value(r.Returned) + Value(r.Unknown)
	switch {
	case r.violation() != "":
		r.setVerdict(Violated, r.violation())
	case ended != nil:
		r.setVerdict(Failed, ended.Error())
	case interrupted:
		r.setVerdict(Interrupted, "interrupted")
	case unconfirmed > 0:
		r.setVerdict(Failed, fmt.Sprintf("the broker did not confirm every message: %d rejected, %d returned, %d unknown",
			Value(r.Rejected), Value(r.Returned), Value(r.Unknown)))
	default:
		r.Verdict, r.Reason = OK, nil
	}
}

func (r *Run) setVerdict(v Verdict, reason string) { r.Verdict, r.Reason = v, &reason }

// violation names the counts that must be zero but are not: "2 lost, 1 duplicated".
func (r *Run) violation() string {
	duplicated := "duplicated"
	if Value(r.DuplicatedResent)+Value(r.DuplicatedRedelivered) > 0 {
		duplicated = "duplicated, which no outage explains"
	}
	var text string
	for _, c := range []struct {
		name  string
		count *uint64
	}{
		{"lost", r.Lost},
		{duplicated, r.Unexplained()},
		{"corrupted", r.Corrupted},
		{"unexpected", r.Unexpected},
	} {
		if Value(c.count) == 0 {
			continue
		}
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%d %s", *c.count, c.name)
	}
	return text
}
