package main

import (
	"io"
	"strings"
	"testing"
)

func TestParseConfig(t *testing.T) {
	c, err := parseConfig([]string{"--count", "5000", "--scenarios", "quorum,fast", "--peers", "thump", "--prefetch", "100"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if c.StreamCount != 1_000_000 || c.SubEntry != 500 {
		t.Errorf("defaults of streams: got %+v", c.settings)
	}
	if len(c.scenarios) != 2 || c.scenarios[0].Name != "quorum" || c.AckEvery != 25 || c.Count != 5000 {
		t.Errorf("got %+v", c)
	}
}

func TestParseConfigListsEveryFault(t *testing.T) {
	_, err := parseConfig([]string{
		"--count", "0", "--stub-count", "5", "--latency-seconds", "0", "--rounds", "-1", "--window", "0", "--prefetch", "70000", "--scenarios", "slow",
		"--peers", "kafka", "--url", "amqp://localhost", "--chroot", "/tree", "more",
		"--stream-count", "5",
	}, io.Discard)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"--count", "--rounds", "--window", "--prefetch", "--stub-count", "--latency-seconds", `"slow"`, `"kafka"`, "--url", `"more"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
}

func TestParseConfigOfStreams(t *testing.T) {
	_, err := parseConfig([]string{
		"--stream-count", "5", "--stream-window", "5", "--sub-entry", "70000", "--stream-url", "rabbitmq-stream://localhost",
	}, io.Discard)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"--stream-count", "--stream-window", "--sub-entry", "--stream-url"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
	for in, want := range map[string]string{
		"amqp://u:p%40@host:5672/":  "rabbitmq-stream://u:p%40@host:5552/",
		"amqp://host":               "rabbitmq-stream://host:5552",
		"amqp://u:p@[::1]:99/v%2Fh": "rabbitmq-stream://u:p@[::1]:5552/v%2Fh",
		"amqps://host:5671/%2F":     "rabbitmq-stream+tls://host:5551/%2F",
	} {
		c, err := parseConfig([]string{"--url", in}, io.Discard)
		if err != nil || c.streamURL != want {
			t.Errorf("the stream URL of %s is %s, %v; want %s", in, c.streamURL, err, want)
		}
	}
	c, err := parseConfig([]string{"--url", "amqp://host", "--stream-url", "rabbitmq-stream://other"}, io.Discard)
	if err != nil || c.streamURL != "rabbitmq-stream://other" {
		t.Errorf("--stream-url became %s, %v", c.streamURL, err)
	}
}

func TestCountOf(t *testing.T) {
	s := settings{Count: 7, StreamCount: 100, StubCount: 9, LatencySeconds: 3}
	if got := s.countOf(scenario{}); got != 7 {
		t.Errorf("of a queue: %d, want 7", got)
	}
	if got := s.countOf(scenario{Stub: true}); got != 9 {
		t.Errorf("with the stub: %d, want 9", got)
	}
	if got, want := s.countOf(scenario{Rate: 10}), 10*(latencyWarmSeconds+3); got != want {
		t.Errorf("with a rate: %d, want %d", got, want)
	}
	if got := s.countOf(scenario{Stream: true, Times: 5}); got != 500 {
		t.Errorf("of a stream: %d, want 500", got)
	}
}

// Every scenario has somebody to be measured beside thump, and every peer that a
// default run names exists.
func TestPeersTakePart(t *testing.T) {
	peers := map[string]peer{}
	for _, p := range allPeers(config{}) {
		peers[p.name()] = p
	}
	for name := range strings.SplitSeq(defaultPeers, ",") {
		if peers[name] == nil {
			t.Errorf("there is no peer %q", name)
		}
	}
	if _, err := scenariosNamed(defaultScenarios); err != nil {
		t.Error(err)
	}
	s := settings{Count: 200_000, StreamCount: 1_000_000, StubCount: 2_000_000, LatencySeconds: 8}
	for _, sc := range allScenarios() {
		taking := 0
		for _, p := range peers {
			if !p.takesPart(sc) {
				continue
			}
			taking++
			n := p.count(sc, s.countOf(sc))
			if n < 1 || sc.Stream && !sc.Sends && n > s.countOf(sc) {
				t.Errorf("%s moves %d messages in %s", p.name(), n, sc.Name)
			}
		}
		switch {
		case sc.Stub && taking == 3 && peers["thump"].takesPart(sc) && peers["amqp091-go"].takesPart(sc):
		case sc.Rate > 0 && taking == 4 && peers["thump"].takesPart(sc) && peers["PerfTest"].takesPart(sc):
		case sc.Each && taking == 3 && peers[thumpEach].takesPart(sc):
		case sc.Command && taking == 3 && peers[runTitle].takesPart(sc) && peers[aloneTitle].takesPart(sc):
		case sc.Each || sc.Command || sc.Stub || sc.Rate > 0 || taking < 5 || !peers["thump"].takesPart(sc) || !peers["floor"].takesPart(sc):
			t.Errorf("%s has %d peers", sc.Name, taking)
		}
		if peers[thumpUnchecked].takesPart(sc) != (sc.Stream && sc.Receives && !sc.Command) {
			t.Errorf("%s: thump unchecked is for streams that are read", sc.Name)
		}
	}
}
