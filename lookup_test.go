package thump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// world is names, and what is at their addresses.
type world struct {
	mu      sync.Mutex
	names   map[string]string // the addresses of a name: "10.0.0.1 10.0.0.2"
	brokers map[string]func(ctx context.Context, network, address string) (net.Conn, error)
	dialled []string // ip:port
	asked   []string // the names that were looked up
}

func (w *world) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	w.asked = append(w.asked, host)
	addresses, known := w.names[host]
	w.mu.Unlock()
	if host == "hangs.test" {
		<-ctx.Done()
		return nil, &net.DNSError{Err: "no answer", Name: host, IsTimeout: true}
	}
	if !known {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var found []netip.Addr
	for address := range strings.FieldsSeq(addresses) {
		found = append(found, netip.MustParseAddr(address))
	}
	return found, nil
}

func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dialled = append(w.dialled, address)
	host, _, _ := net.SplitHostPort(address)
	dial := w.brokers[host]
	w.mu.Unlock()
	if dial == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("connection refused")}
	}
	return dial(ctx, network, address)
}

// news returns what was dialled since the last call, sorted.
func (w *world) news() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	news := slices.Sorted(slices.Values(w.dialled))
	w.dialled = nil
	return strings.Join(news, " ")
}

// silent takes no connection before ctx ends.
func silent(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// clientIn makes a client in the world, without a connection.
func (w *world) clientIn(t *testing.T, cfg Config) *Client {
	t.Helper()
	cfg.DialContext = w.dial
	c, err := newClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.lookup = w.lookup
	return c
}

func serveAMQP(s *fakebroker.Session) {
	s.Login()
	s.Serve(nil)
}

// TestAddresses: the addresses of a name are places of their own. One that hangs and one
// that refuses hold up nobody, and later connections begin with the one that answered.
func TestAddresses(t *testing.T) {
	hung := 0
	for range 60 {
		synctest.Test(t, func(t *testing.T) {
			var log strings.Builder
			b := fakebroker.Pipe(t, 64<<10, serveAMQP, serveAMQP, serveAMQP)
			w := &world{
				names:   map[string]string{"cluster.test": "10.0.0.1 10.0.0.2 10.0.0.3"},
				brokers: map[string]func(context.Context, string, string) (net.Conn, error){"10.0.0.1": silent, "10.0.0.3": b.DialContext},
			}
			c := w.clientIn(t, Config{URLs: []string{"amqp://u:canary@cluster.test"}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			start := time.Now()
			if err := c.connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			took, dialled := time.Since(start), w.news()
			if strings.Contains(dialled, "10.0.0.1:5672") {
				hung++
			} else if took > 0 {
				t.Errorf("took %v", took)
			}
			if took > attemptDelay {
				t.Errorf("took %v", took)
			}
			if said := strings.Contains(log.String(), "cluster.test:5672 at 10.0.0.1: no answer in time"); said != (took > 0) {
				t.Errorf("dialled %s, and the log says\n%s", dialled, log.String())
			}
			if address := c.server.Address; address != "cluster.test:5672" {
				t.Errorf("the address is %s", address)
			}
			for range 2 {
				start = time.Now()
				p, err := c.Publisher(t.Context(), PublisherConfig{To: Queue("q")})
				if err != nil {
					t.Fatal(err)
				}
				if dialled := w.news(); dialled != "10.0.0.3:5672" || time.Since(start) > 0 {
					t.Errorf("a publisher dialled %s in %v", dialled, time.Since(start))
				}
				_ = p.Close(t.Context())
			}
			if strings.Contains(log.String(), "canary") || strings.Count(log.String(), "in clear") != 1 {
				t.Errorf("the log says\n%s", log.String())
			}
			_ = c.Close(t.Context())
		})
	}
	if hung == 0 || hung == 60 {
		t.Errorf("the address that hangs was dialled by %d of 60 clients", hung)
	}
}

// TestNamesThatFail: a name that can't be looked up is an error of its URL, and one whose
// lookup hangs holds up no other URL.
func TestNamesThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{names: map[string]string{"cluster.test": "10.0.0.1 10.0.0.2"}}
		c := w.clientIn(t, Config{URLs: []string{"amqp://u:canary@none.test", "amqp://u:canary@hangs.test", "amqp://u:canary@cluster.test"}})
		start := time.Now()
		err := c.connect(t.Context())
		for _, part := range []string{
			"@none.test:5672: dial tcp: lookup none.test: no such host", "@hangs.test:5672: dial tcp: lookup hangs.test: no answer",
			"@cluster.test:5672 at 10.0.0.1: dial tcp: connection refused", "@cluster.test:5672 at 10.0.0.2: ",
		} {
			if err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %v, expected %q in it", err, part)
			}
		}
		if took := time.Since(start); took < dialTimeoutDefault || took > dialTimeoutDefault+time.Second {
			t.Errorf("took %v", took)
		}
		if !Temporary(err) {
			t.Errorf("not temporary: %v", err)
		}

		b := fakebroker.Pipe(t, 64<<10, serveAMQP)
		w.brokers = map[string]func(context.Context, string, string) (net.Conn, error){"10.0.0.2": b.DialContext}
		c = w.clientIn(t, Config{URLs: []string{"amqp://none.test", "amqp://hangs.test", "amqp://cluster.test"}})
		start = time.Now()
		if err := c.connect(t.Context()); err != nil || time.Since(start) > time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		_ = c.Close(t.Context())
	})
}

