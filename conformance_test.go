package thump_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// The conformance suite: what the public API promises, on every engine and
// queue kind, against every broker. A case that an engine can't do by its
// nature is not run on it; nothing is ever skipped for another reason.

// engine is a way to carry messages: a protocol and the kind of queue at the
// other end. A new one is a row of engines.
type engine struct {
	name string
	kind thump.QueueKind
	can  ability
}

// ability is what the cases of the suite need of an engine.
type ability uint

const (
	settles   ability = 1 << iota // deliveries are acked, refused, requeued; the rest comes back
	routes                        // exchanges and bindings; an unroutable message is returned
	refuses                       // a full queue can reject what is published
	tables                        // headers may hold tables, arrays, bytes
	exclusive                     // a consumer can ask to be alone
	gets                          // one message can be taken without a consumer
	deletes                       // publishers and consumers see the queue go
)

func engines() []engine {
	const amqp = settles | routes | refuses | tables | exclusive | gets | deletes
	return []engine{
		{name: "amqp-classic", kind: thump.Classic, can: amqp},
		{name: "amqp-quorum", kind: thump.Quorum, can: amqp &^ exclusive}, // takes no notice of Exclusive
	}
}

// conformanceCase is one promise and the test of it.
type conformanceCase struct {
	name  string
	needs ability
	run   func(*rig)
}

func TestConformance(t *testing.T) {
	var cases []conformanceCase
	for _, list := range [][]conformanceCase{
		messageCases(), publishCases(), outcomeCases(), consumeCases(), settleCases(), routeCases(),
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

// patience bounds every wait of the suite. It is long, because the brokers and
// the tests share few cores.
const patience = time.Minute

// rig is what a case works with: a client of one broker, and helpers that fail
// the test.
type rig struct {
	*testing.T
	broker brokertest.Broker
	engine engine
	client *thump.Client
	users  []string // made for this test
}

func newRig(t *testing.T, b brokertest.Broker, e engine) *rig {
	t.Helper()
	r := &rig{T: t, broker: b, engine: e}
	r.client = r.dial(thump.Config{URLs: []string{b.URL}, Name: t.Name()})
	return r
}

// Context ends with the test, and before the test would be killed.
func (r *rig) Context() context.Context { return r.within(patience) }

// within is a context that ends after d.
func (r *rig) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(r.T.Context(), d)
	r.Cleanup(cancel)
	return ctx
}

// parting is a context for cleanups, when the test's own has ended.
func parting() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 20*time.Second)
}

// rabbitMQ3 reports whether the broker is older than RabbitMQ 4.0.
func (r *rig) rabbitMQ3() bool { return strings.HasPrefix(r.client.Server().Version, "3.") }

func (r *rig) dial(cfg thump.Config) *thump.Client {
	r.Helper()
	client, err := thump.Dial(r.Context(), cfg)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		ctx, cancel := parting()
		defer cancel()
		_ = client.Close(ctx) // what it has to say, the case has heard
	})
	return client
}

// unique makes a name that nobody else uses.
func unique(what string) string { return fmt.Sprintf("thump-test-%s-%016x", what, rand.Uint64()) }

// queue makes a queue of the engine's kind.
func (r *rig) queue(arguments ...thump.Field) string {
	r.Helper()
	return r.declare(thump.QueueSpec{Name: unique("queue"), Kind: r.engine.kind, Arguments: arguments})
}

// declare makes a queue and deletes it in the end.
func (r *rig) declare(q thump.QueueSpec) string {
	r.Helper()
	info, err := r.client.DeclareQueue(r.Context(), q)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		ctx, cancel := parting()
		defer cancel()
		if _, err := r.client.DeleteQueue(ctx, info.Name, thump.DeleteOptions{}); err != nil && !errors.Is(err, thump.ErrClosed) {
			r.Errorf("cleaning up: %v", err)
		}
	})
	return info.Name
}

// exchange makes an exchange and deletes it in the end.
func (r *rig) exchange(e thump.ExchangeSpec) string {
	r.Helper()
	e.Name = unique("exchange")
	if err := r.client.DeclareExchange(r.Context(), e); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		ctx, cancel := parting()
		defer cancel()
		if err := r.client.DeleteExchange(ctx, e.Name, thump.DeleteOptions{}); err != nil {
			r.Errorf("cleaning up: %v", err)
		}
	})
	return e.Name
}

func (r *rig) bind(b thump.Binding) {
	r.Helper()
	if err := r.client.Bind(r.Context(), b); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) publisher(cfg thump.PublisherConfig) *thump.Publisher {
	r.Helper()
	p, err := r.client.Publisher(r.Context(), cfg)
	if err != nil {
		r.Fatal(err)
	}
	return p
}

