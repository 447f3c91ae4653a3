package streamconn

import (
	"encoding/binary"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/conntest"
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
	const properties = streamproto.KeyPeerProperties | responseBit
	for _, test := range []struct {
		name   string
		script func(*fakebroker.StreamSession)
		want   string
	}{
		{"AMQP", greet("AMQP\x00\x00\x09\x01"), "the server speaks AMQP on this port; the stream protocol's is another (5552 by default)"},
		{"AMQP 1.0, not all of it", greet("AMQP\x03"), "the server speaks AMQP on this port"},
		{"connection.start", refuse("\x01\x00\x00\x00\x00\x01\xf0\x00\x0a\x00\x0a\x00\x09"), "the server speaks AMQP on this port"},
		{"a frame of 4 GiB", refuse(head(0xFFFFFFFF, properties)), "4294967295 bytes is larger than the 65536 allowed"},
		{"a frame of one byte too many", refuse(head(handshakeFrameMax+1, properties)), "65537 bytes is larger"},
		{"a goodbye of 2 GiB", refuse(head(1<<31, streamproto.KeyClose)), "larger"},
		{"a frame of 3 bytes", refuse(head(3, properties)), "less than 4 bytes"},
		{"a chunk", refuse(head(1000, streamproto.KeyDeliver)), "not a stream server"},
		{"a response to another command", refuse(offered), "not a stream server"},
		{"properties cut short", refuse(peer[:len(peer)-3]), "deadline exceeded"},
		{"2^32-1 properties", refuse(head(14, properties) + "\x00\x00\x00\x01\x00\x01\xff\xff\xff\xff"), "too short"},
		{"a property of 32 KiB", refuse(head(20, properties) + "\x00\x00\x00\x01\x00\x01\x00\x00\x00\x01\x7f\xff\x00\x00\x00\x00"), "too short"},
		{"another correlation", refuse(string(fakebroker.StreamResponse(2, &streamproto.PeerPropertiesResponse{Code: streamproto.CodeOK}))), "answered by a response to PeerProperties"},
		{"properties refused", refuse(string(fakebroker.StreamResponse(1, &streamproto.PeerPropertiesResponse{Code: streamproto.CodeInternalError}))), "broker answered 15, internal error"},
		{"refused, and nothing behind the code", refuse(head(10, properties) + "\x00\x00\x00\x01\x00\x0f"), "broker answered 15, internal error"},

		{"another response, later", refuse(peer + peer), "logging in: protocol violation: SaslHandshake answered by a response to PeerProperties"},
		{"no response", refuse(peer + string(fakebroker.StreamRequest(2, &streamproto.SASLHandshake{}))), "logging in: unexpected frame"},
		{"tune too early", refuse(peer + string(streamproto.AppendTuneOffer(nil, streamproto.Tune{}))), "logging in: unexpected frame"},
		{"a chunk of 200 MiB", refuse(peer + head(200<<20, streamproto.KeyDeliver)), "larger than the 65536"},
		{"closed without a reason to read", refuse(peer + head(4, streamproto.KeyClose)), "too short"},
	} {
		t.Run(test.name, func(t *testing.T) {
			fakebroker.CheckMemory(t, 4<<20, func() {
				synctest.Test(t, func(t *testing.T) { notAStreamServer(t, test.script, test.want) })
			})
		})
	}
}

func notAStreamServer(t *testing.T, script func(*fakebroker.StreamSession), want string) {
	b := fakebroker.Pipe(t, conntest.SocketSize, fakebroker.Stream(script))
	begin := time.Now()
	conn, err := Dial(t.Context(), config(b))
	if err == nil {
		conntest.Drop(conn)
		t.Fatal("dial succeeded")
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("got %v\nwant %q in it", err, want)
	}
	if took := time.Since(begin); took > config(b).Timeout {
		t.Errorf("dial took %v", took)
	}
}

// TestLoginRefused: the broker's code is in the error, and the password is not.
func TestLoginRefused(t *testing.T) {
	for _, test := range []struct {
		name, at string
		answer   streamproto.Response
		code     streamproto.Code
		want     string
	}{
		{"wrong password", "SaslAuthenticate", &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeAuthenticationFailure}, 8, "logging in: broker answered 8, authentication failure"},
		{"guest from afar", "SaslAuthenticate", &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeAuthenticationFailureLoopback}, 11, "broker's own machine only"},
		{"a challenge", "SaslAuthenticate", &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeSASLChallenge, Challenge: []byte("x")}, 10, "logging in: broker answered 10"},
		{"mechanism after all not", "SaslAuthenticate", &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeSASLMechanismNotSupported}, 7, "7, SASL mechanism"},
		{"vhost", "Open", &streamproto.OpenResponse{Code: streamproto.CodeVirtualHostAccessFailure}, 12, `opening vhost "/": broker answered 12`},
		{"versions", "ExchangeCommandVersions", &streamproto.ExchangeCommandVersionsResponse{Code: streamproto.CodeInternalError}, 15, "exchanging versions: broker answered 15"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := fakebroker.Pipe(t, conntest.SocketSize, fakebroker.Stream(func(s *fakebroker.StreamSession) {
					s.Answer(s.LoginUpTo(fakebroker.LikelyStream(), test.at), test.answer)
					s.ExpectHangUp()
				}))
				cfg := config(b)
				cfg.Password = "canary"
				conn, err := Dial(t.Context(), cfg)
				if err == nil {
					conntest.Drop(conn)
					t.Fatal("dial succeeded")
				}
				checkCode(t, err, test.code)
				if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "canary") {
					t.Errorf("got %v, want %q", err, test.want)
				}
			})
		})
	}
}

