package conformance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// Queues, exchanges and bindings: declare, inspect, delete; and what the broker
// refuses.
func routeCases() []conformanceCase {
	return []conformanceCase{
		{"topology/queue", settles, testQueueTopology},
		{"topology/inequivalent", refuses, testInequivalent},
		{"topology/not-found", routes, testNotFound},
		{"topology/few-channels", routes, testFewChannels},
		{"topology/many-calls-at-once", settles, testManyCalls},
		{"topology/delete-conditions", settles, testDeleteConditions},
		{"topology/bindings", routes, testBindings},
		{"topology/exchange-to-exchange", routes, testExchangeBinding},
		{"topology/headers-exchange", routes, testHeadersExchange},
		{"topology/exchange-kinds", routes, testExchangeKinds},
		{"topology/message-overrides-target", routes, testOverride},
	}
}

func testQueueTopology(r *rig) {
	spec := thump.QueueSpec{Name: unique("größe \"quoted\"/"), Kind: r.engine.kind, Arguments: thump.Table{{Key: "x-max-length", Value: 1000}}}
	r.declare(spec)
	r.send(spec.Name, numbered(5)...)
	r.eventually(spec.Name, 5)
	for range 2 { // the same again is no error
		info, err := r.client.DeclareQueue(r.Context(), spec)
		r.noError(err)
		if info.Name != spec.Name || info.Messages != 5 || info.Consumers != 0 {
			r.Errorf("got %+v, expected 5 messages", info)
		}
	}
	if len(spec.Arguments) != 1 {
		r.Errorf("the caller's arguments have become %v", spec.Arguments)
	}
	c := r.consumer(thump.ConsumerConfig{From: thump.Queue(spec.Name), Prefetch: 2})
	r.eventually(spec.Name, 3)
	info, err := r.client.InspectQueue(r.Context(), spec.Name)
	r.noError(err)
	if info.Consumers != 1 || info.Messages != 3 {
		r.Errorf("got %+v, expected 1 consumer and 3 messages", info)
	}
	if n, err := r.client.PurgeQueue(r.Context(), spec.Name); err != nil || n != 3 {
		r.Errorf("purged %d messages, %v, expected 3", n, err)
	}
	r.noError(c.Close(r.Context()))
	r.eventually(spec.Name, 2) // purging leaves those that are delivered
	if n, err := r.client.DeleteQueue(r.Context(), spec.Name, thump.DeleteOptions{}); err != nil || n != 2 {
		r.Errorf("deleted with %d messages, %v, expected 2", n, err)
	}
	if _, err := r.client.DeleteQueue(r.Context(), spec.Name, thump.DeleteOptions{}); err != nil {
		r.Errorf("deleting what is not there: %v", err)
	}
}

// testInequivalent declares what is there with other settings; the client goes
// on after every refusal.
func testInequivalent(r *rig) {
	queue := r.queue(thump.Field{Key: "x-max-length", Value: 10})
	_, err := r.client.DeclareQueue(r.Context(), thump.QueueSpec{Name: queue, Kind: r.engine.kind, Arguments: thump.Table{{Key: "x-max-length", Value: 11}}})
	r.brokerError(err, 406)
	r.says(err, queue, "x-max-length", "PRECONDITION_FAILED")
	other := thump.Classic
	if r.engine.kind == thump.Classic {
		other = thump.Quorum
	}
	_, err = r.client.DeclareQueue(r.Context(), thump.QueueSpec{Name: queue, Kind: other, Arguments: thump.Table{{Key: "x-max-length", Value: 10}}})
	r.brokerError(err, 406)
	_, err = r.client.DeclareQueue(r.Context(), thump.QueueSpec{Name: queue, Kind: "fancy"})
	r.brokerError(err, 406)
	exchange := r.exchange(thump.ExchangeSpec{})
	r.brokerError(r.client.DeclareExchange(r.Context(), thump.ExchangeSpec{Name: exchange, Kind: "topic"}), 406)
	if _, err := r.client.InspectQueue(r.Context(), queue); err != nil {
		r.Errorf("after the refusals: %v", err)
	}
}

