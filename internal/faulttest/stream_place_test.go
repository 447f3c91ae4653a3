package faulttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// metadata is a script of a node that says where every stream is.
func metadata(r *streamproto.MetadataResponse) func(*fakebroker.StreamSession) {
	return func(s *fakebroker.StreamSession) {
		s.Login()
		s.Serve(func(received *fakebroker.StreamReceived) bool {
			_, ok := received.Command.(*streamproto.Metadata)
			if ok {
				s.Answer(received.Correlation, r)
			}
			return ok
		})
	}
}

// at is a node's answer: stream "events" is led by that host, port 5552.
func at(host string, replicas ...uint16) *streamproto.MetadataResponse {
	return &streamproto.MetadataResponse{
		Brokers: []streamproto.Broker{{Reference: 1, Host: host, Port: 5552}, {Reference: 2, Host: "replica.test", Port: 5552}},
		Streams: []streamproto.StreamMetadata{{Stream: "events", Code: streamproto.CodeOK, Leader: 1, Replicas: replicas}},
	}
}

// place is where a client connects to: what it dials is noted, and refused for
// the hosts that are named.
type place struct {
	dialled []string
	refused string
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

func (p *place) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	p.dialled = append(p.dialled, address)
	if host, _, _ := strings.Cut(address, ":"); strings.Contains(p.refused, host) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("no route to host")}
	}
	return p.dial(ctx, network, address)
}

