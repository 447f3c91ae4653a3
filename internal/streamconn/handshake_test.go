package streamconn

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// refuse is a script that answers nothing and sends these bytes, and then waits
// for the client to hang up.
func refuse(b string) func(*fakebroker.StreamSession) {
	return func(s *fakebroker.StreamSession) {
		s.Offer([]byte(b))
		s.Discard()
	}
}

// greet is a script that reads the first command, sends these bytes, and hangs
// up.
func greet(b string) func(*fakebroker.StreamSession) {
	return func(s *fakebroker.StreamSession) {
		s.Next()
		s.SendBytes([]byte(b))
		s.Close()
	}
}

// head is the first eight bytes of a frame that says it has size bytes.
func head(size uint32, key streamproto.Key) string {
	b := binary.BigEndian.AppendUint32(nil, size)
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	return string(append(b, 0, 1))
}

const responseBit streamproto.Key = 1 << 15

// TestNotAStreamServer greets the client with what no stream server would. Dial
// must fail within its timeout, say what it found, and not believe any length.
func TestNotAStreamServer(t *testing.T) {
	peer := string(fakebroker.StreamResponse(1, &streamproto.PeerPropertiesResponse{Code: streamproto.CodeOK}))
	offered := string(fakebroker.StreamResponse(2, &streamproto.SASLHandshakeResponse{Code: streamproto.CodeOK, Mechanisms: []string{"PLAIN"}}))
	beat := string(streamproto.AppendHeartbeat(nil))
	const properties = streamproto.KeyPeerProperties | responseBit
	for _, test := range []struct {
		name   string
		script func(*fakebroker.StreamSession)
		want   string
	}{
		{"silence", (*fakebroker.StreamSession).Discard, "waiting for the broker's greeting: context deadline exceeded"},
		{"a byte a second", func(s *fakebroker.StreamSession) {
			for _, b := range []byte(peer) {
				if !s.Offer([]byte{b}) {
					return
				}
				time.Sleep(time.Second)
			}
		}, "waiting for the broker's greeting: context deadline exceeded"},
		{"closed", greet(""), "the server closed the connection"},
		{"reset", (*fakebroker.StreamSession).Reset, "reset"},
		{"AMQP", greet("AMQP\x00\x00\x09\x01"), "the server speaks AMQP on this port; the stream protocol's is another (5552 by default)"},
		{"AMQP 1.0, not all of it", greet("AMQP\x03"), "the server speaks AMQP on this port"},
		{"connection.start", refuse("\x01\x00\x00\x00\x00\x01\xf0\x00\x0a\x00\x0a\x00\x09"), "the server speaks AMQP on this port"},
		{"HTTP", refuse("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n"), `not a stream server: it sent "HTTP/1.1 400`},
		{"SSH", refuse("SSH-2.0-OpenSSH_9.2p1 Debian\r\n"), `not a stream server: it sent "SSH-2.0-OpenSSH`},
		{"a short banner", greet("220 hi\n"), `not a stream server: it sent "220 hi\n"`},
		{"a short banner and silence", refuse("220 hi\n"), "deadline exceeded"},
		{"one byte", greet("\x01"), "not a stream server: it sent"},
		{"a TLS alert", greet("\x15\x03\x01\x00\x02\x02\x46"), "is this a TLS port (rabbitmq-stream+tls)?"},
		{"a TLS alert and a reset", func(s *fakebroker.StreamSession) {
			s.SendBytes([]byte("\x15\x03\x01\x00\x02\x02\x46"))
			time.Sleep(time.Second)
			s.Reset()
		}, "is this a TLS port"},
		{"a long TLS answer", refuse("\x15\x03\x03\x00\x02\x02\x46\x00\x00"), "is this a TLS port"},
		{"zeros", refuse(strings.Repeat("\x00", 64)), "not a stream server"},

		{"a frame of 4 GiB", refuse(head(0xFFFFFFFF, properties)), "4294967295 bytes is larger than the 65536 allowed"},
		{"a frame of one byte too many", refuse(head(handshakeFrameMax+1, properties)), "65537 bytes is larger"},
		{"a goodbye of 2 GiB", refuse(head(1<<31, streamproto.KeyClose)), "larger"},
		{"a frame of 3 bytes", refuse(head(3, properties)), "less than 4 bytes"},
		{"a chunk", refuse(head(1000, streamproto.KeyDeliver)), "not a stream server"},
		{"a heartbeat first", refuse(beat), "not a stream server"},
		{"a response to another command", refuse(offered), "not a stream server"},
		{"properties cut short", refuse(peer[:len(peer)-3]), "deadline exceeded"},
		{"2^32-1 properties", refuse(head(14, properties) + "\x00\x00\x00\x01\x00\x01\xff\xff\xff\xff"), "too short"},
		{"a property of 32 KiB", refuse(head(20, properties) + "\x00\x00\x00\x01\x00\x01\x00\x00\x00\x01\x7f\xff\x00\x00\x00\x00"), "too short"},
		{"another correlation", refuse(string(fakebroker.StreamResponse(2, &streamproto.PeerPropertiesResponse{Code: streamproto.CodeOK}))), "answered by a response to PeerProperties"},
		{"properties refused", refuse(string(fakebroker.StreamResponse(1, &streamproto.PeerPropertiesResponse{Code: streamproto.CodeInternalError}))), "broker answered 15, internal error"},
		{"refused, and nothing behind the code", refuse(head(10, properties) + "\x00\x00\x00\x01\x00\x0f"), "broker answered 15, internal error"},

		{"another response, later", refuse(peer + peer), "logging in: protocol violation: SaslHandshake answered by a response to PeerProperties"},
		{"no response", refuse(peer + string(fakebroker.StreamRequest(2, &streamproto.SASLHandshake{}))), "logging in: streamproto: unexpected frame"},
		{"tune too early", refuse(peer + string(streamproto.AppendTuneOffer(nil, streamproto.Tune{}))), "logging in: streamproto: unexpected frame"},
		{"a chunk of 200 MiB", refuse(peer + head(200<<20, streamproto.KeyDeliver)), "larger than the 65536"},
		{"heartbeats for ever", func(s *fakebroker.StreamSession) {
			s.Offer([]byte(peer))
			flood([]byte(strings.Repeat(beat, 1000)))(s)
		}, "more than 1048576 bytes sent during login"},
		{"closed without a reason to read", refuse(peer + head(4, streamproto.KeyClose)), "too short"},
	} {
		t.Run(test.name, func(t *testing.T) {
			checkMemory(t, 4<<20, func() {
				synctest.Test(t, func(t *testing.T) { notAStreamServer(t, test.script, test.want) })
			})
		})
	}
}

