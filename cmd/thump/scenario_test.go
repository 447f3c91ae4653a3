package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// scenario reads a scenario with the flags of a command line.
func scenario(t *testing.T, text string, args ...string) (*config, error) {
	t.Helper()
	cfg := &config{flags: pflag.NewFlagSet("run", pflag.ContinueOnError), scenario: filepath.Join(t.TempDir(), "s.yaml")}
	cfg.loadFlags(cfg.flags)
	if err := cfg.flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.scenario, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return cfg, cfg.readScenario()
}

func TestScenario(t *testing.T) {
	cfg, err := scenario(t, `# a comment
kind: quorum
publishers: 4
prefetch: 20
body: 100b:80%,10kb:20%
sequential: true
header: [tenant=acme, "attempt:=3"]
queues: 3
exchange: events
exchange-type: topic
routing-keys: a.x:80%,b:20%
binding-key: ["a.#=hello-1", b=hello-2]
priority: 0..9
warm-up: 10s
consume-rate: 1.5k
incompressible: true
ttl: 5s
poll: true
poll-interval: 1s
phases:
  - {rate: 1k, for: 10s}
  - rate: 1k..20k
    for: 1m
  - rate: 500
`, "--publishers", "2")
	if err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{
		"kind": "quorum", "publishers": "2", "prefetch": "20", "body": "100b:80%,10kb:20%", "sequential": "true",
		"rate": "1k:10s,1k..20k:1m0s,500", "header": "[tenant=acme,attempt:=3]",
		"queues": "3", "exchange": "events", "exchange-type": "topic", "routing-keys": "a.x:80%,b:20%", "binding-key": "[a.#=hello-1,b=hello-2]",
		"priority": "0..9", "warm-up": "10s", "consume-rate": "1500", "incompressible": "true", "ttl": "5s",
		"poll": "true", "poll-interval": "1s",
	} {
		if got := cfg.flags.Lookup(flag).Value.String(); got != want || !cfg.given(flag) {
			t.Errorf("--%s is %q, want %q", flag, got, want)
		}
	}
	if cfg.given("count") {
		t.Error("--count was not given, and is")
	}
}

func TestScenariosThatAreWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "names of flags",
		"- a":                                   "names of flags",
		"publishers: [":                         "line 1",
		"publishers: none":                      "line 1: ",
		"colour: red":                           `line 1: "colour" is no flag`,
		"url: amqp://localhost":                 `"url" is no flag`,
		"scenario: other.yaml":                  `"scenario" is no flag`,
		"count: 5\ncount: 6":                    "twice",
		"rate: 5k\nphases:\n - {rate: 5k}":      "twice",
		"phases: 5k":                            "phases must be a list",
		"phases: []":                            "phases must be a list",
		"phases: [{rate: 5k, till: 5s}]":        "phases must be a list",
		"phases: [{for: 5s}]":                   "phases must be a list",
		"phases: [{rate: 5k, for: '5s,6k:1s'}]": "phases must be a list",
		"phases: [{rate: fast}]":                "messages a second",
		"exchange: x\nrouting-keys: [a, b]":     "line 2: routing-keys must be one value, not a list",
		"count: {a: b}":                         "a value, or a list",
		"a: &x 5\ncount: *x":                    "a value, or a list",
		strings.Repeat("#", scenarioMost+1):     "more than",
	} {
		if cfg, err := scenario(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q (count %v)", text, err, want, cfg.send.Count)
		}
	}
}
