package main

import (
	"fmt"
	"strings"

	"github.com/thumpmq/thump"
)

// scenario is one way of moving messages that every peer is measured in.
type scenario struct {
	Name  string
	Title string

	Sends    bool // the peer publishes
	Receives bool // the peer consumes

	// Safe is a durable queue, persistent messages, confirms and manual acks;
	// otherwise a transient queue, transient messages, no confirms and auto-ack,
	// as in the tutorial.
	Safe bool
	Kind thump.QueueKind
}

func allScenarios() []scenario {
	return []scenario{
		{
			Name: "fast", Sends: true, Receives: true, Kind: thump.Classic,
			Title: "publish and consume at once: transient queue and messages, no confirms, auto-ack",
		},
		{
			Name: "safe", Sends: true, Receives: true, Safe: true, Kind: thump.Classic,
			Title: "publish and consume at once: durable queue, persistent messages, confirms, manual acks",
		},
		{
			Name: "publish", Sends: true, Kind: thump.Classic,
			Title: "publish only: transient queue and messages, no confirms; until the broker has read all",
		},
		{
			Name: "receive", Receives: true, Kind: thump.Classic,
			Title: "receive only: a backlog in a transient queue, auto-ack",
		},
		{
			Name: "quorum", Sends: true, Receives: true, Safe: true, Kind: thump.Quorum,
			Title: "publish and consume at once: quorum queue, persistent messages, confirms, manual acks",
		},
	}
}

// scenariosNamed picks scenarios by a list of names with commas, in that order.
func scenariosNamed(names string) ([]scenario, error) {
	var picked []scenario
	for name := range strings.SplitSeq(names, ",") {
		found := false
		for _, s := range allScenarios() {
			if s.Name == strings.TrimSpace(name) {
				picked, found = append(picked, s), true
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no scenario %q", name)
		}
	}
	return picked, nil
}
