package hostiletest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// What docs/memory.md says of a publisher to queues with the default window.
const publisherHeld = 4 << 20

func publisher(ctx context.Context, client *thump.Client, cfg thump.PublisherConfig) (*thump.Publisher, error) {
	cfg.To = thump.Queue("q")
	return client.Publisher(ctx, cfg)
}

// publish publishes one message after another until there is an error.
func publish(body []byte) func(context.Context, *thump.Client) error {
	return func(ctx context.Context, client *thump.Client) error {
		pub, err := publisher(ctx, client, thump.PublisherConfig{})
		if err != nil {
			return err
		}
		for err == nil {
			_, err = pub.Publish(ctx, thump.Message{Body: body})
		}
		return err
	}
}

// send sends one message.
func send(ctx context.Context, client *thump.Client) error {
	pub, err := publisher(ctx, client, thump.PublisherConfig{})
	if err != nil {
		return err
	}
	return pub.Send(ctx, thump.Message{Body: []byte("m")})
}

// publishing is the script of a broker that reads one message and then sends what next
// returns.
func publishing(total int, next func() []byte) func(*fakebroker.Session) {
	return func(s *fakebroker.Session) {
		s.Login()
		s.OpenPublisher()
		s.Next()
		new(pouring).pour(s, total, next)
	}
}

// TestPublisher: what a broker can do to a publisher.
func TestPublisher(t *testing.T) {
	frames := func(m amqpproto.Method) func() []byte { return same(repeated(fakebroker.Frame(1, m), 128<<10)) }
	back := func(body []byte) []byte {
		return fakebroker.Content(1, 131072, &amqpproto.BasicReturn{ReplyCode: 312, ReplyText: strings.Repeat("\x1b", 255)}, nil, body)
	}
	play(t, []scenario{
		{
			name: "it reads nothing", held: publisherHeld + 4<<20, call: publish(make([]byte, 1<<20)), want: ended,
			broker: func(s *fakebroker.Session) {
				s.Login()
				s.OpenPublisher()
				stay(s, heartbeats(8))
			},
		},
		{
			name: "it reads, and confirms nothing", held: publisherHeld, call: publish(make([]byte, 100)), want: ended,
			broker: func(s *fakebroker.Session) {
				s.Login()
				s.OpenPublisher()
				s.Discard()
			},
		},
		{
			name: "the largest window, and nothing confirmed", held: 64 << 20, within: 4 * time.Second, want: ended,
			call: func(ctx context.Context, client *thump.Client) error {
				pub, err := publisher(ctx, client, thump.PublisherConfig{Window: 1 << 20, OnOutcomes: func([]thump.Outcome) {}})
				if err != nil {
					return err
				}
				msgs := make([]thump.Message, 1<<16)
				for i := 0; i < 1<<20 && err == nil; i += len(msgs) {
					_, err = pub.Publish(ctx, msgs...)
				}
				closing, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
				defer cancel()
				err = errors.Join(err, pub.Close(closing))
				<-pub.Done() // every outcome was handed over
				return err
			},
			broker: func(s *fakebroker.Session) {
				s.Login()
				s.OpenPublisher()
				s.Discard()
			},
		},
		{name: "confirms of what was never published", held: publisherHeld, call: send, want: "confirm of message 2, and only 1 were published", broker: publishing(1, frames(&amqpproto.BasicAck{DeliveryTag: 2}))},
		{name: "confirms of all, without end", held: publisherHeld, call: send, broker: publishing(64<<20, frames(&amqpproto.BasicAck{Multiple: true}))},
		{name: "nacks of one, without end", held: publisherHeld, call: send, want: "the message is rejected", broker: publishing(64<<20, frames(&amqpproto.BasicNack{DeliveryTag: 1}))},
		{name: "returns without end", held: publisherHeld, call: publish([]byte("m")), want: "that is not in flight", broker: publishing(64<<20, same(repeated(back([]byte("other")), 128<<10)))},
		{
			name: "a return of 512 MiB", held: publisherHeld + 2<<20, call: send, want: ended,
			broker: publishing(2<<20, func() func() []byte {
				begun := false
				return func() []byte {
					if begun {
						return repeated(fakebroker.Raw(amqpproto.FrameBody, 1, make([]byte, 131064)), 1)
					}
					begun = true
					return append(fakebroker.Frame(1, &amqpproto.BasicReturn{ReplyCode: 312}), fakebroker.Header(1, 512<<20)...)
				}
			}()),
		},
		{
			// The header is read as one frame, twice while its buffer grows, and copied once.
			name: "a return with a table of 30 MiB", held: publisherHeld + 4*30<<20, call: send, within: 3 * time.Second,
			want: "that is not in flight",
			broker: func(s *fakebroker.Session) {
				s.Login()
				s.OpenPublisher()
				s.Next()
				const size = 30 << 20
				be := binary.BigEndian
				s.Offer(slices.Concat(
					fakebroker.Frame(1, &amqpproto.BasicReturn{ReplyCode: 312}),
					be.AppendUint32([]byte{amqpproto.FrameHeader, 0, 1}, size+25),
					[]byte{0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0x20, 0}, // basic, 5 bytes of body, headers
					be.AppendUint32(nil, size+7), []byte("\x01kA"), be.AppendUint32(nil, size),
				))
				new(pouring).send(s, size, same(repeated([]byte("V"), 1<<20)))
				s.Offer(append([]byte{amqpproto.FrameEnd}, fakebroker.Raw(amqpproto.FrameBody, 1, []byte("other"))...))
				s.Discard()
			},
		},
		{
			name: "outcomes that the program does not take", held: publisherHeld + 16<<20, want: ended,
			call: func(ctx context.Context, client *thump.Client) error {
				pub, err := publisher(ctx, client, thump.PublisherConfig{OnOutcomes: func([]thump.Outcome) { <-ctx.Done() }})
				if err != nil {
					return err
				}
				for i := 0; err == nil; i++ {
					_, err = pub.Publish(ctx, thump.Message{Body: fmt.Append(nil, i)})
				}
				return err
			},
			broker: func(s *fakebroker.Session) {
				s.Login()
				s.OpenPublisher()
				n := uint64(0)
				s.Serve(func(r *fakebroker.Received) bool {
					if _, publish := r.Method.(*amqpproto.BasicPublish); !publish {
						return false
					}
					n++
					s.Offer(fakebroker.Content(1, 131072, &amqpproto.BasicReturn{
						ReplyCode: 312, ReplyText: fmt.Sprintf("%0255d", n), RoutingKey: "q",
					}, nil, r.Body))
					return true
				})
			},
		},
		{
			name: "connection.blocked without end", held: publisherHeld, want: "the broker blocks publishing", within: 400 * time.Millisecond,
			call: publish([]byte("m")),
			broker: func(s *fakebroker.Session) {
				s.Login()
				blocked := fakebroker.Frame(0, &amqpproto.ConnectionBlocked{Reason: strings.Repeat("\x1b", 255)})
				s.Offer(blocked)
				s.OpenPublisher()
				new(pouring).pour(s, 32<<20, same(repeated(blocked, 128<<10)))
			},
		},
		{name: "a delivery to a publisher", held: publisherHeld, call: send, want: "which was never started", broker: publishing(1, same(deliver("q", nil, []byte("x"))))},
		{name: "heartbeats without end", held: publisherHeld, call: send, want: ended, broker: publishing(64<<20, same(heartbeats(128<<10)))},
	})
}

