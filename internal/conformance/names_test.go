package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/thumpmq/thump"
)

// A name that the broker would take for another, or not at all, is refused before
// it is sent, wherever one is given.

// badNames are names, made of a good one, that no broker finds again, and what is
// said of them.
func badNames(good string) map[string]string {
	return map[string]string{
		good + "\n":                "line break",
		good[:9] + "\r" + good[9:]: "line break",
		"\r\n" + good:              "line break",
		good + "\x00":              "NUL",
		good + "\xff":              "not UTF-8",
		good + strings.Repeat("n", 256-len(good)): "256 bytes",
	}
}

// namedCalls are all calls that take a name.
func namedCalls() map[string]func(ctx context.Context, c *thump.Client, name string) error {
	type call = func(ctx context.Context, c *thump.Client, name string) error
	publisher := func(cfg func(name string) thump.PublisherConfig) call {
		return func(ctx context.Context, c *thump.Client, name string) error {
			p, err := c.Publisher(ctx, cfg(name))
			if err == nil {
				_ = p.Close(ctx)
			}
			return err
		}
	}
	consumer := func(cfg func(name string) thump.ConsumerConfig) call {
		return func(ctx context.Context, c *thump.Client, name string) error {
			con, err := c.Consumer(ctx, cfg(name))
			if err == nil {
				_ = con.Close(ctx)
			}
			return err
		}
	}
	return map[string]call{
		"DeclareQueue": func(ctx context.Context, c *thump.Client, name string) error {
			_, err := c.DeclareQueue(ctx, thump.QueueSpec{Name: name})
			return err
		},
		"DeclareQueue, a stream": func(ctx context.Context, c *thump.Client, name string) error {
			_, err := c.DeclareQueue(ctx, thump.QueueSpec{Name: name, Kind: "stream"})
			return err
		},
		"DeadLetterExchange": func(ctx context.Context, c *thump.Client, name string) error {
			_, err := c.DeclareQueue(ctx, thump.QueueSpec{Name: unique("q"), DeadLetterExchange: name})
			return err
		},
		"InspectQueue": func(ctx context.Context, c *thump.Client, name string) error {
			_, err := c.InspectQueue(ctx, name)
			return err
		},
		"PurgeQueue": func(ctx context.Context, c *thump.Client, name string) error {
			_, err := c.PurgeQueue(ctx, name)
			return err
		},
		"DeleteQueue": func(ctx context.Context, c *thump.Client, name string) error {
			_, err := c.DeleteQueue(ctx, name, thump.DeleteOptions{})
			return err
		},
		"Get": func(ctx context.Context, c *thump.Client, name string) error {
			_, _, err := c.Get(ctx, name)
			return err
		},
		"GetUnacked": func(ctx context.Context, c *thump.Client, name string) error {
			_, _, err := c.GetUnacked(ctx, name)
			return err
		},
		"DeclareExchange": func(ctx context.Context, c *thump.Client, name string) error {
			return c.DeclareExchange(ctx, thump.ExchangeSpec{Name: name})
		},
		"ExchangeSpec.Kind": func(ctx context.Context, c *thump.Client, name string) error {
			return c.DeclareExchange(ctx, thump.ExchangeSpec{Name: unique("exchange"), Kind: name})
		},
		"DeleteExchange": func(ctx context.Context, c *thump.Client, name string) error {
			return c.DeleteExchange(ctx, name, thump.DeleteOptions{})
		},
		"Bind, the source": func(ctx context.Context, c *thump.Client, name string) error {
			return c.Bind(ctx, thump.Binding{Source: name, Queue: "q"})
		},
		"Bind, the queue": func(ctx context.Context, c *thump.Client, name string) error {
			return c.Bind(ctx, thump.Binding{Source: "amq.direct", Queue: name})
		},
		"Bind, the exchange": func(ctx context.Context, c *thump.Client, name string) error {
			return c.Bind(ctx, thump.Binding{Source: "amq.direct", Exchange: name})
		},
		"Unbind": func(ctx context.Context, c *thump.Client, name string) error {
			return c.Unbind(ctx, thump.Binding{Source: name, Queue: name})
		},
		"DeclareStream": func(ctx context.Context, c *thump.Client, name string) error {
			return c.DeclareStream(ctx, thump.StreamSpec{Name: name})
		},
		"InspectStream": func(ctx context.Context, c *thump.Client, name string) error {
			_, err := c.InspectStream(ctx, name)
			return err
		},
		"DeleteStream": func(ctx context.Context, c *thump.Client, name string) error { return c.DeleteStream(ctx, name) },
		"QueryOffset": func(ctx context.Context, c *thump.Client, name string) error {
			_, _, err := c.QueryOffset(ctx, name, "consumer")
			return err
		},
		"QueryOffset, the consumer": func(ctx context.Context, c *thump.Client, name string) error {
			_, _, err := c.QueryOffset(ctx, "stream", name)
			return err
		},
		"DeclareSuperStream": func(ctx context.Context, c *thump.Client, name string) error {
			return c.DeclareSuperStream(ctx, thump.SuperStreamSpec{StreamSpec: thump.StreamSpec{Name: name}, Partitions: 2})
		},
		"BindingKeys": func(ctx context.Context, c *thump.Client, name string) error {
			return c.DeclareSuperStream(ctx, thump.SuperStreamSpec{StreamSpec: thump.StreamSpec{Name: "super"}, BindingKeys: []string{"a", name}})
		},
		"Partitions": func(ctx context.Context, c *thump.Client, name string) error {
			_, err := c.Partitions(ctx, name)
			return err
		},
		"DeleteSuperStream": func(ctx context.Context, c *thump.Client, name string) error { return c.DeleteSuperStream(ctx, name) },
		"to a queue": publisher(func(name string) thump.PublisherConfig {
			return thump.PublisherConfig{To: thump.Queue(name)}
		}),
		"to an exchange": publisher(func(name string) thump.PublisherConfig {
			return thump.PublisherConfig{To: thump.Exchange(name, "")}
		}),
		"to a stream": publisher(func(name string) thump.PublisherConfig {
			return thump.PublisherConfig{To: thump.Stream(name)}
		}),
		"to a super stream": publisher(func(name string) thump.PublisherConfig {
			return thump.PublisherConfig{To: thump.SuperStream(name)}
		}),
		"StreamPublishing.Name": publisher(func(name string) thump.PublisherConfig {
			return thump.PublisherConfig{To: thump.Stream("s"), Stream: thump.StreamPublishing{Name: name}}
		}),
		"from a queue": consumer(func(name string) thump.ConsumerConfig {
			return thump.ConsumerConfig{From: thump.Queue(name)}
		}),
		"Tag": consumer(func(name string) thump.ConsumerConfig {
			return thump.ConsumerConfig{From: thump.Queue("q"), Tag: name}
		}),
		"from a stream": consumer(func(name string) thump.ConsumerConfig {
			return thump.ConsumerConfig{From: thump.Stream(name)}
		}),
		"from a super stream": consumer(func(name string) thump.ConsumerConfig {
			return thump.ConsumerConfig{From: thump.SuperStream(name)}
		}),
		"StreamConsuming.Name": consumer(func(name string) thump.ConsumerConfig {
			return thump.ConsumerConfig{From: thump.Stream("s"), Stream: thump.StreamConsuming{Name: name}}
		}),
		"Filters": consumer(func(name string) thump.ConsumerConfig {
			keep := func(*thump.Delivery) bool { return true }
			return thump.ConsumerConfig{From: thump.Stream("s"), Stream: thump.StreamConsuming{Filters: []string{"a", name}, Keep: keep}}
		}),
	}
}