func testNotFound(r *rig) {
	missing := unique("missing")
	inspect := func() error { _, err := r.client.InspectQueue(r.Context(), missing); return err }
	purge := func() error { _, err := r.client.PurgeQueue(r.Context(), missing); return err }
	bind := func() error {
		return r.client.Bind(r.Context(), thump.Binding{Source: missing, Queue: missing})
	}
	for name, do := range map[string]func() error{"inspect": inspect, "purge": purge, "bind": bind} {
		err := do()
		r.brokerError(err, 404)
		r.says(err, missing)
		if !thump.IsNotFound(err) {
			r.Errorf("%s: IsNotFound is false for %v", name, err)
		}
	}
	if thump.IsNotFound(nil) {
		r.Error("IsNotFound(nil)")
	}
}

// testFewChannels lets channel numbers come round, also after refusals.
func testFewChannels(r *rig) {
	queue := r.queue()
	client := r.dial(thump.Config{URLs: []string{r.broker.URL + "?channel_max=2"}})
	for range 20 {
		_, err := client.InspectQueue(r.Context(), queue)
		r.noError(err)
		_, err = client.InspectQueue(r.Context(), queue+"-missing")
		r.brokerError(err, 404)
	}
}

// testManyCalls asks more at once than there are channels: each call waits for one.
func testManyCalls(r *rig) {
	queue := r.queue()
	one := r.dial(thump.Config{URLs: []string{r.broker.URL + "?channel_max=1"}})
	for client, calls := range map[*thump.Client]int{r.client: 3000, one: 1000} {
		failed := make(chan error, calls)
		for range calls {
			go func() {
				_, err := client.InspectQueue(r.T.Context(), queue)
				failed <- err
			}()
		}
		for range calls {
			r.noError(<-failed)
		}
	}
	// A call that finds none until its context ends says so.
	var waited error
	for range 100 {
		go func() { _, _ = one.InspectQueue(r.Context(), queue) }() // some wait until the client closes
	}
	for waited == nil {
		_, waited = one.InspectQueue(r.within(time.Millisecond), queue)
	}
	r.says(waited, queue, "deadline")
}

func testDeleteConditions(r *rig) {
	queue := r.queue()
	r.send(queue, numbered(1)...)
	r.eventually(queue, 1)
	if r.engine.kind == thump.Classic { // a quorum queue does not do if-empty, and says so
		_, err := r.client.DeleteQueue(r.Context(), queue, thump.DeleteOptions{IfEmpty: true})
		r.brokerError(err, 406)
		c := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue)})
		_, err = r.client.DeleteQueue(r.Context(), queue, thump.DeleteOptions{IfUnused: true})
		r.brokerError(err, 406)
		r.noError(c.Close(r.Context()))
	}
	if n, err := r.client.DeleteQueue(r.Context(), queue, thump.DeleteOptions{}); err != nil || n != 1 {
		r.Errorf("deleted with %d messages, %v", n, err)
	}
	exchange, to := r.exchange(thump.ExchangeSpec{}), r.queue()
	r.bind(thump.Binding{Source: exchange, Queue: to, RoutingKey: "key"})
	r.brokerError(r.client.DeleteExchange(r.Context(), exchange, thump.DeleteOptions{IfUnused: true}), 406)
}

// routed publishes one message to an exchange for each key and returns the keys
// of those that found a queue.
func (r *rig) routed(exchange string, messages ...thump.Message) string {
	r.Helper()
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{To: thump.Exchange(exchange, ""), OnOutcomes: l.note})
	for i := range messages {
		messages[i].Ref = uint64(i)
	}
	r.publish(p, messages...)
	_ = p.Close(r.Context()) // says that some were returned
	var keys []string
	for i := range messages {
		o := l.outcomes[uint64(i)]
		if len(o) != 1 || o[0].Status != thump.Confirmed && o[0].Status != thump.Returned {
			r.Fatalf("message %d to %s has the outcomes %+v", i, messages[i].RoutingKey, o)
		}
		if o[0].Status == thump.Confirmed {
			keys = append(keys, messages[i].RoutingKey)
		}
	}
	return strings.Join(keys, " ")
}

func withKeys(keys ...string) []thump.Message {
	var msgs []thump.Message
	for _, k := range keys {
		msgs = append(msgs, thump.Message{RoutingKey: k, Body: []byte(k)})
	}
	return msgs
}

