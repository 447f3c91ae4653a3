package watch

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// events are those of a run, not of each of its connections: that is lost with the first
// that is lost, and there again with the last. It is safe for concurrent use.
type events struct {
	begin    time.Time
	progress *load.Progress
	writer   *result.Writer

	mu      sync.Mutex
	list    []result.Event
	lost    time.Time // since when there is no connection; zero while there is one
	blocked string
	alarms  []string
	phases  int  // of the schedule, that have begun
	ended   bool // the sending
}

// tell notes what an event of a connection has changed.
func (e *events) tell(event thump.Event) { e.look(event.At) }

// look notes what has changed of the run's connections.
func (e *events) look(at time.Time) {
	since, why := e.progress.Away()
	blocked := e.progress.Blocked()
	sent, ended := e.progress.SendingEnded()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, phase := range e.progress.PhasesBegun(e.phases, at) {
		e.phases++
		e.addLocked(phase.At, result.Phase, phase.Text)
	}
	if ended && !e.ended {
		e.ended = true
		e.addLocked(sent, result.SendingEnded, "")
	}
	switch {
	case why != nil && e.lost.IsZero():
		e.lost = since
		e.addLocked(since, result.Disconnected, why.Error())
	case why == nil && !e.lost.IsZero():
		e.addLocked(at, result.Recovered, fmt.Sprintf("after %.1f s", at.Sub(e.lost).Seconds()))
		e.lost = time.Time{}
	}
	switch {
	case blocked != "" && e.blocked == "":
		e.addLocked(at, result.Blocked, blocked)
	case blocked == "" && e.blocked != "":
		e.addLocked(at, result.Unblocked, "")
	}
	e.blocked = blocked
}

// lookAt notes what has changed of the broker's alarms. Where it does not answer, nothing has.
func (e *events) lookAt(at time.Time, b *result.BrokerSample) {
	if b == nil || b.Alarms == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, alarm := range b.Alarms {
		if !slices.Contains(e.alarms, alarm) {
			e.addLocked(at, result.AlarmRaised, alarm)
		}
	}
	for _, alarm := range e.alarms {
		if !slices.Contains(b.Alarms, alarm) {
			e.addLocked(at, result.AlarmCleared, alarm)
		}
	}
	e.alarms = b.Alarms
}

// add notes an event.
func (e *events) add(at time.Time, kind result.EventKind, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.addLocked(at, kind, text)
}

func (e *events) addLocked(at time.Time, kind result.EventKind, text string) {
	if len(e.list) == result.EventsMost {
		return // the counts of the run have all of them
	}
	event := result.Event{Seconds: max(0, at.Sub(e.begin).Seconds()), Kind: kind, Text: text}
	e.list = append(e.list, event)
	e.writer.Event(&event)
}

// all are the events so far, in order of time; none is not nil.
func (e *events) all() []result.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := append([]result.Event{}, e.list...)
	slices.SortStableFunc(list, func(a, b result.Event) int {
		switch {
		case a.Seconds < b.Seconds:
			return -1
		case a.Seconds > b.Seconds:
			return 1
		}
		return 0
	})
	return list
}
