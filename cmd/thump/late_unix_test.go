//go:build !windows

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/brokertest"
)

// TestLateBetweenSamples stops a run after one sample, and lets it go on before the next, while
// Prometheus asks as often as it can: the next sample says how late that made messages, and so
// does the text.
func TestLateBetweenSamples(t *testing.T) {
	t.Parallel()
	const stopped = 600 * time.Millisecond
	file := filepath.Join(t.TempDir(), "result.json")
	p := start(t, brokertest.All(t)[0].URL, "run", "--queue", brokertest.QueueName(t), "--rate", "100", "--duration", "1h", "--metrics", "127.0.0.1:0", "--json", file)
	url := p.awaitMetrics()
	until := func(metric string, least float64) {
		t.Helper()
		value := regexp.MustCompile(`\n` + metric + ` (\S+)\n`)
		for begin := time.Now(); time.Since(begin) < patience; time.Sleep(10 * time.Millisecond) {
			if m := value.FindStringSubmatch(scrape(t, url)); m != nil {
				if got, err := strconv.ParseFloat(m[1], 64); err == nil && got >= least {
					return
				}
			}
		}
		t.Errorf("%s is never %v", metric, least)
	}
	until("thump_schedule_delay_seconds", 0)
	p.signal(syscall.SIGSTOP)
	time.Sleep(stopped)
	p.signal(syscall.SIGCONT)
	until("thump_published_messages_total", 450) // so that there are samples enough to tell the limit
	p.signal(os.Interrupt)
	if code := p.wait(); code != exitInterrupted {
		t.Errorf("exit code %d\n%s", code, &p.stderr)
	}
	r := readRun(t, file)
	late := 0.0
	for i := range r.Samples {
		late = max(late, result.Value(r.Samples[i].LateSeconds))
	}
	// The first message that it kept waiting was due up to 10 ms after it stopped.
	if least := (stopped - 50*time.Millisecond).Seconds(); late < least || result.Value(r.LateSeconds) < least {
		t.Errorf("it was late for %v s or more: samples are up to %v s late, and the run is %v", least, late, result.Value(r.LateSeconds))
	}
	if text := strings.Join(strings.Fields(p.stdout.String()), " "); strings.Contains(text, "was kept") {
		t.Errorf("it was stopped for %v, and says:\n%s", stopped, text)
	}
}
