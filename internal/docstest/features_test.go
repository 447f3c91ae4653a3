package docstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	// manualFlags are the lines of flags in a man page of thump.
	manualFlags = regexp.MustCompile(`(?m)^\.B (?:\\-[a-zA-Z], )?\\-\\-([a-z0-9\\-]+)`)
	// namedFlag is a flag in text, named with its dashes.
	namedFlag = regexp.MustCompile(`--([a-z][a-z0-9-]*)`)
)

// TestFeatures: each flag that the comparison with other tools gives as thump's is one of a command.
func TestFeatures(t *testing.T) {
	folder := t.TempDir()
	man := exec.CommandContext(t.Context(), "go", "run", "./cmd/thump", "man", folder)
	man.Dir = root
	if output, err := man.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	pages, err := filepath.Glob(filepath.Join(folder, "*.1"))
	if err != nil {
		t.Fatal(err)
	}
	has := make(map[string]bool)
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range manualFlags.FindAllStringSubmatch(string(text), -1) {
			has[strings.ReplaceAll(m[1], `\`, "")] = true
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "features.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for row := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(row), " | ")
		if len(cells) != 7 {
			continue
		}
		for _, m := range namedFlag.FindAllStringSubmatch(cells[6], -1) {
			if named++; !has[m[1]] {
				t.Errorf("no command of thump has the flag --%s, of %q", m[1], strings.TrimLeft(cells[0], "| "))
			}
		}
	}
	if named < 50 || len(has) < 50 {
		t.Errorf("%d flags are named, and there are %d", named, len(has))
	}
}
