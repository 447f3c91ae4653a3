package faulttest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// hostile is text that a terminal obeys, or that looks like a line of the reader's own:
// an escape sequence, one that begins with a C1 control, a line, a bell, a mark that
// turns the direction of writing, bytes that are not UTF-8.
const hostile = "\x1b[31mred\u009b31m\r\nthump: ok\x00\x07 \u202e\u2066 \x7f \xff\xc2"

// isShown fails the test where text has anything that is not to be seen.
func isShown(t *testing.T, what, text string) {
	t.Helper()
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || !strings.Contains(strings.ToValidUTF8(text, "\x00"), text) {
		t.Errorf("%s: %q", what, text)
	}
}

// shownLog is a Logger's handler that fails the test for anything that is not to be
// seen, and notes what it was told.
type shownLog struct {
	t    *testing.T
	text *strings.Builder
}

func (l shownLog) Enabled(context.Context, slog.Level) bool { return true }
func (l shownLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l shownLog) WithGroup(string) slog.Handler            { return l }

func (l shownLog) Handle(_ context.Context, r slog.Record) error {
	isShown(l.t, "log", r.Message)
	r.Attrs(func(a slog.Attr) bool {
		isShown(l.t, "log, "+a.Key, a.Value.String())
		l.text.WriteString(a.Value.String() + "\n")
		return true
	})
	return nil
}

