package docstest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.." // of the module

// readmeLines is how long README.md may be.
const readmeLines = 120

// page is one page of the manual.
type page struct {
	name   string // "docs/command.md"
	text   string
	prose  string // the text without its blocks
	blocks []block
}

// block is a fenced block of code.
type block struct {
	page string
	line int    // of its first line of code, from 1
	lang string // "go", "sh"
	// given declares what the code uses and doesn't say, as in a var declaration. It
	// stands in a comment above the block: <!-- given: handle func(body []byte) error -->
	given string
	code  string
}

var given = regexp.MustCompile(`^<!-- given: (.*) -->$`)

// manual reads all pages.
func manual(t *testing.T) []page {
	t.Helper()
	names, err := filepath.Glob(root + "/docs/*.md")
	if err != nil || len(names) == 0 {
		t.Fatalf("no pages in docs: %v", err)
	}
	var pages []page
	for _, file := range append([]string{root + "/README.md"}, names...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		p := page{name: filepath.ToSlash(name), text: string(text)}
		p.readBlocks()
		pages = append(pages, p)
	}
	return pages
}

// blocks returns the blocks of a language in all pages.
func blocks(t *testing.T, lang string) []block {
	t.Helper()
	var list []block
	for _, p := range manual(t) {
		for _, b := range p.blocks {
			if b.lang == lang {
				list = append(list, b)
			}
		}
	}
	if len(list) == 0 {
		t.Fatalf("the manual has no %s", lang)
	}
	return list
}

func (p *page) readBlocks() {
	var b *block
	declared := ""
	for i, line := range strings.Split(p.text, "\n") {
		lang, fence := strings.CutPrefix(line, "```")
		switch {
		case b == nil && fence:
			b = &block{page: p.name, line: i + 2, lang: lang, given: declared}
		case fence:
			p.blocks = append(p.blocks, *b)
			b = nil
		case b != nil:
			b.code += line + "\n"
			continue
		default:
			p.prose += line + "\n"
		}
		declared = ""
		if match := given.FindStringSubmatch(line); match != nil {
			declared = match[1]
		}
	}
}

// TestReadmeIsShort holds README.md to what can be read in a minute.
func TestReadmeIsShort(t *testing.T) {
	for _, p := range manual(t) {
		if n := strings.Count(p.text, "\n"); p.name == "README.md" && n >= readmeLines {
			t.Errorf("README.md has %d lines: it stays under %d, and docs/ has the rest", n, readmeLines)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks looks whether the links between pages lead somewhere, and whether
// README.md leads to every page.
func TestLinks(t *testing.T) {
	pages := manual(t)
	for _, p := range pages {
		for _, match := range link.FindAllStringSubmatch(p.prose, -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := filepath.Join(root, filepath.Dir(p.name), target)
			if target == "" {
				file = filepath.Join(root, p.name)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s: %v", p.name, match[1], err)
			}
			if anchor == "" {
				continue
			}
			if text, err := os.ReadFile(file); err != nil || !slices.Contains(anchors(string(text)), anchor) {
				t.Errorf("%s links to %s: no such heading (%v)", p.name, match[1], err)
			}
		}
		if p.name != "README.md" && !strings.Contains(pages[0].text, "]("+p.name) {
			t.Errorf("README.md does not lead to %s", p.name)
		}
	}
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

// anchors returns the anchors of a page's headings, as GitHub makes them.
func anchors(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		if heading := strings.TrimLeft(line, "#"); heading != line {
			heading = notInAnchor.ReplaceAllString(strings.TrimSpace(strings.ToLower(heading)), "")
			list = append(list, strings.ReplaceAll(heading, " ", "-"))
		}
	}
	return list
}
