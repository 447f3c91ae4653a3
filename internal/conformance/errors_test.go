package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/thumpmq/thump"
)

// mistake is something that users do wrong, and the sentence that they get: what the
// library knows of it, where it happened, and what to do, in one line of plain
// text. "*" stands for what differs from broker to broker.
type mistake struct {
	what string
	do   func(ctx context.Context) error
	says string
}

// failure drops what came with an error.
func failure[T any](_ T, err error) error { return err }

// mistakes are made with r's client, a queue, a stream, and a name that is none.
func (r *rig) mistakes(queue, stream, super, missing string) []mistake {
	c := r.client
	dial := func(urls ...string) func(context.Context) error {
		return func(ctx context.Context) error { return failure(thump.Dial(ctx, thump.Config{URLs: urls})) }
	}
	publisher := func(cfg thump.PublisherConfig) func(context.Context) error {
		return func(ctx context.Context) error { return failure(c.Publisher(ctx, cfg)) }
	}
	consumer := func(cfg thump.ConsumerConfig) func(context.Context) error {
		return func(ctx context.Context) error { return failure(c.Consumer(ctx, cfg)) }
	}
	publish := func(cfg thump.PublisherConfig, m thump.Message) func(context.Context) error {
		return func(ctx context.Context) error {
			p := r.publisher(cfg) //nolint:contextcheck // what the rig makes ends with the test
			return errors.Join(failure(p.Publish(ctx, m)), p.Close(ctx))
		}
	}
	u, err := url.Parse(r.broker.URL)
	r.noError(err)
	vhost := func(name string) string { return strings.TrimSuffix(r.broker.URL, "/") + "/" + name }
	address := u.Host
	user := u.User.Username()
	streams, err := url.Parse(r.broker.StreamURL)
	r.noError(err)
	keep := func(*thump.Delivery) bool { return true }
	return []mistake{
		{"no URL", dial(), "thump: Config.URLs is empty"},
		{"a URL with its line break", dial(r.broker.URL + "\n"), "thump: URL: it ends with a line break"},
		{"a URL of another scheme", dial("http://localhost:15672"), `thump: URL: unknown scheme "http": it is amqp, amqps, rabbitmq-stream or rabbitmq-stream+tls`},
		{"a parameter that is none", dial(r.broker.URL + "?prefetch=1"), `thump: URL amqp://` + user + `:***@` + address + `: unknown parameter "prefetch"`},
		{"a password of another", dial(r.as(user, "wrong")), "thump: connecting to amqp://" + user + ":***@" + address + ": logging in: broker answered 403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."},
		{"a vhost that is none", dial(vhost("nowhere")), "thump: connecting to amqp://" + user + ":***@" + address + "/nowhere: opening vhost \"nowhere\": broker answered 530 NOT_ALLOWED - vhost nowhere not found"},
		{"a stream's password of another", dial(r.streamAs(user, "wrong")), "thump: connecting to rabbitmq-stream://" + user + ":***@" + streams.Host + ": logging in: broker answered 8, authentication failure"},
		{"the stream port for AMQP", dial(strings.Replace(r.broker.StreamURL, "rabbitmq-stream", "amqp", 1)), "thump: connecting to amqp://" + user + ":***@" + streams.Host + ": waiting for the broker's greeting: the server closed the connection"},
		{"AMQP's port for streams", dial(strings.Replace(r.broker.URL, "amqp", "rabbitmq-stream", 1)), "thump: connecting to rabbitmq-stream://" + user + ":***@" + address + ": waiting for the broker's greeting: the server speaks AMQP on this port; the stream protocol's is another (5552 by default), and needs RabbitMQ's plugin rabbitmq_stream"},

		{
			"a queue that is not there", func(ctx context.Context) error { return failure(c.InspectQueue(ctx, missing)) },
			"thump: inspecting queue \"" + missing + "\": queue.declare: broker answered 404 NOT_FOUND - no queue '" + missing + "' in vhost '/'",
		},
		{
			"to consume from it", consumer(thump.ConsumerConfig{From: thump.Queue(missing)}),
			"thump: consumer of queue \"" + missing + "\": basic.consume: broker answered 404 NOT_FOUND - no queue '" + missing + "' in vhost '/'",
		},
		{
			"to get from it", func(ctx context.Context) error { _, _, err := c.Get(ctx, missing); return err },
			"thump: getting from queue \"" + missing + "\": basic.get: broker answered 404 NOT_FOUND - no queue '" + missing + "' in vhost '/'",
		},
		{
			"a stream that is not there", func(ctx context.Context) error { return failure(c.InspectStream(ctx, missing)) },
			"thump: inspecting stream \"" + missing + "\": looking for stream \"" + missing + "\": broker answered 2, stream does not exist",
		},
		{
			"to consume from it", consumer(thump.ConsumerConfig{From: thump.Stream(missing)}),
			"thump: consumer of stream \"" + missing + "\": looking for stream \"" + missing + "\": broker answered 2, stream does not exist",
		},
		{
			"to publish to it", publisher(thump.PublisherConfig{To: thump.Stream(missing)}),
			"thump: publisher to stream \"" + missing + "\": looking for stream \"" + missing + "\": broker answered 2, stream does not exist",
		},
		{
			"a super stream that is not there", func(ctx context.Context) error { return failure(c.Partitions(ctx, missing)) },
			"thump: asking for the partitions of super stream \"" + missing + "\": Partitions: broker answered 2, stream does not exist",
		},

		{
			"a queue for a stream", consumer(thump.ConsumerConfig{From: thump.Stream(queue)}),
			"thump: consumer of stream \"" + queue + "\": looking for stream \"" + queue + "\": broker answered 2, stream does not exist (there is a queue of that name, which is no stream)",
		},
		{
			"a queue for a stream to publish to", publisher(thump.PublisherConfig{To: thump.Stream(queue)}),
			"thump: publisher to stream \"" + queue + "\": looking for stream \"" + queue + "\": broker answered 2, stream does not exist (there is a queue of that name, which is no stream)",
		},
		{
			"a queue for a super stream", publisher(thump.PublisherConfig{To: thump.SuperStream(queue)}),
			"thump: asking for the partitions of super stream \"" + queue + "\": Partitions: broker answered 2, stream does not exist (there is a queue of that name, which is no stream)",
		},
		{
			"a stream for a super stream", consumer(thump.ConsumerConfig{From: thump.SuperStream(stream)}),
			"thump: consumer of super stream \"" + stream + "\": asking for the partitions of super stream \"" + stream + "\": Partitions: broker answered 2, stream does not exist (there is a stream of that name, which is no super stream)",
		},
		{
			"a super stream for a stream", publisher(thump.PublisherConfig{To: thump.Stream(super)}),
			"thump: publisher to stream \"" + super + "\": looking for stream \"" + super + "\": broker answered 2, stream does not exist (there is a super stream of that name)",
		},
		{
			"a stream where a queue is", func(ctx context.Context) error { return c.DeclareStream(ctx, thump.StreamSpec{Name: queue}) },
			"thump: declaring stream \"" + queue + "\": Create: broker answered 17, precondition failed (a stream with other settings is there, or a queue, or the settings are none)",
		},
		{
			"a queue of another kind", func(ctx context.Context) error {
				return failure(c.DeclareQueue(ctx, thump.QueueSpec{Name: queue, Kind: thump.Quorum}))
			},
			"thump: declaring queue \"" + queue + "\": queue.declare: broker answered 406 PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue '" + queue + "' in vhost '/': *",
		},

		{"to publish to nothing", publisher(thump.PublisherConfig{}), "thump: PublisherConfig.To: it is not set: it is made by Queue, Exchange, Stream or SuperStream"},
		{"to consume from nothing", consumer(thump.ConsumerConfig{}), "thump: ConsumerConfig.From: it is not set: it is made by Queue, Exchange, Stream or SuperStream"},
		{"to publish to a queue without a name", publisher(thump.PublisherConfig{To: thump.Queue("")}), "thump: PublisherConfig.To: a queue needs a name"},
		{"to consume from a queue without a name", consumer(thump.ConsumerConfig{From: thump.Queue("")}), "thump: ConsumerConfig.From: a queue needs a name"},
		{"to publish to a stream without a name", publisher(thump.PublisherConfig{To: thump.Stream("")}), "thump: PublisherConfig.To: a stream needs a name"},
		{"to consume from a stream without a name", consumer(thump.ConsumerConfig{From: thump.Stream("")}), "thump: ConsumerConfig.From: a stream needs a name"},
		{"to consume from an exchange", consumer(thump.ConsumerConfig{From: thump.Exchange("amq.direct", "")}), "thump: ConsumerConfig.From: an exchange holds no messages: bind a queue to it, and consume from that"},
		{
			"a queue's name with a line break", func(ctx context.Context) error { return failure(c.DeclareQueue(ctx, thump.QueueSpec{Name: "q\n"})) },
			`thump: declaring queue "q\n": the name of a queue contains a line break: "q\n"`,
		},
		{"a stream's name with a NUL", func(ctx context.Context) error { return c.DeclareStream(ctx, thump.StreamSpec{Name: "s\x00"}) }, `thump: the name of a stream contains a NUL: "s\x00"`},
		{"a name that is no text", func(ctx context.Context) error { return failure(c.InspectQueue(ctx, "\xff")) }, `thump: the name of a queue is not UTF-8: "\xff"`},
		{
			"a binding to two", func(ctx context.Context) error {
				return c.Bind(ctx, thump.Binding{Source: "amq.direct", Queue: "a", Exchange: "b"})
			},
			"thump: a binding leads to a queue or to an exchange: set one of Queue and Exchange",
		},
		{
			"two kinds of one queue", func(ctx context.Context) error {
				return failure(c.DeclareQueue(ctx, thump.QueueSpec{Name: missing, Kind: thump.Quorum, Arguments: thump.Table{{Key: "x-queue-type", Value: "classic"}}}))
			},
			"thump: declaring queue \"" + missing + "\": QueueSpec.Kind says quorum, and Arguments has x-queue-type classic",
		},
		{
			"an argument that no table holds", func(ctx context.Context) error {
				return failure(c.DeclareQueue(ctx, thump.QueueSpec{Name: missing, Arguments: thump.Table{{Key: "x-expires", Value: time.Second}}}))
			},
			"thump: declaring queue \"" + missing + "\": the argument \"x-expires\" is a time.Duration, which a Table can't hold",
		},

		{
			"stream options for a queue", publisher(thump.PublisherConfig{To: thump.Queue(queue), Stream: thump.StreamPublishing{Name: "p"}}),
			"thump: PublisherConfig.Stream is set, and queue \"" + queue + "\" is no stream",
		},
		{"a stream without confirms", publisher(thump.PublisherConfig{To: thump.Stream(stream), NoConfirms: true}), "thump: PublisherConfig.NoConfirms: a stream always confirms"},
		{
			"compression without sub-entries", publisher(thump.PublisherConfig{To: thump.Stream(stream), Stream: thump.StreamPublishing{SubEntry: 1, Compression: thump.Gzip}}),
			"thump: PublisherConfig.Stream.Compression needs sub-entries: SubEntry is 1",
		},
		{
			"queue options for a stream", consumer(thump.ConsumerConfig{From: thump.Stream(stream), Prefetch: 10}),
			"thump: ConsumerConfig: Prefetch, Exclusive, Tag and Arguments are for queues, and stream \"" + stream + "\" is none (Stream.Credit limits what the broker sends ahead)",
		},
		{
			"filters without Keep", consumer(thump.ConsumerConfig{From: thump.Stream(stream), Stream: thump.StreamConsuming{Filters: []string{"a"}}}),
			"thump: ConsumerConfig.Stream.Filters and Keep go together: the broker leaves out chunks, Keep messages",
		},
		{
			"Until with Filters", consumer(thump.ConsumerConfig{From: thump.Stream(stream), Stream: thump.StreamConsuming{Filters: []string{"a"}, Keep: keep, Until: time.Now()}}),
			"thump: ConsumerConfig.Stream.Until can't go with Filters: of what the broker leaves out, nothing tells when it ends",
		},
		{
			"a group without a name", consumer(thump.ConsumerConfig{From: thump.Stream(stream), Stream: thump.StreamConsuming{SingleActive: true}}),
			"thump: ConsumerConfig.Stream.SingleActive needs a Name: it is what the consumers of a group have in common",
		},
		{
			"a compression that is none", func(context.Context) error { return failure(thump.ParseCompression("rar")) },
			`thump: unknown compression "rar": it is none, gzip, snappy, lz4 or zstd`,
		},

		{
			"a stream's message to an exchange", publish(thump.PublisherConfig{To: thump.Stream(stream)}, thump.Message{Exchange: "amq.direct"}),
			"thump: publishing to stream \"" + stream + "\": not sent: the message names exchange \"amq.direct\", and a stream has none",
		},
		{
			"a context that is over", func(context.Context) error {
				over, cancel := context.WithCancel(r.Context())
				cancel()
				return failure(c.InspectQueue(over, queue)) //nolint:contextcheck // the table's own context is not over
			},
			"thump: inspecting queue \"" + queue + "\": context canceled",
		},
		{
			"a client that is closed", func(ctx context.Context) error {
				closed := r.dial(r.config()) //nolint:contextcheck // what the rig makes ends with the test
				r.noError(closed.Close(ctx))
				return failure(closed.Publisher(ctx, thump.PublisherConfig{To: thump.Queue(queue)}))
			},
			"thump: client: closed",
		},
		{
			"a declaration by a client that is closed", func(ctx context.Context) error {
				closed := r.dial(r.config()) //nolint:contextcheck // what the rig makes ends with the test
				r.noError(closed.Close(ctx))
				return failure(closed.InspectQueue(ctx, queue))
			},
			"thump: inspecting queue \"" + queue + "\": closed",
		},
	}
}