func testBindings(r *rig) {
	queue, exchange := r.queue(), r.exchange(thump.ExchangeSpec{Kind: "topic", AutoDelete: true})
	b := thump.Binding{Source: exchange, Queue: queue, RoutingKey: "*.orange.#"}
	other := thump.Binding{Source: exchange, Queue: queue, RoutingKey: "lazy"}
	r.bind(b)
	r.bind(b) // again is no error
	r.bind(other)
	keys := []string{"a.orange", "orange", "a.orange.b.c", "lazy", "lazy.a"}
	if got, want := r.routed(exchange, withKeys(keys...)...), "a.orange a.orange.b.c lazy"; got != want {
		r.Errorf("routed %q, expected %q", got, want)
	}
	r.noError(r.client.Unbind(r.Context(), b))
	if got, want := r.routed(exchange, withKeys(keys...)...), "lazy"; got != want {
		r.Errorf("after unbinding routed %q, expected %q", got, want)
	}
	r.eventually(queue, 4)
	r.noError(r.client.Unbind(r.Context(), b)) // nothing there is no error
	r.noError(r.client.Unbind(r.Context(), other))
	// It was auto-delete, and its last binding is gone.
	err := r.client.Bind(r.Context(), b)
	r.brokerError(err, 404)
	for _, bad := range []thump.Binding{{Source: "amq.direct"}, {Source: "amq.direct", Queue: "a", Exchange: "b"}} {
		if r.client.Bind(r.Context(), bad) == nil || r.client.Unbind(r.Context(), bad) == nil {
			r.Errorf("%+v is taken for a binding", bad)
		}
	}
}

func testExchangeBinding(r *rig) {
	queue := r.queue()
	source := r.exchange(thump.ExchangeSpec{})
	inner := r.exchange(thump.ExchangeSpec{Kind: "fanout", Internal: true})
	r.bind(thump.Binding{Source: inner, Queue: queue})
	b := thump.Binding{Source: source, Exchange: inner, RoutingKey: "through"}
	r.bind(b)
	if got, want := r.routed(source, withKeys("through", "past")...), "through"; got != want {
		r.Errorf("routed %q, expected %q", got, want)
	}
	r.eventually(queue, 1)
	r.noError(r.client.Unbind(r.Context(), b))
	if got := r.routed(source, withKeys("through")...); got != "" {
		r.Errorf("after unbinding routed %q", got)
	}
	// An internal exchange is not for publishers.
	p := r.publisher(thump.PublisherConfig{To: thump.Exchange(inner, "")})
	r.publish(p, numbered(1)...)
	r.brokerError(p.Flush(r.Context()), 403)
}

// testHeadersExchange routes by headers, with an arguments table in the
// binding.
func testHeadersExchange(r *rig) {
	queue, exchange := r.queue(), r.exchange(thump.ExchangeSpec{Kind: "headers"})
	r.bind(thump.Binding{Source: exchange, Queue: queue, Arguments: thump.Table{
		{Key: "x-match", Value: "all"}, {Key: "format", Value: "pdf"}, {Key: "pages", Value: int32(7)}, {Key: "draft", Value: false},
	}})
	message := func(key string, headers ...thump.Field) thump.Message {
		return thump.Message{RoutingKey: key, Properties: &thump.Properties{Headers: headers}}
	}
	pdf, draft := thump.Field{Key: "format", Value: "pdf"}, thump.Field{Key: "draft", Value: false}
	got := r.routed(exchange,
		message("all", pdf, thump.Field{Key: "pages", Value: int32(7)}, draft, thump.Field{Key: "more", Value: "x"}),
		message("int64", pdf, thump.Field{Key: "pages", Value: 7}, draft),
		message("wrong", pdf, thump.Field{Key: "pages", Value: int32(8)}, draft),
		message("missing", pdf, draft),
		message("none"),
	)
	if want := "all int64"; got != want {
		r.Errorf("routed %q, expected %q", got, want)
	}
}

