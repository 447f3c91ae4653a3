package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/thumpmq/thump/cmd/thump/internal/browser"
	"github.com/thumpmq/thump/internal/brokertest"
)

// TestPicture is the tutorial's story in one picture: a queue that fills while nobody reads, and
// then drains. The page of such a run shows it. scripts/screenshot lets this test run with a
// million messages, and names the file for the picture in THUMP_TEST_PICTURE.
func TestPicture(t *testing.T) {
	t.Parallel()
	brokers := brokertest.All(t)
	b := brokers[len(brokers)-1]
	count, top, picture := "20k", "up to 20,000", os.Getenv("THUMP_TEST_PICTURE")
	if picture != "" {
		count, top = "1m", "up to 1,000,000"
	}
	file := filepath.Join(t.TempDir(), "out.html")
	p := start(t, b.URL, "run", "--sequential", "--queue", brokertest.QueueName(t), "--count", count, "--html", file)
	if code := p.wait(); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, &p.stderr)
	}
	page := browser.Open(t, file)
	page.Show(900, 1200, "light")
	if waiting := browser.Eval[string](page, `document.querySelectorAll(".chart")[1].querySelector("output").textContent`); waiting != top {
		t.Errorf("the chart of what waits goes %q, not %q", waiting, top)
	}
	if trouble := page.Trouble(); len(trouble) > 0 {
		t.Error(trouble)
	}
	if picture == "" || t.Failed() {
		return
	}
	at := func(chart int, side string) float64 {
		return browser.Eval[float64](page, `scrollY + document.querySelectorAll(".chart")[`+string(rune('0'+chart))+`].getBoundingClientRect().`+side)
	}
	const margin = 16
	first := at(0, "top") - margin
	if err := os.WriteFile(picture, page.Picture(0, first, 900, at(1, "bottom")+margin-first), 0o644); err != nil {
		t.Fatal(err)
	}
}
