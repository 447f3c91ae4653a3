package conformance

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// Random programs: goroutines that publish, send, flush, close, cancel, stop, ack,
// requeue and release, over every target kind. Nothing breaks meanwhile, so afterwards
// the sums must hold:
//
//   - each message that was accepted has one outcome, and none of them is Unknown;
//   - accepted = confirmed + rejected + returned;
//   - what was confirmed is there: it was acked once, or a stream has it once;
//   - what was acked does not come again, and nothing comes twice that was not given back.
//
// To run one longer: go test ./internal/conformance -run TestPrograms -programs 10m

var (
	programsFor  = flag.Duration("programs", 0, "how long TestPrograms runs on each broker and target kind; 0: one program each")
	programsSeed = flag.Uint64("program", 0, "the one program that TestPrograms runs; 0: new ones")
)

func TestPrograms(t *testing.T) {
	eachSeed(t, *programsFor, *programsSeed, func(r *rig, seed uint64) { newProgram(r, seed).run() })
}

// eachSeed runs random programs on each broker and engine, one at a time: see seeds.
func eachSeed(t *testing.T, long time.Duration, one uint64, run func(r *rig, seed uint64)) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		for _, e := range engines() {
			t.Run(e.name, func(t *testing.T) {
				t.Parallel()
				seeds(t, long, one, func(t *testing.T, seed uint64) { run(newRig(t, b, e), seed) })
			})
		}
	})
}

// seeds runs random programs one at a time: new ones for so long, one at least, or the one of
// that seed alone where it is not 0.
func seeds(t *testing.T, long time.Duration, one uint64, run func(t *testing.T, seed uint64)) {
	for until := time.Now().Add(long); ; {
		seed := one
		if seed == 0 {
			seed = 1 + rand.Uint64N(1<<32)
		}
		if !t.Run(fmt.Sprint("seed-", seed), func(t *testing.T) { run(t, seed) }) || one != 0 || time.Now().After(until) {
			return
		}
	}
}

// program is one random program. Message number n has the body "n" and the Ref n.
type program struct {
	*rig
	seed  uint64
	place string

	mu       sync.Mutex
	next     uint64
	messages map[uint64]*programMessage
}

type programMessage struct {
	accepted  int // times
	outcomes  []thump.Status
	delivered int
	givenBack int // requeued, released, or handed out and not settled when its consumer closed
	acked     int
}

func newProgram(r *rig, seed uint64) *program {
	return &program{rig: r, seed: seed, place: r.patientPlace(), messages: map[uint64]*programMessage{}}
}

// random is the choices of one goroutine of the program.
func (p *program) random(goroutine int) *rand.Rand {
	return rand.New(rand.NewPCG(p.seed, uint64(goroutine)))
}

func (p *program) run() {
	random := p.random(0)
	var publishing, consuming sync.WaitGroup
	for i := range 1 + random.IntN(2) {
		publishing.Go(func() { p.publisher(100 * (i + 1)) })
	}
	over := make(chan struct{})
	if !p.engine.streams() {
		for i := range 1 + random.IntN(3) {
			consuming.Go(func() { p.consumers(10_000*(i+1), over) })
		}
	}
	publishing.Wait()
	close(over)
	consuming.Wait()
	p.drain()
	p.check()
	if p.Failed() {
		p.Logf("to run it again: go test ./internal/conformance -run 'TestPrograms/rabbitmq-%s/%s' -program %d", p.broker.Name, p.engine.name, p.seed)
	}
}

// message makes the next message.
func (p *program) message() thump.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	p.messages[p.next] = &programMessage{}
	return thump.Message{Ref: p.next, Body: strconv.AppendUint(nil, p.next, 10), RoutingKey: p.routingKey(int(p.next))}
}

// publisher makes a publisher, has some goroutines use it at once, and closes it while
// they do.
func (p *program) publisher(goroutine int) {
	random := p.random(goroutine)
	pub := p.rig.publisher(thump.PublisherConfig{
		To: p.to(p.place), Window: 1 + random.IntN(300),
		OnOutcomes: func(list []thump.Outcome) {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, o := range list {
				m := p.messages[o.Ref]
				m.outcomes = append(m.outcomes, o.Status)
			}
		},
	})
	var users sync.WaitGroup
	for i := range 1 + random.IntN(5) {
		users.Go(func() { p.publish(pub, p.random(goroutine+1+i)) })
	}
	if random.IntN(2) == 0 { // the others go on
		time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
	} else {
		users.Wait()
	}
	if err := pub.Close(p.Context()); err != nil {
		p.Errorf("seed %d: closing a publisher: %v", p.seed, err)
	}
	users.Wait()
	if n := pub.Counts(); n.InFlight != 0 || n.Unknown != 0 || n.Published != n.Confirmed+n.Rejected+n.Returned {
		p.Errorf("seed %d: counts %+v", p.seed, n)
	}
}