// TestWhatUsersDoWrong makes every mistake, and reads the sentence.
func TestWhatUsersDoWrong(t *testing.T) {
	t.Parallel()
	eachRig(t, func(r *rig) {
		queue, stream, missing := r.queue(), r.stream(thump.StreamSpec{}), unique("missing")
		super := r.superStream(2)
		for _, m := range r.mistakes(queue, stream, super, missing) {
			err := m.do(r.Context())
			if err == nil {
				r.Errorf("%s: no error, expected %q", m.what, m.says)
				continue
			}
			r.readable(m.what, err)
			pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(m.says), `\*`, ".*") + "$"
			pattern = strings.ReplaceAll(pattern, `:.*.*.*@`, `:\*\*\*@`) // a password that is not shown
			if ok, broken := regexp.MatchString(pattern, err.Error()); broken != nil || !ok {
				r.Errorf("%s:\ngot  %s\nwant %s", m.what, err, m.says)
			}
		}
	})
}

// calls are all calls of a client that may fail, for names that are there and for one that
// is not.
func calls(c *thump.Client, names ...string) map[string]func(context.Context) error {
	list := make(map[string]func(context.Context) error)
	add := func(what, name string, call func(context.Context) error) {
		list[fmt.Sprintf("%s(%s)", what, name)] = call
	}
	for _, name := range names {
		b := thump.Binding{Source: name, Queue: name, RoutingKey: "k"}
		add("Bind", name, func(ctx context.Context) error { return c.Bind(ctx, b) })
		add("Unbind", name, func(ctx context.Context) error { return c.Unbind(ctx, b) })
		add("DeclareExchange", name, func(ctx context.Context) error {
			return c.DeclareExchange(ctx, thump.ExchangeSpec{Name: name, Kind: "none"})
		})
		add("DeclareQueue", name, func(ctx context.Context) error {
			return failure(c.DeclareQueue(ctx, thump.QueueSpec{Name: name, Kind: thump.Quorum, Overflow: "no"}))
		})
		add("DeclareStream", name, func(ctx context.Context) error {
			return c.DeclareStream(ctx, thump.StreamSpec{Name: name, MaxBytes: -1})
		})
		add("DeclareSuperStream", name, func(ctx context.Context) error {
			return c.DeclareSuperStream(ctx, thump.SuperStreamSpec{StreamSpec: thump.StreamSpec{Name: name}, BindingKeys: []string{"k", "k"}})
		})
		add("DeleteSuperStream", name, func(ctx context.Context) error { return c.DeleteSuperStream(ctx, name) })
		add("DeleteStream", name, func(ctx context.Context) error { return c.DeleteStream(ctx, name) })
		add("DeleteExchange", name, func(ctx context.Context) error {
			return c.DeleteExchange(ctx, name, thump.DeleteOptions{IfUnused: true})
		})
		add("DeleteQueue", name, func(ctx context.Context) error {
			return failure(c.DeleteQueue(ctx, name, thump.DeleteOptions{IfEmpty: true}))
		})
		add("Get", name, func(ctx context.Context) error { _, _, err := c.Get(ctx, name); return err })
		add("GetUnacked", name, func(ctx context.Context) error { _, _, err := c.GetUnacked(ctx, name); return err })
		add("InspectExchange", name, func(ctx context.Context) error { return c.InspectExchange(ctx, name) })
		add("InspectQueue", name, func(ctx context.Context) error { return failure(c.InspectQueue(ctx, name)) })
		add("InspectStream", name, func(ctx context.Context) error { return failure(c.InspectStream(ctx, name)) })
		add("Partitions", name, func(ctx context.Context) error { return failure(c.Partitions(ctx, name)) })
		add("PurgeQueue", name, func(ctx context.Context) error { return failure(c.PurgeQueue(ctx, name)) })
		add("QueryOffset", name, func(ctx context.Context) error { _, _, err := c.QueryOffset(ctx, name, "reader"); return err })
		for _, to := range []thump.Target{thump.Queue(name), thump.Exchange(name, ""), thump.Stream(name), thump.SuperStream(name)} {
			add("Publisher", to.String(), func(ctx context.Context) error { return failure(c.Publisher(ctx, thump.PublisherConfig{To: to})) })
			add("Consumer", to.String(), func(ctx context.Context) error { return failure(c.Consumer(ctx, thump.ConsumerConfig{From: to})) })
		}
		for what, o := range map[string]thump.StreamConsuming{
			"of a group":   {Name: "group", SingleActive: true},
			"with Filters": {Filters: []string{"a"}, Keep: func(*thump.Delivery) bool { return true }},
			"with Until":   {Until: time.Now()},
			"FromLast":     {Start: thump.FromLast(3)},
		} {
			add("Consumer "+what, name, func(ctx context.Context) error {
				return failure(c.Consumer(ctx, thump.ConsumerConfig{From: thump.Stream(name), Stream: o}))
			})
		}
	}
	return list
}

