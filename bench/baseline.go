package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"runtime/debug"
)

// A baseline is this program built from another commit. Only the worker processes
// of the row "baseline" are of that build; the parent and all other peers are of
// this one. Both builds must speak the same lines (worker.go). What differs is
// package thump, and also what bench itself does in its thump workers: thump.go,
// thumpstream.go and body.go are as they were at that commit.

const (
	thumpTitle = "thump"
	// thumpAgain is this build a second time. How it differs from the first is
	// noise.
	thumpAgain    = "thump-again"
	baselineTitle = "baseline"
)

// baselineRounds is the default of --rounds with a baseline: there are six orders
// of three peers.
const baselineRounds = 6

// benchPackage is the main package of this program.
const benchPackage = "github.com/thumpmq/thump/bench"

// baselinePeers are the peers that a baseline needs in addition to thump.
func baselinePeers(cfg config) []peer {
	again := goPeer(thumpTitle, "github.com/thumpmq/thump", cfg.self, everywhere, nil)
	again.title = thumpAgain
	baseline := &pair{title: baselineTitle, part: everywhere, find: func(context.Context) (string, map[string][]string, error) {
		version, err := inspectBaseline(cfg.baseline)
		return version, workers(cfg.baseline, thumpTitle), err
	}}
	return []peer{again, baseline}
}

// inspectBaseline returns the commit and the Go version that a build of this
// program records. It is an error if path is no such build.
func inspectBaseline(path string) (version string, err error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "", err
	}
	return buildVersion(info)
}

func buildVersion(info *debug.BuildInfo) (string, error) {
	if info.Path != benchPackage {
		return "", fmt.Errorf("it is a build of %s, not of %s", info.Path, benchPackage)
	}
	const digits = 12 // of a revision, as Git shortens it
	revision, changed := "an unknown commit", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(digits, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = " with changes"
		}
	}
	return revision + changed + ", " + info.GoVersion, nil
}
