package faulttest

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"unicode"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// errorOf drops what came with an error.
func errorOf[T any](_ T, err error) error { return err }

// TestFaultErrorsHaveOnePrefix: every error begins with the package's name, and
// has it once, through however many layers it has come.
func TestFaultErrorsHaveOnePrefix(t *testing.T) {
	refuse := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	binding := thump.Binding{Source: "e", Queue: "q"}
	type call func(ctx context.Context, c *thump.Client) error
	// refused fails because nothing is served but the client's own connection,
	// for streams.
	refused := map[string]call{
		"Dial": func(ctx context.Context, _ *thump.Client) error {
			return errorOf(thump.Dial(ctx, thump.Config{Recovery: noRecovery, URLs: []string{"amqp://one.test", "amqp://two.test"}, DialContext: refuse}))
		},
		"Config": func(ctx context.Context, _ *thump.Client) error {
			return errorOf(thump.Dial(ctx, thump.Config{Recovery: noRecovery, URLs: []string{"http://h", "amqp:"}, Heartbeat: 1, FrameMax: 1}))
		},
		"ParseURL": func(context.Context, *thump.Client) error { return errorOf(thump.ParseURL("amqp://h?prefetch=1")) },
		"DeclareQueue": func(ctx context.Context, c *thump.Client) error {
			return errorOf(c.DeclareQueue(ctx, thump.QueueSpec{Name: "q"}))
		},
		"Bind":            func(ctx context.Context, c *thump.Client) error { return c.Bind(ctx, binding) },
		"Bind to nothing": func(ctx context.Context, c *thump.Client) error { return c.Bind(ctx, thump.Binding{Source: "e"}) },
		"Get": func(ctx context.Context, c *thump.Client) error {
			_, _, err := c.Get(ctx, "q")
			return err
		},
		"Publisher": func(ctx context.Context, c *thump.Client) error {
			return errorOf(c.Publisher(ctx, thump.PublisherConfig{To: thump.Queue("q")}))
		},
		"Consumer": func(ctx context.Context, c *thump.Client) error {
			return errorOf(c.Consumer(ctx, thump.ConsumerConfig{From: thump.Queue("q")}))
		},
		"Consumer of a super stream": func(ctx context.Context, c *thump.Client) error {
			return errorOf(c.Consumer(ctx, thump.ConsumerConfig{From: thump.SuperStream("s")}))
		},
		"DeclareStream": func(ctx context.Context, c *thump.Client) error { return c.DeclareStream(ctx, thump.StreamSpec{}) },
		"DeclareSuperStream": func(ctx context.Context, c *thump.Client) error {
			return c.DeclareSuperStream(ctx, thump.SuperStreamSpec{})
		},
	}
	// closed fails because the client is closed.
	closed := map[string]call{
		"DeleteStream": func(ctx context.Context, c *thump.Client) error { return c.DeleteStream(ctx, "s") },
		"Partitions":   func(ctx context.Context, c *thump.Client) error { return errorOf(c.Partitions(ctx, "s")) },
		"InspectStream": func(ctx context.Context, c *thump.Client) error {
			return errorOf(c.InspectStream(ctx, "s"))
		},
		"Publisher of a stream": func(ctx context.Context, c *thump.Client) error {
			return errorOf(c.Publisher(ctx, thump.PublisherConfig{To: thump.Stream("s")}))
		},
		"Publisher of a super stream": func(ctx context.Context, c *thump.Client) error {
			return errorOf(c.Publisher(ctx, thump.PublisherConfig{To: thump.SuperStream("s")}))
		},
		"Publisher": refused["Publisher"], "DeclareQueue": refused["DeclareQueue"],
	}
	check := func(t *testing.T, client *thump.Client, calls map[string]call) {
		t.Helper()
		for name, call := range calls {
			err := call(t.Context(), client)
			if err == nil || !strings.HasPrefix(err.Error(), "thump: ") || strings.Count(err.Error(), "thump: ") != 1 {
				t.Errorf("%s: got %v, want an error with one prefix", name, err)
			}
		}
	}
	noPartitions := func(s *fakebroker.StreamSession) {
		s.Login()
		s.Serve(func(r *fakebroker.StreamReceived) bool {
			_, ok := r.Command.(*streamproto.Partitions)
			if ok {
				s.Answer(r.Correlation, &streamproto.PartitionsResponse{Code: streamproto.CodeStreamDoesNotExist})
			}
			return ok
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := fakebroker.Pipe(t, 64<<10, fakebroker.Stream(noPartitions))
		dial := b.DialContext
		client, err := thump.Dial(t.Context(), thump.Config{
			Recovery: noRecovery,
			URLs:     []string{b.StreamURL()},
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				defer func() { dial = refuse }()
				return dial(ctx, network, address)
			},
		})
		if err != nil {
			t.Fatal("dial:", err)
		}
		check(t, client, refused)
		if err := client.Close(t.Context()); err != nil {
			t.Error("close:", err)
		}
		check(t, client, closed)
	})
}