// publish is one user of a publisher.
func (p *program) publish(pub *thump.Publisher, random *rand.Rand) {
	for range 5 + random.IntN(30) {
		ctx, cancel := p.sometimesBriefly(random)
		var err error
		switch n := random.IntN(10); {
		case n < 5:
			msgs := p.some(1 + random.IntN(80))
			var accepted int
			accepted, err = pub.Publish(ctx, msgs...)
			p.accepted(msgs[:accepted])
		case n < 9:
			msgs := p.some(1 + random.IntN(5))
			err = pub.Send(ctx, msgs...)
			var bad *thump.OutcomeError
			switch {
			case err == nil:
				p.accepted(msgs)
			case errors.As(err, &bad):
				for i, o := range bad.Outcomes {
					if o.Status != thump.NotSent {
						p.accepted(msgs[i : i+1])
					}
				}
			}
		default:
			err = pub.Flush(ctx)
		}
		cancel()
		p.expected(err)
		if errors.Is(err, thump.ErrClosed) {
			return
		}
	}
}

// sometimesBriefly is a context that ends soon, now and then, or has ended.
func (p *program) sometimesBriefly(random *rand.Rand) (context.Context, context.CancelFunc) {
	switch random.IntN(8) {
	case 0:
		ctx, cancel := context.WithCancel(p.Context())
		cancel()
		return ctx, cancel
	case 1:
		return context.WithTimeout(p.Context(), time.Duration(random.IntN(3000))*time.Microsecond)
	default:
		return context.WithCancel(p.Context())
	}
}

func (p *program) some(n int) []thump.Message {
	msgs := make([]thump.Message, n)
	for i := range msgs {
		msgs[i] = p.message()
	}
	return msgs
}

func (p *program) accepted(msgs []thump.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range msgs {
		p.messages[msgs[i].Ref].accepted++
	}
}

// expected makes sure that an error is one of those that this program provokes.
func (p *program) expected(err error) {
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) &&
		!errors.Is(err, thump.ErrClosed) {
		p.Errorf("seed %d: %v", p.seed, err)
	}
}

// consumers makes one consumer after the other until over is closed.
func (p *program) consumers(goroutine int, over <-chan struct{}) {
	random := p.random(goroutine)
	for {
		select {
		case <-over:
			return
		default:
			p.consumer(random)
		}
	}
}

// consumer receives for a while, settles in every way from several goroutines, and stops
// or closes in between.
func (p *program) consumer(random *rand.Rand) {
	cfg := thump.ConsumerConfig{From: p.to(p.place), Prefetch: 1 + random.IntN(50), MaxBatch: 1 + random.IntN(20)}
	if random.IntN(4) == 0 {
		cfg = thump.ConsumerConfig{From: cfg.From, Poll: true}
	}
	con, err := p.client.Consumer(p.Context(), cfg)
	if err != nil {
		p.Error(err)
		return
	}
	ctx, cancel := context.WithTimeout(p.Context(), time.Duration(50+random.IntN(400))*time.Millisecond)
	defer cancel()
	stop := time.AfterFunc(time.Duration(random.IntN(400))*time.Millisecond, con.Stop)
	defer stop.Stop()
	var settling sync.WaitGroup
	for batch, err := range con.Batches(ctx) {
		if err != nil {
			p.expected(err)
			break
		}
		p.came(batch)
		how, later := random.IntN(8), random.IntN(2) == 0
		settle := func() { p.settle(batch, how) }
		if later {
			settling.Go(settle)
		} else {
			settle()
		}
	}
	settling.Wait()
	if p.engine.kind == thump.Quorum {
		// The broker has the acks, and passes them on to the queue's replicas: what is on
		// its way there when the channel closes is delivered again (seen on 3.10).
		p.noError(con.Flush(p.Context()))
		time.Sleep(500 * time.Millisecond)
	}
	if err := con.Close(p.Context()); err != nil {
		p.Errorf("seed %d: closing a consumer: %v", p.seed, err)
	}
	if b, err := con.Receive(p.Context()); err == nil {
		p.Errorf("seed %d: %d deliveries after Close", p.seed, len(b.Deliveries))
	}
}

func (p *program) number(d *thump.Delivery) uint64 {
	n, err := strconv.ParseUint(string(d.Body), 10, 64)
	if err != nil {
		p.Errorf("seed %d: a body of %.40q", p.seed, d.Body)
	}
	return n
}