func testExchangeKinds(r *rig) {
	for _, kind := range []string{"", "direct", "fanout", "topic", "headers"} {
		name := r.exchange(thump.ExchangeSpec{Kind: kind, Arguments: thump.Table{{Key: "alternate-exchange", Value: "amq.fanout"}}})
		r.noError(r.client.InspectExchange(r.Context(), name)) // whatever its kind
		r.noError(r.client.DeleteExchange(r.Context(), name, thump.DeleteOptions{}))
		if err := r.client.InspectExchange(r.Context(), name); !thump.IsNotFound(err) {
			r.Errorf("inspecting an exchange that does not exist: %v", err)
		}
	}
	err := r.client.DeclareExchange(r.Context(), thump.ExchangeSpec{Name: unique("exchange"), Kind: "fancy"})
	r.says(err, "fancy") // 406 since 4.0.?, a connection exception before
	// Whatever it was that the broker closed, the client goes on.
	if _, err := r.client.InspectQueue(r.Context(), r.queue()); err != nil {
		r.Errorf("after an unknown exchange type: %v", err)
	}
	spec := thump.QueueSpec{Name: unique("queue"), Kind: r.engine.kind}
	if r.engine.kind == thump.Classic {
		spec.AutoDelete = true
	}
	r.declare(spec)
	if !spec.AutoDelete {
		return
	}
	c := r.consumer(thump.ConsumerConfig{From: thump.Queue(spec.Name)})
	r.noError(c.Close(r.Context()))
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if _, err := r.client.InspectQueue(r.Context(), spec.Name); thump.IsNotFound(err) {
			return
		}
		if time.Since(start) > 10*time.Second {
			r.Fatal("an auto-delete queue outlives its last consumer")
		}
	}
}

// testOverride lets messages go elsewhere than the publisher's target.
func testOverride(r *rig) {
	first, second, exchange := r.queue(), r.queue(), r.exchange(thump.ExchangeSpec{Kind: "topic"})
	r.bind(thump.Binding{Source: exchange, Queue: second, RoutingKey: "a.#"})
	p := r.publisher(thump.PublisherConfig{To: thump.Queue(first)})
	r.publish(p,
		thump.Message{Body: []byte("to the target")},
		thump.Message{Body: []byte("by another key"), RoutingKey: second},
		thump.Message{Body: []byte("through an exchange"), Exchange: exchange, RoutingKey: "a.b"},
	)
	r.noError(p.Close(r.Context()))
	describe := func(list []thump.Delivery) string {
		var b strings.Builder
		for _, d := range list {
			fmt.Fprintf(&b, "%s|%s|%s;", d.Body, strings.ReplaceAll(d.Exchange, exchange, "E"), strings.ReplaceAll(d.RoutingKey, second, "second"))
		}
		return b.String()
	}
	if got, want := describe(r.take(second, 2)), "by another key||second;through an exchange|E|a.b;"; got != want {
		r.Errorf("got %q, expected %q", got, want)
	}
	r.take(first, 1)
}

// TestLeaderThatDoesNotAnswer: of a quorum queue whose leader does not answer it in time, the
// broker says that it has no messages. The client does not believe that at once.
func TestLeaderThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		r := newRig(t, b, engine{name: "amqp-quorum", kind: thump.Quorum, target: thump.Queue})
		queue := r.queue()
		r.send(queue, numbered(3)...)
		r.eventually(queue, 3)
		node, ended := r.broker.Node(r.T), make(chan error, 1)
		go func() {
			_, err := node.Ctl(r.T.Context(), "eval", fmt.Sprintf(`
				{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"%s">>)),
				{Leader, _} = amqqueue:get_pid(Q),
				ok = sys:suspend(Leader), timer:sleep(1000), ok = sys:resume(Leader).`, queue))
			ended <- err
		}()
		var longest time.Duration
		for over := false; !over; {
			select {
			case err := <-ended:
				r.noError(err)
				over = true
			default:
			}
			began := time.Now()
			if info, err := r.client.InspectQueue(r.Context(), queue); err != nil || info.Messages != 3 {
				r.Fatalf("got %+v, %v", info, err)
			}
			longest = max(longest, time.Since(began))
			time.Sleep(10 * time.Millisecond)
		}
		if longest < 500*time.Millisecond {
			r.Errorf("no answer took longer than %v: the leader answered all the time", longest)
		}
	})
}
