// Package page writes the page of one or more runs: HTML that needs nothing else, neither a
// network nor other files, and that opens anywhere. Its charts are drawn here, as SVG, and so
// are there without a script; the script only reads them out and zooms.
//
// Whatever a record says is text on the page, and nothing that a browser obeys.
package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/thumpmq/thump/cmd/thump/internal/compare"
	"github.com/thumpmq/thump/cmd/thump/internal/report"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/printable"
)

//go:embed page.html
var markup string

//go:embed page.css
var style string

//go:embed page.js
var script string

// document is what the template of the page has.
type document struct {
	Title      string
	Policy     string
	Found      [][]string // by searches: sentences, the answer last
	Style      template.CSS
	Script     template.JS
	Comparison *comparison
	Runs       []run
	Several    bool
}

// run is one run on the page.
type run struct {
	ID, Group string
	Heading   string
	Where     []string
	Verdict   string // the word
	Answer    string // the line of the text's end
	Reason    string
	Tiles     []tile
	Findings  []report.Finding
	Charts    []*view
	Events    []event
	Settings  []report.Row
	Figures   []report.Row
	Curve     *table
	Samples   *table
}

// tile is a figure that is shown large.
type tile struct{ Name, Value, Unit string }

type event struct {
	Number            int
	When, Kind, Class string
	Text              string
}

// Write writes the page of the groups of runs, of which there is at least one. With several
// groups it begins with their comparison, and before that with what --find-max has found; a
// search that is nil has not been.
func Write(w io.Writer, groups []compare.Group, searches ...*result.Search) error {
	d := document{
		Style: template.CSS(style), Script: template.JS(script), //nolint:gosec // our own
		Policy: fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; base-uri 'none'; form-action 'none'", hash(style), hash(script)),
	}
	for _, s := range searches {
		if s != nil {
			d.Found = append(d.Found, report.Found(s))
		}
	}
	for _, g := range groups {
		for i, r := range g.Runs {
			one := newRun(fmt.Sprintf("r%d", len(d.Runs)+1), r)
			if len(groups) > 1 || len(g.Runs) > 1 {
				one.Group = g.Name
				if len(g.Runs) > 1 {
					one.Group += fmt.Sprint(" ", i+1)
				}
			}
			d.Runs = append(d.Runs, one)
		}
	}
	d.Several = len(d.Runs) > 1
	d.Title = "thump: " + d.Runs[0].Heading
	if d.Several {
		d.Comparison = newComparison(groups)
		d.Title = fmt.Sprintf("thump: %d runs", len(d.Runs))
	}
	t, err := template.New("page").Parse(markup)
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, d); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	// As an entity a no-break space passes through whatever shows only what can be seen.
	if _, err := w.Write(bytes.ReplaceAll(b.Bytes(), []byte("\u00a0"), []byte("&nbsp;"))); err != nil {
		return fmt.Errorf("page: writing it: %w", err)
	}
	return nil
}

// hash is what the page's policy knows a style or a script by.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func newRun(id string, r *result.Run) run {
	c := newCourse(id, r)
	one := run{
		ID: id, Heading: heading(r), Where: where(r), Verdict: printable.Text(string(r.Verdict)), Tiles: tiles(r, c),
		Findings: report.Findings(r), Charts: charts(r, c), Settings: settings(r), Figures: figures(r), Curve: percentileTable(latenciesOf(r), id),
	}
	one.Answer = strings.TrimPrefix(report.Verdict(r), one.Verdict+": ")
	if r.Verdict != result.OK && r.Reason != nil {
		one.Reason = printable.Text(*r.Reason)
	}
	if len(c.samples) > 0 {
		one.Samples = &c.table
	}
	for i, e := range r.Events {
		one.Events = append(one.Events, event{i + 1, exact(e.Seconds), printable.Text(string(e.Kind)), eventClass(e.Kind), printable.Text(e.Text)})
	}
	return one
}

func heading(r *result.Run) string {
	name := printable.Text(r.Settings.Queue)
	if kind := report.PlaceName(r); kind != "" {
		return name + ", " + kind
	}
	return name
}

// where says on what the run was, and when.
func where(r *result.Run) []string {
	texts := []string{"thump " + printable.Text(r.Command)}
	broker := printable.Text(strings.TrimSpace(r.Broker.Product + " " + r.Broker.Version))
	if r.Broker.Private {
		broker += ", private"
	}
	if broker != "" {
		texts = append(texts, broker)
	}
	if began, err := time.Parse(time.RFC3339, r.StartedAt); err == nil {
		texts = append(texts, began.UTC().Format(time.DateTime)+" UTC")
	}
	return texts
}

// tiles are the figures that a reader looks for first.
func tiles(r *result.Run, c *course) []tile {
	var all []tile
	add := func(name string, x *float64, unit result.Unit, after string) {
		if x == nil {
			return
		}
		number, of, _ := strings.Cut(report.Number(unit, *x), "\u00a0")
		all = append(all, tile{name, number, strings.TrimSpace(of + after)})
	}
	add("sent", r.SendRatePerSecond, result.PerSecond, "/s")
	add("received", r.ReceiveRatePerSecond, result.PerSecond, "/s")
	if l := r.ReceiveLatency; l != nil {
		add("p99 to the consumer", &l.P99, result.Seconds, "")
	}
	if l := r.ConfirmLatency; l != nil {
		add("p99 to the confirm", &l.P99, result.Seconds, "")
	}
	if waiting := c.columns["waiting"].values; waiting != nil {
		high := 0.0
		for _, x := range waiting {
			high = max(high, x)
		}
		add("waiting at most", &high, result.Count, "")
	}
	add("from end to end", r.TotalSeconds, result.Seconds, "")
	return all
}

// settings are those that were said at the start, and what wrote the record.
func settings(r *result.Run) []report.Row {
	rows := report.SettingRows(r)
	if v := r.Settings.ThumpVersion; v != "" {
		rows = append(rows, report.Row{Name: "thump", Text: printable.Text(v)})
	}
	return rows
}

// figures are all that the run has measured.
func figures(r *result.Run) []report.Row {
	var rows []report.Row
	for _, figure := range result.Figures() {
		if figure.Of(r) != nil && !strings.HasPrefix(figure.Title, "latency, ") {
			rows = append(rows, report.Row{Name: figure.Title, Text: report.Value(figure, r)})
		}
	}
	return rows
}

// exact writes a moment of a run: "12.0 s".
func exact(seconds float64) string { return fmt.Sprintf("%.1f\u00a0s", seconds) }

func trim6(x float64) string { return fmt.Sprintf("%.6g", x) }
