package main

import (
	"errors"
	"math"
	"slices"
	"testing"
)

// streamPerfTestSample is what StreamPerfTest 1.8.0 printed, shortened.
const streamPerfTestSample = `Starting producer
1, published 10 msg/s, confirmed 5 msg/s, consumed 4 msg/s, latency median/75th/95th/99th 0/0/0/0 ms, chunk size 282
2, published 20 msg/s, confirmed 15 msg/s, consumed 14 msg/s, latency median/75th/95th/99th 0/0/0/0 ms, chunk size 372
3, published 300 msg/s, confirmed 290 msg/s, consumed 280 msg/s, latency median/75th/95th/99th 0/0/0/0 ms, chunk size 213
4, published 320 msg/s, confirmed 310 msg/s, consumed 300 msg/s, latency median/75th/95th/99th 0/0/0/0 ms, chunk size 321

Summary: published 200 msg/s, confirmed 190 msg/s, consumed 180 msg/s, latency 95th 0 ms, chunk size 570
`

func TestParseStreamPerfTest(t *testing.T) {
	r, err := parseStreamPerfTest(streamPerfTestSample)
	if err != nil {
		t.Fatal(err)
	}
	if r.sendAverage != 190 || r.recAverage != 180 || len(r.seconds) != 4 {
		t.Errorf("got %+v", r)
	}
	// Warm: without the first two seconds.
	if got := r.rate(false); math.Abs(got-300) > 1e-6 {
		t.Errorf("warm sending rate is %v, want 300", got)
	}
	if got := r.rate(true); math.Abs(got-290) > 1e-6 {
		t.Errorf("warm receiving rate is %v, want 290", got)
	}
}

func TestParseStreamPerfTestRefuses(t *testing.T) {
	for name, output := range map[string]string{
		"nothing":    "",
		"an error":   "Unknown option: '--no-such'",
		"no summary": "1, published 10 msg/s, confirmed 5 msg/s, consumed 4 msg/s\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parseStreamPerfTest(output); !errors.Is(err, errStreamPerfTestOutput) {
				t.Errorf("the error is %v, want %v", err, errStreamPerfTestOutput)
			}
		})
	}
}

func TestStreamPerfTestFlags(t *testing.T) {
	both := streamPerfTestFlags(scenario{Sends: true, Receives: true}, task{Queue: "s", Count: 10, SubEntry: 500})
	for _, want := range [][]string{
		{"--streams", "s"},
		{"--producers", "1"},
		{"--pmessages", "10"},
		{"--consumers", "1"},
		{"--cmessages", "10"},
		{"--offset", "first"},
		{"--sub-entry-size", "500"},
	} {
		if i := slices.Index(both, want[0]); i < 0 || both[i+1] != want[1] {
			t.Errorf("%v lacks %v", both, want)
		}
	}
	receive := streamPerfTestFlags(scenario{Receives: true}, task{Queue: "s", Count: 10})
	if i := slices.Index(receive, "--producers"); i < 0 || receive[i+1] != "0" {
		t.Errorf("%v: want no producers", receive)
	}
	if slices.Contains(receive, "--pmessages") || slices.Contains(receive, "--sub-entry-size") {
		t.Errorf("%v: want neither --pmessages nor --sub-entry-size", receive)
	}
}

func TestStreamPerfTestIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := newStreamPerfTest(config{cache: t.TempDir(), streamPerfTestVersion: "1.8.0"}).prepare(t.Context()); err == nil {
		t.Error("without java it was found")
	}
}
