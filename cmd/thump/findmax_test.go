package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/brokertest"
)

// TestBroken: a run at a rate holds if it was ok, if what was due came through and was taken, and
// if the limits hold.
func TestBroken(t *testing.T) {
	limit, err := result.ParseCondition("p99<20ms")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*result.Run)
		want   string
	}{
		"all is well":      {func(*result.Run) {}, ""},
		"too slow":         {func(r *result.Run) { r.ReceiveLatency.P99 = 0.021 }, "p99 is 21.0"},
		"never sent":       {func(r *result.Run) { r.NotSent = new(uint64(5)) }, "950 a second were confirmed"},
		"confirmed late":   {func(r *result.Run) { r.SendSeconds = new(10.6) }, "950 a second were confirmed"},
		"not taken":        {func(r *result.Run) { r.BacklogAtSendEnd = new(uint64(501)) }, "the queue grows, to 501 messages"},
		"taken much later": {func(r *result.Run) { r.TotalSeconds = new(11.5) }, "the queue grows, to 3 messages"},
		"lost":             {func(r *result.Run) { r.Verdict = result.Violated }, "violated: "},
	} {
		r := &result.Run{
			Verdict: result.OK, Settings: result.Settings{DurationSeconds: 10}, SendSeconds: new(10.1), TotalSeconds: new(10.2),
			SendRatePerSecond: new(950.0), BacklogAtSendEnd: new(uint64(3)), ReceiveLatency: &result.Latency{Percentiles: result.Percentiles{Count: 1, P99: 0.019}},
		}
		c.change(r)
		why, err := broken(r, 1000, []result.Condition{limit})
		if err != nil || !strings.HasPrefix(why, c.want) || (why == "") != (c.want == "") {
			t.Errorf("%s: %q, %v; want %q", name, why, err, c.want)
		}
	}
}

// TestFindMax looks for a rate on a real broker. How high it is, nobody knows; whether one can be
// confirmed on a busy machine, neither. What it says is what its runs show.
func TestFindMax(t *testing.T) {
	t.Parallel()
	b := brokertest.All(t)[0]
	file := filepath.Join(t.TempDir(), "result.json")
	queue := brokertest.QueueName(t)
	p := start(t, b.URL, "run", "--queue", queue, "--find-max", "p99<1h", "--find-max", "lost==0", "--fail-if", "not_sent>0", "--duration", "500ms", "--json", file, "--save", file+".save")
	code := p.wait()
	text, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	rec, err := result.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	s := rec.Search
	if s == nil || len(s.Limits) != 2 || s.FullRate == nil || rec.Runs[0].Settings.Rate != "" || len(rec.Runs) < 3 {
		t.Fatalf("it found %+v in %d runs\n%s", s, len(rec.Runs), &p.stderr)
	}
	if saved, err := result.ReadFile(file + ".save"); err != nil || len(saved.Runs) != len(rec.Runs) || !reflect.DeepEqual(saved.Search, s) {
		t.Errorf("the run file has %+v, %v; want %+v", saved, err, s)
	}
	switch {
	case code == exitOK && s.Rate != nil:
		last := rec.Runs[len(rec.Runs)-confirmations:]
		for _, r := range last {
			if why, err := broken(r, *s.Rate, nil); r.Settings.Rate != last[0].Settings.Rate || why != "" || err != nil {
				t.Errorf("at %v a run at %s confirms it: %s", *s.Rate, r.Settings.Rate, why)
			}
		}
		if !strings.Contains(p.stdout.String(), "which 2 more runs confirm") {
			t.Errorf("it says\n%s", &p.stdout)
		}
	case code == exitFailed && s.Rate == nil:
		if !strings.Contains(p.stdout.String(), "No rate was found") {
			t.Errorf("it says\n%s", &p.stdout)
		}
	default:
		t.Errorf("exit code %d, and it found %+v", code, s)
	}
	t.Logf("%d runs\n%s%s", len(rec.Runs), &p.stderr, &p.stdout)
}