// TestFaultStreamPlaces: where a stream's leader and replicas are, and what one
// hears where that can't be made out, or reached.
func TestFaultStreamPlaces(t *testing.T) {
	answer := func(code streamproto.Code, stream string) *streamproto.MetadataResponse {
		return &streamproto.MetadataResponse{Streams: []streamproto.StreamMetadata{{Stream: stream, Code: code, Leader: streamproto.NoLeader}}}
	}
	for _, test := range []struct {
		name, query, refused string
		metadata             *streamproto.MetadataResponse
		more                 int    // orderly connections behind the client's own
		dialled              string // by the publisher and, behind a slash, by the consumer
		publisher, consumer  string // their errors
	}{
		{
			name: "the node itself", metadata: at("stream.test"), more: 2,
			dialled: "url.test:5552 / url.test:5552",
		},
		{
			name: "another node", metadata: at("leader.test"), more: 2,
			dialled: "leader.test:5552 / leader.test:5552",
		},
		{
			name: "a replica", metadata: at("leader.test", 2), more: 2,
			dialled: "leader.test:5552 / replica.test:5552",
		},
		{
			name: "a replica that can't be reached", metadata: at("leader.test", 2), refused: "replica.test", more: 2,
			dialled: "leader.test:5552 / replica.test:5552 leader.test:5552",
		},
		{
			name: "nothing can be reached", metadata: at("inside.test"), refused: "inside.test",
			dialled:   "inside.test:5552 / inside.test:5552",
			publisher: "the broker advertises inside.test:5552 for this stream: if that can't be reached from here, set stream.advertised_host",
			consumer:  "load_balancer=true in the URL",
		},
		{
			name: "behind a load balancer", query: "?load_balancer=true", metadata: at("stream.test"), refused: "stream.test", more: 2,
			dialled: "url.test:5552 / url.test:5552",
		},
		{
			name: "no stream", metadata: answer(streamproto.CodeStreamDoesNotExist, "events"), dialled: " / ",
			publisher: "2, stream does not exist", consumer: "2, stream does not exist",
		},
		{
			name: "no leader", metadata: answer(streamproto.CodeOK, "events"), dialled: " / ",
			publisher: `stream "events" has no leader at the moment`, consumer: `stream "events" has no replica at the moment`,
		},
		{
			name: "another stream", metadata: answer(streamproto.CodeOK, "other"), dialled: " / ",
			publisher: "the broker's answer does not name it", consumer: "the broker's answer does not name it",
		},
		{
			name: "no answer to speak of", metadata: &streamproto.MetadataResponse{}, dialled: " / ",
			publisher: "the broker's answer does not name it", consumer: "the broker's answer does not name it",
		},
		{
			name: "a host that is none", metadata: at("a]b:c"), dialled: " / ",
			publisher: "a]b:c", consumer: "a]b:c",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				scripts := []func(*fakebroker.Session){fakebroker.Stream(metadata(test.metadata))}
				for range test.more {
					scripts = append(scripts, fakebroker.Stream(orderly))
				}
				b := fakebroker.Pipe(t, 64<<10, scripts...)
				p := &place{refused: test.refused, dial: b.DialContext}
				client, err := thump.Dial(t.Context(), thump.Config{Recovery: noRecovery, URLs: []string{"rabbitmq-stream://url.test" + test.query}, DialContext: p.DialContext})
				if err != nil {
					t.Fatal(err)
				}
				begin := len(p.dialled)
				_, publisher := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Stream("events")})
				middle := len(p.dialled)
				_, consumer := client.Consumer(t.Context(), thump.ConsumerConfig{From: thump.Stream("events")})
				if got := strings.Join(p.dialled[begin:middle], " ") + " / " + strings.Join(p.dialled[middle:], " "); got != test.dialled {
					t.Errorf("dialled %s, want %s", got, test.dialled)
				}
				checkSays(t, publisher, test.publisher)
				checkSays(t, consumer, test.consumer)
				if test.name == "no stream" && (!thump.IsNotFound(publisher) || !thump.IsNotFound(consumer)) {
					t.Errorf("not that it is not found: %v, %v", publisher, consumer)
				}
				if err := client.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestFaultStreamBehindAnotherURL: a node that can't be reached at the address that it
// advertises is found behind a URL at which nothing was met, such as a tunnel; whether the
// password may leave this machine makes no difference. If it is not found, the error says
// why, of each place.
func TestFaultStreamBehindAnotherURL(t *testing.T) {
	const here, elsewhere = "127.0.0.1 127.0.0.2 127.0.0.3", "cluster.test tunnel.test tunnel2.test"
	for _, test := range []struct {
		name    string
		hosts   string // of the URLs
		refused string
		says    []string // nil where the node is found
	}{
		{"on this machine", here, "leader.test 127.0.0.3", nil},
		{"elsewhere", elsewhere, "leader.test tunnel2.test", nil},
		{"on this machine, no tunnel", here, "leader.test 127.0.0.2 127.0.0.3", []string{"@leader.test", "@127.0.0.2", "@127.0.0.3"}},
		{"elsewhere, no tunnel", elsewhere, "leader.test tunnel.test tunnel2.test", []string{"@leader.test", "@tunnel.test", "@tunnel2.test"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				scripts := []func(*fakebroker.Session){fakebroker.Stream(metadata(at("leader.test")))}
				if test.says == nil {
					scripts = append(scripts, fakebroker.Stream(func(s *fakebroker.StreamSession) {
						g := fakebroker.LikelyStream()
						g.Open[0].Value = "leader.test"
						s.LoginAs(g)
						s.Serve(nil)
					}))
				}
				b := fakebroker.Pipe(t, 64<<10, scripts...)
				p := &place{refused: test.refused, dial: func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := b.DialContext(ctx, network, address)
					if err == nil && test.hosts == elsewhere {
						conn = far{conn, "192.0.2.1", "192.0.2.6", new(atomic.Int64)}
					}
					return conn, err
				}}
				var urls []string
				for host := range strings.FieldsSeq(test.hosts) {
					urls = append(urls, "rabbitmq-stream://"+host)
				}
				client, err := thump.Dial(t.Context(), thump.Config{Recovery: noRecovery, URLs: urls, DialContext: p.DialContext})
				if err != nil {
					t.Fatal(err)
				}
				pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Stream("events")})
				for _, says := range test.says {
					checkSays(t, err, says)
				}
				if test.says == nil {
					if err != nil {
						t.Fatal(err)
					}
					if err := pub.Close(t.Context()); err != nil {
						t.Error(err)
					}
				}
				if err := client.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// checkSays makes sure that an error is there and says what is wanted, or that
// there is none where nothing is.
func checkSays(t *testing.T, err error, want string) {
	t.Helper()
	if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// TestFaultLoadBalancer: the load balancer leads to another node first, and again,
// and then to the one that is wanted; or never.
func TestFaultLoadBalancer(t *testing.T) {
	elsewhere := func(s *fakebroker.StreamSession) {
		g := fakebroker.LikelyStream()
		g.Open[0].Value = "other.test"
		s.LoginAs(g)
		s.Serve(nil)
	}
	for _, tries := range []int{1, 7, 1000} {
		synctest.Test(t, func(t *testing.T) {
			scripts := []func(*fakebroker.Session){fakebroker.Stream(metadata(at("stream.test")))}
			for range min(tries, 101) - 1 {
				scripts = append(scripts, fakebroker.Stream(elsewhere))
			}
			if tries < 100 {
				scripts = append(scripts, fakebroker.Stream(orderly))
			}
			b := fakebroker.Pipe(t, 64<<10, scripts...)
			client, err := thump.Dial(t.Context(), thump.Config{Recovery: noRecovery, URLs: []string{b.StreamURL() + "?load_balancer=true"}, DialContext: b.DialContext})
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Stream("events")})
			want := ""
			if tries > 100 {
				want = "after 100 tries the load balancer has not led to stream.test:5552"
			}
			checkSays(t, err, want)
			if err := client.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFaultStreamGoes: the stream's leader moves under a publisher. It ends, says
// what is unknown, and another one, on a connection of its own, works.
func TestFaultStreamGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goes := fakebroker.Deaths("events")["the stream goes"]
		client := faultStreamClient(t, func(s *fakebroker.StreamSession) {
			s.Login()
			s.OpenPublisher(0)
			for range 3 {
				p, _ := fakebroker.ExpectCommand[*fakebroker.Published](s)
				if id := p.IDs()[0]; id == 1 {
					s.Confirm(0, id)
				}
			}
			goes(s)
		}, orderly)
		pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Stream("events")})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if n, err := pub.Publish(t.Context(), thump.Message{Ref: uint64(i), Body: []byte("x")}); n != 1 || err != nil {
				t.Errorf("%d accepted, %v", n, err)
			}
			synctest.Wait()
		}
		<-pub.Done()
		told := outcomeError(t, pub.Flush(t.Context()))
		checkStreamError(t, told, streamproto.CodeStreamNotAvailable)
		checkStreamError(t, pub.Err(), streamproto.CodeStreamNotAvailable)
		if told.Unknown != 2 || told.Published != 3 || !strings.Contains(told.Error(), `the leader of stream "events" moved, or the stream was deleted`) {
			t.Errorf("got %v", told)
		}
		another, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Stream("events")})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := another.Publish(t.Context(), thump.Message{Body: []byte("x")}); n != 1 || err != nil {
			t.Errorf("%d accepted, %v", n, err)
		}
		if err := another.Close(t.Context()); err != nil || another.Counts().Confirmed != 1 {
			t.Errorf("%v, %+v", err, another.Counts())
		}
		_ = pub.Close(t.Context()) // it has ended, and said so
	})
}

