package faulttest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// far is a connection that leads from one address to another, as far as it says.
type far struct {
	net.Conn
	from, to string
	written  *atomic.Int64
}

func (c far) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.ParseIP(c.from), Port: 40000} }
func (c far) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(c.to), Port: 5552} }

func (c far) Write(b []byte) (int, error) {
	c.written.Add(int64(len(b)))
	return c.Conn.Write(b)
}

// TestFaultMetadataKeepsThePassword: a broker that names a node on another machine gets
// no password sent there in clear, where every URL leads to this machine; and whoever
// asks for it, or has it encrypted, or whose nodes are all here, is served.
func TestFaultMetadataKeepsThePassword(t *testing.T) {
	const self = "198.51.100.1" // an address of this machine
	for _, test := range []struct {
		name   string
		urls   string
		at     map[string]string // where a host leads
		leaves bool              // the leader's host is connected to, and told nothing
		warned bool              // the log says that the password goes to the leader's host
	}{
		{"another machine", "rabbitmq-stream://guest:guest@localhost", map[string]string{"leader.test": "192.0.2.7"}, true, false},
		{"an IPv6 machine", "rabbitmq-stream://guest:guest@[::1]", map[string]string{"leader.test": "2001:db8::7"}, true, false},
		{"a tunnel's name", "rabbitmq-stream://guest:guest@tunnel.test", map[string]string{"tunnel.test": "127.0.0.1", "leader.test": "192.0.2.7"}, true, false},
		{"this machine's own name", "rabbitmq-stream://guest:guest@localhost", map[string]string{"leader.test": self}, false, false},
		{"loopback", "rabbitmq-stream://guest:guest@localhost", map[string]string{"leader.test": "127.0.0.2"}, false, false},
		{"a URL that leads elsewhere", "rabbitmq-stream://guest:guest@cluster.test", map[string]string{"cluster.test": "192.0.2.6", "leader.test": "192.0.2.7"}, false, true},
		{"the node's own URL", "rabbitmq-stream://guest:guest@localhost rabbitmq-stream://guest:guest@leader.test", map[string]string{"leader.test": "192.0.2.7"}, false, true},
		{"a tunnel to each node", "rabbitmq-stream://guest:guest@localhost rabbitmq-stream://guest:guest@localhost:5553", map[string]string{"leader.test": "192.0.2.7"}, false, false},
		{"load balancer", "rabbitmq-stream://guest:guest@localhost?load_balancer=true", nil, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				scripts := []func(*fakebroker.Session){fakebroker.Stream(metadata(at("leader.test")))}
				switch {
				case test.leaves: // connected to, and left alone
					scripts = append(scripts, func(s *fakebroker.Session) { s.Discard() })
				case test.at == nil || strings.Contains(test.urls, "5553"): // found where a URL leads
					scripts = append(scripts, fakebroker.Stream(func(s *fakebroker.StreamSession) {
						g := fakebroker.LikelyStream()
						g.Open[0].Value = "leader.test"
						s.LoginAs(g)
						s.Serve(nil)
					}))
				default:
					scripts = append(scripts, fakebroker.Stream(orderly))
				}
				b := fakebroker.Pipe(t, 64<<10, scripts...)
				written := make(map[string]*atomic.Int64)
				dial := func(ctx context.Context, network, address string) (net.Conn, error) {
					host, _, err := net.SplitHostPort(address)
					if err != nil {
						return nil, err
					}
					conn, err := b.DialContext(ctx, network, address)
					to, known := test.at[host]
					if err != nil || !known {
						return conn, err
					}
					if written[host] == nil {
						written[host] = new(atomic.Int64)
					}
					from := "192.0.2.1"
					if to == self {
						from = self
					}
					return far{conn, from, to, written[host]}, nil
				}
				var log logs
				client, err := thump.Dial(t.Context(), thump.Config{Recovery: noRecovery, URLs: strings.Fields(test.urls), DialContext: dial, Logger: log.logger()})
				if err != nil {
					t.Fatal(err)
				}
				p, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Stream("events")})
				if test.leaves {
					checkSays(t, err, "that is another machine, and the password would go there unencrypted")
					checkSays(t, err, "load_balancer=true")
					if n := written["leader.test"].Load(); n != 0 {
						t.Errorf("%d bytes were sent there", n)
					}
				} else if err != nil {
					t.Error(err)
				} else if err := p.Close(t.Context()); err != nil {
					t.Error(err)
				}
				if err := client.Close(t.Context()); err != nil {
					t.Error(err)
				}
				if warned := strings.Contains(log.String(), "leader.test"); warned != test.warned {
					t.Errorf("warned of the leader's host: %t, want %t: %s", warned, test.warned, log.String())
				}
			})
		})
	}
}

// TestFaultClearTextIsWarnedOfOnce: the log is told once for each host that the password
// goes to in clear, however many connections there are.
func TestFaultClearTextIsWarnedOfOnce(t *testing.T) {
	for _, test := range []struct {
		host string
		want int
	}{{"broker.test", 1}, {"localhost", 0}, {"LocalHost.", 0}, {"127.0.0.1", 0}, {"[::1]", 0}} {
		t.Run(test.host, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := fakebroker.Pipe(t, 64<<10, serveAMQP, serveAMQP, serveAMQP)
				var log bytes.Buffer
				client, err := thump.Dial(t.Context(), thump.Config{
					Recovery:    noRecovery,
					URLs:        []string{fmt.Sprintf("amqp://guest:sesame@%s/", test.host)},
					DialContext: b.DialContext,
					Logger:      slog.New(slog.NewTextHandler(&log, nil)),
				})
				if err != nil {
					t.Fatal(err)
				}
				for range 2 {
					p, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue("q")})
					if err != nil {
						t.Fatal(err)
					}
					if err := p.Close(t.Context()); err != nil {
						t.Error(err)
					}
				}
				if err := client.Close(t.Context()); err != nil {
					t.Error(err)
				}
				if got := strings.Count(log.String(), "in clear"); got != test.want || strings.Contains(log.String(), "sesame") {
					t.Errorf("warned %d times, want %d: %s", got, test.want, log.String())
				}
			})
		})
	}
}
