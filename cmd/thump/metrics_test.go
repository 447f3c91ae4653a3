package main

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/thumpmq/thump/internal/brokertest"
)

// TestMetrics scrapes a run while it goes on.
func TestMetrics(t *testing.T) {
	t.Parallel()
	brokers := brokertest.All(t)
	b := brokers[len(brokers)-1]
	p := start(t, b.URL, "run", "--queue", brokertest.QueueName(t), "--count", "1000m", "--metrics", "127.0.0.1:0", "--management-url", b.ManagementURL)
	url := p.awaitMetrics()
	for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		text := scrape(t, url)
		all := true
		for _, wanted := range []string{
			`\nthump_published_messages_total [1-9]`, `\nthump_confirmed_messages_total [1-9]`, `\nthump_received_messages_total [1-9]`,
			`\nthump_confirm_latency_seconds_count [1-9]`, `\nthump_receive_latency_seconds_bucket\{le="0\.5"\} [0-9]`,
			`\nthump_connected 1\n`, `\nthump_broker_alarm\{alarm="memory"\} 0\n`, `\nthump_queue_ready_messages [0-9]`,
			`\nthump_run_info\{broker_version="4[^"]*",command="run",kind="classic",queue="[^"]+",thump_version="[^"]+"\} 1\n`, `\ngo_goroutines `,
		} {
			all = all && regexp.MustCompile(wanted).MatchString(text)
		}
		if all {
			problems, err := promlint.New(strings.NewReader(text)).Lint()
			if err != nil || len(problems) > 0 {
				t.Errorf("%+v, %v", problems, err)
			}
			break
		}
		if time.Since(begin) > patience {
			t.Fatalf("the metrics are never all there:\n%s", text)
		}
	}
	p.interrupt()
	if code := p.wait(); code != exitInterrupted {
		t.Errorf("exit code %d\n%s", code, &p.stderr)
	}
}

// awaitMetrics waits until a run says where its metrics are.
func (p *process) awaitMetrics() (url string) {
	p.t.Helper()
	at := regexp.MustCompile(`^Prometheus finds metrics at (http://127\.0\.0\.1:[0-9]+/metrics)$`)
	p.awaitLine("where the metrics are", func(line string) bool {
		if m := at.FindStringSubmatch(line); m != nil {
			url = m[1]
		}
		return url != ""
	})
	return url
}

func scrape(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v: %s", answer.Status, err, body)
	}
	return string(body)
}
