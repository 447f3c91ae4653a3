package main

import (
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

func TestBuildVersion(t *testing.T) {
	settings := func(pairs ...string) (s []debug.BuildSetting) {
		for i := 0; i < len(pairs); i += 2 {
			s = append(s, debug.BuildSetting{Key: pairs[i], Value: pairs[i+1]})
		}
		return s
	}
	const revision = "1ffafd6b7b5e6ed7e2b981054b1c782699aeb94c"
	for want, info := range map[string]*debug.BuildInfo{
		"1ffafd6b7b5e, go1.26.8": {
			Settings: settings("vcs", "git", "vcs.revision", revision, "vcs.modified", "false"),
		},
		"1ffafd6b7b5e with changes, go1.26.8": {
			Settings: settings("vcs.revision", revision, "vcs.modified", "true"),
		},
		"an unknown commit, go1.26.8": {},
	} {
		info.Path, info.GoVersion = benchPackage, "go1.26.8"
		if got, err := buildVersion(info); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	if _, err := buildVersion(&debug.BuildInfo{Path: "github.com/thumpmq/thump/cmd/thump"}); err == nil {
		t.Error("another program was taken for a build of this one")
	}
}

func TestParseConfigOfBaseline(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("not a program"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"nothing":       filepath.Join(t.TempDir(), "nothing"),
		"no Go program": text,
	} {
		_, err := parseConfig([]string{"--baseline", path}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "--baseline "+path) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	// The tests of a program are a build of it.
	folder, name := filepath.Split(os.Args[0])
	t.Chdir(folder)
	program := "." + string(filepath.Separator) + name
	c, err := parseConfig([]string{"--baseline", program}, io.Discard)
	if err != nil || !filepath.IsAbs(c.baseline) {
		t.Errorf("the baseline is %q, %v; want its whole path", c.baseline, err)
	}
	if c.Rounds != baselineRounds || slices.Contains(c.peers, "floor") {
		t.Errorf("%d rounds of %v, want %d of thump and what a baseline needs", c.Rounds, c.peers, baselineRounds)
	}
	c, err = parseConfig([]string{"--baseline", program, "--rounds", "2", "--peers", "floor"}, io.Discard)
	if err != nil || c.Rounds != 2 || !slices.Equal(c.peers, []string{"floor", thumpTitle, thumpAgain, baselineTitle}) {
		t.Errorf("%d rounds of %v, %v; want what was asked for, and what a baseline needs", c.Rounds, c.peers, err)
	}
}

// The rows that are compared stand together, and all of them take part in every
// scenario; without a baseline there is only thump.
func TestBaselinePeers(t *testing.T) {
	names := func(cfg config) (names []string) {
		for _, p := range allPeers(cfg) {
			names = append(names, p.name())
		}
		return names
	}
	with := names(config{baseline: "program"})
	i := slices.Index(with, thumpTitle)
	if !slices.Equal(with[i:i+3], []string{thumpTitle, thumpAgain, baselineTitle}) {
		t.Errorf("the peers are %v", with)
	}
	if without := names(config{}); len(without) != len(with)-2 {
		t.Errorf("without a baseline the peers are %v", without)
	}
	again := allPeers(config{self: "self", baseline: "program"})[i+1]
	if _, err := again.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := again.(*pair).argv[roleSend]; !slices.Equal(got, []string{"self", workerCommand, thumpTitle, roleSend}) {
		t.Errorf("thump again is started as %v", got)
	}
	for _, s := range allScenarios() {
		if again.takesPart(s) == (s.Each || s.Command) || again.count(s, 1000) != 1000 {
			t.Errorf("%s: thump again does not do what thump does", s.Name)
		}
	}
}
