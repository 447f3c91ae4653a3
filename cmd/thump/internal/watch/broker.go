package watch

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/management"
)

const (
	// ratesMost is how many queues the API is asked for.
	ratesMost = 8
	// renewed is how often RabbitMQ renews what its API says. Until then it is what it was.
	renewed = 5 * time.Second
)

// Broker is how a broker is looked at. What is not set is not known.
type Broker struct {
	// Depth asks how many messages are ready in the queues of the run, or stored in its
	// streams. It must return when ctx ends.
	Depth func(ctx context.Context) (uint64, error)
	// API is the management API; nil if there is none. Vhost and Names are where the queues
	// or streams of the run are, and Connection what its connections call themselves.
	API        *management.Client
	Vhost      string
	Names      []string
	Connection string
	// Used is what the broker's process has used, if it is on this machine: seconds of
	// processor time, and the memory that it has, 0 if that is not known.
	Used func() (cpuSeconds float64, memoryBytes uint64, ok bool)
}

// brokerView is what is seen of a broker.
type brokerView struct {
	cfg    Broker
	depth  *asker[uint64]
	states *asker[states]
	nodes  *asker[nodes]
	conns  *asker[connections]

	asked   bool // Depth has answered
	counted bool // RabbitMQ knows rates

	at              time.Time // of the last Used that was known
	cpu             float64
	cpuTotal        float64 // over restarts of the broker
	cpuKnown, begun bool
}

// states are the sums over the queues of a run.
type states struct {
	ready, unacked   *uint64
	publish, deliver *float64
}

type nodes []management.Node

// connections are the numbers of the run's that are in flow control, and that are blocked.
type connections struct{ flow, blocked *uint64 }

func startBroker(ctx context.Context, all *sync.WaitGroup, g grid, cfg Broker) *brokerView {
	v := &brokerView{cfg: cfg}
	v.depth = start(ctx, all, g, &asker[uint64]{ask: cfg.Depth, keep: g.every, share: shareOfDepth})
	v.use(time.Now())
	if cfg.API == nil {
		v.states, v.nodes, v.conns = new(asker[states]), new(asker[nodes]), new(asker[connections])
		return v
	}
	v.states = start(ctx, all, g, &asker[states]{ask: v.askStates, keep: renewed, share: shareOfAPI})
	v.nodes = start(ctx, all, g, &asker[nodes]{
		ask:  func(ctx context.Context) (nodes, error) { return cfg.API.Nodes(ctx) },
		keep: renewed, share: shareOfAPI,
	})
	v.conns = start(ctx, all, g, &asker[connections]{ask: v.askConnections, keep: renewed, share: shareOfAPI})
	return v
}

// askStates asks the API for the run's queues, if they are few.
func (v *brokerView) askStates(ctx context.Context) (sum states, err error) {
	if len(v.cfg.Names) > ratesMost {
		return sum, nil
	}
	for _, name := range v.cfg.Names {
		s, err := v.cfg.API.State(ctx, v.cfg.Vhost, name)
		if err != nil {
			return sum, err
		}
		sum.ready, sum.unacked = plus(sum.ready, s.Ready), plus(sum.unacked, s.Unacked)
		sum.publish, sum.deliver = plus(sum.publish, s.PublishRate), plus(sum.deliver, s.DeliverRate)
	}
	return sum, nil
}

func (v *brokerView) askConnections(ctx context.Context) (c connections, err error) {
	list, all, err := v.cfg.API.Connections(ctx)
	if err != nil || !all {
		return c, err
	}
	c.flow, c.blocked = new(uint64(0)), new(uint64(0))
	for _, conn := range list {
		switch {
		case conn.Name != v.cfg.Connection:
		case conn.State == "flow":
			*c.flow++
		case conn.State == "blocked" || conn.State == "blocking":
			*c.blocked++
		}
	}
	return c, nil
}

// sample is what the broker says of itself; nil if nothing.
func (v *brokerView) sample(at time.Time) *result.BrokerSample {
	var s result.BrokerSample
	known := false
	if q := v.states.answer(at); q != nil {
		s.Ready, s.Unacked, known = q.ready, q.unacked, true
		// Until RabbitMQ has counted twice it says that nothing comes and goes.
		if v.counted = v.counted || result.Value(q.publish)+result.Value(q.deliver) > 0; v.counted {
			s.PublishRate, s.DeliverRate = q.publish, q.deliver
		}
	}
	if n := v.nodes.answer(at); n != nil {
		s.Alarms, known = n.alarms(), true
		s.MemoryBytes, s.DiskFreeBytes = n.sizes()
	}
	if c := v.conns.answer(at); c != nil {
		s.Flow, s.Blocked, known = c.flow, c.blocked, true
	}
	// The depth is of now, and the API's is older: a course has the one or the other.
	if ready := v.depth.answer(at); ready != nil || v.asked {
		s.Ready, known, v.asked = ready, known || ready != nil, true
	}
	if cpu, memory, ok := v.use(at); ok {
		s.CPU, known = cpu, true
		if memory > 0 {
			s.MemoryBytes = &memory
		}
	}
	if !known {
		return nil
	}
	return &s
}

// use is what the broker's process has used since the last time; cpu is nil the first time.
func (v *brokerView) use(at time.Time) (cpu *float64, memory uint64, ok bool) {
	if v.cfg.Used == nil {
		return nil, 0, false
	}
	seconds, memory, ok := v.cfg.Used()
	if !ok {
		v.cpuKnown = false
		return nil, 0, false
	}
	if used, elapsed := seconds-v.cpu, at.Sub(v.at).Seconds(); v.cpuKnown && used >= 0 && elapsed > 0 {
		cpu = new(used / elapsed)
		v.cpuTotal += used
	}
	v.cpu, v.at, v.cpuKnown, v.begun = seconds, at, true, true
	return cpu, memory, true
}

// totalCPU is the processor time that the broker has used; nil if that was never known.
func (v *brokerView) totalCPU() *float64 {
	if !v.begun {
		return nil
	}
	return &v.cpuTotal
}

// alarms are those of all nodes: one blocks the publishers of all.
func (list nodes) alarms() []string {
	alarms := []string{}
	if slices.ContainsFunc(list, func(n management.Node) bool { return n.MemoryAlarm }) {
		alarms = append(alarms, "memory")
	}
	if slices.ContainsFunc(list, func(n management.Node) bool { return n.DiskAlarm }) {
		alarms = append(alarms, "disk")
	}
	return alarms
}

// sizes are the most memory that a node has, and the least that is free on a node's disk.
func (list nodes) sizes() (memory, diskFree *uint64) {
	for _, n := range list {
		if m := uint64(n.MemoryBytes); m > 0 && (memory == nil || m > *memory) {
			memory = &m
		}
		if d := uint64(n.DiskFreeBytes); d > 0 && (diskFree == nil || d < *diskFree) {
			diskFree = &d
		}
	}
	return memory, diskFree
}

func plus[T uint64 | float64](sum, n *T) *T {
	switch {
	case n == nil:
		return sum
	case sum == nil:
		return new(*n)
	}
	return new(*sum + *n)
}