// TestFaultStreamCloseInTime: Close of a publisher keeps to its context while the
// broker does not answer, and while it does not even read.
func TestFaultStreamCloseInTime(t *testing.T) {
	for _, reads := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			client := faultStreamClient(t, func(s *fakebroker.StreamSession) {
				s.Login()
				s.OpenPublisher(0)
				if reads {
					s.Discard()
				} else {
					time.Sleep(6 * time.Second)
				}
			})
			pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Stream("events")})
			if err != nil {
				t.Fatal(err)
			}
			if n, err := pub.Publish(t.Context(), thump.Message{Body: make([]byte, 500_000)}); n != 1 || err != nil {
				t.Errorf("%d accepted, %v", n, err)
			}
			time.Sleep(2 * time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			begin := time.Now()
			told := outcomeError(t, pub.Close(ctx))
			if took := time.Since(begin); took != 3*time.Second {
				t.Errorf("close took %v", took)
			}
			if told.Unknown != 1 || pub.Counts().Unknown != 1 || !errors.Is(told, context.DeadlineExceeded) || !errors.Is(pub.Err(), thump.ErrClosed) {
				t.Errorf("got %v, counts %+v, it ended with %v", told, pub.Counts(), pub.Err())
			}
		})
	}
}

// TestFaultUnroutable: messages whose key leads to no partition are Returned, each
// once, and those that nobody has been told of yet fill the window, as others do.
func TestFaultUnroutable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := faultStreamClient(t, orderly, orderly) // which lead no key anywhere
		hold, seen := make(chan struct{}), map[uint64]int{}
		pub, err := client.Publisher(t.Context(), thump.PublisherConfig{
			To: thump.SuperStream("orders"), Window: 100, Stream: thump.StreamPublishing{RouteByKey: true},
			OnOutcomes: func(list []thump.Outcome) {
				<-hold
				for _, o := range list {
					if seen[o.Ref]++; o.Status != thump.Returned || o.Code != 312 || o.Text != "NO_ROUTE" {
						t.Errorf("got %+v", o)
					}
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		msgs := make([]thump.Message, 1000)
		for i := range msgs {
			msgs[i] = thump.Message{Ref: uint64(i), RoutingKey: fmt.Sprint("k", i%3), Body: []byte("x")}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		n, err := pub.Publish(ctx, msgs...)
		if !errors.Is(err, context.DeadlineExceeded) || n < 100 || n > 300 {
			t.Errorf("%d were accepted, %v", n, err)
		}
		close(hold)
		more, err := pub.Publish(t.Context(), msgs[n:]...)
		if err != nil || n+more != 1000 {
			t.Errorf("%d were accepted in the end, %v", n+more, err)
		}
		told := outcomeError(t, pub.Close(t.Context()))
		if told.Returned != 1000 || len(seen) != 1000 {
			t.Errorf("%v, and %d were seen", told, len(seen))
		}
	})
}