func TestNamesAreCheckedBeforeTheyAreSent(t *testing.T) {
	eachRig(t, func(r *rig) {
		calls := namedCalls()
		makes := make(map[string]bool) // calls that make something of that name
		for _, what := range []string{
			"DeclareQueue", "DeclareQueue, a stream", "DeadLetterExchange", "DeclareExchange", "ExchangeSpec.Kind", "DeclareStream",
			"DeclareSuperStream", "BindingKeys", "StreamPublishing.Name", "Tag", "StreamConsuming.Name", "Filters",
		} {
			makes[what] = true
		}
		good := unique("name")
		for name, says := range badNames(good) {
			for what, call := range calls {
				if what == "BindingKeys" && says == "256 bytes" {
					continue // the name of the partition is longer still
				}
				err := call(r.Context(), r.client, name)
				if says == "NUL" && !makes[what] { // others may have made it
					if err != nil && (strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\x00")) {
						r.Errorf("%s of %q: %v", what, name, err)
					}
					continue
				}
				if err == nil || !strings.Contains(err.Error(), says) {
					r.Errorf("%s of %.40q: %v, expected an error that says %q", what, name, err, says)
					continue
				}
				if broker, ok := errors.AsType[*thump.BrokerError](err); ok {
					r.Errorf("%s of %.40q: it was sent: %v", what, name, broker)
				}
				if strings.ContainsAny(err.Error(), "\r\x00") || !utf8.ValidString(err.Error()) {
					r.Errorf("%s of %.40q: the error has the name as it is: %q", what, name, err)
				}
			}
		}
		// Nothing was declared, and the client's connections live.
		if _, err := r.client.InspectQueue(r.Context(), good); !thump.IsNotFound(err) {
			r.Errorf("queue %q: %v, expected none", good, err)
		}
		if _, err := r.client.InspectStream(r.Context(), good); !thump.IsNotFound(err) {
			r.Errorf("stream %q: %v, expected none", good, err)
		}
	})
}

