package page

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// The drawing area has these coordinates, whatever its size on the screen: the browser
// stretches it, and what is written beside it stays as it is.
const (
	areaWidth  = 10000
	areaHeight = 1000
)

// point is one of a line. A y that is NaN interrupts the line.
type point struct{ x, y float64 }

// line is one line of a chart.
type line struct {
	Name   string
	Class  string // of the style: its color
	Column int    // of the table that has its numbers
	Whole  string // what the legend says of it while nothing is pointed at
	Fill   bool   // the area below is filled
	Step   bool   // it keeps its value until the next point
	points []point
}

// scale says how the numbers of a chart are written at its side, and whether the scale is logarithmic.
type scale struct {
	log   bool
	write func(float64) string
}

// chart is a chart as the page's template has it.
type chart struct {
	ID, Title, Note string
	Label           string // what it shows, in words, for who does not see it
	Table           string // the id of the table that has its numbers
	Zoom            bool   // its x is time
	End             float64
	Lines           []line
	Y, X            []tick
	Bands           []band
	Marks           []mark
	Grid            string
}

// band is a part of the time in which something was so.
type band struct{ X, Width, Class string }

// mark is an event on a chart.
type mark struct {
	X       string // in the coordinates of the area
	At      string // in percent of its width
	Seconds float64
	Class   string
	Number  string // of the event; empty where there is no room
}

// Path is the line, as SVG has it.
func (l *line) path(x, y axis, close bool) string {
	d := make([]byte, 0, 12*len(l.points))
	down, alone, last, before := false, false, 0, 0
	for _, p := range l.points {
		if math.IsNaN(p.y) || math.IsInf(p.y, 0) || y.log && p.y <= 0 {
			d = ended(d, last, down && close, alone && !close)
			down, alone = false, false
			continue
		}
		px, py := int(math.Round(x.at(p.x)*areaWidth)), areaHeight-int(math.Round(min(1, max(0, y.at(p.y)))*areaHeight))
		switch {
		case !down && close:
			d = fmt.Appendf(d, "M%d %dL%d %d", px, areaHeight, px, py)
		case !down:
			d = fmt.Appendf(d, "M%d %d", px, py)
		case l.Step:
			d = fmt.Appendf(d, "L%d %dL%d %d", px, before, px, py)
		default:
			d = append(d, 'L')
			d = strconv.AppendInt(d, int64(px), 10)
			d = append(d, ' ')
			d = strconv.AppendInt(d, int64(py), 10)
		}
		alone = !down
		down, last, before = true, px, py
	}
	return string(ended(d, last, down && close, alone && !close))
}

// ended ends a part of a path: a filled area at the bottom, and a point that is alone as one.
func ended(d []byte, x int, area, alone bool) []byte {
	switch {
	case area:
		return fmt.Appendf(d, "L%d %dZ", x, areaHeight)
	case alone:
		return append(d, "h1"...)
	default:
		return d
	}
}

// drawn is a line with its path.
type drawn struct {
	Class, D, Area string
}

// draw lays the lines out. It returns nil where there is nothing to draw.
func (c *chart) draw(x axis, s scale) *view {
	low, high := math.Inf(1), 0.0
	for _, l := range c.Lines {
		for _, p := range l.points {
			if math.IsNaN(p.y) || math.IsInf(p.y, 0) {
				continue
			}
			high = max(high, p.y)
			if p.y > 0 {
				low = min(low, p.y)
			}
		}
	}
	if math.IsInf(low, 0) {
		low, high = 1, 1
		if s.log {
			return nil
		}
	}
	y, ticks := upTo(high)
	if s.log {
		y, ticks = decades(low, high)
	}
	v := &view{chart: c}
	for _, value := range ticks {
		part := y.at(value)
		c.Y = append(c.Y, tick{at(1 - part), s.write(value)})
		c.Grid += fmt.Sprintf("M0 %.0fH%d", areaHeight*(1-part), areaWidth)
	}
	for i := range c.Lines {
		l := &c.Lines[i]
		d := drawn{Class: l.Class, D: l.path(x, y, false)}
		if l.Fill {
			d.Area = l.path(x, y, true)
		}
		v.Paths = append(v.Paths, d)
	}
	return v
}

// view is a chart that is laid out.
type view struct {
	*chart
	Paths []drawn
}

// endOf is the kind of the event that ends what one of this kind began; "" where none does.
func endOf(kind result.EventKind) result.EventKind {
	switch kind {
	case result.Disconnected:
		return result.Recovered
	case result.Blocked:
		return result.Unblocked
	case result.AlarmRaised:
		return result.AlarmCleared
	default:
		return ""
	}
}

const (
	marksMost = 200 // on a chart
	// markRoom is how far apart, as a part of the width, two numbers must be to be read.
	markRoom = 0.025
)

// mark marks the events on a chart, up to marksMost, and says how many more there are.
func (c *chart) mark(events []result.Event, x axis) {
	next, ends := math.Inf(-1), bandEnds(events)
	for i, e := range events {
		part := x.at(e.Seconds)
		if !(part >= 0 && part <= 1) {
			continue
		}
		if len(c.Marks) == marksMost {
			c.Note = strings.TrimSpace(fmt.Sprintf("%s Only the first %d events are marked: %d more are in the list below.", c.Note, marksMost, len(events)-i))
			return
		}
		m := mark{X: fmt.Sprintf("%.0f", part*areaWidth), At: at(part), Seconds: e.Seconds, Class: eventClass(e.Kind)}
		if part >= next {
			m.Number, next = strconv.Itoa(i+1), part+markRoom
		}
		c.Marks = append(c.Marks, m)
		if endOf(e.Kind) != "" {
			until := 1.0
			if ends[i] > 0 {
				until = min(1, x.at(events[ends[i]].Seconds))
			}
			c.Bands = append(c.Bands, band{m.X, fmt.Sprintf("%.0f", max(8, (until-part)*areaWidth)), eventClass(e.Kind)})
		}
	}
}

// bandEnds is, for each event that begins something, the number of the one that ends it; 0 where
// none does.
func bandEnds(events []result.Event) []int {
	ends, next := make([]int, len(events)), map[result.EventKind]int{}
	for i := len(events) - 1; i >= 0; i-- {
		ends[i] = next[endOf(events[i].Kind)]
		next[events[i].Kind] = i
	}
	return ends
}

func eventClass(kind result.EventKind) string {
	switch {
	case endOf(kind) != "":
		return "bad"
	case kind == result.Recovered, kind == result.Unblocked, kind == result.AlarmCleared:
		return "good"
	default:
		return "plain"
	}
}
