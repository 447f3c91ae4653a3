package load

import (
	"fmt"
	"time"
)

// PhaseBegun is that a part of a schedule has begun.
type PhaseBegun struct {
	At   time.Time
	Text string // which of how many, and in the user's words what is asked for
}

// PhasesBegun are the parts of a schedule that have begun by then, while messages were sent,
// without the first ones, of which known is the number. There are none of a schedule that asks
// for the same throughout.
func (p *Progress) PhasesBegun(known int, by time.Time) []PhaseBegun {
	pace := p.pace.Load()
	if pace == nil || len(pace.schedule.phases) < 2 {
		return nil
	}
	if ended, ok := p.SendingEnded(); ok && ended.Before(by) {
		by = ended
	}
	var begun []PhaseBegun
	at := pace.begin
	for i, phase := range pace.schedule.phases {
		if at.After(by) {
			break
		}
		if i >= known {
			begun = append(begun, PhaseBegun{at, fmt.Sprintf("%d of %d: %v", i+1, len(pace.schedule.phases), phase)})
		}
		at = at.Add(phase.For)
	}
	return begun
}
