package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"math/rand/v2"
	"net/url"
	"os"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thumpmq/thump"
)

// Random outages: a publisher and a consumer at work while their connections break again
// and again, or (TestBrokerOutages) their broker. Afterwards
//
//   - each message that was accepted has one outcome, and it is Confirmed, or in a cluster
//     Rejected;
//   - what was confirmed is there;
//   - what is there twice was sent again, and its outcome says so; a stream's publisher
//     with a Name has none of those;
//   - what came twice was handed out before, or is there twice;
//   - a stream's consumer without a Name has had every message once;
//   - no goroutine is left.
//
// To run one longer: go test ./internal/conformance -run TestOutages -outages 10m

var (
	outagesFor  = flag.Duration("outages", 0, "how long TestOutages runs on each broker and target kind, TestBrokerOutages on each broker, and TestClusterOutages; 0: one program each")
	outagesSeed = flag.Uint64("outage", 0, "the one program that TestOutages, TestBrokerOutages or TestClusterOutages runs; 0: new ones")
	outagesFile = flag.String("outages-record", "", "append a line of JSON for each program of TestOutages, TestBrokerOutages and TestClusterOutages to this file: with its test and seed, to run it again (-run, -outage), what broke, and what came of it, also where it failed")
)

func TestOutages(t *testing.T) {
	eachSeed(t, *outagesFor, *outagesSeed, func(r *rig, seed uint64) { newOutages(r, r.patientPlace(), seed).run() })
}

// outages is one random program. Message number n has the body "n" and the Ref n.
type outages struct {
	*rig
	seed    uint64
	replay  uint64 // what -outage wants to run this again: seed, or that of the storm or cluster
	random  *rand.Rand
	place   string
	name    string // of a stream's publisher
	named   bool   // a stream's consumer is
	breaker *breaker
	client  *thump.Client
	polls   bool // a queue's consumer does
	refuses bool // the broker may reject what it is sent: a queue has no leader for a while

	over                  chan struct{} // closed when nothing more is to be published
	publishing, consuming sync.WaitGroup

	mu       sync.Mutex
	events   map[thump.EventKind]int
	away     map[string]bool // the consumers, of a super stream one for each partition, that have no connection
	closed   int             // connections that an operator has closed
	causes   map[string]int  // why connections were lost, and how often
	resent   int
	outcomes [][]thump.Outcome // by number
	came     []int             // times that it came without being redelivered, by number
	life     []int             // the broker's life in which it came last, by number
	lives    int               // how often the broker was killed
	handled  int               // messages that have come
	refused  int               // that were rejected, and have not come
	complete bool              // nothing more is published
	twice    int               // that are there twice, as far as that was counted
}

func newOutages(r *rig, place string, seed uint64) *outages {
	o := &outages{
		rig: r, seed: seed, replay: seed, random: rand.New(rand.NewPCG(seed, 10)), place: place, breaker: newBreaker(),
		over: make(chan struct{}), events: map[thump.EventKind]int{}, away: map[string]bool{}, causes: map[string]int{},
	}
	if r.engine.can&offsets != 0 && seed%2 == 0 {
		o.name = "publisher"
	}
	o.Cleanup(o.record) // whether it comes to its end or not
	return o
}

func (o *outages) run() {
	o.matures()
	o.begin()
	for range 3 + o.random.IntN(3) {
		time.Sleep(time.Duration(50+o.random.IntN(400)) * time.Millisecond)
		o.breaker.fault(o.random)
	}
	o.breaker.cut() // the others may have met the client's own connection alone
	time.Sleep(100 * time.Millisecond)
	o.stop()
	o.end()
	if o.Failed() {
		o.Logf("to run it again: go test ./internal/conformance -run 'TestOutages/rabbitmq-%s/%s' -outage %d", o.broker.Name, o.engine.name, o.seed)
	}
}

// matures waits until a quorum queue is so old that it keeps what it has confirmed.
func (o *outages) matures() {
	if o.engine.kind == thump.Quorum {
		time.Sleep(2 * time.Second)
	}
}

// begin begins to publish and to consume.
func (o *outages) begin() {
	o.labelled(func() {
		cfg := o.config()
		cfg.DialContext, cfg.Heartbeat, cfg.OnEvent = o.breaker.DialContext, time.Second, o.happened
		o.client = o.dial(cfg)
		p, c := o.publisher(), o.consumer() // before anything breaks
		o.publishing.Go(func() { o.publish(p) })
		o.consuming.Go(func() { o.consume(c) })
		o.Cleanup(func() { // where the test has ended before its time
			o.publishing.Wait()
			o.consuming.Wait()
		})
	})
}

