package main

import (
	"testing"

	"github.com/spf13/pflag"
)

// TestVersus: what --versus compares with has the flags of this run, and its own besides.
func TestVersus(t *testing.T) {
	cfg := &config{command: "thump run", flags: pflag.NewFlagSet("run", pflag.ContinueOnError)}
	cfg.loadFlags(cfg.flags)
	args := []string{
		"--count", "10k", "--body", "100b:80%,10kb:20%", "--header", "tenant=a, b", "--header", "n:=1", "--property", "priority=5", "--rate", "1k:10s,1k..5k:30s", "--arrivals", "poisson", "--publishers", "3", "--window", "500",
		"--header", "tenant=a,b", "--header", "attempt:=3", "--property", "priority=5", "--work", "1ms..2ms", "--requeue", "7%",
		"--queue", "q", "--kind", "quorum", "--consumers", "2", "--sequential", "--prefetch", "7",
	}
	if err := cfg.flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	cfg.several.versus = "--prefetch 1  --kind=classic"
	other, err := cfg.other()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"prefetch": "1", "kind": "classic"}
	cfg.flags.VisitAll(func(f *pflag.Flag) {
		text := f.Value.String()
		if own, ok := want[f.Name]; ok {
			text = own
		}
		if of := other.flags.Lookup(f.Name); of.Value.String() != text || of.Changed != f.Changed {
			t.Errorf("--%s is %q, not %q", f.Name, of.Value, text)
		}
	})
	for _, versus := range []string{"--url amqp://localhost", "--repeat 2", "orders", "--prefetch 0", "--count"} {
		cfg.several.versus = versus
		if _, err := cfg.other(); err == nil {
			t.Errorf("--versus %q is taken", versus)
		}
	}
}
