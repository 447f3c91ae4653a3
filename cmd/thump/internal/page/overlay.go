package page

import (
	"cmp"
	"math"
	"slices"

	"github.com/thumpmq/thump/cmd/thump/internal/compare"
	"github.com/thumpmq/thump/cmd/thump/internal/report"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// overlay is the courses of several groups in the same charts: of one run each, the one in the
// middle. Their lines are those of the runs; its table has, for each moment of one of them, what
// each had nearest to that.
type overlay struct {
	*course
	runs  []*course
	names []string
	note  string
}

// overlayMost is how many courses are told apart in a chart: by as many colors.
const overlayMost = 4

// newOverlay puts the courses of groups over each other; nil where there are not two, or too
// many.
func newOverlay(groups []compare.Group) *overlay {
	if len(groups) > overlayMost {
		return nil
	}
	o := &overlay{course: &course{id: "beside", columns: map[string]column{}}}
	for _, g := range groups {
		r := middle(g.Runs)
		if len(r.Samples) < 2 {
			continue
		}
		c := newCourse("", r)
		o.runs, o.names, o.end = append(o.runs, c), append(o.names, g.Name), max(o.end, c.end)
		if len(g.Runs) > 1 {
			o.note = "Of each the run in the middle."
		}
	}
	if len(o.runs) < 2 {
		return nil
	}
	o.table.ID, o.table.Head = o.id+"-samples", []string{"time"}
	o.moments()
	return o
}

// middle is the run whose messages took the middle one of the times.
func middle(runs []*result.Run) *result.Run {
	sorted := slices.SortedFunc(slices.Values(runs), func(a, b *result.Run) int {
		return cmp.Compare(result.Value(a.TotalSeconds), result.Value(b.TotalSeconds))
	})
	return sorted[(len(sorted)-1)/2]
}

// near is how near, in seconds, samples are that stand in one line of the table.
func (o *overlay) near() float64 { return o.end / pointsMost / 2 }

// moments makes the lines of the table.
func (o *overlay) moments() {
	var all []float64
	for _, c := range o.runs {
		for i := range c.samples {
			all = append(all, c.samples[i].Seconds)
		}
	}
	slices.Sort(all)
	latest := math.Inf(-1)
	for _, t := range all {
		if t-latest > o.near() {
			latest = t
			o.samples = append(o.samples, result.Sample{Seconds: t})
			o.table.Rows = append(o.table.Rows, row{X: trim6(t), Name: exact(t)})
		}
	}
}

// charts are those of the overlay: what the runs have all measured, or some.
func (o *overlay) charts() []*view {
	var views []*view
	counts, times := scale{write: short}, scale{log: true, write: shortTime}
	per := func(x float64) string { return report.Number(result.PerSecond, x) }
	add := func(id, title, key string, s scale, write func(float64) string) bool {
		v := o.chart(id, title, o.note, s, nil, o.lines(key, title, write))
		if v != nil {
			views = append(views, v)
		}
		return v != nil
	}
	if !add("received", "Messages received a second", "received", counts, per) {
		add("sent", "Messages sent a second", "sent", counts, per)
	}
	add("waiting", "Sent, not received yet", "waiting", counts, per)
	add("confirm", "Latency of confirms, p99", "confirm p99", times, report.Took)
	add("receive", "Latency to the consumer, p99", "receive p99", times, report.Took)
	return views
}

// lines are a column of all runs, which it adds to the table.
func (o *overlay) lines(key, title string, write func(float64) string) []line {
	var lines []line
	for i, c := range o.runs {
		l := c.line(key, o.names[i], color(i))
		if len(l.points) == 0 {
			continue
		}
		values := make([]float64, len(o.samples))
		for j := range o.samples {
			values[j] = nearest(l.points, o.samples[j].Seconds)
		}
		o.put(o.names[i]+" "+key, o.names[i]+": "+title, write, values)
		if column, ok := o.columns[o.names[i]+" "+key]; ok {
			l.Column = column.at
			lines = append(lines, l)
		}
	}
	return lines
}

// nearest is what a line has nearest to a moment; NaN before its first point and after its last.
func nearest(points []point, x float64) float64 {
	at, there := slices.BinarySearchFunc(points, x, func(p point, x float64) int { return cmp.Compare(p.x, x) })
	switch {
	case there:
		return points[at].y
	case at == 0, at == len(points):
		return math.NaN()
	case x-points[at-1].x < points[at].x-x:
		return points[at-1].y
	default:
		return points[at].y
	}
}
