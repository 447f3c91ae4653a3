package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/broker"
	"github.com/thumpmq/thump/internal/brokertest"
)

// TestPauseShowsInLatency: at a rate, a broker that does nothing for two seconds delays every
// message that was due meanwhile, and all of them count. If the sender waited for the broker and
// counted from then, one batch would have taken two seconds, and no percentile would show it.
func TestPauseShowsInLatency(t *testing.T) {
	t.Parallel()
	const perSecond, seconds = 1000, 15
	node := brokertest.All(t)[0].Private(t, broker.Options{})
	file := filepath.Join(t.TempDir(), "result.json")
	p := start(t, node.URL, "run", "--rate", "1k", "--duration", "15s", "--json", file)
	awaitConsumer(t, node.URL)
	time.Sleep(3 * time.Second) // the publisher comes next, and some messages are to be on time
	if err := node.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	paused := time.Now()
	time.Sleep(2 * time.Second)
	atLeast := time.Since(paused).Seconds()
	if err := node.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, &p.stderr)
	}
	r := readRun(t, file)
	if r.Verdict != result.OK || *r.Confirmed != perSecond*seconds || *r.SendSeconds < seconds-0.1 {
		t.Errorf("the record is %+v", r)
	}
	for name, l := range map[string]*result.Latency{"confirm": r.ConfirmLatency, "receive": r.ReceiveLatency} {
		// Those of the first 15 ms of the pause are one in a thousand.
		if l.Count != perSecond*seconds || l.P999 < atLeast-0.05 || !l.FromIntended {
			t.Errorf("after a pause of %.3f s the latency of the %s is %+v", atLeast, name, l)
		}
		t.Logf("paused for %.3f s; %s: p50 %.6f, p99 %.6f, p99.9 %.6f, max %.6f", atLeast, name, l.P50, l.P99, l.P999, l.Max)
	}
}

// awaitConsumer returns once the queue of a run without --queue has a consumer.
func awaitConsumer(t *testing.T, url string) {
	t.Helper()
	client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{url}})
	if err != nil {
		t.Fatal(err)
	}
	for {
		info, err := client.InspectQueue(t.Context(), queueDefault)
		if err == nil && info.Consumers > 0 {
			break
		}
		if err != nil && !thump.IsNotFound(err) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := client.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
