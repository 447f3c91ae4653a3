package conformance

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// BenchmarkBackAtSpeed measures how long after a network is there again, which was away for
// up to three seconds, a publisher confirms at nine tenths of its rate before.
func BenchmarkBackAtSpeed(b *testing.B) {
	brokers := brokertest.All(b)
	for _, kind := range []string{"queue", "stream"} {
		b.Run(kind, func(b *testing.B) { benchmarkBackAtSpeed(b, brokers[len(brokers)-1], kind) })
	}
}

func benchmarkBackAtSpeed(b *testing.B, node brokertest.Broker, kind string) {
	network := &away{breaker: newBreaker(), events: make(chan thump.Event, 100_000)}
	client, err := thump.Dial(b.Context(), thump.Config{
		URLs: []string{node.URL, node.StreamURL}, DialContext: network.DialContext, OnEvent: func(e thump.Event) { network.events <- e },
	})
	if err != nil {
		b.Fatal(err)
	}
	to := benchTarget(b, client, kind)
	p, err := client.Publisher(b.Context(), thump.PublisherConfig{To: to})
	if err != nil {
		b.Fatal(err)
	}
	stop := keepPublishing(b, p)
	var took []time.Duration
	for b.Loop() {
		time.Sleep(500 * time.Millisecond)
		rate := confirmedWithin(p, time.Second)
		network.leave()
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Millisecond)
		network.comeBack()
		back := time.Now()
		for confirmedWithin(p, 100*time.Millisecond) < rate/10*9/10 && time.Since(back) < 20*time.Second {
		}
		took = append(took, time.Since(back))
	}
	stop()
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "ms-median")
	b.ReportMetric(took[len(took)-1].Seconds()*1000, "ms-most")
	_ = client.Close(b.Context())
}

// keepPublishing publishes as fast as p takes it, until stop, which closes p.
func keepPublishing(b *testing.B, p *thump.Publisher) (stop func()) {
	ctx, cancel := context.WithCancel(b.Context())
	var publishing sync.WaitGroup
	publishing.Go(func() {
		msgs := make([]thump.Message, 100)
		for i := range msgs {
			msgs[i].Body = benchBody
		}
		for ctx.Err() == nil {
			_, _ = p.Publish(ctx, msgs...) // an outage ends no publishing, and cancel does
		}
	})
	return func() {
		cancel()
		publishing.Wait()
		if err := p.Close(b.Context()); err != nil {
			b.Error(err)
		}
	}
}

// confirmedWithin is how many messages are confirmed in that time.
func confirmedWithin(p *thump.Publisher, d time.Duration) uint64 {
	before := p.Counts().Confirmed
	time.Sleep(d)
	return p.Counts().Confirmed - before
}

// benchTarget makes a queue that drops what it gets, or a stream.
func benchTarget(b *testing.B, client *thump.Client, kind string) thump.Target {
	b.Helper()
	name := unique("bench")
	var err error
	to := thump.Queue(name)
	if kind == "stream" {
		to = thump.Stream(name)
		err = client.DeclareStream(b.Context(), thump.StreamSpec{Name: name, MaxBytes: 100 << 20, SegmentBytes: 50 << 20})
	} else {
		_, err = client.DeclareQueue(b.Context(), thump.QueueSpec{Name: name, Kind: thump.Classic, MaxLength: 1000})
	}
	if err != nil {
		b.Fatal(err)
	}
	return to
}

const (
	manyQueues = 500
	manyRounds = 20 // messages through each
)

// BenchmarkManyQueues has a publisher and a consumer for each of 500 queues: what it takes to
// set them up, their rate, the memory of this process before the first message and after the
// last, and the connections and memory of the broker. amqp091-go has one connection, and a
// channel for each.
func BenchmarkManyQueues(b *testing.B) {
	brokers := brokertest.All(b)
	node := brokers[len(brokers)-1]
	client, err := thump.Dial(b.Context(), thump.Config{URLs: []string{node.URL}})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = client.Close(context.Background()) }()
	queues := make([]string, manyQueues)
	for i := range queues {
		queues[i] = unique("many")
		if _, err := client.DeclareQueue(b.Context(), thump.QueueSpec{Name: queues[i], Kind: thump.Classic}); err != nil {
			b.Fatal(err)
		}
		defer func() { _, _ = client.DeleteQueue(context.Background(), queues[i], thump.DeleteOptions{}) }()
	}
	b.Run("thump", func(b *testing.B) { manyThump(b, node, queues) })
	b.Run("amqp091-go", func(b *testing.B) { manyPeer(b, node, queues) })
}

// manyMeasures are what is measured around one way to have many queues.
type manyMeasures struct {
	b      *testing.B
	node   brokertest.Broker
	heap   uint64
	memory float64
	start  time.Time

	reported map[string]float64 // when all is set up; the loop that follows forgets metrics
}