func (r *rig) consumer(cfg thump.ConsumerConfig) *thump.Consumer {
	r.Helper()
	c, err := r.client.Consumer(r.Context(), cfg)
	if err != nil {
		r.Fatal(err)
	}
	return c
}

// publish expects all of msgs to be accepted.
func (r *rig) publish(p *thump.Publisher, msgs ...thump.Message) {
	r.Helper()
	if n, err := p.Publish(r.Context(), msgs...); err != nil || n != len(msgs) {
		r.Fatalf("Publish accepted %d of %d messages: %v", n, len(msgs), err)
	}
}

// flush expects every message to be confirmed.
func (r *rig) flush(p *thump.Publisher) {
	r.Helper()
	if err := p.Flush(r.Context()); err != nil {
		r.Fatal(err)
	}
}

// send publishes msgs to a queue, confirmed.
func (r *rig) send(queue string, msgs ...thump.Message) {
	r.Helper()
	p := r.publisher(thump.PublisherConfig{To: thump.Queue(queue)})
	r.publish(p, msgs...)
	if err := p.Close(r.Context()); err != nil {
		r.Fatal(err)
	}
}

// receive takes n deliveries in batches of at most n, settles each batch with
// settle, if there is one, and returns copies.
func (r *rig) receive(c *thump.Consumer, n int, settle func(*thump.Batch) error) []thump.Delivery {
	r.Helper()
	ctx := r.Context()
	var got []thump.Delivery
	for len(got) < n {
		batch, err := c.Receive(ctx)
		if err != nil {
			r.Fatalf("after %d of %d deliveries: %v", len(got), n, err)
		}
		for i := range batch.Deliveries {
			got = append(got, batch.Deliveries[i].Clone())
		}
		if settle != nil {
			if err := settle(batch); err != nil {
				r.Fatal(err)
			}
		}
	}
	if len(got) > n {
		r.Fatalf("%d deliveries came, expected %d", len(got), n)
	}
	return got
}

// nothingComes expects no delivery for a moment.
func (r *rig) nothingComes(c *thump.Consumer) {
	r.Helper()
	batch, err := c.Receive(r.within(100 * time.Millisecond))
	if err == nil {
		r.Fatalf("%d deliveries came, expected none", len(batch.Deliveries))
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		r.Fatal(err)
	}
}

// take consumes n messages from a queue with a consumer of its own and acks
// them; with n 0 it makes sure that there are none.
func (r *rig) take(queue string, n int) []thump.Delivery {
	r.Helper()
	c := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue)})
	got := r.receive(c, n, (*thump.Batch).Ack)
	r.nothingComes(c)
	if err := c.Close(r.Context()); err != nil {
		r.Fatal(err)
	}
	return got
}

// eventually waits until a queue holds one of these numbers of ready messages: a
// broker counts a little behind what it does.
func (r *rig) eventually(queue string, wanted ...int) {
	r.Helper()
	var got int
	for start := time.Now(); time.Since(start) < 10*time.Second; time.Sleep(20 * time.Millisecond) {
		info, err := r.client.InspectQueue(r.Context(), queue)
		if err != nil {
			r.Fatal(err)
		}
		if got = info.Messages; slices.Contains(wanted, got) {
			return
		}
	}
	r.Fatalf("queue %s holds %d messages, expected one of %v", queue, got, wanted)
}

func (r *rig) noError(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// brokerError expects err to carry the broker's refusal with that code.
func (r *rig) brokerError(err error, code uint16) {
	r.Helper()
	var broker *thump.BrokerError
	if !errors.As(err, &broker) || broker.Code != code {
		r.Fatalf("got error %v, expected a *BrokerError with code %d", err, code)
	}
}

// says expects an error whose text contains every one of parts.
func (r *rig) says(err error, parts ...string) {
	r.Helper()
	if err == nil {
		r.Fatalf("got no error, expected one that says %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			r.Errorf("error %q does not say %q", err, part)
		}
	}
}

// numbered makes n messages with bodies "1" to "n" and the same Ref.
func numbered(n int) []thump.Message {
	msgs := make([]thump.Message, n)
	for i := range msgs {
		msgs[i] = thump.Message{Body: fmt.Append(nil, i+1), Ref: uint64(i + 1)}
	}
	return msgs
}

// inOrder expects the bodies "first" to "first+len-1".
func (r *rig) inOrder(got []thump.Delivery, first int) {
	r.Helper()
	for i := range got {
		if want := fmt.Sprint(first + i); string(got[i].Body) != want {
			r.Fatalf("delivery %d is message %q, expected %q", i, got[i].Body, want)
		}
	}
}