func (o *outages) happened(e thump.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events[e.Kind]++
	o.resent += e.Resent
	switch e.Kind {
	case thump.Disconnected:
		o.causes[e.Of+": "+e.Err.Error()]++
		if strings.HasPrefix(e.Of, "consumer") {
			o.away[e.Of] = true
		}
		if strings.Contains(e.Err.Error(), "Closed via management plugin") {
			o.closed++
		}
	case thump.Recovered:
		delete(o.away, e.Of)
	case thump.GaveUp:
		o.Errorf("seed %d: %s gave up: %v", o.seed, e.Of, e.Err)
	default:
	}
}

// stop has nothing more published.
func (o *outages) stop() { close(o.over) }

// end waits for everything and says what has become of the messages.
func (o *outages) end() {
	o.publishing.Wait()
	o.mu.Lock()
	o.complete = true
	o.mu.Unlock()
	o.consuming.Wait()
	o.check()
	o.labelled(func() { _ = o.client.Close(o.Context()) })
	o.noneLeft()
	o.Logf("seed %d: %s: %d messages, faults %v, events %v, %d sent again, %d came twice, %d rejected and not there", o.seed, o.engine.name, len(o.outcomes), o.breaker.made(), o.events, o.resent, o.twice, o.refused)
}

// labelled runs f; it and every goroutine that it begins bear the name of the program.
func (o *outages) labelled(f func()) {
	pprof.Do(o.T.Context(), pprof.Labels("program", o.label()), func(context.Context) { f() })
}

func (o *outages) label() string { return o.Name() + " " + o.engine.name }

// noneLeft expects every goroutine of the program to end.
func (o *outages) noneLeft() {
	var all bytes.Buffer
	for start := time.Now(); time.Since(start) < 10*time.Second; time.Sleep(20 * time.Millisecond) {
		all.Reset()
		o.noError(pprof.Lookup("goroutine").WriteTo(&all, 1))
		if !strings.Contains(all.String(), strconv.Quote(o.label())) {
			return
		}
	}
	o.Errorf("seed %d: goroutines of %q are left:\n%s", o.seed, o.label(), &all)
}

func (o *outages) publisher() *thump.Publisher {
	cfg := thump.PublisherConfig{To: o.to(o.place), Window: 1 + o.random.IntN(3000), OnOutcomes: o.told}
	cfg.Stream.Name = o.name
	if o.engine.can&offsets != 0 {
		cfg.Stream.SubEntry = 1 + o.random.IntN(20)
	}
	p, err := o.client.Publisher(o.Context(), cfg)
	o.noError(err)
	return p
}

func (o *outages) consumer() *thump.Consumer {
	cfg := thump.ConsumerConfig{From: o.to(o.place), MaxBatch: 1 + o.random.IntN(200)}
	if !o.engine.streams() {
		cfg.Prefetch = 1 + o.random.IntN(1000)
		if o.polls = o.random.IntN(4) == 0; o.polls {
			cfg = thump.ConsumerConfig{From: cfg.From, Poll: true}
		}
	} else if o.random.IntN(2) == 0 {
		cfg.Stream.Name, o.named = "consumer", true
	}
	c, err := o.client.Consumer(o.Context(), cfg)
	o.noError(err)
	return c
}

// publish publishes until it is over, and then waits for every outcome.
func (o *outages) publish(p *thump.Publisher) {
	random := rand.New(rand.NewPCG(o.seed, 11))
	pace := time.Duration(1+random.IntN(10)) * time.Millisecond
	for {
		select {
		case <-o.over:
			if err := p.Close(o.Context()); err != nil && !o.refuses { // what becomes of each message, check says
				o.Errorf("seed %d: closing the publisher: %v", o.seed, err)
			}
			return
		default:
		}
		if o.polls && o.waiting() > 500 { // it takes one at a time: of a quorum queue some hundred a second
			time.Sleep(pace)
			continue
		}
		msgs := o.messages(1 + random.IntN(100))
		if _, err := p.Publish(o.Context(), msgs...); err != nil {
			o.Errorf("seed %d: publishing: %v", o.seed, err)
			return
		}
		time.Sleep(time.Duration(random.Int64N(int64(pace))))
	}
}

// messages makes the next n messages.
func (o *outages) messages(n int) []thump.Message {
	o.mu.Lock()
	defer o.mu.Unlock()
	msgs := make([]thump.Message, n)
	for i := range msgs {
		number := len(o.outcomes)
		msgs[i] = thump.Message{Ref: uint64(number), Body: strconv.AppendInt(nil, int64(number), 10), RoutingKey: o.routingKey(number)}
		o.outcomes, o.came, o.life = append(o.outcomes, nil), append(o.came, 0), append(o.life, 0)
	}
	return msgs
}