func measureMany(b *testing.B, node brokertest.Broker) *manyMeasures {
	return &manyMeasures{b: b, node: node, heap: heapInUse(), memory: nodeMemory(b, node), start: time.Now()}
}

// ready is called when all is set up.
func (m *manyMeasures) ready() {
	m.reported = map[string]float64{
		"ms-setup":   time.Since(m.start).Seconds() * 1000,
		"MiB-client": float64(heapInUse()-m.heap) / (1 << 20),
		"MiB-broker": (nodeMemory(m.b, m.node) - m.memory) / (1 << 20),
	}
	var list []any
	if err := json.Unmarshal(brokertest.Manage(m.b, m.node.ManagementURL, "GET", "connections?columns=name", nil), &list); err != nil {
		m.b.Fatal(err)
	}
	m.reported["connections"] = float64(len(list))
	m.start = time.Now()
}

func (m *manyMeasures) done(rounds int) {
	m.b.ReportMetric(float64(rounds*manyQueues*manyRounds)/time.Since(m.start).Seconds(), "msgs/s")
	m.b.ReportMetric(float64(heapInUse()-m.heap)/(1<<20), "MiB-used")
	for unit, n := range m.reported {
		m.b.ReportMetric(n, unit)
	}
}

func heapInUse() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapInuse + s.StackInuse
}

func nodeMemory(b *testing.B, node brokertest.Broker) float64 {
	time.Sleep(6 * time.Second) // the broker samples it every five
	var nodes []struct {
		Memory float64 `json:"mem_used"`
	}
	if err := json.Unmarshal(brokertest.Manage(b, node.ManagementURL, "GET", "nodes?columns=mem_used", nil), &nodes); err != nil || len(nodes) == 0 {
		b.Fatal(err)
	}
	return nodes[0].Memory
}

func manyThump(b *testing.B, node brokertest.Broker, queues []string) {
	m := measureMany(b, node)
	client, err := thump.Dial(b.Context(), thump.Config{URLs: []string{node.URL}})
	if err != nil {
		b.Fatal(err)
	}
	publishers, consumers := make([]*thump.Publisher, len(queues)), make([]*thump.Consumer, len(queues))
	for i, queue := range queues {
		if publishers[i], err = client.Publisher(b.Context(), thump.PublisherConfig{To: thump.Queue(queue)}); err != nil {
			b.Fatal(err)
		}
		if consumers[i], err = client.Consumer(b.Context(), thump.ConsumerConfig{From: thump.Queue(queue)}); err != nil {
			b.Fatal(err)
		}
	}
	m.ready()
	rounds := 0
	for b.Loop() {
		rounds++
		var all sync.WaitGroup
		for i := range queues {
			all.Go(func() {
				for range manyRounds {
					if err := publishers[i].Send(b.Context(), thump.Message{Body: benchBody}); err != nil {
						b.Error(err)
					}
				}
			})
			all.Go(func() {
				for got := 0; got < manyRounds; {
					batch, err := consumers[i].Receive(b.Context())
					if err != nil {
						b.Error(err)
						return
					}
					got += len(batch.Deliveries)
					_ = batch.Ack()
				}
			})
		}
		all.Wait()
	}
	m.done(rounds)
	_ = client.Close(b.Context())
}

func manyPeer(b *testing.B, node brokertest.Broker, queues []string) {
	m := measureMany(b, node)
	conn, err := amqp091.Dial(node.URL)
	if err != nil {
		b.Fatal(err)
	}
	channels, deliveries := make([]*amqp091.Channel, len(queues)), make([]<-chan amqp091.Delivery, len(queues))
	for i, queue := range queues {
		if channels[i], err = conn.Channel(); err != nil {
			b.Fatal(err)
		}
		if err := channels[i].Confirm(false); err != nil {
			b.Fatal(err)
		}
		consuming, err := conn.Channel()
		if err != nil {
			b.Fatal(err)
		}
		if err := consuming.Qos(500, 0, false); err != nil {
			b.Fatal(err)
		}
		if deliveries[i], err = consuming.Consume(queue, "", false, false, false, false, nil); err != nil {
			b.Fatal(err)
		}
	}
	m.ready()
	rounds := 0
	for b.Loop() {
		rounds++
		var all sync.WaitGroup
		for i, queue := range queues {
			all.Go(func() {
				for range manyRounds {
					c, err := channels[i].PublishWithDeferredConfirmWithContext(b.Context(), "", queue, true, false, amqp091.Publishing{DeliveryMode: 2, Body: benchBody})
					if err != nil || !c.Wait() {
						b.Error(err)
					}
				}
			})
			all.Go(func() {
				for range manyRounds {
					d := <-deliveries[i]
					_ = d.Ack(false)
				}
			})
		}
		all.Wait()
	}
	m.done(rounds)
	_ = conn.Close()
}