// TestURLsAreNoNames: a broker's URL is not taken for the name of something to make, to
// publish to or to consume from, and the error does not show its password. What others
// have made can be inspected and deleted.
func TestURLsAreNoNames(t *testing.T) {
	eachRig(t, func(r *rig) {
		calls := namedCalls()
		for _, name := range []string{
			"amqp://user:sesame@localhost/", "AMQPS://user:sesame@localhost", "rabbitmq-stream://user:sesame@localhost",
			"rabbitmq-stream+tls://user:sesame@localhost",
		} {
			for _, what := range []string{
				"DeclareQueue", "DeclareQueue, a stream", "DeclareExchange", "DeclareStream", "DeclareSuperStream",
				"to a queue", "to an exchange", "to a stream", "to a super stream", "from a queue", "from a stream", "from a super stream",
			} {
				err := calls[what](r.Context(), r.client, name)
				if err == nil || !strings.Contains(err.Error(), "Config.URLs") {
					r.Errorf("%s of %q: %v", what, name, err)
				}
				if err != nil && strings.Contains(err.Error(), "sesame") {
					r.Errorf("%s: the error shows the password: %v", what, err)
				}
			}
			if _, err := r.client.InspectQueue(r.Context(), name); !thump.IsNotFound(err) {
				r.Errorf("inspecting %q: %v", name, err)
			}
		}
	})
}

