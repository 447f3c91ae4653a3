package load

import (
	"slices"

	"github.com/thumpmq/thump"
)

// Priorities are those of messages, drawn at random by their shares.
type Priorities struct {
	Text   string // what the user wrote
	Levels []uint8
	Shares []float64
}

// PrioritiesMost is how many different ones there are.
const PrioritiesMost = 256

// Highest is the highest of them; 0 for none.
func (p *Priorities) Highest() uint8 {
	if len(p.Levels) == 0 {
		return 0
	}
	return slices.Max(p.Levels)
}

// reorder reports whether messages overtake each other: then their order says nothing.
func (p *Priorities) reorder() bool {
	return len(p.Levels) > 0 && slices.Max(p.Levels) > slices.Min(p.Levels)
}

// ranks give messages their priorities.
type ranks struct {
	levels     []uint8             // none for what all messages have
	properties []*thump.Properties // of each level
	draw       draw
}

// newRanks makes the properties of each level, which are others besides; nil for none.
func newRanks(p Priorities, others *thump.Properties) ranks {
	if len(p.Levels) == 0 {
		return ranks{}
	}
	r := ranks{levels: p.Levels, draw: newDraw(p.Shares)}
	for _, level := range p.Levels {
		var own thump.Properties
		if others != nil {
			own = *others
		}
		setPriority(&own, level)
		r.properties = append(r.properties, &own)
	}
	return r
}

// next are the properties of the next message.
func (r *ranks) next() *thump.Properties { return r.properties[r.draw.next()] }

// give gives the next message its priority, which has properties of its own.
func (r *ranks) give(own *thump.Properties) { setPriority(own, r.levels[r.draw.next()]) }

func setPriority(p *thump.Properties, level uint8) { p.Priority, p.ZeroPriority = level, level == 0 }
