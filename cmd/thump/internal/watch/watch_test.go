package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/brokertest"
	"github.com/thumpmq/thump/internal/management"
)

// TestSamplesAreOnAGrid takes them at whole seconds however long each takes, leaves out the
// moments that are missed, and takes one at the end.
func TestSamplesAreOnAGrid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []float64
		w := Start(t.Context(), Config{Progress: new(load.Progress), OnSample: func(s result.Sample) {
			got = append(got, s.Seconds)
			time.Sleep(300 * time.Millisecond)
			if s.Seconds == 3 {
				time.Sleep(2 * time.Second)
			}
		}})
		time.Sleep(7500 * time.Millisecond)
		r := new(result.Run)
		w.Stop(r)
		if want := []float64{1, 2, 3, 6, 7, 7.5}; !slices.Equal(got, want) || len(r.Samples) != len(want) || r.Samples[3].Seconds != 6 {
			t.Errorf("at %v, want %v; the run has %d", got, want, len(r.Samples))
		}
		if r.Events == nil || r.ClientCPUSeconds == nil || r.Samples[0].Client.GCPauseSeconds == nil || r.Samples[0].Broker != nil {
			t.Errorf("%+v", r)
		}
	})
}

// TestLongRun has as many samples as a run may have, in the run and in its file.
func TestLongRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var file bytes.Buffer
		w := Start(t.Context(), Config{Progress: new(load.Progress), Writer: result.NewWriter(&file)})
		const hours = 6
		time.Sleep(hours*time.Hour + time.Second/2)
		r := new(result.Run)
		w.Stop(r)
		// 4096 of one second, then 2048 of two, and so on.
		want := result.SamplesMost + 2*result.SamplesMost/2
		if lines := strings.Count(file.String(), "\n"); len(r.Samples) > result.SamplesMost || lines < want || lines > want+result.SamplesMost/2 {
			t.Errorf("%d samples, and %d lines in the file", len(r.Samples), lines)
		}
		if last := r.Samples[len(r.Samples)-1].Seconds; last != hours*3600+0.5 {
			t.Errorf("the last is at %v", last)
		}
	})
}

// TestBrokerThatHangs is a gap in the samples, and is asked one question at a time. It holds
// up neither the samples nor the end.
func TestBrokerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, asking, most atomic.Int64
		var hangs atomic.Bool
		depth := func(ctx context.Context) (uint64, error) {
			asked.Add(1)
			most.Store(max(most.Load(), asking.Add(1)))
			defer asking.Add(-1)
			if hangs.Load() {
				<-ctx.Done()
				return 0, ctx.Err()
			}
			time.Sleep(10 * time.Millisecond)
			return 7, nil
		}
		var samples []result.Sample
		w := Start(t.Context(), Config{Progress: new(load.Progress), Broker: Broker{Depth: depth}, OnSample: func(s result.Sample) { samples = append(samples, s) }})
		time.Sleep(5500 * time.Millisecond)
		hangs.Store(true)
		time.Sleep(60 * time.Second)
		hangs.Store(false)
		time.Sleep(60 * time.Second)
		hangs.Store(true)
		time.Sleep(10 * time.Second)
		begin := time.Now()
		w.Stop(new(result.Run))
		if took := time.Since(begin); took != 0 {
			t.Errorf("the end took %v", took)
		}
		known := func(from, to int) (n int) {
			for _, s := range samples[from:to] {
				if s.Broker != nil && s.Broker.Ready != nil && *s.Broker.Ready == 7 {
					n++
				}
			}
			return n
		}
		if len(samples) < 135 || known(0, 5) != 5 || known(6, 65) != 0 || known(100, 120) != 20 {
			t.Errorf("%d samples: %d, %d, %d", len(samples), known(0, 5), known(6, 65), known(100, 120))
		}
		if most.Load() != 1 || asked.Load() > 80 {
			t.Errorf("%d questions, %d at a time", asked.Load(), most.Load())
		}
	})
}

// TestBrokerThatIsSlow is asked for a third of the time at most, and one that never
// answers a few times.
func TestBrokerThatIsSlow(t *testing.T) {
	for _, tt := range []struct {
		name string
		took time.Duration
		err  error
		most int64
	}{
		{"slow", 2500 * time.Millisecond, nil, 13},
		{"refuses", time.Millisecond, errors.New("no"), hopeless},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int64
				w := Start(t.Context(), Config{Progress: new(load.Progress), Broker: Broker{Depth: func(context.Context) (uint64, error) {
					asked.Add(1)
					time.Sleep(tt.took)
					return 0, tt.err
				}}})
				time.Sleep(100 * time.Second)
				w.Stop(new(result.Run))
				if n := asked.Load(); n > tt.most || n < tt.most-1 {
					t.Errorf("%d questions in 100 s, want %d", n, tt.most)
				}
			})
		})
	}
}

// TestEvents tells of the run's connections as of one.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		progress, interrupted := new(load.Progress), make(chan struct{})
		var file bytes.Buffer
		w := Start(t.Context(), Config{Progress: progress, Interrupted: interrupted, Writer: result.NewWriter(&file)})
		tell := func(e thump.Event) {
			e.At = time.Now()
			progress.Tell(e)
			w.Tell(e)
		}
		lost := thump.Event{Kind: thump.Disconnected, Of: "publisher to queue", Err: fmt.Errorf("reading: %w", io.ErrUnexpectedEOF)}
		time.Sleep(2 * time.Second)
		tell(lost)
		tell(lost)
		time.Sleep(time.Second / 4)
		tell(thump.Event{Kind: thump.Recovered, Of: lost.Of})
		time.Sleep(time.Second / 4)
		tell(thump.Event{Kind: thump.Recovered, Of: lost.Of})
		time.Sleep(2 * time.Second)
		close(interrupted)
		time.Sleep(time.Second)
		r := new(result.Run)
		w.Stop(r)
		if text := fmt.Sprint(r.Events); text != "[{2 disconnected reading: unexpected EOF} {2.5 recovered after 0.5 s} {4.5 interrupted }]" {
			t.Errorf("got %s", text)
		}
		if n := strings.Count(file.String(), `"event"`); n != len(r.Events) {
			t.Errorf("%d events are in the file", n)
		}
	})
}

