package main

import (
	"fmt"
	"strings"

	"github.com/thumpmq/thump"
)

// scenario is one way of moving messages.
type scenario struct {
	Name  string
	Title string

	Sends    bool // the peer publishes
	Receives bool // the peer consumes

	// Safe means a durable queue, persistent messages, confirms and manual acks.
	// Otherwise the queue and the messages are transient, there are no confirms, and
	// acks are automatic, as in the tutorial.
	Safe bool
	Kind thump.QueueKind

	// Stream means a stream, over the stream protocol, which confirms every message.
	// With SubEntries many messages share an entry; otherwise each has one of its
	// own. The fast peers move Times times --stream-count messages: the faster the
	// scenario, the more it needs to last as long.
	Stream     bool
	SubEntries bool
	Times      int

	// Each means that a message's sender waits for its confirm before it sends another.
	// It has peers of its own.
	Each bool

	// Command means that thump run does it, beside the package alone: what it costs that a run
	// measures, of which at most CostMost is to be a share of the time. It has peers of its own.
	Command  bool
	CostMost float64

	// Rate is how many messages a second the publisher is to send, whatever happens; 0 means as many as it can.
	// What counts then is how long they take.
	Rate int

	// Stub means that a stub takes the broker's place; see stubserver.go.
	Stub bool
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
		{
			Name: "each", Sends: true, Safe: true, Each: true, Kind: thump.Classic,
			Title: "publish and wait for each message's confirm: durable queue, persistent messages, 1,000 goroutines on one channel",
		},
		{
			Name: "run", Sends: true, Receives: true, Safe: true, Command: true, CostMost: 0.03, Kind: thump.Classic,
			Title: "what it costs that thump run measures: durable queue, persistent messages, confirms, manual acks",
		},
		{
			Name: "run-stream", Sends: true, Receives: true, Stream: true, SubEntries: true, Times: 20, Command: true, CostMost: 0.15,
			Title: "the same of a stream, sub-entry batches, uncompressed",
		},
		{
			Name: "latency-1k", Rate: 1000, Sends: true, Receives: true, Safe: true, Kind: thump.Classic,
			Title: "how long a message takes at 1,000 a second: durable queue, persistent messages, confirms, manual acks",
		},
		{
			Name: "latency-5k", Rate: 5000, Sends: true, Receives: true, Safe: true, Kind: thump.Classic,
			Title: "how long a message takes at 5,000 a second, otherwise the same",
		},
		{
			Name: "latency-20k", Rate: 20_000, Sends: true, Receives: true, Safe: true, Kind: thump.Classic,
			Title: "how long a message takes at 20,000 a second, otherwise the same",
		},
		{
			Name: "stub-publish", Sends: true, Stub: true,
			Title: "publish only, into a stub that swallows: no confirms; until it has read all",
		},
		{
			Name: "stub-receive", Receives: true, Stub: true,
			Title: "receive only, from a stub that pours: auto-ack",
		},
		{
			Name: "stub-both", Sends: true, Receives: true, Stub: true,
			Title: "publish into a stub and receive from it at once: no confirms, auto-ack",
		},
		{
			Name: "stub-safe", Sends: true, Receives: true, Stub: true, Safe: true,
			Title: "publish into a stub and receive from it at once: confirms, manual acks",
		},
		{
			Name: "stream-publish", Sends: true, Stream: true, Times: 1,
			Title: "publish only: a stream, an entry per message, until all are confirmed",
		},
		{
			Name: "stream-consume", Receives: true, Stream: true, Times: 5,
			Title: "consume only: a stream, an entry per message, from the first",
		},
		{
			Name: "substream-publish", Sends: true, Stream: true, SubEntries: true, Times: 10,
			Title: "publish only: a stream, sub-entry batches, uncompressed, until all are confirmed",
		},
		{
			Name: "substream-consume", Receives: true, Stream: true, SubEntries: true, Times: 20,
			Title: "consume only: a stream, sub-entry batches, uncompressed, from the first",
		},
		{
			Name: "stream", Sends: true, Receives: true, Stream: true, SubEntries: true, Times: 10,
			Title: "publish and consume at once: a stream, sub-entry batches, uncompressed",
		},
	}
}

// defaultScenarios are the scenarios of a run that names none. Quorum queues are
// left out because they take as much time as the rest.
const defaultScenarios = "fast,safe,publish,receive,each,run,run-stream,latency-1k,latency-5k,latency-20k,stub-publish,stub-receive,stub-both,stub-safe,stream-publish,stream-consume,substream-publish,substream-consume,stream"

// scenarioNames lists all scenarios for the help.
func scenarioNames() string {
	var names []string
	for _, s := range allScenarios() {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

// scenariosNamed returns the scenarios of a comma-separated list, in its order.
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
