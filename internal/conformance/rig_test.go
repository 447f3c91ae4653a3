package conformance

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

// patience bounds every wait of the suite. It is long, because the brokers and
// the tests share few cores.
const patience = 2 * time.Minute

// rig is what a case works with: a client of one broker, and helpers that fail
// the test.
type rig struct {
	*testing.T
	broker brokertest.Broker
	engine engine
	urls   []string // of the broker, or of all nodes of a cluster
	client *thump.Client
	users  []string // made for this test
}

func newRig(t *testing.T, b brokertest.Broker, e engine) *rig {
	t.Helper()
	urls := []string{b.URL}
	if b.StreamURL != "" { // a broker that was named by hand may have none
		urls = append(urls, b.StreamURL)
	}
	return newRigAt(t, b, e, urls)
}

func newRigAt(t *testing.T, b brokertest.Broker, e engine, urls []string) *rig {
	t.Helper()
	r := &rig{T: t, broker: b, engine: e, urls: urls}
	cfg := r.config()
	cfg.Name = t.Name()
	r.client = r.dial(cfg)
	return r
}

// config has the broker's URLs.
func (r *rig) config() thump.Config { return thump.Config{URLs: r.urls} }

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

// to is the place called name, to publish to or to consume from.
func (r *rig) to(name string) thump.Target { return r.engine.target(name) }

// place makes what the engine publishes to and consumes from.
func (r *rig) place() string {
	r.Helper()
	switch {
	case r.engine.can&offsets != 0:
		return r.stream(thump.StreamSpec{})
	case r.engine.can&partitions != 0:
		return r.superStream(3)
	default:
		return r.queue()
	}
}

// patientPlace is a place that drops no message, however often it is given back: RabbitMQ 4
// does after 20 times where it is in a quorum queue.
func (r *rig) patientPlace() string {
	r.Helper()
	if r.engine.kind == thump.Quorum && r.atLeast("4.0") {
		return r.declare(thump.QueueSpec{Name: unique("queue"), Kind: thump.Quorum, DeliveryLimit: -1})
	}
	return r.place()
}

// queue makes a queue of the engine's kind.
func (r *rig) queue(arguments ...thump.Field) string {
	r.Helper()
	return r.declare(thump.QueueSpec{Name: unique("queue"), Kind: r.engine.kind, Arguments: arguments})
}

// classicQueue makes a classic queue, whatever the engine.
func (r *rig) classicQueue() string {
	r.Helper()
	return r.declare(thump.QueueSpec{Name: unique("queue"), Kind: thump.Classic})
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
	r.declareExchange(e)
	return e.Name
}

func (r *rig) declareExchange(e thump.ExchangeSpec) {
	r.Helper()
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

// send publishes msgs to a place, confirmed.
func (r *rig) send(place string, msgs ...thump.Message) {
	r.Helper()
	p := r.publisher(thump.PublisherConfig{To: r.to(place)})
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

// leave closes a consumer that holds deliveries which nobody is going to settle: Close
// waits for them until its context ends, and says how many there are.
func (r *rig) leave(c *thump.Consumer, unsettled int) {
	r.Helper()
	r.noError(c.Flush(r.Context()))
	r.left(c, unsettled)
}

// left is leave, for one that may have been closed before.
func (r *rig) left(c *thump.Consumer, unsettled int) {
	r.Helper()
	err := c.Close(r.within(100 * time.Millisecond))
	if !errors.Is(err, context.DeadlineExceeded) {
		r.Fatalf("Close of a consumer that holds deliveries: %v", err)
	}
	if unsettled == 1 {
		r.says(err, "1 delivery was")
	} else {
		r.says(err, fmt.Sprintf("%d deliveries were", unsettled))
	}
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

// take consumes the n messages of a place with a consumer of its own and acks
// them, of which a stream takes no notice; with n 0 it makes sure that there are
// none.
func (r *rig) take(place string, n int) []thump.Delivery {
	r.Helper()
	c := r.consumer(thump.ConsumerConfig{From: r.to(place)})
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
		if slices.Contains(wanted, info.Messages) {
			return
		}
		if info.Messages != got {
			got, start = info.Messages, time.Now() // a busy queue is still taking in what was published
		}
	}
	r.Fatalf("queue %s holds %d messages, expected one of %v", queue, got, wanted)
}

// published expects n messages in a place that nobody has consumed from.
func (r *rig) published(place string, n int) {
	r.Helper()
	if r.engine.streams() {
		r.take(place, n)
		return
	}
	r.eventually(place, n)
}

// consumed expects that nothing is left to do of the n messages of a place: a
// queue is empty, a stream keeps what it has.
func (r *rig) consumed(place string, n int) {
	r.Helper()
	if r.engine.streams() {
		r.take(place, n)
		return
	}
	r.eventually(place, 0)
}

// fewAhead is a consumer's configuration with which the broker sends little
// ahead: about n messages, or the fewest chunks.
func (r *rig) fewAhead(place string, n int) thump.ConsumerConfig {
	cfg := thump.ConsumerConfig{From: r.to(place)}
	if r.engine.streams() {
		cfg.Stream.Credit = 2
	} else {
		cfg.Prefetch = n
	}
	return cfg
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

// streamError is brokerError for a code of the stream protocol.
func (r *rig) streamError(err error, code uint16) {
	r.Helper()
	r.brokerError(err, code)
	if broker, _ := errors.AsType[*thump.BrokerError](err); broker.Protocol != thump.Streams {
		r.Errorf("the code of %v is not said to be the stream protocol's", err)
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
func numbered(n int) []thump.Message { return numberedFrom(1, n) }

// numberedFrom makes n messages with bodies "first" and so on, and the same Ref.
func numberedFrom(first, n int) []thump.Message {
	msgs := make([]thump.Message, n)
	for i := range msgs {
		msgs[i] = thump.Message{Body: fmt.Append(nil, first+i), Ref: uint64(first + i)}
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
