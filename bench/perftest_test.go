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
