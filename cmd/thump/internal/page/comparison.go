package page

import (
	"fmt"
	"math"
	"strings"

	"github.com/thumpmq/thump/cmd/thump/internal/compare"
	"github.com/thumpmq/thump/cmd/thump/internal/latency"
	"github.com/thumpmq/thump/cmd/thump/internal/report"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// comparison is the part of the page that puts groups of runs beside each other.
type comparison struct {
	Groups  []string
	Answers []string
	Method  string
	Head    []string
	Rows    []comparedRow
	Dots    []dots
	Charts  []*view
	Curves  []*table
	Samples *table
}

type comparedRow struct {
	Name  string
	Cells []comparedCell
}

type comparedCell struct {
	Text  string
	Class string
}

// dots shows a figure of each run as a dot, a line of dots for each group.
type dots struct {
	Title string
	Label string
	Lines []dotLine
	Ticks []tick
}

type dotLine struct {
	Name, Class string
	Median      string // where it is
	Text        string
	Dots        []string // where they are
}

func newComparison(groups []compare.Group) *comparison {
	c := &comparison{}
	for _, g := range groups {
		c.Groups = append(c.Groups, report.GroupLine(g))
	}
	for _, name := range []string{"send_rate", "receive_rate", "receive_p99", "confirm_p99"} {
		if d := newDots(report.FigureNamed(name), groups); d != nil {
			c.Dots = append(c.Dots, *d)
		}
	}
	if o := newOverlay(groups); o != nil {
		c.Charts = append(c.Charts, o.charts()...)
		c.Samples = &o.table
	}
	c.curves("confirm", "Latency of confirms, all runs of each", groups, func(r *result.Run) *result.Latency { return r.ConfirmLatency })
	c.curves("receive", "Latency to the consumer, all runs of each", groups, func(r *result.Run) *result.Latency { return r.ReceiveLatency })
	c.Head = []string{"median of the runs"}
	for _, g := range groups {
		c.Head = append(c.Head, g.Name)
	}
	if len(groups) == 1 {
		c.Head = append(c.Head, "lowest", "highest")
		c.spread(groups[0])
		return c
	}
	c.Method = report.Method(groups)
	found := make([]compare.Comparison, len(groups))
	for i, g := range groups[1:] {
		found[i+1] = compare.Compare(groups[0], g)
		c.Answers = append(c.Answers, report.Answer(found[i+1]))
		c.Head = append(c.Head, g.Name+"/"+groups[0].Name, "difference")
	}
	for _, figure := range result.Figures() {
		if row, ok := beside(figure, groups, found); ok {
			c.Rows = append(c.Rows, row)
		}
	}
	return c
}

// curves adds the percentile curves of a latency, one for each group.
func (c *comparison) curves(id, title string, groups []compare.Group, of func(*result.Run) *result.Latency) {
	var all []measured
	for i, g := range groups {
		var encoded []string
		for _, r := range g.Runs {
			if l := of(r); l != nil {
				encoded = append(encoded, l.Histogram)
			}
		}
		sum, err := latency.Sum(encoded...)
		if err != nil || sum.Count() == 0 {
			continue // it was not measured, or by another version
		}
		all = append(all, measured{name: g.Name, class: color(i), column: len(all) + 1, of: sum.Latency(), points: sum.Curve()})
	}
	if v := curve(all, id, title); v != nil {
		c.Charts, c.Curves = append(c.Charts, v), append(c.Curves, percentileTable(all, id))
	}
}

// color is that of the group with this number.
func color(i int) string { return []string{"blue", "orange", "purple", "teal"}[i%4] }

// spread fills the table of one group.
func (c *comparison) spread(g compare.Group) {
	for _, figure := range result.Figures() {
		low, median, high, ok := report.Spread(figure, g.Runs)
		if !ok || strings.HasPrefix(figure.Title, "latency, ") {
			continue
		}
		row := comparedRow{Name: figure.Title}
		for _, x := range []float64{median, low, high} {
			row.Cells = append(row.Cells, comparedCell{Text: report.Number(figure.Unit, x)})
		}
		c.Rows = append(c.Rows, row)
	}
}

// beside is a row of the table: the medians of all groups, and what was found of the figure.
func beside(figure result.Figure, groups []compare.Group, found []compare.Comparison) (comparedRow, bool) {
	row := comparedRow{Name: figure.Title}
	some := false
	for _, g := range groups {
		text := "-"
		if _, median, _, ok := report.Spread(figure, g.Runs); ok {
			text, some = report.Number(figure.Unit, median), true
		}
		row.Cells = append(row.Cells, comparedCell{Text: text})
	}
	if !some || strings.HasPrefix(figure.Title, "latency, ") {
		return row, false
	}
	for i := 1; i < len(groups); i++ {
		ratio, noise := comparedCell{}, comparedCell{}
		for _, f := range found[i].Findings {
			if f.Figure != figure.Name {
				continue
			}
			ratio.Text, noise.Text, noise.Class = report.Ratio(f), report.Noise(f), "noise"
			if f.Differs {
				noise.Class = "differs"
			}
		}
		row.Cells = append(row.Cells, ratio, noise)
	}
	return row, true
}

// newDots shows one figure; nil where nobody has measured it.
func newDots(figure result.Figure, groups []compare.Group) *dots {
	largest := 0.0
	for _, g := range groups {
		if _, _, high, ok := report.Spread(figure, g.Runs); ok {
			largest = max(largest, high)
		}
	}
	if largest <= 0 || math.IsInf(largest, 0) || math.IsNaN(largest) {
		return nil
	}
	x, ticks := upTo(largest)
	d := &dots{Title: figure.Title}
	for _, value := range ticks {
		write := short
		if figure.Unit == result.Seconds {
			write = shortTime
		}
		d.Ticks = append(d.Ticks, tick{at(x.at(value)), write(value)})
	}
	var said []string
	for i, g := range groups {
		_, median, _, ok := report.Spread(figure, g.Runs)
		if !ok {
			continue
		}
		l := dotLine{Name: g.Name, Class: color(i), Median: at(x.at(median)), Text: report.Number(figure.Unit, median)}
		for _, r := range g.Runs {
			if value := figure.Of(r); value != nil {
				l.Dots = append(l.Dots, at(x.at(*value)))
			}
		}
		said = append(said, fmt.Sprintf("%s %s", l.Name, l.Text))
		d.Lines = append(d.Lines, l)
	}
	d.Label = figure.Title + ", each run a dot: " + strings.Join(said, ", ") + "."
	return d
}