func (o *outages) told(list []thump.Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, outcome := range list {
		n := outcome.Ref
		o.outcomes[n] = append(o.outcomes[n], outcome)
		if outcome.Status == thump.Rejected && o.came[n] == 0 {
			o.refused++
		}
	}
}

// consume receives and acks until everything that was published has come, or nothing more does.
func (o *outages) consume(c *thump.Consumer) {
	next := map[string]uint64{} // by stream, the offset that has not come
	for last := time.Now(); o.waits() && time.Since(last) < 2*patience; {
		ctx, cancel := context.WithTimeout(o.T.Context(), 200*time.Millisecond)
		batch, err := c.Receive(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			continue
		}
		if err != nil {
			o.Errorf("seed %d: receiving: %v", o.seed, err)
			return
		}
		if len(batch.Deliveries) > 0 { // else it polls
			last = time.Now()
		}
		o.arrived(batch, next, o.named)
		if err := batch.Ack(); err != nil && !errors.Is(err, thump.ErrStale) {
			o.Errorf("seed %d: acking: %v", o.seed, err)
		}
	}
	ctx, cancel := context.WithTimeout(o.Context(), 10*time.Second)
	defer cancel()
	_ = c.Close(ctx) // it may have lost its connection just now
}

// waits reports whether something is still to come.
func (o *outages) waits() bool {
	o.mu.Lock()
	complete := o.complete
	o.mu.Unlock()
	return !complete || o.waiting() > 0
}

// waiting is how many messages are still to come.
func (o *outages) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.outcomes) - o.handled - o.refused
}

// arrived notes what has come. In a stream the offsets rise, but for what a named consumer
// gets again because it was not acked. They have gaps: a stored offset takes one. A queue
// marks what it delivers again, unless it was killed meanwhile.
func (o *outages) arrived(b *thump.Batch, next map[string]uint64, named bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range b.Deliveries {
		d := &b.Deliveries[i]
		n, err := strconv.Atoi(string(d.Body))
		if err != nil || n >= len(o.came) {
			o.Errorf("seed %d: a body of %.40q", o.seed, d.Body)
			continue
		}
		if o.engine.streams() {
			again := d.Offset < next[b.Stream]
			if again && !named {
				o.Errorf("seed %d: offset %d of %s came again, after %d", o.seed, d.Offset, b.Stream, next[b.Stream]-1)
			}
			next[b.Stream] = max(next[b.Stream], d.Offset+1)
			if again {
				continue
			}
		}
		if o.came[n] == 0 {
			o.handled++
			if o.rejected(n) {
				o.refused--
			}
		}
		if o.came[n] == 0 || !d.Redelivered && (o.life[n] == o.lives || o.engine.streams()) {
			o.came[n]++
		}
		o.life[n] = o.lives
	}
}

// rejected reports whether the broker has rejected message n.
func (o *outages) rejected(n int) bool {
	return len(o.outcomes[n]) == 1 && o.outcomes[n][0].Status == thump.Rejected
}

// check says what is wrong with what has become of the messages, and counts those that are
// there twice.
func (o *outages) check() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for n, list := range o.outcomes {
		if o.Failed() {
			break // one is enough
		}
		switch {
		case o.refuses && o.rejected(n):
		case len(list) != 1 || list[0].Status != thump.Confirmed:
			o.Errorf("seed %d: message %d has the outcomes %v", o.seed, n, list)
		case o.came[n] == 0:
			o.Errorf("seed %d: message %d was confirmed and never came. The broker says: %s. Connections were lost because of %v", o.seed, n, o.manage("GET", "queues/%2F/"+url.PathEscape(o.leading()), nil), o.causes)
		case o.came[n] > 1 && (!list[0].Resent || o.name != ""):
			o.Errorf("seed %d: message %d came %d times, and its outcome is %+v", o.seed, n, o.came[n], list[0])
		case o.came[n] > 1:
			o.twice++
		}
	}
	if o.events[thump.Recovered] == 0 {
		o.Errorf("seed %d: nothing was lost: events %v", o.seed, o.events)
	}
}

// record appends what the program did, and found, to the file for that.
func (o *outages) record() {
	if *outagesFile == "" {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	events := map[string]int{}
	for kind, n := range o.events {
		events[kind.String()] = n
	}
	line, err := json.Marshal(map[string]any{
		"at": time.Now().UTC(), "test": o.Name(), "rabbitmq": o.broker.Name, "kind": o.engine.name, "seed": o.replay, "failed": o.Failed(),
		"messages": len(o.outcomes), "faults": o.breaker.made(), "events": events, "resent": o.resent, "twice": o.twice,
	})
	o.noError(err)
	file, err := os.OpenFile(*outagesFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	o.noError(err)
	_, err = file.Write(append(line, '\n'))
	o.noError(errors.Join(err, file.Close()))
}