func notAStreamServer(t *testing.T, script func(*fakebroker.StreamSession), want string) {
	b := fakebroker.Pipe(t, socketSize, fakebroker.Stream(script))
	begin := time.Now()
	conn, err := Dial(t.Context(), config(b))
	if err == nil {
		drop(conn)
		t.Fatal("dial succeeded")
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("got %v\nwant %q in it", err, want)
	}
	if took := time.Since(begin); took > config(b).Timeout {
		t.Errorf("dial took %v", took)
	}
}

// TestLoginInterrupted ends the login at each of its steps, in each way.
func TestLoginInterrupted(t *testing.T) {
	steps := []struct{ at, doing string }{
		{"PeerProperties", "greeting"},
		{"SaslHandshake", "logging in"},
		{"SaslAuthenticate", "logging in"},
		{"Open", "opening vhost"},
		{"ExchangeCommandVersions", "exchanging versions"},
	}
	ends := []struct {
		name  string
		end   func(*fakebroker.StreamSession)
		check func(error) bool
	}{
		{"closed", (*fakebroker.StreamSession).Close, func(err error) bool {
			return strings.Contains(err.Error(), "the server closed the connection")
		}},
		{"reset", (*fakebroker.StreamSession).Reset, func(err error) bool { return strings.Contains(err.Error(), "reset") }},
		{"silent", (*fakebroker.StreamSession).Discard, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		{"half a frame", func(s *fakebroker.StreamSession) {
			s.SendBytes([]byte{0, 0, 0, 4, 0})
			s.Close()
		}, func(err error) bool { return err != nil }},
		{"the broker says goodbye", func(s *fakebroker.StreamSession) {
			s.Ask(1, &streamproto.Close{Code: streamproto.CodeVirtualHostAccessFailure, Reason: "no way"})
			if done, correlation := fakebroker.ExpectCommand[*streamproto.Done](s); done.For != streamproto.KeyClose || correlation != 1 {
				s.Answer(0, done) // which the test does not expect
			}
		}, func(err error) bool {
			var server *ServerError
			return errors.As(err, &server) && server.Code == streamproto.CodeVirtualHostAccessFailure && server.Reason == "no way"
		}},
	}
	for _, step := range steps {
		for _, end := range ends {
			t.Run(step.at+" "+end.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := fakebroker.Pipe(t, socketSize, fakebroker.Stream(func(s *fakebroker.StreamSession) {
						s.LoginUpTo(fakebroker.LikelyStream(), step.at)
						end.end(s)
					}))
					conn, err := Dial(t.Context(), config(b))
					if err == nil {
						drop(conn)
						t.Fatal("dial succeeded")
					}
					if !end.check(err) || end.name != "half a frame" && !strings.Contains(err.Error(), step.doing) {
						t.Errorf("got %v, want it to say %q", err, step.doing)
					}
				})
			})
		}
	}
}

func TestLoginGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fakebroker.Pipe(t, socketSize, fakebroker.Stream((*fakebroker.StreamSession).Discard))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := Dial(ctx, config(b)); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want it to be cancelled", err)
		}
	})
}

// TestNotToBeReached: the dialer's error is what one hears.
func TestNotToBeReached(t *testing.T) {
	refused := errors.New("connection refused")
	cfg := Config{Timeout: time.Second, DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, refused }}
	if _, err := Dial(t.Context(), cfg); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
}
