package load

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Schedule is when messages are to be sent, whatever becomes of them: one rate, or several
// after another. A Schedule does not change. It is safe for concurrent use.
type Schedule struct {
	phases  []Phase
	poisson bool
	seed    uint64 // of poisson
}

// Phase is a part of a Schedule: from one rate, in messages a second, evenly to another.
type Phase struct {
	From, To float64
	For      time.Duration // 0, in the last one alone, for no end
}

// rateMost is the highest rate, in messages a second: more than any machine sends.
const rateMost = 1e9

// rateLeast is the lowest that consumers may have: a message in some hours.
const rateLeast = 1e-4

// NewSchedule makes a schedule. Of one phase alone, For may be 0, and of several, that of the
// last.
func NewSchedule(phases ...Phase) (*Schedule, error) {
	sends := false
	for i, p := range phases {
		switch last := i == len(phases)-1; {
		case !(p.From >= 0 && p.From <= rateMost && p.To >= 0 && p.To <= rateMost): // NaN is neither
			return nil, fmt.Errorf("a rate must be from 0 to %.0f messages a second", rateMost)
		case p.For < 0 || p.For == 0 && (!last || p.From != p.To):
			return nil, fmt.Errorf("%v needs a time, like 30s", p)
		case last && p.For == 0 && p.From == 0:
			return nil, fmt.Errorf("0 messages a second, and no end: a rate must be more than 0, or have a time, like 0:30s")
		}
		sends = sends || p.From > 0 || p.To > 0
	}
	if !sends {
		return nil, fmt.Errorf("a rate must be more than 0")
	}
	return &Schedule{phases: phases}, nil
}

// Poisson is the same schedule, but the messages do not come evenly: each comes at a time of its
// own, as from very many who know nothing of each other. On average over about a thousand
// messages the rate is kept exactly.
func (s *Schedule) Poisson(seed uint64) *Schedule {
	return &Schedule{phases: s.phases, poisson: true, seed: seed}
}

// String is what the user would write.
func (s *Schedule) String() string {
	texts := make([]string, len(s.phases))
	for i, p := range s.phases {
		texts[i] = p.String()
	}
	return strings.Join(texts, ",")
}

// String is what the user would write.
func (p Phase) String() string {
	text := rateText(p.From)
	if p.To != p.From {
		text += ".." + rateText(p.To)
	}
	if p.For > 0 {
		text += ":" + p.For.String()
	}
	return text
}

// Arrivals is "even" or "poisson".
func (s *Schedule) Arrivals() string {
	if s.poisson {
		return "poisson"
	}
	return "even"
}

// Length is how long the schedule is; 0 if it has no end.
func (s *Schedule) Length() time.Duration {
	var length time.Duration
	for _, p := range s.phases {
		if p.For == 0 {
			return 0
		}
		length += p.For
	}
	return length
}

// Count is how many messages the schedule has in that time, or up to its end; for 0 in all. It
// is math.MaxUint64 where there is no end.
func (s *Schedule) Count(within time.Duration) uint64 {
	if within == 0 {
		if within = s.Length(); within == 0 {
			return math.MaxUint64
		}
	}
	var count float64
	for _, p := range s.phases {
		length := within
		if p.For > 0 {
			length = min(p.For, within)
		}
		count += p.count(length.Seconds())
		within -= length
	}
	return uint64(math.Round(count))
}

// RateAt is the rate at that time since the beginning; 0 after the end.
func (s *Schedule) RateAt(at time.Duration) float64 {
	for _, p := range s.phases {
		if p.For == 0 || at < p.For {
			return p.From + p.slope()*at.Seconds()
		}
		at -= p.For
	}
	return 0
}

// slope is by how much the rate grows in a second.
func (p Phase) slope() float64 {
	if p.For == 0 {
		return 0
	}
	return (p.To - p.From) / p.For.Seconds()
}

// count is how many messages the first seconds of the phase have.
func (p Phase) count(seconds float64) float64 {
	return p.From*seconds + p.slope()*seconds*seconds/2
}

// at is when so many messages have been sent, in seconds since the beginning: count's
// inverse, and where the rate is 0 the end of that.
func (p Phase) at(count float64) float64 {
	if count <= 0 {
		return 0
	}
	return 2 * count / (p.From + math.Sqrt(max(0, p.From*p.From+2*p.slope()*count)))
}

// at is when message number n is to be sent, counted from 0, since the beginning. Messages
// after the end are to be sent at the end. n need not be whole.
func (s *Schedule) at(n float64) time.Duration {
	var begin time.Duration
	for _, p := range s.phases {
		if count := p.count(p.For.Seconds()); p.For > 0 && n >= count {
			n -= count
			begin += p.For
			continue
		}
		return begin + time.Duration(p.at(n)*float64(time.Second))
	}
	return begin
}

// rateText is a rate as the user would write it: 500, 1.5k, 2m.
func rateText(rate float64) string {
	switch {
	case rate >= 1e6:
		return fmt.Sprintf("%gm", rate/1e6)
	case rate >= 1e3:
		return fmt.Sprintf("%gk", rate/1e3)
	default:
		return fmt.Sprintf("%g", rate)
	}
}
