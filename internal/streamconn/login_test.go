package streamconn

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// TestMechanism logs in with each mechanism, offered and not. Where it is not, no
// password may have been sent.
func TestMechanism(t *testing.T) {
	for _, test := range []struct {
		name, mechanism string
		offered         []string
		response, err   string
	}{
		{name: "PLAIN", mechanism: "PLAIN", offered: []string{"AMQPLAIN", "PLAIN"}, response: "\x00guest\x00secret"},
		{name: "EXTERNAL", mechanism: "EXTERNAL", offered: []string{"PLAIN", "EXTERNAL"}, response: "guest"},
		{
			name: "EXTERNAL not offered", mechanism: "EXTERNAL", offered: []string{"PLAIN", "AMQPLAIN"},
			err: `logging in: the broker offers the mechanisms ["PLAIN" "AMQPLAIN"], not EXTERNAL`,
		},
		{name: "only part of a name", mechanism: "PLAIN", offered: []string{"AMQPLAIN", "XPLAIN"}, err: "not PLAIN"},
		{name: "downgraded to ANONYMOUS", mechanism: "PLAIN", offered: []string{"ANONYMOUS"}, err: "not PLAIN"},
		{name: "none offered", mechanism: "PLAIN", err: "not PLAIN"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				greeting := fakebroker.LikelyStream()
				greeting.Mechanisms = test.offered
				b := fakebroker.Pipe(t, socketSize, fakebroker.Stream(func(s *fakebroker.StreamSession) {
					if test.err != "" {
						correlation := s.LoginUpTo(greeting, "SaslHandshake")
						s.Answer(correlation, &streamproto.SASLHandshakeResponse{Code: streamproto.CodeOK, Mechanisms: test.offered})
						s.ExpectHangUp()
						return
					}
					s.LoginAs(greeting)
					if s.SASL.Mechanism != test.mechanism || string(s.SASL.Data) != test.response {
						t.Errorf("got %s %q, want %s %q", s.SASL.Mechanism, s.SASL.Data, test.mechanism, test.response)
					}
					s.Serve(nil)
				}))
				cfg := config(b)
				cfg.Mechanism, cfg.Password = test.mechanism, "secret"
				conn, err := Dial(t.Context(), cfg)
				if err == nil {
					defer drop(conn)
				}
				if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
					t.Errorf("got %v, want %q", err, test.err)
				}
			})
		})
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
				b := fakebroker.Pipe(t, socketSize, fakebroker.Stream(func(s *fakebroker.StreamSession) {
					s.Answer(s.LoginUpTo(fakebroker.LikelyStream(), test.at), test.answer)
					s.ExpectHangUp()
				}))
				cfg := config(b)
				cfg.Password = "canary"
				conn, err := Dial(t.Context(), cfg)
				if err == nil {
					drop(conn)
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
				b := fakebroker.Pipe(t, socketSize, fakebroker.Stream(func(s *fakebroker.StreamSession) {
					s.LoginAs(greeting)
					if *s.Tune != test.want {
						t.Errorf("got %+v, want %+v", s.Tune, test.want)
					}
					s.Serve(nil)
				}))
				cfg := config(b)
				cfg.FrameMax, cfg.Heartbeat = ours.FrameMax, 30*time.Second
				conn := dial(t, cfg)
				defer drop(conn)
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
			b := fakebroker.Pipe(t, socketSize, fakebroker.Stream(func(s *fakebroker.StreamSession) {
				s.Answer(s.LoginUpTo(fakebroker.LikelyStream(), "SaslAuthenticate"), &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeOK})
				s.SendBytes(streamproto.AppendTuneOffer(nil, streamproto.Tune{FrameMax: size, Heartbeat: 60}))
				s.ExpectHangUp()
			}))
			conn, err := Dial(t.Context(), config(b))
			if err == nil {
				drop(conn)
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
		b := fakebroker.Pipe(t, socketSize, fakebroker.Stream(func(s *fakebroker.StreamSession) {
			s.LoginAs(greeting)
			if s.Tune.Heartbeat != 1<<31-1 {
				t.Errorf("agreed on a heartbeat of %d s", s.Tune.Heartbeat)
			}
			s.Serve(nil)
		}))
		cfg := config(b)
		cfg.Heartbeat = 1 << 32 * time.Second
		conn := dial(t, cfg)
		goodbye(t, conn)
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
				b := fakebroker.Pipe(t, socketSize, fakebroker.Stream(func(s *fakebroker.StreamSession) {
					s.Answer(s.LoginUpTo(fakebroker.LikelyStream(), "SaslAuthenticate"), &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeOK})
					s.SendBytes(sent)
					s.Discard()
				}))
				conn, err := Dial(t.Context(), config(b))
				if err == nil {
					drop(conn)
				}
				if err == nil || !strings.Contains(err.Error(), "logging in: ") {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// TestBehindTheLogin has the broker's next frames come with the last answer of
// the login, the last of them cut in two, and heartbeats in between.
func TestBehindTheLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fakebroker.Pipe(t, socketSize, fakebroker.Stream(func(s *fakebroker.StreamSession) {
			g := fakebroker.LikelyStream()
			correlation := s.LoginUpTo(g, "ExchangeCommandVersions")
			answer := fakebroker.StreamResponse(correlation, &streamproto.ExchangeCommandVersionsResponse{Code: streamproto.CodeOK, Commands: g.Commands})
			bye := fakebroker.StreamRequest(7, &streamproto.Close{Code: streamproto.CodeInternalError, Reason: "shutting down"})
			s.SendBytes(join(streamproto.AppendHeartbeat(nil), answer, streamproto.AppendHeartbeat(nil), bye[:9]))
			time.Sleep(time.Second)
			s.SendBytes(bye[9:])
			if _, correlation := fakebroker.ExpectCommand[*streamproto.Done](s); correlation != 7 {
				t.Errorf("answered with correlation %d", correlation)
			}
			s.Close()
		}))
		conn := dial(t, config(b))
		err := ended(t, conn)
		checkCode(t, err, streamproto.CodeInternalError)
		if err == nil || !strings.Contains(err.Error(), "shutting down") {
			t.Errorf("got %v", err)
		}
		_ = conn.Close(t.Context()) // it has ended; the answer gets out
	})
}

// TestTLSPorts: TLS to a port without, and to one whose certificate is not
// trusted.
func TestTLSPorts(t *testing.T) {
	plain := fakebroker.Start(t, fakebroker.Stream(func(s *fakebroker.StreamSession) {
		_, _ = io.ReadFull(s.Conn(), make([]byte, 5)) // the head of a ClientHello
		s.SendBytes([]byte("\x00\x00\x00\x0c\x00\x16\x00\x01\x00\x00\x00\x00"))
		s.Close()
	}))
	cfg := config(plain)
	cfg.TLS = &tls.Config{ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	if _, err := Dial(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "does not speak TLS on this port") {
		t.Errorf("got %v", err)
	}
	silent := Config{
		TLS: cfg.TLS, Timeout: 50 * time.Millisecond,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			t.Cleanup(func() { server.Close() })
			return client, nil
		},
	}
	if _, err := Dial(t.Context(), silent); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
