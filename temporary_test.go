package thump

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/amqpconn"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
)

// amqpSaid and streamSaid are errors of a login, as Dial returns them.
func amqpSaid(code uint16, text string) error {
	err := fmt.Errorf("logging in: %w", &amqpconn.ServerError{Code: code, Text: text})
	return withPrefix(errors.Join(Endpoint{Host: "h"}.dialError(err)))
}

func streamSaid(code streamproto.Code) error {
	err := fmt.Errorf("logging in: %w", &streamconn.ServerError{Code: code})
	return withPrefix(Endpoint{Protocol: Streams, Host: "h"}.dialError(err))
}

// TestTemporary: by what the broker said, and by what else may come.
func TestTemporary(t *testing.T) {
	refused := amqpSaid(403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.")
	network := Endpoint{Host: "h"}.dialError(&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")})
	noRoom := fmt.Errorf("publisher: %w", toPublic(fmt.Errorf("declaring: %w", &streamconn.ServerError{Code: streamproto.CodePreconditionFailed, Request: streamproto.KeyDeclarePublisher})))
	for _, test := range []struct {
		name string
		err  error
		want bool
	}{
		{"nothing", nil, false},

		{"login refused", refused, false},
		{"no permission", amqpSaid(403, "ACCESS_REFUSED - access to queue 'is in exclusive use' in vhost '/' refused for user 'u'"), false},
		{"another's exclusive consumer", amqpSaid(403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"), true},
		{"no vhost", amqpSaid(530, "NOT_ALLOWED - vhost /limit is down not found"), false},
		{"no access to the vhost", amqpSaid(530, "NOT_ALLOWED - access to vhost 'limit (1) is reached' refused for user 'is down'"), false},
		{"a vhost that is down", amqpSaid(530, "NOT_ALLOWED - access to vhost '/' refused for user 'u': vhost '/' is down"), true},
		{"a vhost's limit", amqpSaid(530, "NOT_ALLOWED - access to vhost '/' refused for user 'u': connection limit (10) is reached"), true},
		{"a vhost's limit that nobody knows", amqpSaid(530, "NOT_ALLOWED - access to vhost '/' refused for user 'u': connection limit cannot be queried, timeout"), true},
		{"a user's limit", amqpSaid(530, "NOT_ALLOWED - connection refused for user 'u': user connection limit (1) is reached"), true},
		{"a node's limit", amqpSaid(530, "NOT_ALLOWED - connection refused: node connection limit (1) is reached"), true},
		{"a limit of channels", amqpSaid(530, "NOT_ALLOWED - number of channels opened for user 'u' has reached the maximum allowed user limit of (1)"), true},
		{"a consumer tag in use", amqpSaid(530, "NOT_ALLOWED - attempt to reuse consumer tag 'is down'"), false},
		{"no queue", amqpSaid(404, "NOT_FOUND - no queue 'q is down or inaccessible' in vhost '/'"), false},
		{"a queue without its node", amqpSaid(404, "NOT_FOUND - home node 'rabbit@a' of durable queue 'q' in vhost '/' is down or inaccessible"), true},
		{"a queue that is stopped", amqpSaid(404, "NOT_FOUND - queue 'q' in vhost '/' process is stopped by supervisor"), true},
		{"a queue that has crashed", amqpSaid(404, "NOT_FOUND - queue 'q' in vhost '/' has crashed and failed to restart"), true},
		{"a queue that takes too long", amqpSaid(404, "NOT_FOUND - failed to perform operation on queue 'q' in vhost '/' due to timeout"), true},
		{"a queue with other settings", amqpSaid(406, "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/'"), false},
		{"a consumer that took too long", amqpSaid(406, "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1800000 ms."), true},
		{
			"a poll of a quorum queue with a single active consumer",
			amqpSaid(405, `RESOURCE_LOCKED - cannot obtain access to locked queue 'q' in vhost '/'. basic.get operations are not supported by <<"quorum">> queues with single active consumer`), false,
		},
		{"an exclusive queue", amqpSaid(405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q'"), true},
		{"too large", amqpSaid(311, "CONTENT_TOO_LARGE"), true},
		{"no consumers", amqpSaid(313, "NO_CONSUMERS"), true},
		{"closed by an operator", amqpSaid(320, "CONNECTION_FORCED - bye"), true},
		{"a bad path", amqpSaid(402, "INVALID_PATH"), false},
		{"a bad frame", amqpSaid(501, "FRAME_ERROR"), false},
		{"bad syntax", amqpSaid(502, "SYNTAX_ERROR"), false},
		{"a bad command", amqpSaid(503, "COMMAND_INVALID"), false},
		{"a bad channel", amqpSaid(504, "CHANNEL_ERROR"), false},
		{"an unexpected frame", amqpSaid(505, "UNEXPECTED_FRAME"), false},
		{"a lack of resources", amqpSaid(506, "RESOURCE_ERROR"), true},
		{"not implemented", amqpSaid(540, "NOT_IMPLEMENTED"), false},
		{"a fault of the broker", amqpSaid(541, "INTERNAL_ERROR"), true},
		{"a cancelled consumer", toPublic(&amqpconn.ServerError{Text: "queue deleted"}), true},
		{"as a connection has it", &amqpconn.ServerError{Code: 403, Text: "ACCESS_REFUSED"}, false},

		{"no stream", streamSaid(streamproto.CodeStreamDoesNotExist), false},
		{"a stream that is there", streamSaid(streamproto.CodeStreamExists), false},
		{"a stream that is moving", streamSaid(streamproto.CodeStreamNotAvailable), true},
		{"no such mechanism", streamSaid(streamproto.CodeSASLMechanismNotSupported), false},
		{"a stream's login", streamSaid(streamproto.CodeAuthenticationFailure), false},
		{"a stream's login from afar", streamSaid(streamproto.CodeAuthenticationFailureLoopback), false},
		{"a stream's vhost", streamSaid(streamproto.CodeVirtualHostAccessFailure), false},
		{"an unknown command", streamSaid(streamproto.CodeUnknownFrame), false},
		{"a frame too large", streamSaid(streamproto.CodeFrameTooLarge), false},
		{"a fault of a stream", streamSaid(streamproto.CodeInternalError), true},
		{"a stream's permission", streamSaid(streamproto.CodeAccessRefused), false},
		{"a stream's settings", streamSaid(streamproto.CodePreconditionFailed), false},
		{"no room", noRoom, true},
		{"another user", streamSaid(streamproto.CodeSASLCannotChangeUsername), false},
		{"as a stream's connection has it", &streamconn.ServerError{Code: streamproto.CodeAccessRefused}, false},

		{"nobody listens", network, true},
		{"the end of a connection", fmt.Errorf("reading: %w", io.ErrUnexpectedEOF), true},
		{"a time-out", fmt.Errorf("no answer: %w", context.DeadlineExceeded), true},
		{"a certificate", Endpoint{Host: "h"}.dialError(fmt.Errorf("TLS: %w", &tls.CertificateVerificationError{Err: errors.New("expired")})), true},
		{"no leader", withPrefix(errors.New(`stream "s" has no leader at the moment`)), true},
		{"no credentials", Endpoint{Host: "h"}.dialError(&credentialsError{refused}), true},

		{"another mechanism", &transport.MechanismError{Offered: "EXTERNAL", Wanted: "PLAIN"}, false},
		{"a broken rule", toPublic(&amqpconn.ProtocolError{Reason: "x"}), false},
		{"a stream's broken rule", toPublic(&streamconn.ProtocolError{Reason: "x"}), false},
		{"a damaged chunk", fmt.Errorf("the chunk at offset 1: %w", &streamproto.CRCError{}), false},
		{"an impossible chunk", fmt.Errorf("the chunk at offset 1: %w", &streamproto.ChunkError{}), false},
		{"given up", fmt.Errorf("no answer: %w", context.Canceled), false},
		{"an old broker", fmt.Errorf("x: %w", &streamconn.VersionError{Needs: "3.13"}), false},
		{"arguments over a frame", fmt.Errorf("queue.declare: %w", &amqpconn.UnsendableError{Err: errors.New("a frame of 200000 bytes")}), false},
		{"a stream's over a frame", fmt.Errorf("declaring: %w", &streamconn.UnsendableError{Err: errors.New("a frame of 2000000 bytes")}), false},
		{"another machine", Endpoint{Host: "h"}.dialError(errLeaves), false},
		{"closed", withPrefix(errClientClosed), false},
		{"a connection closed", toPublic(transport.ErrClosed), false},
		{"the end", ErrEnd, false},
		{"stale", stale(network), false},
		{"not sent", fmt.Errorf("%w: %w", ErrNotSent, network), true},
		{"not sent, refused", fmt.Errorf("%w: %w", ErrNotSent, refused), false},

		{"all refuse", withPrefix(errors.Join(refused, streamSaid(streamproto.CodeVirtualHostAccessFailure))), false},
		{"one refuses", withPrefix(errors.Join(refused, network)), true},
		{"one refuses, later", withPrefix(fmt.Errorf("x: %w", errors.Join(network, errors.Join(refused)))), true},
		{"no node may have the password", errors.Join(Endpoint{Host: "h"}.dialError(errLeaves), refused), false},

		{"cancelled in an outage", newOutage(network, 0).err(context.Canceled), false},
		{"a time-out in an outage", newOutage(refused, 0).err(context.DeadlineExceeded), true},

		{"unknown messages", &OutcomeError{Unknown: 1, Err: network}, true},
		{"messages of a refused login", &OutcomeError{Unknown: 1, Err: refused}, false},
		{"rejected messages", &OutcomeError{Rejected: 1}, true},
		{"returned messages", &OutcomeError{Returned: 1}, false},
	} {
		if got := Temporary(test.err); got != test.want {
			t.Errorf("%s: Temporary is %t of %v", test.name, got, test.err)
		}
	}
}

// TestTemporaryMistakes: what is wrong in what was asked for stays wrong.
func TestTemporaryMistakes(t *testing.T) {
	c := (&world{}).clientIn(t, Config{URLs: []string{"amqp://127.0.0.1"}})
	ctx := t.Context()
	for name, err := range map[string]error{
		"Config":             errorOf(Dial(ctx, Config{URLs: []string{"amqp://h", "http://h"}})),
		"no URL":             errorOf(Dial(ctx, Config{})),
		"URL":                errorOf(ParseURL("amqp://u:p@h:x")),
		"PublisherConfig":    errorOf(c.Publisher(ctx, PublisherConfig{})),
		"ConsumerConfig":     errorOf(c.Consumer(ctx, ConsumerConfig{})),
		"DeclareQueue":       errorOf(c.DeclareQueue(ctx, QueueSpec{Name: "a\nb"})),
		"QueueSpec":          errorOf(c.DeclareQueue(ctx, QueueSpec{Name: "q", Arguments: Table{{Key: "x", Value: struct{}{}}}})),
		"InspectQueue":       errorOf(c.InspectQueue(ctx, "")),
		"DeclareExchange":    c.DeclareExchange(ctx, ExchangeSpec{}),
		"Bind":               c.Bind(ctx, Binding{}),
		"DeclareStream":      c.DeclareStream(ctx, StreamSpec{}),
		"DeclareSuperStream": c.DeclareSuperStream(ctx, SuperStreamSpec{StreamSpec: StreamSpec{Name: "s"}}),
		"a message":          fmt.Errorf("%w: %w", ErrNotSent, faultKeptDecimal.of("k")),
	} {
		if err == nil || Temporary(err) {
			t.Errorf("%s: temporary, or no error: %v", name, err)
		}
	}
	if err := errorOf(c.InspectQueue(ctx, "q")); !Temporary(err) { // nobody listens
		t.Errorf("not temporary: %v", err)
	}
}

// TestTemporaryOfBrokers: the errors of clients whose brokers do what they can.
func TestTemporaryOfBrokers(t *testing.T) {
	refuse := func(step string, code uint16, text string) func(*fakebroker.Session) {
		return func(s *fakebroker.Session) {
			s.ExpectProtocolHeader()
			s.Send(0, fakebroker.Likely().Start())
			fakebroker.Expect[*amqpproto.ConnectionStartOk](s)
			if step == "vhost" {
				tune := fakebroker.Likely().Tune
				s.Send(0, &tune)
				fakebroker.Expect[*amqpproto.ConnectionTuneOk](s)
				fakebroker.Expect[*amqpproto.ConnectionOpen](s)
			}
			s.Send(0, &amqpproto.ConnectionClose{ReplyCode: code, ReplyText: text})
			s.Discard()
		}
	}
	refuseStream := func(step string, answer func(correlation uint32) (uint32, streamproto.Response)) func(*fakebroker.Session) {
		return fakebroker.Stream(func(s *fakebroker.StreamSession) {
			s.Answer(answer(s.LoginUpTo(fakebroker.LikelyStream(), step)))
			s.Discard()
		})
	}
	declare := func(code streamproto.Code) func(*fakebroker.Session) {
		return fakebroker.Stream(func(s *fakebroker.StreamSession) {
			s.Login()
			s.Serve(func(r *fakebroker.StreamReceived) bool {
				switch r.Command.(type) {
				case *streamproto.DeclarePublisher:
					s.Answer(r.Correlation, &streamproto.Done{For: streamproto.KeyDeclarePublisher, Code: code})
				case *streamproto.Create:
					s.Answer(r.Correlation, &streamproto.Done{For: streamproto.KeyCreate, Code: code})
				default:
					return false
				}
				return true
			})
		})
	}
	publish := func(to Target) func(context.Context, *Client) error {
		return func(ctx context.Context, c *Client) error { return errorOf(c.Publisher(ctx, PublisherConfig{To: to})) }
	}
	lose := func(ctx context.Context, c *Client) error {
		p, err := c.Publisher(ctx, PublisherConfig{To: Queue("q")})
		if err != nil {
			return err
		}
		<-p.Done()
		return errors.Join(p.Err(), p.Send(ctx, Message{Body: []byte("x")}))
	}
	ends := func(end func(*fakebroker.Session)) func(*fakebroker.Session) {
		return func(s *fakebroker.Session) {
			s.Login()
			s.OpenPublisher()
			end(s)
		}
	}
	for _, test := range []struct {
		name   string
		stream bool
		first  func(*fakebroker.Session) // nil: one that serves
		second func(*fakebroker.Session)
		act    func(context.Context, *Client) error // nil: connecting is the act
		want   bool
		says   string
	}{
		{"a wrong password", false, refuse("login", 403, "ACCESS_REFUSED - Login was refused"), nil, nil, false, "403"},
		{"no vhost", false, refuse("vhost", 530, "NOT_ALLOWED - vhost v not found"), nil, nil, false, "530"},
		{"a full vhost", false, refuse("vhost", 530, "NOT_ALLOWED - access to vhost '/' refused for user 'u': connection limit (1) is reached"), nil, nil, true, "530"},
		{"silence", false, func(s *fakebroker.Session) { s.Discard() }, nil, nil, true, "deadline"},
		{"hung up", false, func(s *fakebroker.Session) { s.ExpectProtocolHeader(); s.Close() }, nil, nil, true, "closed the connection"},
		{"reset", false, func(s *fakebroker.Session) { s.ExpectProtocolHeader(); s.Reset() }, nil, nil, true, "reset"},
		{"no PLAIN", false, func(s *fakebroker.Session) {
			s.ExpectProtocolHeader()
			g := fakebroker.Likely()
			g.Mechanisms = "EXTERNAL"
			s.Send(0, g.Start())
			s.ExpectHangUp()
		}, nil, nil, false, "not PLAIN"},
		{"closed by an operator", false, nil, ends(func(s *fakebroker.Session) {
			s.Send(0, &amqpproto.ConnectionClose{ReplyCode: 320, ReplyText: "CONNECTION_FORCED"})
			s.Discard()
		}), lose, true, "320"},
		{"lost", false, nil, ends((*fakebroker.Session).Reset), lose, true, "reset"},
		{"a channel closed for good", false, nil, ends(func(s *fakebroker.Session) {
			s.Send(1, &amqpproto.ChannelClose{ReplyCode: 404, ReplyText: "NOT_FOUND - no exchange"})
			s.Discard()
		}), lose, false, "404"},
		{"a consumer's channel closed for good", false, nil, func(s *fakebroker.Session) {
			s.Login()
			s.OpenConsumer()
			s.Send(1, &amqpproto.ChannelClose{ReplyCode: 404, ReplyText: "NOT_FOUND - no queue"})
			s.Discard()
		}, func(ctx context.Context, c *Client) error {
			con, err := c.Consumer(ctx, ConsumerConfig{From: Queue("q")})
			if err != nil {
				return err
			}
			return errorOf(con.Receive(ctx)) // and no Close: it has said why
		}, false, "404"},
		{"a broken protocol", false, nil, ends(func(s *fakebroker.Session) {
			s.SendBytes([]byte{9, 9, 9, 9, 9, 9, 9, 9})
			s.Discard()
		}), lose, false, "protocol violation"},

		{"a stream's wrong password", true, refuseStream("SaslAuthenticate", func(n uint32) (uint32, streamproto.Response) {
			return n, &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeAuthenticationFailure}
		}), nil, nil, false, "8, authentication failure"},
		{"no room", true, nil, declare(streamproto.CodePreconditionFailed), publish(Stream("s")), true, "17, precondition failed"},
		{"no permission", true, nil, declare(streamproto.CodeAccessRefused), publish(Stream("s")), false, "16, access refused"},
		{"a node without the stream", true, nil, declare(streamproto.CodeStreamNotAvailable), publish(Stream("s")), true, "6, stream not available"},
		{"other settings", true, declare(streamproto.CodePreconditionFailed), nil, func(ctx context.Context, c *Client) error {
			return c.DeclareStream(ctx, StreamSpec{Name: "s"})
		}, false, "17, precondition failed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				serve, url := serveAMQP, "amqp://u:canary@h"
				if test.stream {
					serve, url = fakebroker.Stream(func(s *fakebroker.StreamSession) { s.Login(); s.Serve(nil) }), "rabbitmq-stream://u:canary@h"
				}
				scripts := []func(*fakebroker.Session){serve, test.second}
				if test.first != nil {
					scripts[0] = test.first
				}
				b := fakebroker.Pipe(t, 64<<10, scripts...)
				c, err := Dial(t.Context(), Config{URLs: []string{url}, DialContext: b.DialContext, Recovery: Recovery{Off: true}})
				if test.act != nil {
					if err != nil {
						t.Fatal(err)
					}
					err = test.act(t.Context(), c)
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					_ = c.Close(ctx)
				}
				if err == nil || !strings.Contains(err.Error(), test.says) || Temporary(err) != test.want {
					t.Errorf("Temporary is %t of %v, which should say %q", Temporary(err), err, test.says)
				}
			})
		})
	}
}