// TestNothingToLookUp: an address, this machine's name, and whatever a dialer of the user's
// gets, is dialled as it is.
func TestNothingToLookUp(t *testing.T) {
	for _, host := range []string{"localhost", "LocalHost.", "127.0.0.1", "[::1]", "10.1.2.3", "[fe80::1%25lo]"} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{}
			c := w.clientIn(t, Config{URLs: []string{"amqp://" + host}})
			if err := c.connect(t.Context()); err == nil || len(w.asked) > 0 {
				t.Errorf("%v; %q were looked up", err, w.asked)
			}
			if got, want := w.news(), net.JoinHostPort(c.endpoints[AMQP091][0].Host, "5672"); got != want {
				t.Errorf("dialled %s, want %s", got, want)
			}
		})
	}
	w := &world{}
	if c, err := newClient(Config{URLs: []string{"amqp://cluster.test"}, DialContext: w.dial}); err != nil || c.lookup != nil {
		t.Errorf("%v, or names are looked up although a dialer is given", err)
	}
	if c, err := newClient(Config{URLs: []string{"amqp://cluster.test"}}); err != nil || c.lookup == nil {
		t.Errorf("%v, or names are not looked up", err)
	}
}

// TestSystemLookup: the system is asked, and ctx ends that.
func TestSystemLookup(t *testing.T) {
	found, err := lookupHost(t.Context(), "localhost")
	if err != nil || len(found) == 0 || slices.ContainsFunc(found, func(ip netip.Addr) bool { return !ip.IsLoopback() }) {
		t.Errorf("%v, %v", found, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lookupHost(ctx, "thump.invalid"); err == nil {
		t.Error("a name that can't be was found")
	}
}

// TestSpread: all addresses are there, once, those of the first's family before the others,
// and every one of that family is first now and then.
func TestSpread(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		var found []netip.Addr
		want := make(map[string]bool)
		for range 1 + random.IntN(5) {
			ip := netip.AddrFrom4([4]byte{10, 0, 0, byte(random.IntN(3))})
			if random.IntN(3) == 0 {
				ip = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(random.IntN(3))})
			}
			want[ip.String()] = true
			if ip.Is4() && random.IntN(2) == 0 {
				ip = netip.AddrFrom16(ip.As16()) // as some resolvers have it
			}
			found = append(found, ip)
		}
		c := &Client{cfg: Config{DialTimeout: time.Second}, lookup: func(context.Context, string) ([]netip.Addr, error) { return found, nil }}
		first := make(map[string]bool)
		for range 200 {
			places, err := c.placesOf(t.Context(), Endpoint{Host: "cluster.test", Port: "1"})
			if err != nil || len(places) != len(want) {
				t.Fatalf("seed %d: %v: got %v, want %v", seed, err, places, want)
			}
			other := false
			for _, p := range places {
				is4 := netip.MustParseAddr(p.ip).Is4()
				if is4 != found[0].Unmap().Is4() {
					other = true
				} else if other || !want[p.ip] {
					t.Fatalf("seed %d: %v became %v", seed, found, places)
				}
			}
			first[places[0].ip] = true
		}
		for ip := range want {
			if netip.MustParseAddr(ip).Is4() == found[0].Unmap().Is4() && !first[ip] {
				t.Errorf("seed %d: %s of %v was never first", seed, ip, found)
			}
		}
	}
}

