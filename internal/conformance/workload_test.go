package conformance

import (
	"math/rand/v2"
	"path"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/broker"
)

// workload is programs of TestOutages that work at the same time, on brokers that fail under them.
type workload struct {
	*testing.T
	seed     uint64
	random   *rand.Rand
	programs []*outages
}

func newWorkload(t *testing.T, seed uint64) *workload {
	return &workload{T: t, seed: seed, random: rand.New(rand.NewPCG(seed, 12))}
}

// begin has the programs begin.
func (w *workload) begin() {
	time.Sleep(2 * time.Second) // what is younger may not survive a kill
	for _, o := range w.programs {
		o.begin()
	}
}

// fault is one that meets all of them.
func (w *workload) fault(kind string, f func()) {
	f()
	for _, o := range w.programs {
		o.breaker.count(kind)
	}
}

// end has them come to their ends, and returns how many messages they sent again.
func (w *workload) end() (resent int) {
	for _, o := range w.programs {
		o.stop()
	}
	for _, o := range w.programs {
		o.end()
		resent += o.resent
	}
	if w.Failed() {
		w.Logf("to run it again: go test ./internal/conformance -run '%s' -outage %d", path.Dir(w.Name()), w.seed)
	}
	return resent
}

// upTo is a random time.
func (w *workload) upTo(most time.Duration) time.Duration {
	return time.Duration(w.random.Int64N(int64(most)))
}

// any is one of the programs.
func (w *workload) any() *outages { return w.programs[w.random.IntN(len(w.programs))] }

func (w *workload) eval(node *broker.Node, expression string) {
	w.Helper()
	if output, err := node.Ctl(w.Context(), "eval", expression); err != nil {
		w.Fatalf("seed %d: rabbitmqctl eval %s: %v: %s", w.seed, expression, err, output)
	}
}

func (w *workload) noError(err error) {
	w.Helper()
	if err != nil {
		w.Fatalf("seed %d: %v", w.seed, err)
	}
}
