package page

import (
	"fmt"
	"math"
	"strings"

	"github.com/thumpmq/thump/cmd/thump/internal/latency"
	"github.com/thumpmq/thump/cmd/thump/internal/report"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// charts are those of a run, in the order of the page; those that have nothing to show are
// left out.
func charts(r *result.Run, c *course) []*view {
	counts := scale{write: short}
	times := scale{log: true, write: shortTime}
	var views []*view
	over := func(id, title, note string, s scale, lines ...line) {
		if v := c.chart(id, title, note, s, r.Events, lines); v != nil {
			views = append(views, v)
		}
	}
	over("rates", "Messages a second", "", counts,
		c.line("sent", "sent", "blue"), c.line("received", "received", "orange"), c.stepped("wanted", "asked for", "dashed"))
	over("depth", "Messages waiting", "What was sent and not received yet; what the broker says is in its queue.", counts,
		c.filled("waiting", "sent, not received yet", "purple"), c.asked("ready", "ready in the queue", "teal"), c.asked("unacked", "unacked", "orange"))
	for _, which := range []struct{ id, title, note string }{
		{"confirm", "Latency of confirms", "From the sending of a message to its confirm."},
		{"receive", "Latency to the consumer", "From the sending of a message to its arrival."},
	} {
		var lines []line
		for i, p := range report.Percentiles() {
			lines = append(lines, c.line(which.id+" "+p.Name, p.Name, fmt.Sprint("p", i+1)))
		}
		over(which.id, which.title, which.note+c.worst(), times, lines...)
	}
	if v := curve(latenciesOf(r), c.id, "Percentiles of the whole run"); v != nil {
		views = append(views, v)
	}
	over("late", "Behind schedule", "How far the sending was behind the rate that was asked for.", scale{write: shortTime},
		c.filled("late", "behind", "orange"))
	over("cpu", "Processors in use", "1 is one core.", scale{write: trim},
		c.line("client cpu", "thump", "blue"), c.asked("broker cpu", "RabbitMQ", "orange"))
	over("memory", "Memory", "", scale{write: shortBytes},
		c.line("client memory", "thump", "blue"), c.asked("broker memory", "RabbitMQ", "orange"))
	over("held", "Connections held up by the broker", "", scale{write: trim},
		c.stepped("flow", "in flow control", "orange"), c.stepped("blocked", "blocked", "red"))
	return views
}

// worst says what the points of a long run's latencies are.
func (c *course) worst() string {
	if c.every < 2 {
		return ""
	}
	return fmt.Sprintf(" Each point stands for %d samples, with the worst of them.", c.every)
}

// line is a line of the course's column; without points where there is no such column.
func (c *course) line(key, name, class string) line {
	column, ok := c.columns[key]
	if !ok {
		return line{}
	}
	l := line{Name: name, Class: class, Column: column.at}
	for i, y := range column.values {
		l.points = append(l.points, point{c.samples[i].Seconds, y})
	}
	return l
}

// patience is for how long, in seconds, a broker may not have answered without a gap in a line.
const patience = 10

// asked is a line of what a broker is asked for, which does not answer every second.
func (c *course) asked(key, name, class string) line {
	l := c.line(key, name, class)
	var points []point
	for i, p := range l.points {
		gap := math.IsNaN(p.y) && len(points) > 0 && p.x-points[len(points)-1].x > patience
		if !math.IsNaN(p.y) || i == 0 || gap {
			points = append(points, p)
		}
	}
	l.points = points
	return l
}

func (c *course) filled(key, name, class string) line {
	l := c.line(key, name, class)
	l.Fill = true
	return l
}

func (c *course) stepped(key, name, class string) line {
	l := c.line(key, name, class)
	l.Step = true
	return l
}

// chart makes a chart over time of the lines that have something to show; nil if none has.
func (c *course) chart(id, title, note string, s scale, events []result.Event, lines []line) *view {
	ch := &chart{ID: c.id + "-" + id, Title: title, Note: note, Table: c.table.ID, Zoom: true, End: c.end}
	var said []string
	for _, l := range lines {
		if len(l.points) == 0 || id == "held" && flat(l.points) {
			continue
		}
		l.Whole, l.points = c.summary(l), begun(l.points, s)
		said = append(said, l.Name+" "+l.Whole)
		ch.Lines = append(ch.Lines, l)
	}
	if len(ch.Lines) == 0 || c.end < least {
		return nil
	}
	ch.Label = fmt.Sprintf("%s over %s: %s.", title, exact(c.end), strings.Join(said, "; "))
	x := axis{high: c.end}
	ch.X = timeTicks(c.end)
	ch.mark(events, x)
	return ch.draw(x, s)
}

// begun lets a line that counts begin at 0, where the run did.
func begun(points []point, s scale) []point {
	if s.log || len(points) == 0 || math.IsNaN(points[0].y) || points[0].x <= 0 {
		return points
	}
	return append([]point{{0, 0}}, points...)
}

// flat reports whether a line is 0 throughout.
func flat(points []point) bool {
	for _, p := range points {
		if p.y > 0 {
			return false
		}
	}
	return true
}

// summary says of a line how high it is, as the table writes it.
func (c *course) summary(l line) string {
	high, highest := -1, math.Inf(-1)
	for i, row := range c.table.Rows {
		if y := c.values[l.Column-1][i]; row.Cells[l.Column-1] != "" && y > highest {
			high, highest = i, y
		}
	}
	if high < 0 {
		return ""
	}
	return "up to " + c.table.Rows[high].Cells[l.Column-1]
}

// curve is the percentile curve of latencies: how long the slowest took, ever closer to all
// of them. It is nil where none was measured.
func curve(all []measured, id, title string) *view {
	ch := &chart{
		ID: id + "-curve", Title: title, Table: id + "-percentiles",
		Note: "How many of the messages took no longer. To the right the slowest: each step is ten times fewer.",
	}
	reach := 2.0
	var said []string
	for _, which := range all {
		l := line{Name: which.name, Class: which.class, Column: which.column, Step: false}
		for _, p := range which.points {
			x := nines(p.Percent, which.of.Count)
			l.points, reach = append(l.points, point{x, p.Seconds}), max(reach, x)
		}
		l.Whole = "p99 " + report.Took(which.of.P99)
		said = append(said, l.Name+": p50 "+report.Took(which.of.P50)+", p99 "+report.Took(which.of.P99)+", at most "+report.Took(which.of.Max))
		ch.Lines = append(ch.Lines, l)
	}
	if len(ch.Lines) == 0 {
		return nil
	}
	ch.End, ch.Label = reach, "Percentiles: "+strings.Join(said, "; ")+"."
	for i, text := range []string{"0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"} {
		if part := float64(i) / reach; part <= 1 {
			ch.X = append(ch.X, tick{at(part), text})
		}
	}
	return ch.draw(axis{high: reach}, scale{log: true, write: shortTime})
}

// nines is how near a percentage is to 100 %: 1 for 90 %, 2 for 99 %. All of count messages are
// as near as they can be told apart.
func nines(percent float64, count uint64) float64 {
	most := math.Log10(float64(max(count, 10)))
	if percent >= 100 {
		return min(most, 7)
	}
	return min(most, 7, -math.Log10(1-percent/100))
}

// measured is a latency of a run with its curve.
type measured struct {
	name, class string
	column      int
	of          *result.Latency
	points      []latency.Point
}

// latenciesOf are the latencies that a run has measured. A histogram that can't be read, or has
// nothing in it, is as if there was none: the percentiles beside it are still there.
func latenciesOf(r *result.Run) []measured {
	var all []measured
	for _, m := range []measured{
		{name: "to the confirm", class: "blue", of: r.ConfirmLatency}, {name: "to the consumer", class: "orange", of: r.ReceiveLatency},
	} {
		if m.of == nil || m.of.Count == 0 {
			continue
		}
		m.column = len(all) + 1
		if h, err := latency.Decode(m.of.Histogram); err == nil && h.Count() > 0 {
			m.points = h.Curve()
		} else {
			m.points = []latency.Point{
				{Percent: 0, Seconds: m.of.Min},
				{Percent: 50, Seconds: m.of.P50},
				{Percent: 95, Seconds: m.of.P95},
				{Percent: 99, Seconds: m.of.P99},
				{Percent: 99.9, Seconds: m.of.P999},
				{Percent: 99.99, Seconds: m.of.P9999},
				{Percent: 100, Seconds: m.of.Max},
			}
		}
		all = append(all, m)
	}
	return all
}

// percentileTable is the table of the percentile curve.
func percentileTable(all []measured, id string) *table {
	if len(all) == 0 {
		return nil
	}
	t := &table{ID: id + "-percentiles", Head: []string{"no longer took"}}
	var most uint64
	for _, m := range all {
		t.Head, most = append(t.Head, m.name), max(most, m.of.Count)
	}
	for _, level := range []float64{0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.999, 100} {
		line := row{Name: fmt.Sprintf("%g %%", level), X: trim6(nines(level, most))}
		for _, m := range all {
			line.Cells = append(line.Cells, report.Took(valueAt(m.points, level)))
		}
		t.Rows = append(t.Rows, line)
	}
	return t
}

// valueAt is the first of the points that has the percentage.
func valueAt(points []latency.Point, percent float64) float64 {
	for _, p := range points {
		if p.Percent >= percent {
			return p.Seconds
		}
	}
	return points[len(points)-1].Seconds
}