// TestPlaceOfAName: a place is verified by the name, and told by both.
func TestPlaceOfAName(t *testing.T) {
	w := &world{names: map[string]string{"cluster.test": "2001:db8::1"}}
	c := w.clientIn(t, Config{URLs: []string{"amqps://u:canary@cluster.test"}})
	places, err := c.placesOf(t.Context(), c.endpoints[AMQP091][0])
	if err != nil || len(places) != 1 {
		t.Fatal(places, err)
	}
	cfg, err := c.login(places[0])
	if err != nil || cfg.TLS.ServerName != "cluster.test" || cfg.Address != "cluster.test:5671" {
		t.Errorf("%v: name %s, address %s", err, cfg.TLS.ServerName, cfg.Address)
	}
	_, _ = cfg.DialContext(t.Context(), "tcp", cfg.Address)
	if got := w.news(); got != "[2001:db8::1]:5671" {
		t.Errorf("dialled %s", got)
	}
	if got := fmt.Sprint(places[0], " ", places[0].place()); got != "amqps://u:***@cluster.test:5671 amqps://u:***@cluster.test:5671 at 2001:db8::1" {
		t.Errorf("got %s", got)
	}
}

// node is a script of a stream's node that advertises host, and says that leader leads
// every stream.
func node(host, leader string) func(*fakebroker.Session) {
	return fakebroker.Stream(func(s *fakebroker.StreamSession) {
		g := fakebroker.LikelyStream()
		g.Open[0].Value = host
		s.LoginAs(g)
		s.Serve(func(r *fakebroker.StreamReceived) bool {
			m, ok := r.Command.(*streamproto.Metadata)
			if ok {
				s.Answer(r.Correlation, &streamproto.MetadataResponse{
					Brokers: []streamproto.Broker{{Reference: 1, Host: leader, Port: 5552}},
					Streams: []streamproto.StreamMetadata{{Stream: m.Streams[0], Code: streamproto.CodeOK, Leader: 1}},
				})
			}
			return ok
		})
	})
}

// TestNodesOfAName: one name leads to all nodes of a cluster, which advertise what leads
// nowhere. The leader is found, its address is known from then on, and it is found again
// when the name stands for others, or another node has got its address.
func TestNodesOfAName(t *testing.T) {
	for range 10 {
		synctest.Test(t, func(t *testing.T) {
			one, two := node("one.inside", "two.inside"), node("two.inside", "two.inside")
			at := func(scripts ...func(*fakebroker.Session)) func(context.Context, string, string) (net.Conn, error) {
				return fakebroker.Pipe(t, 64<<10, scripts...).DialContext
			}
			w := &world{
				names: map[string]string{"cluster.test": "10.0.0.1 10.0.0.2"},
				brokers: map[string]func(context.Context, string, string) (net.Conn, error){
					"10.0.0.1": at(slices.Repeat([]func(*fakebroker.Session){one}, 9)...), "10.0.0.2": at(slices.Repeat([]func(*fakebroker.Session){two}, 9)...),
				},
			}
			c := w.clientIn(t, Config{URLs: []string{"rabbitmq-stream://cluster.test"}})
			publisher := func() string {
				t.Helper()
				p, err := c.Publisher(t.Context(), PublisherConfig{To: Stream("s")})
				if err != nil {
					t.Fatal(err)
				}
				_ = p.Close(t.Context())
				return w.news()
			}
			if err := c.connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			switch locator, got := w.news(), publisher(); {
			case locator == "10.0.0.1:5552" && got == "10.0.0.2:5552":
			case locator == "10.0.0.2:5552" && got == "10.0.0.2:5552":
			default:
				t.Errorf("the locator is at %s, and a publisher dialled %s", locator, got)
			}
			if got := publisher(); got != "10.0.0.2:5552" {
				t.Errorf("the next publisher dialled %s", got)
			}

			w.names["cluster.test"] = "10.0.0.1 10.0.0.3"
			w.brokers["10.0.0.3"] = w.brokers["10.0.0.2"]
			if got := publisher(); !strings.Contains(got, "10.0.0.3:5552") || strings.Contains(got, "10.0.0.2") {
				t.Errorf("after the node has moved a publisher dialled %s", got)
			}
			if got := publisher(); got != "10.0.0.3:5552" {
				t.Errorf("the next publisher dialled %s", got)
			}

			w.brokers["10.0.0.1"], w.brokers["10.0.0.3"] = w.brokers["10.0.0.3"], w.brokers["10.0.0.1"]
			if got := publisher(); !strings.Contains(got, "10.0.0.1:5552") {
				t.Errorf("after the nodes have changed places a publisher dialled %s", got)
			}
			if got := publisher(); got != "10.0.0.1:5552" {
				t.Errorf("the next publisher dialled %s", got)
			}
			_ = c.Close(t.Context())
		})
	}
}

