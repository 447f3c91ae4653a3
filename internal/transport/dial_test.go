package transport_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// fails dials a script, which must fail, and returns the error.
func (p *protocol) fails(t *testing.T, script func(server)) error {
	t.Helper()
	b := fakebroker.Pipe(t, conntest.SocketSize, p.script(script))
	begin := time.Now()
	conn, err := p.dial(t.Context(), p.config(b))
	if err == nil {
		conntest.Drop(conn)
		t.Fatal("dial succeeded")
	}
	if took := time.Since(begin); took > p.config(b).Timeout {
		t.Errorf("dial took %v", took)
	}
	return err
}

// TestNotOurs greets the client with what no server of the protocol would. Dial
// must fail within its timeout, say what it found, and not believe any length.
func TestNotOurs(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		send := func(b string) func(server) {
			return func(s server) {
				s.Offer([]byte(b))
				s.Discard()
			}
		}
		sendAndClose := func(b string) func(server) {
			return func(s server) {
				s.hello()
				s.SendBytes([]byte(b))
				s.Close()
			}
		}
		for _, test := range []struct {
			name   string
			script func(server)
			want   string
		}{
			{"silence", server.Discard, "waiting for the broker's greeting: context deadline exceeded"},
			{"a byte a second", func(s server) {
				for _, b := range p.greeting {
					if !s.Offer([]byte{b}) {
						return
					}
					time.Sleep(time.Second)
				}
			}, "waiting for the broker's greeting: context deadline exceeded"},
			{"closed", sendAndClose(""), "the server closed the connection"},
			{"reset", server.Reset, "reset"},
			{"HTTP", send("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n"), p.stranger + `: it sent "HTTP/1.1 400`},
			{"SSH", send("SSH-2.0-OpenSSH_9.2p1 Debian\r\n"), p.stranger + `: it sent "SSH-2.0-OpenSSH`},
			{"a short banner", sendAndClose("220 hi\n"), p.stranger + `: it sent "220 hi\n"`},
			{"a short banner and silence", send("220 hi\n"), "deadline exceeded"},
			{"one byte", sendAndClose("\x01"), p.stranger + ": it sent"},
			{"a TLS alert", sendAndClose("\x15\x03\x01\x00\x02\x02\x46"), p.tlsAlert},
			{"a TLS alert and a reset", func(s server) {
				s.SendBytes([]byte("\x15\x03\x01\x00\x02\x02\x46"))
				time.Sleep(time.Second)
				s.Reset()
			}, p.tlsAlert},
			{"a long TLS answer", send("\x15\x03\x03\x00\x02\x02\x46\x00\x00"), p.tlsAlert},
			{"zeros", send(strings.Repeat("\x00", 64)), p.stranger},
			{"a heartbeat first", send(string(p.beat)), p.stranger},
			{"heartbeats for ever", func(s server) {
				s.Offer(p.greeting)
				for many := slices.Repeat(p.beat, 1000); s.Offer(many); {
				}
			}, "protocol violation: more than"},
		} {
			t.Run(test.name, func(t *testing.T) {
				fakebroker.CheckMemory(t, 4<<20, func() {
					synctest.Test(t, func(t *testing.T) {
						if err := p.fails(t, test.script); !strings.Contains(err.Error(), test.want) {
							t.Errorf("got %v\nwant %q in it", err, test.want)
						}
					})
				})
			})
		}
	})
}

// TestLoginInterrupted ends the login at each of its steps, in each way.
func TestLoginInterrupted(t *testing.T) {
	says := func(want string) func(*protocol, error) bool {
		return func(_ *protocol, err error) bool { return strings.Contains(err.Error(), want) }
	}
	each(t, func(t *testing.T, p *protocol) {
		for _, end := range []struct {
			name  string
			end   func(server)
			check func(*protocol, error) bool
		}{
			{"closed", server.Close, says("the server closed the connection")},
			{"reset", server.Reset, says("reset")},
			{"silent", server.Discard, func(_ *protocol, err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
			{"half a frame", func(s server) {
				s.SendBytes(p.half)
				s.Close()
			}, says("the server closed the connection")},
			{"refused", server.refuse, func(p *protocol, err error) bool { return p.isLeft(err) && strings.Contains(err.Error(), "no way") }},
		} {
			for step, doing := range p.steps {
				t.Run(doing+" "+end.name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						err := p.fails(t, func(s server) {
							s.loginUpTo(step)
							end.end(s)
						})
						if !end.check(p, err) || !strings.HasPrefix(err.Error(), doing+": ") {
							t.Errorf("got %v, want it to say %q", err, doing)
						}
					})
				})
			}
		}
	})
}