// TestFaultBrokersWordsArePrintable: whatever a broker says is one line of text that
// a terminal does not obey, wherever it comes out.
func TestFaultBrokersWordsArePrintable(t *testing.T) {
	const words = "NO \x1b[31mred\x1b[0m\r\nthump: a forged line\x00\x07 \u202e"
	printable := func(t *testing.T, what, text string) {
		t.Helper()
		if !strings.Contains(text, `\x1b[31mred`) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: %q", what, text)
		}
	}
	dial := func(t *testing.T, streams bool, scripts ...func(*fakebroker.Session)) (*thump.Client, error) {
		b := fakebroker.Pipe(t, 64<<10, scripts...)
		url := b.URL()
		if streams {
			url = b.StreamURL()
		}
		client, err := thump.Dial(t.Context(), thump.Config{Recovery: noRecovery, URLs: []string{url}, DialContext: b.DialContext})
		if err == nil {
			t.Cleanup(func() { _ = client.Close(context.Background()) })
		}
		return client, err
	}
	t.Run("login", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, err := dial(t, false, func(s *fakebroker.Session) {
				s.ExpectProtocolHeader()
				s.Send(0, fakebroker.Likely().Start())
				fakebroker.Expect[*amqpproto.ConnectionStartOk](s)
				s.Send(0, &amqpproto.ConnectionClose{ReplyCode: 403, ReplyText: words})
				s.Discard()
			})
			printable(t, "error", err.Error())
			broker, _ := errors.AsType[*thump.BrokerError](err)
			printable(t, "BrokerError", broker.Error())
			printable(t, "Text", broker.Text)
		})
	})
	t.Run("server", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := fakebroker.Likely()
			g.Properties = amqpproto.Table{{Key: "product", Value: words}, {Key: "version", Value: words}, {Key: "cluster_name", Value: words}}
			client, err := dial(t, false, func(s *fakebroker.Session) {
				s.LoginAs(g)
				s.Serve(nil)
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{client.Server().Product, client.Server().Version, client.Server().Cluster} {
				printable(t, "server", text)
			}
		})
	})
	t.Run("stream server", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := fakebroker.OldStream()
			for i := range g.Properties {
				g.Properties[i].Value = words
			}
			client, err := dial(t, true, fakebroker.Stream(func(s *fakebroker.StreamSession) {
				s.LoginAs(g)
				s.Serve(nil)
			}))
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{client.Server().Product, client.Server().Version, client.Server().Cluster} {
				printable(t, "server", text)
			}
		})
	})
	t.Run("publisher", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, err := dial(t, false, serveAMQP, func(s *fakebroker.Session) {
				s.Login()
				channel := s.OpenPublisher()
				fakebroker.Expect[*amqpproto.BasicPublish](s)
				s.SendContent(channel, &amqpproto.BasicReturn{ReplyCode: 312, ReplyText: words, RoutingKey: "q"}, nil, []byte("hello"))
				s.Send(channel, &amqpproto.BasicAck{DeliveryTag: 1})
				s.Send(0, &amqpproto.ConnectionBlocked{Reason: words})
				s.Serve(nil)
			})
			if err != nil {
				t.Fatal(err)
			}
			p, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue("q")})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Publish(t.Context(), thump.Message{Body: []byte("hello")}); err != nil {
				t.Fatal(err)
			}
			err = p.Flush(t.Context())
			printable(t, "Flush", err.Error())
			printable(t, "outcome", outcomeError(t, err).First.Text)
			synctest.Wait()
			printable(t, "Blocked", p.Blocked())
			_ = p.Close(t.Context())
		})
	})
	t.Run("stream closed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, err := dial(t, true, fakebroker.Stream(func(s *fakebroker.StreamSession) {
				s.Login()
				fakebroker.ExpectCommand[*streamproto.Delete](s)
				s.Ask(100, &streamproto.Close{Code: streamproto.CodeInternalError, Reason: words})
				s.Discard()
			}))
			if err != nil {
				t.Fatal(err)
			}
			err = client.DeleteStream(t.Context(), "s")
			if err == nil {
				t.Fatal("no error")
			}
			printable(t, "DeleteStream", err.Error())
		})
	})
}
