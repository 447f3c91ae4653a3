// Package browser opens a page in Chromium, for tests.
package browser

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is for a machine that is slow and busy.
const patience = 3 * time.Minute

// Page is a page that is open.
type Page struct {
	t   testing.TB
	ctx context.Context //nolint:containedctx // chromedp's, which is the page

	mu      sync.Mutex
	trouble []string
}

// Open opens a file in Chromium without a window. The test fails where there is none:
// scripts/install-test-tools installs it. The browser ends with the test.
func Open(t testing.TB, file string) *Page {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("no chromium: scripts/install-test-tools installs it")
	}
	file, err = filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(patience),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("hide-scrollbars", true))
	allocator, end := chromedp.NewExecAllocator(t.Context(), options...)
	ctx, closePage := chromedp.NewContext(allocator)
	ctx, late := context.WithTimeout(ctx, patience)
	t.Cleanup(func() { late(); closePage(); end() })
	p := &Page{t: t, ctx: ctx}
	address := (&url.URL{Scheme: "file", Path: file}).String()
	p.check(chromedp.Listen(ctx, func(event any) { p.heard(event, address) }))
	_, err = chromedp.Call(ctx, network.Enable, network.EnableParams{})
	p.check(err)
	_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	p.check(err)
	p.check(chromedp.Do(ctx, chromedp.Navigate(address)))
	return p
}

// heard notes what no page of ours should do.
func (p *Page) heard(event any, address string) {
	text := ""
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if e.Request.URL != address {
			text = "it asks for " + e.Request.URL
		}
	case *runtime.EventExceptionThrown:
		text = fmt.Sprintf("it throws %s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception)
	case *runtime.EventConsoleAPICalled:
		text = fmt.Sprintf("it says %v on the console", e.Args)
	case *log.EventEntryAdded:
		text = e.Entry.Text
	}
	if text != "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.trouble = append(p.trouble, text)
	}
}

// Trouble is what the page did that it should not: errors, words on the console, what its own
// policy forbade, and requests other than for itself.
func (p *Page) Trouble() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trouble
}

// Show sets the size of the window and the scheme of colors, "light" or "dark".
func (p *Page) Show(width, height int, scheme string) {
	p.t.Helper()
	p.check(chromedp.Do(p.ctx, chromedp.EmulateViewport(int64(width), int64(height))))
	_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	p.check(err)
}

// Press presses a key while the first element that the CSS selector finds has the focus.
func (p *Page) Press(selector, key string) {
	p.t.Helper()
	p.check(chromedp.Do(p.ctx, chromedp.Focus(chromedp.CSS(selector)), chromedp.KeyEvent(key)))
}

// Eval returns the value of JavaScript.
func Eval[T any](p *Page, expression string) T {
	p.t.Helper()
	value, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	p.check(err)
	return value
}

// Picture returns a part of the page as PNG.
func (p *Page) Picture(x, y, width, height float64) []byte {
	p.t.Helper()
	shot, err := chromedp.Call(p.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{
		CaptureBeyondViewport: new(true), Clip: &page.Viewport{X: x, Y: y, Width: width, Height: height, Scale: 1},
	})
	p.check(err)
	return shot.Data
}

func (p *Page) check(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}
