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
	if len(c.scenarios) != 2 || c.scenarios[0].Name != "quorum" || c.AckEvery != 25 || c.Count != 5000 {
		t.Errorf("got %+v", c)
	}
}

func TestParseConfigListsEveryFault(t *testing.T) {
	_, err := parseConfig([]string{
		"--count", "0", "--rounds", "-1", "--window", "0", "--prefetch", "70000", "--scenarios", "slow",
		"--peers", "kafka", "--url", "amqp://localhost", "--chroot", "/tree", "more",
	}, io.Discard)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"--count", "--rounds", "--window", "--prefetch", `"slow"`, `"kafka"`, "--url", `"more"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
}