// TestEveryErrorIsSaidOnce makes every call fail in the ways that are common to all: the
// name is none, or another kind of thing; the context has ended; the client is closed.
func TestEveryErrorIsSaidOnce(t *testing.T) {
	eachRig(t, func(r *rig) {
		queue, stream := r.queue(), r.stream(thump.StreamSpec{})
		client := r.dial(r.config())
		over, cancel := context.WithCancel(r.Context())
		cancel()
		read := func(what string, err error) { // faults of one call are a line each
			r.Helper()
			r.readable(what, errors.New(strings.ReplaceAll(err.Error(), "\n", ", ")))
		}
		for what, call := range calls(client, queue, stream, unique("missing"), "a\nb") {
			there := strings.Contains(what, queue) || strings.Contains(what, stream)
			if deletes := strings.HasPrefix(what, "Delete"); !deletes || !there {
				if err := call(r.Context()); err != nil {
					read(what, err)
				}
			}
			if err := call(over); err == nil {
				r.Errorf("%s: no error with a context that has ended", what)
			} else {
				read(what+", with a context that has ended", err)
			}
		}
		r.noError(client.Close(r.Context()))
		for what, call := range calls(client, queue) {
			if err := call(r.Context()); err == nil {
				r.Errorf("%s: no error of a client that is closed", what)
			} else {
				read(what+", of a client that is closed", err)
			}
		}
		if err := client.UpdateSecret(r.Context(), "new", ""); !errors.Is(err, thump.ErrClosed) {
			r.Errorf("UpdateSecret of a client that is closed: %v", err)
		}
	})
}