// TestRoutingKeysAreNoNames: whatever fits a short string is published, dead-lettered, and
// comes back as it was sent; that of a binding has to be UTF-8.
func TestRoutingKeysAreNoNames(t *testing.T) {
	eachRig(t, func(r *rig) {
		for _, key := range []string{"thump\n", "\r\nthump", "thump\x00", "\xff\xfe", strings.Repeat("k", 255)} {
			exchange, queue := r.exchange(thump.ExchangeSpec{Kind: "topic"}), r.classicQueue()
			bound := thump.Binding{Source: exchange, Queue: queue, RoutingKey: key}
			if !utf8.ValidString(key) {
				r.says(r.client.Bind(r.Context(), bound), "not UTF-8")
				bound.RoutingKey = "#"
			}
			r.bind(bound)
			letters := r.declare(thump.QueueSpec{
				Name: unique("queue"), MessageTTL: time.Millisecond, DeadLetterExchange: exchange, DeadLetterRoutingKey: key,
			})
			p := r.publisher(thump.PublisherConfig{To: thump.Exchange(exchange, key)})
			r.publish(p, thump.Message{}, thump.Message{Exchange: exchange, RoutingKey: key})
			r.flush(p)
			r.publish(r.publisher(thump.PublisherConfig{To: thump.Queue(letters)}), thump.Message{})
			r.eventually(queue, 3)
			for _, d := range r.take(queue, 3) {
				if d.RoutingKey != key {
					r.Errorf("the key %q came back as %q", key, d.RoutingKey)
				}
			}
			r.noError(r.client.Unbind(r.Context(), bound))
			if err := p.Send(r.Context(), thump.Message{}); err == nil {
				r.Errorf("the key %q still leads to the queue", key)
			}
		}
		long := strings.Repeat("k", 256)
		r.says(r.client.Bind(r.Context(), thump.Binding{Source: "amq.direct", Queue: "q", RoutingKey: long}), "256 bytes")
		_, err := r.client.DeclareQueue(r.Context(), thump.QueueSpec{Name: unique("queue"), DeadLetterRoutingKey: long})
		r.says(err, "256 bytes")
		_, err = r.client.Publisher(r.Context(), thump.PublisherConfig{To: thump.Exchange("", long)})
		r.says(err, "256 bytes")
	})
}

// TestNoNameIsRefusedAlike: publishers and consumers, queues and streams.
func TestNoNameIsRefusedAlike(t *testing.T) {
	eachRig(t, func(r *rig) {
		for what, call := range namedCalls() {
			switch what {
			case "DeclareQueue", "DeadLetterExchange", "ExchangeSpec.Kind", "Bind, the source", "to an exchange", "StreamPublishing.Name", "Tag", "StreamConsuming.Name", "Filters", "BindingKeys":
				continue // where "" means something
			}
			err := call(r.Context(), r.client, "")
			if strings.HasPrefix(what, "Bind") || what == "Unbind" {
				r.says(err, "set one of Queue and Exchange")
				continue
			}
			r.says(err, "needs a name")
		}
	})
}

// TestStreamNamesFitTheirFolder declares the longest streams that the broker has a
// folder for, and refuses the next ones, which it would declare without an error.
func TestStreamNamesFitTheirFolder(t *testing.T) {
	eachStreamRig(t, func(r *rig) {
		longest := unique("")
		longest += strings.Repeat("n", 233-len(longest))
		r.streamNamed(longest)
		err := r.client.DeclareStream(r.Context(), thump.StreamSpec{Name: longest + "n"})
		r.says(err, "234 bytes", "at most 233", "folder", `vhost "/"`)
		_, err = r.client.DeclareQueue(r.Context(), thump.QueueSpec{Name: longest + "n", Kind: "stream"})
		r.says(err, "at most 233")
		other := unique("") + "ä"
		r.streamNamed(other + strings.Repeat("n", 233-len(other)))
		// The partitions of a super stream have longer names than it has.
		err = r.client.DeclareSuperStream(r.Context(), thump.SuperStreamSpec{StreamSpec: thump.StreamSpec{Name: longest[:230]}, Partitions: 101})
		r.says(err, "a partition", "234 bytes")
		err = r.client.DeclareSuperStream(r.Context(), thump.SuperStreamSpec{StreamSpec: thump.StreamSpec{Name: "super"}, BindingKeys: []string{"a", "b", "a"}})
		r.says(err, `two partitions have the binding key "a"`)
		// Those that others have made can still be deleted.
		r.noError(r.client.DeleteStream(r.Context(), longest+"n"))
	})
}

// streamNamed makes a stream of that name and sends something through it.
func (r *rig) streamNamed(name string) {
	r.Helper()
	r.stream(thump.StreamSpec{Name: name})
	r.send(name, numbered(3)...)
	r.take(name, 3)
}