// TestClient: what a broker can do to a client's own connection, which declares.
func TestClient(t *testing.T) {
	declare := func(ctx context.Context, client *thump.Client) error {
		_, err := client.DeclareQueue(ctx, thump.QueueSpec{Name: "q"})
		return err
	}
	answers := func(total int, b []byte) func(*fakebroker.Session) {
		return func(s *fakebroker.Session) {
			s.Login()
			s.OpenChannel()
			s.Next()
			new(pouring).pour(s, total, same(b))
		}
	}
	bytes := func(n int) []byte { return make([]byte, n) }
	for _, sc := range []scenario{
		{name: "the answer to another question", call: declare, want: "queue.declare answered by basic.qos-ok", broker: answers(1, fakebroker.Frame(1, &amqpproto.BasicQosOk{}))},
		{name: "an answer, again and again", call: func(ctx context.Context, client *thump.Client) error {
			if err := declare(ctx, client); err != nil {
				return err
			}
			return declare(ctx, client)
		}, want: "queue.declare-ok, which answers nothing", broker: answers(1<<20, repeated(fakebroker.Frame(1, &amqpproto.QueueDeclareOk{Queue: "q"}), 1<<20))},
		{name: "no answer", call: declare, want: ended, broker: answers(1, heartbeats(8))},
		{name: "channel.close without end", call: declare, want: "broker answered 406", broker: answers(1<<20, repeated(fakebroker.Frame(1, &amqpproto.ChannelClose{ReplyCode: 406, ReplyText: strings.Repeat("\n", 255)}), 1<<20))},
		{name: "a message that nobody asked for", call: declare, want: "basic.get-ok, which answers nothing", broker: answers(1, fakebroker.Frame(1, &amqpproto.BasicGetOk{DeliveryTag: 1}))},
		{name: "many calls without an answer", held: 4 << 20, want: ended, broker: func(s *fakebroker.Session) {
			s.Login()
			s.Discard()
		}, call: func(ctx context.Context, client *thump.Client) error {
			for range 3000 { // more than there are channels
				short, cancel := context.WithTimeout(ctx, 100*time.Microsecond)
				_ = declare(short, client)
				cancel()
			}
			return declare(ctx, client)
		}},
		{name: "answers with rubbish", call: declare, want: "unknown frame type 0", broker: answers(1, bytes(100))},
	} {
		t.Run(sc.name, func(t *testing.T) {
			b := fakebroker.Start(t, sc.broker)
			client := dial(t, b.URL())
			sc.play(t, client)
		})
	}
}

// TestBlockedFlood: a log hears of a flood, and nothing gathers.
func TestBlockedFlood(t *testing.T) {
	var heard atomic.Int64
	b := fakebroker.Start(t, orderly, func(s *fakebroker.Session) {
		s.Login()
		s.OpenConsumer()
		// Each is news: another reason than before.
		one, other := fakebroker.Frame(0, &amqpproto.ConnectionBlocked{Reason: "r"}), fakebroker.Frame(0, &amqpproto.ConnectionBlocked{Reason: "s"})
		new(pouring).pour(s, 8<<20, same(repeated(append(one, other...), 128<<10)))
	})
	client, err := thump.Dial(t.Context(), thump.Config{Recovery: noRecovery, URLs: []string{b.URL()}, Logger: slog.New(counting{&heard})})
	if err != nil {
		t.Fatal(err)
	}
	sc := scenario{held: consumerHeld, call: receive, want: ended}
	sc.play(t, client)
	if heard.Load() < 1000 {
		t.Errorf("the log heard %d times", heard.Load())
	}
}

// counting is a log that counts.
type counting struct{ n *atomic.Int64 }

func (c counting) Enabled(context.Context, slog.Level) bool  { return true }
func (c counting) Handle(context.Context, slog.Record) error { c.n.Add(1); return nil }
func (c counting) WithAttrs([]slog.Attr) slog.Handler        { return c }
func (c counting) WithGroup(string) slog.Handler             { return c }
