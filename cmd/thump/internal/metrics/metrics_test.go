package metrics

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// gather returns what is served of a run of which everything is known.
func gather(t *testing.T) []*dto.MetricFamily {
	t.Helper()
	sample := &result.Sample{WantedRate: new(5.0), LateSeconds: new(0.5), Broker: &result.BrokerSample{
		Ready: new(uint64(1)), Unacked: new(uint64(2)), CPU: new(0.5), MemoryBytes: new(uint64(3)), DiskFreeBytes: new(uint64(4)),
		Flow: new(uint64(5)), Blocked: new(uint64(6)), Alarms: []string{"disk"},
	}}
	c := &collector{run: new(Server).runOf(Run{
		Record:   &result.Run{Command: "run", Settings: result.Settings{Queue: "a\xff", Kind: result.Classic, TTLSeconds: 5, Poll: true}},
		Progress: new(load.Progress), Latest: func() *result.Sample { return sample },
	})}
	registry := prometheus.NewRegistry()
	registry.MustRegister(c, one{newConfirmLatency()}, one{newReceiveLatency()})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// one collects a histogram as it is.
type one struct{ h *histogram }

func (one) Describe(chan<- *prometheus.Desc)      {}
func (o one) Collect(ch chan<- prometheus.Metric) { ch <- o.h }

// runOf is where a server has its run.
func (s *Server) runOf(r Run) *atomic.Pointer[Run] {
	s.Watch(r)
	return &s.run
}

// TestNames lets Prometheus' own linter look at every name, and wants all of them.
func TestNames(t *testing.T) {
	families := gather(t)
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%+v, %v", problems, err)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	want := []string{
		"thump_blocked", "thump_broker_alarm", "thump_broker_blocked_connections", "thump_broker_cpu_cores", "thump_broker_disk_free_bytes",
		"thump_broker_flow_connections", "thump_broker_memory_bytes", "thump_confirm_latency_seconds", "thump_confirmed_messages_total",
		"thump_connected", "thump_empty_gets_total", "thump_expired_messages_total", "thump_gets_total", "thump_published_messages_total", "thump_queue_ready_messages", "thump_queue_unacked_messages",
		"thump_receive_latency_seconds", "thump_received_messages_total", "thump_run_info", "thump_schedule_delay_seconds", "thump_wanted_messages_per_second",
	}
	if !slices.Equal(names, want) {
		t.Errorf("got  %q\nwant %q", names, want)
	}
}

// TestHistogram adds values at random, and looks for each in its buckets of both kinds.
func TestHistogram(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	h := newConfirmLatency()
	var count, zeros uint64
	var sum float64
	values := make(map[float64]uint64)
	for range 1000 {
		v, n := random.ExpFloat64()*random.Float64(), random.Uint64N(100)
		if random.IntN(10) == 0 {
			v = 0
			zeros += n
		}
		h.add(v, n)
		values[v] += n
		count, sum = count+n, sum+v*float64(n)
	}
	var m dto.Metric
	if err := h.Write(&m); err != nil {
		t.Fatal(err)
	}
	got := m.GetHistogram()
	if got.GetSampleCount() != count || got.GetSampleSum()-sum > 1e-6*sum || got.GetZeroCount() < zeros {
		t.Errorf("%d, %v, %d, want %d, %v, %d", got.GetSampleCount(), got.GetSampleSum(), got.GetZeroCount(), count, sum, zeros)
	}
	for _, b := range got.GetBucket() {
		var below uint64
		for v, n := range values {
			if v <= b.GetUpperBound() {
				below += n
			}
		}
		if b.GetCumulativeCount() != below {
			t.Errorf("up to %v: %d, want %d", b.GetUpperBound(), b.GetCumulativeCount(), below)
		}
	}
	native, at, total, deltas := make(map[int]int64), 0, int64(0), got.GetPositiveDelta()
	for _, span := range got.GetPositiveSpan() {
		at += int(span.GetOffset())
		for range span.GetLength() {
			total += deltas[0]
			native[at] = total
			at, deltas = at+1, deltas[1:]
		}
	}
	if len(deltas) > 0 {
		t.Errorf("%d deltas are in no span", len(deltas))
	}
	sumOf := got.GetZeroCount()
	for bucket, n := range native {
		sumOf += uint64(n)
		if n != h.native[bucket] {
			t.Errorf("bucket %d has %d, want %d", bucket, n, h.native[bucket])
		}
	}
	if sumOf != count {
		t.Errorf("the buckets have %d of %d", sumOf, count)
	}
}

func TestServe(t *testing.T) {
	for _, address := range []string{"0", ":0", "127.0.0.1:0", "localhost:0"} {
		s, err := Serve(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(s.URL(), "http://127.0.0.1:") && !strings.HasPrefix(s.URL(), "http://[::1]:") {
			t.Errorf("%q: %s", address, s.URL())
		}
		for path, want := range map[string]int{"": http.StatusOK, "/other": http.StatusNotFound} {
			if got := status(t, s.URL()+path); got != want {
				t.Errorf("%s%s: %d", s.URL(), path, got)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, address := range []string{"127.0.0.1:", "a:b:c", "127.0.0.1:x", ":"} {
		if s, err := Serve(t.Context(), address); err == nil {
			t.Errorf("%q: serves at %s", address, s.URL())
		}
	}
}

func status(t *testing.T, url string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// TestDashboardAndManual name metrics that exist, and the manual all of them.
func TestDashboardAndManual(t *testing.T) {
	var all []string
	for _, f := range gather(t) {
		all = append(all, f.GetName())
	}
	for _, file := range []string{"grafana.json", "metrics.md"} {
		text, err := os.ReadFile("../../../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		named := regexp.MustCompile(`thump_[a-z_]+`).FindAllString(string(text), -1)
		for _, name := range named {
			if name = strings.TrimSuffix(name, "_bucket"); !slices.Contains(all, name) && name != "thump_version" {
				t.Errorf("%s names %s, which is not there", file, name)
			}
		}
		for _, name := range all {
			if file == "metrics.md" && !slices.Contains(named, name) {
				t.Errorf("%s does not name %s", file, name)
			}
		}
		if file == "grafana.json" && (!json.Valid(text) || len(named) < 20) {
			t.Errorf("%s is no dashboard", file)
		}
	}
}
