package main

import (
	"errors"
	"math"
	"slices"
	"testing"
)

// perfTestSample is what PerfTest 2.22.1 printed, shortened.
const perfTestSample = `id: test-081640-206, starting consumer #0
id: test-081640-206, starting consumer #0, channel #0
id: test-081640-206, starting producer #0
id: test-081640-206, starting producer #0, channel #0
id: test-081640-206, time 1.000 s, sent: 5000 msg/s, received: 4000 msg/s, min/median/75th/95th/99th consumer latency: 2/60/90/120/140 ms
id: test-081640-206, time 2.000 s, sent: 20000 msg/s, received: 18000 msg/s, min/median/75th/95th/99th consumer latency: 2/60/90/120/140 ms
id: test-081640-206, time 3.000 s, sent: 50000 msg/s, received: 40000 msg/s, min/median/75th/95th/99th consumer latency: 2/60/90/120/140 ms
id: test-081640-206, time 5.000 s, sent: 20000 msg/s, received: 30000 msg/s, min/median/75th/95th/99th consumer latency: 2/60/90/120/140 ms
test stopped (Producer reached message limit)
id: test-081640-206, sending rate avg: 23000 msg/s
id: test-081640-206, receiving rate avg: 22500 msg/s
id: test-081640-206, consumer latency min/median/75th/95th/99th 2/60/90/120/140 ms
`

func TestParsePerfTest(t *testing.T) {
	r, err := parsePerfTest(perfTestSample)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.timings(scenario{}); got != nil {
		t.Errorf("timings without a rate: %+v", got)
	}
	if r.sendAverage != 23000 || r.recAverage != 22500 || len(r.seconds) != 4 {
		t.Errorf("got %+v", r)
	}
	if got, want := r.rate(false), 90000.0/3; math.Abs(got-want) > 1e-6 {
		t.Errorf("warm sending rate is %v, want %v", got, want)
	}
	if got, want := r.rate(true), 100000.0/3; math.Abs(got-want) > 1e-6 {
		t.Errorf("warm receiving rate is %v, want %v", got, want)
	}
}

// What PerfTest says of the first seconds does not count, and neither do the averages.
func TestPerfTestLatency(t *testing.T) {
	const start = "id: t, time "
	r, err := parsePerfTest(start + "1.0 s, sent: 1 msg/s, received: 1 msg/s, min/median/75th/95th/99th consumer latency: 1/9000/9000/9000/9000 µs, confirm latency: 1/9000/9000/9000/9000 µs\n" +
		start + "2.0 s, sent: 1 msg/s, received: 1 msg/s, min/median/75th/95th/99th consumer latency: 1/9000/9000/9000/9000 µs, confirm latency: 1/9000/9000/9000/9000 µs\n" +
		start + "3.0 s, sent: 1 msg/s, received: 1 msg/s, min/median/75th/95th/99th consumer latency: 229/1518/5712/8956/17380 µs, confirm latency: 215/1667/8320/67394/91461 µs\n" +
		start + "4.0 s, sent: 0 msg/s, received: 0 msg/s\n" +
		start + "5.0 s, sent: 1 msg/s, received: 1 msg/s, min/median/75th/95th/99th consumer latency: 0/2/5/8/20 ms, confirm latency: 215/1669/8320/67394/91463 µs\n" +
		"id: t, sending rate avg: 1 msg/s\nid: t, receiving rate avg: 1 msg/s\n" +
		"id: t, consumer latency min/median/75th/95th/99th 216/1/1/1/1 µs\n")
	if err != nil {
		t.Fatal(err)
	}
	got := r.timings(scenario{Rate: 1})
	if *got.Receive != (latency{P50: 1759, P99: 18690}) || *got.Confirm != (latency{P50: 1668, P99: 91462}) || got.Late != nil {
		t.Errorf("got %+v and %+v, and %v late", got.Receive, got.Confirm, got.Late)
	}
}

func TestPerfTestRateOfShortRun(t *testing.T) {
	r, err := parsePerfTest("id: t, time 1.002 s, sent: 100 msg/s\n" +
		"id: t, sending rate avg: 74101 msg/s\nid: t, receiving rate avg: 0 msg/s\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := r.rate(false); got != 74101 {
		t.Errorf("rate is %v, want the average, 74101", got)
	}
}

func TestParsePerfTestRefuses(t *testing.T) {
	for name, output := range map[string]string{
		"nothing":     "",
		"an error":    "Main thread caught exception: java.io.IOException",
		"half of it":  "id: t, sending rate avg: 74101 msg/s\n",
		"not a digit": "id: t, sending rate avg: NaN msg/s\nid: t, receiving rate avg: ∞ msg/s\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parsePerfTest(output); !errors.Is(err, errPerfTestOutput) {
				t.Errorf("the error is %v, want %v", err, errPerfTestOutput)
			}
		})
	}
}

func TestPerfTestFlags(t *testing.T) {
	safe := perfTestFlags(scenario{Sends: true, Receives: true, Safe: true},
		task{Queue: "q", Count: 10, Window: 20, Prefetch: 30, AckEvery: 7})
	for _, want := range [][]string{
		{"--pmessages", "10"},
		{"--cmessages", "10"},
		{"--confirm", "20"},
		{"--qos", "30"},
		{"--multi-ack-every", "7"},
		{"--flag", "persistent"},
		{"--queue", "q"},
	} {
		if i := slices.Index(safe, want[0]); i < 0 || safe[i+1] != want[1] {
			t.Errorf("%v lacks %v", safe, want)
		}
	}
	if slices.Contains(safe, "--rate") {
		t.Errorf("%v has --rate", safe)
	}
	paced := perfTestFlags(scenario{Sends: true, Receives: true, Safe: true, Rate: 70}, task{Queue: "q", Count: 10})
	if i := slices.Index(paced, "--rate"); i < 0 || paced[i+1] != "70" || paced[slices.Index(paced, "--size")+1] != "16" {
		t.Errorf("%v: want --rate 70 and --size 16", paced)
	}
	if slices.Contains(safe, "--autoack") {
		t.Errorf("%v has --autoack", safe)
	}
	receive := perfTestFlags(scenario{Receives: true}, task{Queue: "q", Count: 10})
	if !slices.Contains(receive, "--autoack") || slices.Contains(receive, "--pmessages") {
		t.Errorf("%v: want --autoack and no --pmessages", receive)
	}
}

func TestJavaURL(t *testing.T) {
	for in, want := range map[string]string{
		"amqp://u:p@127.0.0.1:5672/":      "amqp://u:p@127.0.0.1:5672",
		"amqp://u:p@127.0.0.1:5672":       "amqp://u:p@127.0.0.1:5672",
		"amqp://u:p%40@127.0.0.1:5672/vh": "amqp://u:p%40@127.0.0.1:5672/vh",
	} {
		if got := javaURL(in); got != want {
			t.Errorf("javaURL(%q) is %q, want %q", in, got, want)
		}
	}
}