func (p *program) came(b *thump.Batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range b.Deliveries {
		m := p.messages[p.number(&b.Deliveries[i])]
		m.delivered++
		if m.delivered > 1+m.givenBack || m.acked > 0 {
			p.Errorf("seed %d: message %s came %d times; it was given back %d times and acked %d times",
				p.seed, b.Deliveries[i].Body, m.delivered, m.givenBack, m.acked)
		}
	}
}

// settle settles a batch as a whole, one by one, or both.
func (p *program) settle(b *thump.Batch, how int) {
	gone := map[uint64]bool{}
	switch how {
	case 0:
		p.giveBack(b.Deliveries, b.Requeue)
		return
	case 1:
		p.giveBack(b.Deliveries, b.Release)
		return
	case 2, 3: // each for itself, backwards
		for i := len(b.Deliveries) - 1; i >= 0; i-- {
			d := &b.Deliveries[i]
			switch i % 4 {
			case 0:
				p.giveBack(b.Deliveries[i:i+1], d.Requeue)
			case 1:
				p.giveBack(b.Deliveries[i:i+1], d.Release)
			default:
				p.ack(b.Deliveries[i:i+1], d.Ack)
			}
		}
		return
	case 4: // some for themselves, then the rest
		for i := range b.Deliveries {
			if i%3 == 0 {
				gone[p.number(&b.Deliveries[i])] = true
				p.giveBack(b.Deliveries[i:i+1], b.Deliveries[i].Requeue)
			}
		}
	}
	var rest []thump.Delivery
	for i := range b.Deliveries {
		if !gone[p.number(&b.Deliveries[i])] {
			rest = append(rest, b.Deliveries[i])
		}
	}
	if len(rest) > 0 {
		p.ack(rest, b.Ack)
	}
}

// giveBack notes it first: the message may come again at once.
func (p *program) giveBack(list []thump.Delivery, do func() error) {
	p.mu.Lock()
	for i := range list {
		p.messages[p.number(&list[i])].givenBack++
	}
	p.mu.Unlock()
	if err := do(); err != nil {
		p.Errorf("seed %d: giving back: %v", p.seed, err)
	}
}

func (p *program) ack(list []thump.Delivery, do func() error) {
	if err := do(); err != nil {
		p.Errorf("seed %d: acking: %v", p.seed, err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range list {
		p.messages[p.number(&list[i])].acked++
	}
}

// drain takes what is left: all of a stream.
func (p *program) drain() {
	want := 0
	p.mu.Lock()
	for _, m := range p.messages {
		if len(m.outcomes) == 1 && m.outcomes[0] == thump.Confirmed && m.acked == 0 {
			want++
		}
	}
	p.mu.Unlock()
	if want == 0 {
		return
	}
	con, err := p.client.Consumer(p.Context(), thump.ConsumerConfig{From: p.to(p.place)})
	if err != nil {
		p.Error(err)
		return
	}
	last := map[string]uint64{} // by stream: the offset after the last one
	for batch, err := range con.Batches(p.Context()) {
		if err != nil {
			p.Errorf("seed %d: %d confirmed messages are not there: %v", p.seed, want, err)
			break
		}
		for i := range batch.Deliveries {
			if offset := batch.Deliveries[i].Offset; p.engine.streams() && offset < last[batch.Stream] {
				p.Errorf("seed %d: offset %d of stream %q after %d", p.seed, offset, batch.Stream, last[batch.Stream])
			} else {
				last[batch.Stream] = offset + 1
			}
		}
		p.came(batch)
		p.ack(batch.Deliveries, batch.Ack)
		if want -= len(batch.Deliveries); want <= 0 {
			break
		}
	}
	p.noError(con.Close(p.Context()))
}

func (p *program) check() {
	p.mu.Lock()
	defer p.mu.Unlock()
	var bad []string
	for n, m := range p.messages {
		confirmed := len(m.outcomes) == 1 && m.outcomes[0] == thump.Confirmed
		switch {
		case len(m.outcomes) > 1 || m.accepted > 1 || m.accepted != len(m.outcomes):
			bad = append(bad, fmt.Sprintf("message %d was accepted %d times and has outcomes %v", n, m.accepted, m.outcomes))
		case confirmed && m.acked != 1:
			bad = append(bad, fmt.Sprintf("message %d is confirmed; it was delivered %d times, given back %d times and acked %d times", n, m.delivered, m.givenBack, m.acked))
		case !confirmed && m.delivered > 0:
			bad = append(bad, fmt.Sprintf("message %d has outcomes %v, and was delivered %d times", n, m.outcomes, m.delivered))
		}
	}
	if len(bad) > 0 {
		p.Errorf("seed %d: %d of %d messages: %s", p.seed, len(bad), len(p.messages), strings.Join(bad[:min(len(bad), 5)], "\n"))
	}
}
