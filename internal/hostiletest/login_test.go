package hostiletest

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// What docs/memory.md says of a connection that logs in.
const loginHeld = 2 << 20

// TestLogin: what comes instead of a login. No password is sent before the server has
// said that it speaks AMQP.
func TestLogin(t *testing.T) {
	be := binary.BigEndian
	says := func(b []byte) func(*fakebroker.Session) {
		return func(s *fakebroker.Session) {
			s.Offer(b)
			s.Discard()
		}
	}
	start := func(g fakebroker.Greeting) []byte { return fakebroker.Frame(0, g.Start()) }
	greet := func(change func(*fakebroker.Greeting)) []byte {
		g := fakebroker.Likely()
		change(&g)
		return start(g)
	}
	tuned := func(tune amqpproto.ConnectionTune) func(*fakebroker.Session) {
		return says(append(start(fakebroker.Likely()), fakebroker.Frame(0, &tune)...))
	}
	var nested []byte
	for range 1500 {
		nested = append(be.AppendUint32(nil, uint32(len(nested)+3)), append([]byte("\x01kF"), nested...)...)
	}
	method := func(arguments ...[]byte) []byte {
		return fakebroker.Raw(amqpproto.FrameMethod, 0, append([]byte{0, 10, 0, 10, 0, 9}, bytes.Join(arguments, nil)...))
	}
	for _, sc := range []scenario{
		{name: "silence", broker: (*fakebroker.Session).Discard, want: "waiting for the broker's greeting: " + ended},
		{name: "a byte now and then", want: "waiting for the broker's greeting: " + ended, broker: func(s *fakebroker.Session) {
			for _, b := range start(fakebroker.Likely()) {
				if !s.Offer([]byte{b}) {
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
		}},
		{name: "a frame of 4 GiB", broker: says([]byte("\x01\x00\x00\xff\xff\xff\xff\x00")), want: "larger than the 16384 that are accepted"},
		{name: "a table of 4 GiB", broker: says(method([]byte("\xff\xff\xff\xff"))), want: "connection.start: input too short"},
		{name: "1500 tables in each other", broker: says(method(nested)), want: "tables nested more than 32 deep"},
		{name: "a table of nothings", broker: says(method(be.AppendUint32(nil, 16007), []byte("\x01kA"), be.AppendUint32(nil, 16000), bytes.Repeat([]byte("V"), 16000))), want: "input too short"},
		{name: "heartbeats", want: "more than 262144 bytes sent during login", broker: func(s *fakebroker.Session) {
			s.Offer(start(fakebroker.Likely()))
			new(pouring).pour(s, 32<<20, same(heartbeats(128<<10)))
		}},
		{name: "greetings", broker: says(repeated(start(fakebroker.Likely()), 1<<20)), want: "connection.start instead of connection.tune"},
		{name: "a web server", broker: says([]byte("HTTP/1.1 400 Bad Request\r\n\r\n\x1b]0;owned\x07")), want: `not an AMQP server: it sent "HTTP/1.1`},
		{name: "another mechanism", broker: says(greet(func(g *fakebroker.Greeting) { g.Mechanisms = "EXTERNAL \x1b[31m" })), want: `the broker offers the mechanisms "EXTERNAL \x1b[31m", not PLAIN`},
		{name: "a challenge", broker: says(append(start(fakebroker.Likely()), fakebroker.Frame(0, &amqpproto.ConnectionSecure{Challenge: strings.Repeat("c", 10_000)})...)), want: "connection.secure instead of connection.tune"},
		{name: "frames of 4095", broker: tuned(amqpproto.ConnectionTune{FrameMax: 4095}), want: "frames of at most 4095 bytes, and AMQP asks for 4096"},
		{name: "no limit", broker: tuned(amqpproto.ConnectionTune{}), want: `opening vhost "/": ` + ended},
		{name: "the largest limits", broker: tuned(amqpproto.ConnectionTune{ChannelMax: 65535, FrameMax: 1<<32 - 1, Heartbeat: 65535}), want: `opening vhost "/": ` + ended},
		{name: "a goodbye with escapes", broker: says(append(start(fakebroker.Likely()), fakebroker.Frame(0, &amqpproto.ConnectionClose{ReplyCode: 403, ReplyText: "\x1b[2Jok\nthump: ok"})...)), want: `broker answered 403 \x1b[2Jok\nthump: ok`},
	} {
		t.Run(sc.name, func(t *testing.T) {
			b := fakebroker.Start(t, sc.broker)
			sc.held = loginHeld
			dials(t, &sc, b.URL())
		})
	}
}

// TestStreamLogin is the same for the stream protocol.
func TestStreamLogin(t *testing.T) {
	be := binary.BigEndian
	key := streamproto.KeyPeerProperties | 1<<15
	says := func(b []byte) func(*fakebroker.StreamSession) {
		return func(s *fakebroker.StreamSession) {
			s.Next()
			s.Offer(b)
			s.Discard()
		}
	}
	for _, sc := range []struct {
		scenario
		broker func(*fakebroker.StreamSession)
	}{
		{scenario{name: "silence", want: ended}, (*fakebroker.StreamSession).Discard},
		{scenario{name: "a frame of 2 GiB", want: "larger"}, says([]byte("\x7f\xff\xff\xff\x80\x11\x00\x01"))},
		{scenario{name: "2^32-1 properties", want: "input too short"}, says(fakebroker.StreamRaw(key, 1, []byte("\x00\x00\x00\x01\x00\x01\xff\xff\xff\xff")))},
		{scenario{name: "heartbeats", want: "more than 1048576 bytes sent during login"}, func(s *fakebroker.StreamSession) {
			correlation := s.LoginUpTo(fakebroker.LikelyStream(), streamproto.KeyPeerProperties.String())
			s.Answer(correlation, &streamproto.PeerPropertiesResponse{Code: streamproto.CodeOK})
			new(pouring).pour(s, 32<<20, same(repeated(streamproto.AppendHeartbeat(nil), 128<<10)))
		}},
		{scenario{name: "a challenge", want: "challenge"}, func(s *fakebroker.StreamSession) {
			correlation := s.LoginUpTo(fakebroker.LikelyStream(), streamproto.KeySASLAuthenticate.String())
			s.Answer(correlation, &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeSASLChallenge, Challenge: bytes.Repeat([]byte("c"), 1000)})
			s.Discard()
		}},
		{scenario{name: "no Tune", want: ended}, func(s *fakebroker.StreamSession) {
			correlation := s.LoginUpTo(fakebroker.LikelyStream(), streamproto.KeySASLAuthenticate.String())
			s.Answer(correlation, &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeOK})
			s.Discard()
		}},
		{scenario{name: "no answer to Open", want: `opening vhost "/": ` + ended}, func(s *fakebroker.StreamSession) {
			s.LoginUpTo(fakebroker.LikelyStream(), streamproto.KeyOpen.String())
			s.Discard()
		}},
		{scenario{name: "2^32-1 versions", want: "input too short"}, func(s *fakebroker.StreamSession) {
			correlation := s.LoginUpTo(fakebroker.LikelyStream(), streamproto.KeyExchangeCommandVersions.String())
			body := append(be.AppendUint32(nil, correlation), "\x00\x01\xff\xff\xff\xff"...)
			s.Offer(fakebroker.StreamRaw(streamproto.KeyExchangeCommandVersions|1<<15, 1, body))
			s.Discard()
		}},
	} {
		t.Run(sc.name, func(t *testing.T) {
			b := fakebroker.Start(t, fakebroker.Stream(sc.broker))
			sc.held = loginHeld
			dials(t, &sc.scenario, b.StreamURL())
		})
	}
}

// dials plays a scenario whose call is Dial.
func dials(t *testing.T, sc *scenario, url string) {
	t.Helper()
	sc.call = func(ctx context.Context, _ *thump.Client) error {
		_, err := thump.Dial(ctx, thump.Config{Recovery: noRecovery, URLs: []string{url}})
		return err
	}
	sc.play(t, nil)
}
