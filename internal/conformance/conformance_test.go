package conformance

import (
	"testing"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// The conformance suite: what the public API promises, on every engine and
// queue kind, against every broker. A case that an engine can't do by its
// nature is not run on it; nothing is ever skipped for another reason.

// engine is a way to carry messages: a protocol and what is at the other end,
// the place that is published to and consumed from. A new one is a row of
// engines.
type engine struct {
	name   string
	kind   thump.QueueKind // of the place, where that is a queue
	target func(name string) thump.Target
	can    ability
}

// ability is what the cases of the suite need of an engine.
type ability uint

const (
	settles    ability = 1 << iota // deliveries are acked, refused, requeued; the rest comes back
	routes                         // exchanges and bindings; an unroutable message is returned
	refuses                        // a full queue can reject what is published
	tables                         // headers may hold tables, arrays, decimals
	exclusive                      // a consumer can ask to be alone
	gets                           // one message can be taken without a consumer
	deletes                        // publishers and consumers see the queue go
	splits                         // a body can be larger than a frame
	trusts                         // messages can be published without confirms
	offsets                        // messages stay, and are read from any of them on
	partitions                     // messages are spread over several streams
)

func engines() []engine {
	const amqp = settles | routes | refuses | tables | exclusive | gets | deletes | splits | trusts
	return []engine{
		{name: "amqp-classic", kind: thump.Classic, target: thump.Queue, can: amqp},
		{name: "amqp-quorum", kind: thump.Quorum, target: thump.Queue, can: amqp &^ exclusive}, // takes no notice of Exclusive
		{name: "stream", target: thump.Stream, can: offsets},
		{name: "super-stream", target: thump.SuperStream, can: partitions},
	}
}

// streams reports whether the engine speaks the stream protocol.
func (e engine) streams() bool { return e.can&(offsets|partitions) != 0 }

// conformanceCase is one promise and the test of it.
type conformanceCase struct {
	name  string
	needs ability
	run   func(*rig)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	var cases []conformanceCase
	for _, list := range [][]conformanceCase{
		messageCases(), publishCases(), outcomeCases(), sendCases(), consumeCases(), stopCases(), settleCases(), routeCases(),
		startCases(), untilCases(), batchCases(), dedupCases(), offsetCases(), groupCases(), filterCases(),
		superCases(), streamConsumeCases(), streamTopologyCases(), streamEndCases(), streamRecoveryCases(), keptCases(), poisonCases(), recoveryCases(), pollCases(),
	} {
		cases = append(cases, list...)
	}
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		for _, e := range engines() {
			t.Run(e.name, func(t *testing.T) {
				t.Parallel()
				for _, c := range cases {
					if c.needs&^e.can != 0 {
						continue
					}
					t.Run(c.name, func(t *testing.T) {
						t.Parallel()
						c.run(newRig(t, b, e))
					})
				}
			})
		}
	})
}
