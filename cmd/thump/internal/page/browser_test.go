package page

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/thumpmq/thump/cmd/thump/internal/browser"
	"github.com/thumpmq/thump/cmd/thump/internal/compare"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// TestInABrowser opens a page of ten minutes: it draws its charts, reads them out, looks closer,
// fits any window, and neither fails nor asks anybody for anything.
// THUMP_TEST_PICTURES names a folder for pictures of it, to be looked at.
func TestInABrowser(t *testing.T) {
	t.Parallel()
	one := compare.Source{Name: "run.json", Runs: []*result.Run{longRun(600, 250_000, 2000)}}
	p := open(t, "run", pageOf(t, one))
	charts := browser.Eval[int](p, `document.querySelectorAll(".chart").length`)
	empty := browser.Eval[int](p, `[...document.querySelectorAll(".chart .line")].filter(l => { const b = l.getBoundingClientRect(); return !(b.width > 20) }).length`)
	if charts != 9 || empty != 0 {
		t.Errorf("%d charts, %d lines are not drawn", charts, empty)
	}
	ms := browser.Eval[float64](p, `performance.getEntriesByType("paint").find(e => e.name === "first-contentful-paint")?.startTime ?? performance.now()`)
	t.Logf("drawn after %.0f ms", ms)

	before := browser.Eval[string](p, `document.querySelector(".legend output").textContent`)
	p.Press(".area", kb.ArrowRight)
	after := browser.Eval[string](p, `document.querySelector(".legend output").textContent`)
	said := browser.Eval[string](p, `document.querySelector(".live").textContent`)
	if after == before || !strings.Contains(said, "sent "+after) {
		t.Errorf("the arrow key: %q became %q, and it said %q", before, after, said)
	}
	whole := browser.Eval[string](p, `document.querySelector(".area").getAttribute("viewBox")`)
	p.Press(".area", "+")
	closer := browser.Eval[string](p, `document.querySelector(".area").getAttribute("viewBox")`)
	ticks := browser.Eval[string](p, `document.querySelector(".x").textContent`)
	if closer == whole || strings.HasPrefix(ticks, "0:00") {
		t.Errorf("looking closer: %q became %q, with %q", whole, closer, ticks)
	}
	p.Press(".area", kb.Escape)
	closer = browser.Eval[string](p, `document.querySelector(".area").getAttribute("viewBox")`)
	if closer != whole {
		t.Errorf("and back: %q became %q", whole, closer)
	}
	fits(t, p, "run")
	if trouble := p.Trouble(); len(trouble) > 0 {
		t.Error(trouble)
	}
}

// TestComparisonInABrowser does the same with a comparison.
func TestComparisonInABrowser(t *testing.T) {
	t.Parallel()
	p := open(t, "comparison", pageOf(t, several("before.json", 2000, 20_000), several("after.json", 1, 4_000)))
	dots := browser.Eval[int](p, `document.querySelectorAll(".dots circle").length`)
	if dots != 40 { // ten runs, four figures
		t.Errorf("%d dots", dots)
	}
	if curves := browser.Eval[int](p, `document.querySelectorAll(".comparison .chart .line").length`); curves != 4+8 {
		t.Errorf("%d curves and courses", curves)
	}
	p.Press(".area", kb.ArrowRight)
	if said := browser.Eval[string](p, `document.querySelector(".live").textContent`); !strings.Contains(said, "A ") || !strings.Contains(said, ", B ") {
		t.Errorf("the arrow key: it said %q", said)
	}
	fits(t, p, "comparison")
	if trouble := p.Trouble(); len(trouble) > 0 {
		t.Error(trouble)
	}
}

func several(name string, prefetch int, rate float64) compare.Source {
	s := compare.Source{Name: name}
	for i := range 5 {
		s.Runs = append(s.Runs, longRun(30, rate*(1+0.02*float64(i)), prefetch))
	}
	for _, r := range s.Runs {
		r.Settings.Count = s.Runs[0].Settings.Count
	}
	return s
}

func open(t *testing.T, name string, page []byte) *browser.Page {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".html")
	if err := os.WriteFile(file, page, 0o600); err != nil {
		t.Fatal(err)
	}
	return browser.Open(t, file)
}

// fits checks that nothing is wider than the window, from a phone's on.
func fits(t *testing.T, p *browser.Page, name string) {
	t.Helper()
	for _, width := range []int{360, 800, 1400} {
		for _, scheme := range []string{"light", "dark"} {
			p.Show(width, 900, scheme)
			over := browser.Eval[float64](p, `document.documentElement.scrollWidth - innerWidth`)
			height := browser.Eval[float64](p, `document.documentElement.scrollHeight`)
			if over > 0 {
				t.Errorf("%d pixels are too narrow by %v", width, over)
			}
			if folder := os.Getenv("THUMP_TEST_PICTURES"); folder != "" {
				png := p.Picture(0, 0, float64(width), min(height, 4500))
				if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), png, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