func TestAlarms(t *testing.T) {
	e := events{begin: time.Now(), progress: new(load.Progress)}
	at := e.begin.Add(time.Second)
	for _, b := range []*result.BrokerSample{
		{Alarms: []string{}}, {Alarms: []string{"memory"}}, nil, {}, {Alarms: []string{"memory", "disk"}}, {Alarms: []string{"disk"}},
	} {
		e.lookAt(at, b)
	}
	if text := fmt.Sprint(e.all()); text != "[{1 alarm raised memory} {1 alarm raised disk} {1 alarm cleared memory}]" {
		t.Errorf("got %s", text)
	}
}

func TestEventsHaveAnEnd(t *testing.T) {
	e := events{begin: time.Now(), progress: new(load.Progress)}
	for range 2 * result.EventsMost {
		e.add(time.Now(), result.Blocked, "")
	}
	if n := len(e.all()); n != result.EventsMost {
		t.Errorf("%d events", n)
	}
}

// TestManagement has answers of the API in samples, and none that are too old.
func TestManagement(t *testing.T) {
	var down atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/api/")
		switch {
		case down.Load():
			w.WriteHeader(http.StatusInternalServerError)
		case path == "nodes":
			_, _ = io.WriteString(w, `[{"mem_used": 5, "disk_free": 100}, {"mem_used": 7, "disk_free": "unknown", "disk_free_alarm": true}, {"name": "down"}]`)
		case path == "connections":
			_, _ = io.WriteString(w, `{"page_count": 1, "items": [{"user_provided_name": "thump run", "state": "flow"},
				{"user_provided_name": "thump run", "state": "blocked"}, {"user_provided_name": "thump run", "state": "blocking"},
				{"user_provided_name": "other", "state": "flow"}, {"user_provided_name": "thump run", "state": "running"}, {}]}`)
		case strings.HasPrefix(path, "queues/v/"):
			_, _ = io.WriteString(w, `{"messages_ready": 10, "messages_unacknowledged": 3, "message_stats": {"publish_details": {"rate": 2.5}}}`)
		}
	}))
	defer server.Close()
	api, err := management.New(management.Config{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	samples := make(chan result.Sample, 10_000)
	w := startEvery(t.Context(), 200*time.Millisecond, Config{
		Progress: new(load.Progress), OnSample: func(s result.Sample) { samples <- s },
		Broker: Broker{
			API: api, Vhost: "v", Names: []string{"q-1", "q-2"}, Connection: "thump run",
			Used: func() (float64, uint64, bool) { return 0, 0, false },
		},
	})
	defer w.Stop(new(result.Run))
	const want = "20 6 5 <nil> 7 100 1 2 [disk]"
	var text string
	await(t, samples, func(s result.Sample) bool {
		if b := s.Broker; b != nil {
			text = show(b.Ready) + show(b.Unacked) + show(b.PublishRate) + show(b.DeliverRate) + show(b.MemoryBytes) + show(b.DiskFreeBytes) +
				show(b.Flow) + show(b.Blocked) + fmt.Sprint(b.Alarms)
		}
		return text == want
	}, &text)
	down.Store(true)
	await(t, samples, func(s result.Sample) bool { return s.Broker == nil }, &text)
}

func show[T any](p *T) string {
	if p == nil {
		return "<nil> "
	}
	return fmt.Sprint(*p) + " "
}

// await waits for a sample.
func await(t *testing.T, samples <-chan result.Sample, wanted func(result.Sample) bool, said *string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case s := <-samples:
			if wanted(s) {
				return
			}
		case <-deadline:
			t.Fatalf("no such sample; the last is %s", *said)
		}
	}
}

// TestUsed adds up what a broker's process uses, over a restart.
func TestUsed(t *testing.T) {
	var mu sync.Mutex
	seconds, there := 100.0, true
	v := startBroker(t.Context(), new(sync.WaitGroup), grid{time.Now(), time.Second}, Broker{Used: func() (float64, uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		return seconds, 9, there
	}})
	at := v.at
	next := func(now float64, ok bool) string {
		at, seconds, there = at.Add(2*time.Second), now, ok
		s := v.sample(at)
		if s == nil {
			return ""
		}
		return show(s.CPU) + show(s.MemoryBytes)
	}
	got := []string{next(103, true), next(0, false), next(1, true), next(2, true)}
	if want := []string{"1.5 9 ", "", "<nil> 9 ", "0.5 9 "}; !slices.Equal(got, want) || *v.totalCPU() != 4 {
		t.Errorf("got %q, %v", got, *v.totalCPU())
	}
}

// TestListener finds the process of each broker, and none behind a port of our own.
func TestListener(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		u, err := url.Parse(b.URL)
		if err != nil {
			t.Fatal("the broker's URL does not parse")
		}
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		seconds, memory, ok := NewListener(uint16(port)).Used()
		if !ok || seconds <= 0 || memory < 1<<20 {
			t.Errorf("it has used %v s and %d bytes, %t", seconds, memory, ok)
		}
	})
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	_, text, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := NewListener(uint16(port)).Used(); ok {
		t.Error("a program that is no broker is taken for one")
	}
}