func TestLoginGivenUp(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		synctest.Test(t, func(t *testing.T) {
			b := fakebroker.Pipe(t, conntest.SocketSize, p.script(server.Discard))
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			if _, err := p.dial(ctx, p.config(b)); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want it to be cancelled", err)
			}
		})
	})
}

// TestNotToBeReached: the dialer's error is what one hears.
func TestNotToBeReached(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		refused := errors.New("connection refused")
		cfg := p.config(fakebroker.Pipe(t, 0))
		cfg.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, refused }
		if _, err := p.dial(t.Context(), cfg); !errors.Is(err, refused) {
			t.Errorf("got %v", err)
		}
	})
}

// TestMechanism logs in with each mechanism, offered and not. Where it is not, no
// password may have been sent.
func TestMechanism(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		for _, test := range []struct {
			name, mechanism string
			offered         []string
			response, err   string
		}{
			{name: "PLAIN", mechanism: "PLAIN", offered: []string{"AMQPLAIN", "PLAIN"}, response: "\x00guest\x00secret"},
			{name: "EXTERNAL", mechanism: "EXTERNAL", offered: []string{"PLAIN", "EXTERNAL"}, response: "guest"},
			{
				name: "EXTERNAL not offered", mechanism: "EXTERNAL", offered: []string{"PLAIN", "AMQPLAIN"},
				err: "logging in: the broker offers the mechanisms " + p.offered("PLAIN", "AMQPLAIN") + ", not EXTERNAL",
			},
			{name: "only part of a name", mechanism: "PLAIN", offered: []string{"AMQPLAIN", "XPLAIN"}, err: "not PLAIN"},
			{name: "downgraded to ANONYMOUS", mechanism: "PLAIN", offered: []string{"ANONYMOUS"}, err: "not PLAIN"},
			{name: "none offered", mechanism: "PLAIN", offered: []string{}, err: "not PLAIN"},
		} {
			t.Run(test.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := fakebroker.Pipe(t, conntest.SocketSize, p.script(func(s server) {
						if test.err != "" {
							s.offer(test.offered)
							s.ExpectHangUp()
							return
						}
						s.login(greeting{mechanisms: test.offered})
						if mechanism, response := s.saslSent(); mechanism != test.mechanism || response != test.response {
							t.Errorf("got %s %q, want %s %q", mechanism, response, test.mechanism, test.response)
						}
						s.serve()
					}))
					cfg := p.config(b)
					cfg.Mechanism = test.mechanism
					conn, err := p.dial(t.Context(), cfg)
					if err == nil {
						defer conntest.Drop(conn)
					}
					if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
						t.Errorf("got %v, want %q", err, test.err)
					}
				})
			})
		}
	})
}

// TestAfterTheLogin has the broker's next frames come with the last answer of the
// login, the last of them cut in two, and heartbeats in between.
func TestAfterTheLogin(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		synctest.Test(t, func(t *testing.T) {
			b := fakebroker.Pipe(t, conntest.SocketSize, p.script(func(s server) {
				last := s.loginButLast()
				s.SendBytes(slices.Concat(p.beat, last, p.beat, p.goodbye[:9]))
				time.Sleep(time.Second)
				s.SendBytes(p.goodbye[9:])
				s.goodbyeAnswered()
				s.Close()
			}))
			conn := p.mustDial(t, b)
			if err := conntest.Ended(t, conn); err == nil || err.Error() != p.leaving {
				t.Errorf("got %v, want %s", err, p.leaving)
			}
			_ = conn.Close(t.Context()) // it has ended; the answer gets out
		})
	})
}

// TestTLSPorts: TLS to a port without, and to one that says nothing.
func TestTLSPorts(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		b := fakebroker.Start(t, p.script(func(s server) {
			_, _ = io.ReadFull(s.Conn(), make([]byte, 5)) // the head of a ClientHello
			s.SendBytes(p.greeting)
			s.Close()
		}))
		cfg := p.config(b)
		cfg.TLS = &tls.Config{ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
		if _, err := p.dial(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "does not speak TLS on this port") {
			t.Errorf("got %v", err)
		}
		cfg.Timeout = 50 * time.Millisecond
		cfg.DialContext = func(context.Context, string, string) (net.Conn, error) {
			conn, silent := net.Pipe()
			t.Cleanup(func() { silent.Close() })
			return conn, nil
		}
		if _, err := p.dial(t.Context(), cfg); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