// TestFaultNoWordOfABrokerIsObeyed: a broker that says hostile things in every field
// that it has. Nothing of it comes out as it is: not in an error, an outcome, what the
// client tells of the broker, or the log.
func TestFaultNoWordOfABrokerIsObeyed(t *testing.T) {
	greeting := fakebroker.Likely()
	greeting.Properties = append(greeting.Properties[:1:1], amqpproto.Table{
		{Key: "product", Value: hostile},
		{Key: "version", Value: hostile},
		{Key: "cluster_name", Value: hostile},
		{Key: "platform", Value: hostile},
		{Key: hostile, Value: hostile},
	}...)
	streams := fakebroker.OldStream()
	for i := range streams.Properties {
		streams.Properties[i].Value = hostile
	}
	streams.Open[0].Value = hostile
	for name, test := range map[string]struct {
		scripts []func(*fakebroker.Session)
		streams bool
		query   string
		do      func(ctx context.Context, c *thump.Client) error
		logs    string // what of it the log is told, as it is shown
	}{
		"queue, declared": {
			scripts: []func(*fakebroker.Session){func(s *fakebroker.Session) {
				s.LoginAs(greeting)
				channel := s.OpenChannel()
				fakebroker.Expect[*amqpproto.QueueDeclare](s)
				s.Send(channel, &amqpproto.ChannelClose{ReplyCode: 406, ReplyText: hostile, ClassID: 50, MethodID: 10})
				s.Serve(nil)
			}},
			do: func(ctx context.Context, c *thump.Client) error {
				return errorOf(c.DeclareQueue(ctx, thump.QueueSpec{Name: "q"}))
			},
		},
		"connection closed": {
			scripts: []func(*fakebroker.Session){func(s *fakebroker.Session) {
				s.LoginAs(greeting)
				s.OpenChannel()
				s.Send(0, &amqpproto.ConnectionClose{ReplyCode: 320, ReplyText: hostile})
				s.Serve(nil)
			}},
			do: func(ctx context.Context, c *thump.Client) error {
				return errorOf(c.InspectQueue(ctx, "q"))
			},
			logs: `\x1b[31mred`,
		},
		"publisher": {
			scripts: []func(*fakebroker.Session){serveAMQP, func(s *fakebroker.Session) {
				s.LoginAs(greeting)
				channel := s.OpenPublisher()
				fakebroker.Expect[*amqpproto.BasicPublish](s)
				s.Send(0, &amqpproto.ConnectionBlocked{Reason: hostile})
				s.SendContent(channel, &amqpproto.BasicReturn{ReplyCode: 312, ReplyText: hostile, Exchange: "", RoutingKey: "q"}, nil, []byte("hello"))
				s.Send(channel, &amqpproto.BasicAck{DeliveryTag: 1})
				s.Serve(nil)
			}},
			do: func(ctx context.Context, c *thump.Client) error {
				p, err := c.Publisher(ctx, thump.PublisherConfig{To: thump.Queue("q")})
				if err != nil {
					return err
				}
				err = p.Send(ctx, thump.Message{Body: []byte("hello")})
				isShown(t, "blocked", p.Blocked())
				_ = p.Close(ctx)
				return err
			},
			logs: `\x1b[31mred`,
		},
		"consumer": {
			scripts: []func(*fakebroker.Session){serveAMQP, func(s *fakebroker.Session) {
				s.LoginAs(greeting)
				channel, _ := s.OpenConsumer()
				s.Send(channel, &amqpproto.ChannelClose{ReplyCode: 404, ReplyText: hostile})
				s.Serve(nil)
			}},
			do: func(ctx context.Context, c *thump.Client) error {
				consumer, err := c.Consumer(ctx, thump.ConsumerConfig{From: thump.Queue("q")})
				if err != nil {
					return err
				}
				err = errorOf(consumer.Receive(ctx))
				_ = consumer.Close(ctx)
				return err
			},
		},
		"mechanisms": {
			scripts: []func(*fakebroker.Session){func(s *fakebroker.Session) {
				s.ExpectProtocolHeader()
				g := greeting
				g.Mechanisms = hostile
				s.Send(0, g.Start())
				s.Discard()
			}},
		},
		"no AMQP": {
			scripts: []func(*fakebroker.Session){func(s *fakebroker.Session) {
				s.ExpectProtocolHeader()
				s.Offer([]byte(hostile))
				s.Discard()
			}},
		},
		"no stream protocol": {
			streams: true,
			scripts: []func(*fakebroker.Session){func(s *fakebroker.Session) {
				s.Offer([]byte(hostile + hostile))
				s.Discard()
			}},
		},
		"stream mechanisms": {
			streams: true,
			scripts: []func(*fakebroker.Session){fakebroker.Stream(func(s *fakebroker.StreamSession) {
				correlation := s.LoginUpTo(streams, streamproto.KeySASLHandshake.String())
				s.Answer(correlation, &streamproto.SASLHandshakeResponse{Code: streamproto.CodeOK, Mechanisms: []string{hostile}})
				s.Discard()
			})},
		},
		"stream closed": {
			streams: true,
			scripts: []func(*fakebroker.Session){fakebroker.Stream(func(s *fakebroker.StreamSession) {
				s.LoginAs(streams)
				fakebroker.ExpectCommand[*streamproto.Delete](s)
				s.Ask(100, &streamproto.Close{Code: streamproto.CodeInternalError, Reason: hostile})
				s.Discard()
			})},
			do:   func(ctx context.Context, c *thump.Client) error { return c.DeleteStream(ctx, "s") },
			logs: `\x1b[31mred`,
		},
		"too old a stream": { // the error names the version
			streams: true,
			scripts: []func(*fakebroker.Session){fakebroker.Stream(func(s *fakebroker.StreamSession) {
				s.LoginAs(streams)
				s.Serve(nil)
			})},
			do: func(ctx context.Context, c *thump.Client) error {
				return c.DeclareSuperStream(ctx, thump.SuperStreamSpec{StreamSpec: thump.StreamSpec{Name: "s"}, Partitions: 1})
			},
		},
		"advertised host": {
			streams: true,
			scripts: []func(*fakebroker.Session){fakebroker.Stream(metadata(at(hostile)))},
			do: func(ctx context.Context, c *thump.Client) error {
				return errorOf(c.Publisher(ctx, thump.PublisherConfig{To: thump.Stream("events")}))
			},
		},
		"load balancer": {
			streams: true, query: "?load_balancer=true",
			scripts: append([]func(*fakebroker.Session){fakebroker.Stream(metadata(at(hostile)))}, hundred(fakebroker.Stream(orderly))...),
			do: func(ctx context.Context, c *thump.Client) error {
				return errorOf(c.Publisher(ctx, thump.PublisherConfig{To: thump.Stream("events")}))
			},
		},
		"partitions": {
			streams: true,
			scripts: []func(*fakebroker.Session){fakebroker.Stream(func(s *fakebroker.StreamSession) {
				s.LoginAs(streams)
				s.Serve(func(r *fakebroker.StreamReceived) bool {
					switch r.Command.(type) {
					case *streamproto.Partitions:
						s.Answer(r.Correlation, &streamproto.PartitionsResponse{Code: streamproto.CodeOK, Streams: []string{"a" + hostile}})
					case *streamproto.Metadata:
						s.Answer(r.Correlation, &streamproto.MetadataResponse{Streams: []streamproto.StreamMetadata{{Stream: "a" + hostile, Code: streamproto.CodeStreamDoesNotExist}}})
					default:
						return false
					}
					return true
				})
			})},
			do: func(ctx context.Context, c *thump.Client) error {
				return errorOf(c.Publisher(ctx, thump.PublisherConfig{To: thump.SuperStream("s")}))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := fakebroker.Pipe(t, 64<<10, test.scripts...)
				url := b.URL()
				if test.streams {
					url = b.StreamURL() + test.query
				}
				refuse := &place{refused: "red", dial: b.DialContext}
				log := shownLog{t, new(strings.Builder)}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				client, err := thump.Dial(ctx, thump.Config{Recovery: noRecovery, URLs: []string{url}, DialContext: refuse.DialContext, Logger: slog.New(log)})
				if test.do != nil {
					if err != nil {
						t.Fatal(err)
					}
					server := client.Server()
					isShown(t, "server", server.Product+server.Version+server.Cluster)
					err = test.do(ctx, client)
				}
				if err == nil {
					t.Fatal("no error")
				}
				isShown(t, "error", err.Error())
				t.Log(err)
				if client != nil {
					_ = client.Close(ctx)
				}
				synctest.Wait()
				if !strings.Contains(log.text.String(), test.logs) {
					t.Errorf("the log was told %q", log.text)
				}
			})
		})
	}
}

// hundred repeats a script as often as a load balancer is tried.
func hundred(script func(*fakebroker.Session)) (scripts []func(*fakebroker.Session)) {
	for range 100 {
		scripts = append(scripts, script)
	}
	return scripts
}

// TestFaultNamesInACertificateAreShown: the error of a certificate for other names
// repeats them, and comes before anybody has vouched for it.
func TestFaultNamesInACertificateAreShown(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(1, 0, 0),
		DNSNames: []string{"\x1b[31mred\nthump: ok\x07"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	b := fakebroker.Start(t, func(s *fakebroker.Session) {
		_ = tls.Server(s.Conn(), config).HandshakeContext(context.Background()) // the client refuses it
	})
	_, err = thump.Dial(t.Context(), thump.Config{Recovery: noRecovery, URLs: []string{strings.Replace(b.URL(), "amqp:", "amqps:", 1) + "?server_name_indication=broker.test"}})
	if err == nil || !strings.Contains(err.Error(), `\x1b[31mred`) {
		t.Fatalf("the error is %v", err)
	}
	isShown(t, "error", err.Error())
}