// readable expects an error of one line, with one prefix, and nothing of the insides.
func (r *rig) readable(what string, err error) {
	r.Helper()
	text := err.Error()
	if !strings.HasPrefix(text, "thump: ") || strings.Count(text, "thump: ") != 1 {
		r.Errorf("%s: not one prefix: %s", what, text)
	}
	if strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) {
		r.Errorf("%s: not printable: %q", what, text)
	}
	for _, inside := range []string{"amqpproto", "amqpconn", "amqp10", "streamproto", "streamconn", "wire:", "transport", "compress:", "window:", "%!"} {
		if strings.Contains(text, inside) {
			r.Errorf("%s: it speaks of %s: %s", what, inside, text)
		}
	}
	words := strings.Split(text, ": ")
	for i := 1; i < len(words); i++ {
		if words[i] == words[i-1] {
			r.Errorf("%s: it says %q twice: %s", what, words[i], text)
		}
	}
	if password, _ := must(url.Parse(r.broker.URL)).User.Password(); strings.Contains(text, password) {
		r.Errorf("%s: it shows the password", what)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestTooOldIsSaidOnce: what a broker lacks is named with the version that has it.
func TestTooOldIsSaidOnce(t *testing.T) {
	eachStreamRig(t, func(r *rig) {
		if r.atLeast("3.13") {
			return
		}
		err := r.client.DeclareSuperStream(r.Context(), thump.SuperStreamSpec{StreamSpec: thump.StreamSpec{Name: "super"}, Partitions: 1})
		want := fmt.Sprintf(`thump: declaring super stream "super": CreateSuperStream needs RabbitMQ 3.13 or later, and this broker is %s`, r.broker.Version)
		if err == nil || err.Error() != want {
			r.Errorf("got  %v\nwant %s", err, want)
		}
		if _, broker := errors.AsType[*thump.BrokerError](err); broker {
			r.Error("it was asked")
		}
	})
}
