package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/thumpmq/thump/cmd/thump/internal/compare"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// repeated makes several runs of a million messages at about a rate, with a prefetch.
func repeated(n int, rate float64, prefetch int) []*result.Run {
	var runs []*result.Run
	for i := range n {
		r := million()
		r.Settings.Prefetch = prefetch
		of := rate * (1 + 0.01*float64(i))
		r.SendRatePerSecond, r.ReceiveRatePerSecond = new(of), new(of*0.98)
		r.ReceiveLatency = &result.Latency{Percentiles: result.Percentiles{Count: 1000000, P50: 100 / of, P99: 400 / of}}
		runs = append(runs, r)
	}
	return runs
}

func TestRuns(t *testing.T) {
	broken := repeated(3, 100_000, 2000)
	broken[1].Lost = new(uint64(4))
	broken[1].Judge(nil, false)
	for name, sources := range map[string][]compare.Source{
		"same":     {{Name: "before.json", Runs: repeated(5, 100_000, 2000)}, {Name: "after.json", Runs: repeated(5, 101_000, 2000)}},
		"prefetch": {{Runs: append(repeated(5, 100_000, 2000), repeated(5, 12_000, 1)...)}},
		"single":   {{Name: "a.json", Runs: repeated(1, 100_000, 2000)}, {Name: "b.json", Runs: repeated(1, 160_000, 2000)}, {Name: "c.json", Runs: broken}},
		"repeated": {{Runs: repeated(5, 100_000, 2000)}},
		"broken":   {{Runs: broken}},
	} {
		t.Run(name, func(t *testing.T) { golden(t, "runs-"+name+".txt", Runs(compare.Groups(sources...))) })
	}
}

func TestCSV(t *testing.T) {
	r := million()
	r.Samples = []result.Sample{
		{Seconds: 1.5, Sent: 10, Received: 5, ReceiveLatency: &result.Percentiles{Count: 5, P99: 0.25}},
		{Seconds: 2.5, Broker: &result.BrokerSample{Ready: new(uint64(7)), Alarms: []string{"memory", "disk\n"}}},
	}
	var b bytes.Buffer
	if err := CSV(&b, []*result.Run{r, r}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 5 {
		t.Fatalf("%d lines", len(lines))
	}
	names := strings.Split(lines[0], ",")
	for _, line := range lines[1:] {
		if cells := strings.Split(line, ","); len(cells) != len(names) {
			t.Errorf("%d cells for %d columns: %s", len(cells), len(names), line)
		}
	}
	if !strings.HasPrefix(lines[0], "run,seconds,sent,confirmed,received,") || !strings.HasPrefix(lines[3], "2,1.5,10,0,5,") || !strings.HasSuffix(lines[4], `,memory disk\n`) {
		t.Errorf("%s", &b)
	}
}