// TestQueueSpecIsWhatTheBrokerGets compares what every field declares with what the
// same queue has as arguments: the broker refuses another.
func TestQueueSpecIsWhatTheBrokerGets(t *testing.T) {
	eachRig(t, func(r *rig) {
		type queue struct {
			spec      thump.QueueSpec
			arguments thump.Table
		}
		kind := func(kind thump.QueueKind) thump.Field { return thump.Field{Key: "x-queue-type", Value: string(kind)} }
		arg := func(key string, value any) thump.Field { return thump.Field{Key: key, Value: value} }
		queues := []queue{
			{thump.QueueSpec{}, nil},
			{
				thump.QueueSpec{
					Kind: thump.Classic, MessageTTL: 1500 * time.Microsecond, Expires: time.Hour, MaxLength: 10, MaxLengthBytes: 5 << 32,
					Overflow: thump.RejectPublishDLX, DeadLetterExchange: "amq.topic", DeadLetterRoutingKey: "key",
					SingleActiveConsumer: true, MaxPriority: 5,
				},
				thump.Table{
					kind(thump.Classic), arg("x-message-ttl", 2), arg("x-expires", 3_600_000), arg("x-max-length", 10), arg("x-max-length-bytes", int64(5<<32)),
					arg("x-overflow", "reject-publish-dlx"), arg("x-dead-letter-exchange", "amq.topic"), arg("x-dead-letter-routing-key", "key"),
					arg("x-single-active-consumer", true), arg("x-max-priority", 5),
				},
			},
			{
				thump.QueueSpec{
					Kind: thump.Quorum, Overflow: thump.RejectPublish, DeadLetterRoutingKey: "another",
					DeadLetterStrategy: thump.AtLeastOnce, DeliveryLimit: 3,
					Arguments: thump.Table{arg("x-delivery-limit", int32(3)), arg("x-quorum-initial-group-size", 1)},
				},
				thump.Table{
					kind(thump.Quorum), arg("x-overflow", "reject-publish"), arg("x-dead-letter-exchange", ""), arg("x-dead-letter-routing-key", "another"),
					arg("x-dead-letter-strategy", "at-least-once"), arg("x-delivery-limit", 3), arg("x-quorum-initial-group-size", 1),
				},
			},
		}
		for _, unsupported := range []struct {
			since string
			queue
		}{
			{"4.3", queue{
				thump.QueueSpec{Kind: thump.Quorum, DelayedRetry: thump.DelayedRetry{Min: time.Second, Max: time.Minute}},
				thump.Table{kind(thump.Quorum), arg("x-delayed-retry-type", "all"), arg("x-delayed-retry-min", 1000), arg("x-delayed-retry-max", 60_000)},
			}},
			{"3.12", queue{
				thump.QueueSpec{Kind: thump.Quorum, ConsumerTimeout: time.Hour},
				thump.Table{kind(thump.Quorum), arg("x-consumer-timeout", 3_600_000)},
			}},
			{"4.0", queue{thump.QueueSpec{Kind: thump.Quorum, DeliveryLimit: -1}, thump.Table{kind(thump.Quorum), arg("x-delivery-limit", -1)}}},
		} {
			if r.atLeast(unsupported.since) {
				queues = append(queues, unsupported.queue)
				continue
			}
			if unsupported.since == "4.0" {
				continue // 3.10 has none anyway
			}
			unsupported.spec.Name = unique("queue")
			_, err := r.client.DeclareQueue(r.Context(), unsupported.spec)
			r.lacks(unsupported.since, err)
		}
		for _, q := range queues {
			q.spec.Name = unique("queue")
			r.declare(q.spec)
			_, err := r.client.DeclareQueue(r.Context(), thump.QueueSpec{Name: q.spec.Name, Arguments: q.arguments})
			if err != nil {
				r.Errorf("%+v: %v", q.spec, err)
			}
		}
	})
}

