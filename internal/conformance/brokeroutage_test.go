package conformance

import (
	"net/url"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/broker"
)

// TestBrokerOutages has the programs of TestOutages at work over every kind of target at once,
// on a node of their own. It is killed and started again, stopped and let go on, raises an alarm
// and lifts it, and closes connections, in a random order; connections break meanwhile.
func TestBrokerOutages(t *testing.T) {
	t.Parallel()
	eachPrivate(t, broker.Options{}, func(r *rig, node *broker.Node) {
		seeds(r.T, *outagesFor, *outagesSeed, func(t *testing.T, seed uint64) {
			s := &storm{workload: newWorkload(t, seed), node: node}
			for i, e := range engines() {
				of := newRig(t, r.broker, e)
				o := newOutages(of, of.patientPlace(), seed+uint64(i))
				o.replay = seed
				s.programs = append(s.programs, o)
			}
			s.run()
			node = s.node
		})
	})
}

// storm is random faults of one broker.
type storm struct {
	*workload
	node *broker.Node
}

func (s *storm) run() {
	s.begin()
	faults := map[string]func(){
		"killed": s.kill, "stopped": s.stop, "closed": s.closeConnections,
		"memory alarm": func() { s.alarm("memory") }, "disk alarm": func() { s.alarm("disk") },
	}
	kinds := []string{"killed"}
	more := []string{"killed", "killed", "stopped", "stopped", "closed", "closed", "memory alarm", "memory alarm", "disk alarm"}
	for range 1 + s.random.IntN(3) {
		kinds = append(kinds, more[s.random.IntN(len(more))])
	}
	s.random.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	for _, kind := range kinds {
		time.Sleep(s.upTo(time.Second))
		s.any().breaker.fault(s.random)
		time.Sleep(s.upTo(500 * time.Millisecond))
		s.fault(kind, faults[kind])
	}
	time.Sleep(s.upTo(time.Second))
	if s.end() == 0 {
		s.Errorf("seed %d: nothing was sent again", s.seed)
	}
}

// sum is that of what f says of each program.
func (s *storm) sum(f func(o *outages) int) (n int) {
	for _, o := range s.programs {
		o.mu.Lock()
		n += f(o)
		o.mu.Unlock()
	}
	return n
}

// await waits until that sum is at least so high.
func (s *storm) await(what string, f func(o *outages) int, least int) {
	s.Helper()
	for start := time.Now(); s.sum(f) < least; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > patience {
			s.Fatalf("seed %d: %s: %d and not %d", s.seed, what, s.sum(f), least)
		}
	}
}

// awaitAway waits until the consumer of every program has lost its connection. The breaker, which
// breaks those of one program at a time, is not enough for that.
func (s *storm) awaitAway() {
	s.Helper()
	s.await("consumers that have noticed it", func(o *outages) int { return min(1, len(o.away)) }, len(s.programs))
}

func blocked(o *outages) int { return o.events[thump.Blocked] }
func closed(o *outages) int  { return o.closed }

// kill kills the node, which may have stopped before, so that much is in flight, and starts it
// again.
func (s *storm) kill() {
	if s.random.IntN(2) == 0 {
		s.noError(s.node.Pause(s.Context()))
		time.Sleep(s.upTo(500 * time.Millisecond))
	}
	s.noError(s.node.Kill())
	s.awaitAway()
	time.Sleep(200*time.Millisecond + s.upTo(2*time.Second)) // at least until what was received before is noted
	for _, o := range s.programs {
		o.mu.Lock()
		o.lives++
		o.mu.Unlock()
	}
	again := s.programs[0].broker.Restart(s.T, s.node, broker.Options{})
	if again.URL != s.node.URL || again.StreamURL != s.node.StreamURL {
		s.Fatal("a process has taken a port of the broker meanwhile")
	}
	s.node = again
}

// stop stops the node, for a moment or until the heartbeat has found out, and lets it go on.
func (s *storm) stop() {
	s.noError(s.node.Pause(s.Context()))
	if s.random.IntN(2) == 0 {
		s.awaitAway()
	}
	time.Sleep(s.upTo(time.Second))
	s.noError(s.node.Resume(s.Context()))
}

// alarm has the node block those who publish, as it does when its memory or disk is full.
func (s *storm) alarm(resource string) {
	before := s.sum(blocked)
	s.eval(s.node, "rabbit_alarm:set_alarm({{resource_limit, "+resource+", node()}, []}).")
	s.await("events that say blocked", blocked, before+1)
	time.Sleep(s.upTo(time.Second))
	s.eval(s.node, "rabbit_alarm:clear_alarm({resource_limit, "+resource+", node()}).")
}

// closeConnections closes all connections, as an operator can.
func (s *storm) closeConnections() {
	u, err := url.Parse(s.node.URL)
	s.noError(err)
	before := s.sum(closed)
	for start := time.Now(); s.sum(closed) == before && time.Since(start) < patience; time.Sleep(100 * time.Millisecond) {
		s.programs[0].manage("DELETE", "connections/username/"+u.User.Username(), nil) // it lists a new one only after a moment
	}
	s.await("connections that an operator has closed", closed, before+1)
}