// TestTune checks what is agreed on, whatever the broker proposes. 0 is "no
// limit", which we never answer.
func TestTune(t *testing.T) {
	ours := streamproto.Tune{FrameMax: 65536, Heartbeat: 30}
	for _, test := range []struct {
		name         string
		theirs, want streamproto.Tune
	}{
		{"nothing", streamproto.Tune{}, ours},
		{"more", streamproto.Tune{FrameMax: 1<<32 - 1, Heartbeat: 1<<32 - 1}, ours},
		{"less", streamproto.Tune{FrameMax: 4096, Heartbeat: 1}, streamproto.Tune{FrameMax: 4096, Heartbeat: 1}},
		{"the same", ours, ours},
		{"no heartbeat", streamproto.Tune{FrameMax: 8192}, streamproto.Tune{FrameMax: 8192, Heartbeat: 30}},
		{"no limit", streamproto.Tune{Heartbeat: 10}, streamproto.Tune{FrameMax: 65536, Heartbeat: 10}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				greeting := fakebroker.LikelyStream()
				greeting.Tune = test.theirs
				b := fakebroker.Pipe(t, conntest.SocketSize, fakebroker.Stream(func(s *fakebroker.StreamSession) {
					s.LoginAs(greeting)
					if *s.Tune != test.want {
						t.Errorf("got %+v, want %+v", s.Tune, test.want)
					}
					s.Serve(nil)
				}))
				cfg := config(b)
				cfg.FrameMax, cfg.Heartbeat = ours.FrameMax, 30*time.Second
				conn := dial(t, cfg)
				defer conntest.Drop(conn)
				if got := conn.Server(); got.FrameMax != test.want.FrameMax || got.Heartbeat != time.Duration(test.want.Heartbeat)*time.Second {
					t.Errorf("Server() is %+v, want %+v", got, test.want)
				}
			})
		})
	}
}

// TestTuneFrameTooSmall proposes frames in which nothing fits.
func TestTuneFrameTooSmall(t *testing.T) {
	for _, size := range []uint32{1, 4, 100, frameMaxLeast - 1} {
		synctest.Test(t, func(t *testing.T) {
			b := fakebroker.Pipe(t, conntest.SocketSize, fakebroker.Stream(func(s *fakebroker.StreamSession) {
				s.Answer(s.LoginUpTo(fakebroker.LikelyStream(), "SaslAuthenticate"), &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeOK})
				s.SendBytes(streamproto.AppendTuneOffer(nil, streamproto.Tune{FrameMax: size, Heartbeat: 60}))
				s.ExpectHangUp()
			}))
			conn, err := Dial(t.Context(), config(b))
			if err == nil {
				conntest.Drop(conn)
			}
			if err == nil || !strings.Contains(err.Error(), "frames of at most") {
				t.Errorf("frame-max %d: got %v", size, err)
			}
		})
	}
}

// TestHeartbeatLongest asks for a heartbeat that its field can't hold.
func TestHeartbeatLongest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		greeting := fakebroker.LikelyStream()
		greeting.Tune.Heartbeat = 0
		b := fakebroker.Pipe(t, conntest.SocketSize, fakebroker.Stream(func(s *fakebroker.StreamSession) {
			s.LoginAs(greeting)
			if s.Tune.Heartbeat != 1<<31-1 {
				t.Errorf("agreed on a heartbeat of %d s", s.Tune.Heartbeat)
			}
			s.Serve(nil)
		}))
		cfg := config(b)
		cfg.Heartbeat = 1 << 32 * time.Second
		conn := dial(t, cfg)
		conntest.Goodbye(t, conn)
	})
}

// TestTuneOutOfPlace has something else come where Tune should.
func TestTuneOutOfPlace(t *testing.T) {
	for name, sent := range map[string][]byte{
		"an answer":       fakebroker.StreamResponse(9, &streamproto.Done{For: streamproto.KeyCreate, Code: streamproto.CodeOK}),
		"a goodbye":       fakebroker.StreamRequest(1, &streamproto.Close{Code: streamproto.CodeOK}),
		"a tune cut off":  fakebroker.StreamRaw(streamproto.KeyTune, 1, []byte{0, 0, 0}),
		"a chunk":         fakebroker.Deliver(fakebroker.Chunk(0, 0, "x")),
		"a second answer": fakebroker.StreamResponse(3, &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeOK}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := fakebroker.Pipe(t, conntest.SocketSize, fakebroker.Stream(func(s *fakebroker.StreamSession) {
					s.Answer(s.LoginUpTo(fakebroker.LikelyStream(), "SaslAuthenticate"), &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeOK})
					s.SendBytes(sent)
					s.Discard()
				}))
				conn, err := Dial(t.Context(), config(b))
				if err == nil {
					conntest.Drop(conn)
				}
				if err == nil || !strings.Contains(err.Error(), "logging in: ") {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}
