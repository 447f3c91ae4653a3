package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/thumpmq/thump/cmd/thump/internal/compare"
	"github.com/thumpmq/thump/cmd/thump/internal/page"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// TestKeptSearch: what --find-max has found is in the text, on the page and in the record that
// report makes of a record; and nothing in that is obeyed by a terminal.
func TestKeptSearch(t *testing.T) {
	const queue = "a\u009bd\U000e0001"
	runs := []*result.Run{{Command: "run", Verdict: result.OK, Settings: result.Settings{Queue: queue}}}
	k := &kept{runs: runs, groups: compare.Groups(compare.Source{Name: "a", Runs: runs})}
	k.searches = []*result.Search{{Limits: []string{"p99<20ms"}, Rate: new(4200.0), Confirmations: 2, FullRate: new(9000.0)}}
	if text := k.text(); !strings.Contains(text, "4,200") {
		t.Errorf("the text is %s", text)
	}
	var html, json bytes.Buffer
	if err := errors.Join(page.Write(&html, k.groups, k.searches...), k.writeJSON(&json)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(html.String(), "up to 4,200 messages a second") {
		t.Error("the page does not have it")
	}
	if i := strings.IndexFunc(json.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("the JSON has what nobody sees: %q", json.String()[i:])
	}
	rec, err := result.ReadFrom(&json)
	if err != nil || rec.Search == nil || *rec.Search.Rate != 4200 || rec.Runs[0].Settings.Queue != queue {
		t.Errorf("came back as %+v, %v", rec, err)
	}
}

// TestFailIfJudgesAll: what nobody can tell does not hide what is known to be broken.
func TestFailIfJudgesAll(t *testing.T) {
	var f failIfFlag
	for _, text := range []string{"p99>20ms", "lost>0"} {
		if err := f.Set(text); err != nil {
			t.Fatal(err)
		}
	}
	unknown := &result.Run{Lost: new(uint64(0))}
	err := f.judge([]*result.Run{unknown, unknown, {Lost: new(uint64(3))}})
	if exitCode(err) != exitFailIf || strings.Count(err.Error(), "was not measured") != 1 || !strings.HasPrefix(err.Error(), "--fail-if lost>0: it is 3 in run 3") {
		t.Errorf("got %v", err)
	}
	if err := f.judge([]*result.Run{unknown}); !errors.Is(err, result.ErrNotMeasured) || exitCode(err) == exitFailIf {
		t.Errorf("got %v", err)
	}
}