// TestCleartextOfAName: a name that stands for this machine and another is one that lets
// the password leave.
func TestCleartextOfAName(t *testing.T) {
	var k cleartext
	e := Endpoint{Protocol: Streams, Host: "cluster.test", Port: "5552"}
	led := func(ip string) bool {
		at := e
		at.ip = ip
		conn, err := k.watch(at, func(context.Context, string, string) (net.Conn, error) { return leads{to: ip}, nil })(t.Context(), "tcp", "")
		if err != nil || conn == nil {
			t.Fatal(err)
		}
		return k.staysHere([]Endpoint{e})
	}
	if k.staysHere([]Endpoint{e}) || !led("127.0.0.1") || !led("127.0.0.2") || led("192.0.2.1") || led("127.0.0.1") {
		t.Error("staysHere is wrong")
	}
}

// leads is a connection to an address.
type leads struct {
	net.Conn
	to string
}

func (l leads) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.ParseIP("198.51.100.1")} }
func (l leads) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(l.to)} }

// refuse dials a broker that refuses the login, and minds nothing else.
func refuse(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		_, _ = io.ReadFull(server, make([]byte, 8)) // the protocol's header
		_, _ = server.Write(fakebroker.Frame(0, fakebroker.Likely().Start()))
		_, _ = server.Read(make([]byte, 4096))
		_, _ = server.Write(fakebroker.Frame(0, &amqpproto.ConnectionClose{ReplyCode: 403, ReplyText: "ACCESS_REFUSED"}))
		_, _ = io.Copy(io.Discard, server)
	}()
	return client, nil
}

// TestRandomPlaces: wherever the names lead, a client connects soon if one
// serves, and otherwise says of each what is wrong, and whether that may pass.
func TestRandomPlaces(t *testing.T) {
	connected, final := 0, 0
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			seed := rand.Uint64()
			random := rand.New(rand.NewPCG(seed, 0))
			w := &world{names: make(map[string]string), brokers: make(map[string]func(context.Context, string, string) (net.Conn, error))}
			cfg := Config{}
			serves, temporary := false, false
			var parts []string // of the error
			for n := range 1 + random.IntN(3) {
				name := fmt.Sprintf("host%d.test", n)
				switch random.IntN(6) {
				case 0:
					name = "hangs.test"
				case 1:
					name = "none.test"
				}
				cfg.URLs = append(cfg.URLs, "amqp://u:canary@"+name)
				if name == "hangs.test" || name == "none.test" {
					temporary = true
					parts = append(parts, "lookup "+name)
					continue
				}
				for a := range 1 + random.IntN(3) {
					address := fmt.Sprintf("10.0.%d.%d", n, a)
					w.names[name] += " " + address
					parts = append(parts, name+":5672 at "+address)
					switch kind := random.IntN(7); {
					case kind == 0 && !serves:
						serves = true
						w.brokers[address] = fakebroker.Pipe(t, 64<<10, serveAMQP).DialContext
					case kind == 1:
						temporary = true
						w.brokers[address] = silent
					case kind == 2:
						temporary = true // nobody listens
					default:
						w.brokers[address] = refuse
					}
				}
			}
			c := w.clientIn(t, cfg)
			start := time.Now()
			err := c.connect(t.Context())
			took := time.Since(start)
			switch {
			case serves:
				connected++
				if err != nil || took > 6*attemptDelay {
					t.Errorf("seed %d: %v after %v", seed, err, took)
				}
			case err == nil || Temporary(err) != temporary || took > dialTimeoutDefault+6*attemptDelay || strings.Contains(err.Error(), "canary"):
				t.Errorf("seed %d: want temporary %t: after %v, %v", seed, temporary, took, err)
			default:
				for _, part := range parts {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("seed %d: %q is not in %v", seed, part, err)
					}
				}
				if !temporary {
					final++
				}
			}
			_ = c.Close(t.Context())
		})
	}
	if connected < 50 || final < 20 {
		t.Errorf("%d clients connected, and %d have no hope", connected, final)
	}
}