// TestQueueSpecSaysOneThing refuses what contradicts itself, and what RabbitMQ
// accepts and does not mean.
func TestQueueSpecSaysOneThing(t *testing.T) {
	eachRig(t, func(r *rig) {
		arguments := func(key string, value any) thump.Table { return thump.Table{{Key: key, Value: value}} }
		for _, c := range []struct {
			spec thump.QueueSpec
			says string
		}{
			{thump.QueueSpec{Kind: thump.Quorum, Arguments: arguments("x-queue-type", "classic")}, "QueueSpec.Kind says quorum, and Arguments has x-queue-type classic"},
			{thump.QueueSpec{MaxLength: 10, Arguments: arguments("x-max-length", 11)}, "QueueSpec.MaxLength says 10, and Arguments has x-max-length 11"},
			{thump.QueueSpec{MessageTTL: time.Second, Arguments: arguments("x-message-ttl", "1000")}, "x-message-ttl"},
			{thump.QueueSpec{DeadLetterRoutingKey: "q", Arguments: arguments("x-dead-letter-exchange", "x")}, "x-dead-letter-exchange"},
			{thump.QueueSpec{Overflow: thump.DropHead, Arguments: arguments("x-overflow", thump.Table{})}, "x-overflow"},
			{thump.QueueSpec{Arguments: thump.Table{{Key: "x-max-length", Value: 1}, {Key: "x-max-length", Value: 1}}}, "x-max-length twice"},
			{thump.QueueSpec{MessageTTL: -1}, "QueueSpec.MessageTTL is -1ns"},
			{thump.QueueSpec{Expires: -time.Second}, "QueueSpec.Expires is -1s"},
			{thump.QueueSpec{MaxLength: -1}, "QueueSpec.MaxLength is -1"},
			{thump.QueueSpec{MaxLengthBytes: -1}, "QueueSpec.MaxLengthBytes is -1"},
			{thump.QueueSpec{DeliveryLimit: -2}, "QueueSpec.DeliveryLimit is -2"},
			{thump.QueueSpec{ConsumerTimeout: -1}, "QueueSpec.ConsumerTimeout is -1ns"},
			{thump.QueueSpec{DelayedRetry: thump.DelayedRetry{Type: thump.RetryAll}}, "DelayedRetry.Min is 0s"},
			{thump.QueueSpec{DelayedRetry: thump.DelayedRetry{Min: 2, Max: 1}}, "DelayedRetry.Max is 1ns, less than Min"},
			{thump.QueueSpec{Kind: thump.Quorum, Overflow: thump.RejectPublishDLX}, "a quorum queue takes for drop-head"},
			{thump.QueueSpec{Kind: thump.Quorum, DeadLetterStrategy: thump.AtLeastOnce, DeadLetterExchange: "x"}, "unless Overflow is reject-publish"},
			{thump.QueueSpec{Kind: thump.Quorum, DeadLetterStrategy: thump.AtLeastOnce, Overflow: thump.RejectPublish}, "neither DeadLetterExchange nor"},
		} {
			c.spec.Name = unique("queue")
			_, err := r.client.DeclareQueue(r.Context(), c.spec)
			r.says(err, c.says, c.spec.Name)
			if broker, ok := errors.AsType[*thump.BrokerError](err); ok {
				r.Errorf("%+v was sent: %v", c.spec, broker)
			}
			if _, err := r.client.InspectQueue(r.Context(), c.spec.Name); !thump.IsNotFound(err) {
				r.Errorf("%+v was declared: %v", c.spec, err)
			}
		}
		_, err := r.client.DeclareQueue(r.Context(), thump.QueueSpec{MessageTTL: -1, MaxLength: -1, Name: "a\n"})
		r.says(err, "MessageTTL", "MaxLength", "line break") // all of them
	})
}

// TestDeadLetterByKeyAlone: a routing key without an exchange names a queue.
func TestDeadLetterByKeyAlone(t *testing.T) {
	eachRig(t, func(r *rig) {
		dead := r.queue()
		queue := r.declare(thump.QueueSpec{Name: unique("queue"), MessageTTL: time.Millisecond, DeadLetterRoutingKey: dead})
		r.send(queue, numbered(3)...)
		r.eventually(dead, 3)
		got := r.take(dead, 3)
		r.inOrder(got, 1)
		if key := got[0].RoutingKey; key != dead {
			r.Errorf("the key is %s, expected %s", key, fmt.Sprint(dead))
		}
	})
}
