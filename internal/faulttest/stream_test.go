package faulttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// faultStreamClient connects to a fake broker that runs the scripts, over the
// stream protocol: the client's own connection is served in order, and each
// script has the next one.
func faultStreamClient(t *testing.T, scripts ...func(*fakebroker.StreamSession)) *thump.Client {
	t.Helper()
	all := []func(*fakebroker.Session){fakebroker.Stream(orderly)}
	for _, script := range scripts {
		all = append(all, fakebroker.Stream(script))
	}
	b := fakebroker.Pipe(t, 64<<10, all...)
	client, err := thump.Dial(t.Context(), thump.Config{Recovery: noRecovery, URLs: []string{b.StreamURL()}, DialContext: b.DialContext})
	if err != nil {
		t.Fatal("dial:", err)
	}
	t.Cleanup(func() { _ = client.Close(context.Background()) }) // some cases have broken it
	return client
}

// orderly is the script of a broker without faults.
func orderly(s *fakebroker.StreamSession) {
	s.Login()
	s.Serve(nil)
}

// checkStreamError makes sure that err has a BrokerError with that code of the stream
// protocol.
func checkStreamError(t *testing.T, err error, code streamproto.Code) {
	t.Helper()
	var broker *thump.BrokerError
	if !errors.As(err, &broker) || broker.Protocol != thump.Streams || broker.Code != uint16(code) {
		t.Errorf("got %v, want code %d of the stream protocol", err, code)
	}
}

// outcomeBook keeps outcomes, by Ref.
type outcomeBook struct {
	t      *testing.T
	seed   uint64
	status map[uint64]thump.Status
}

func (b *outcomeBook) add(list []thump.Outcome) {
	for _, o := range list {
		if b.status[o.Ref] != 0 {
			b.t.Errorf("seed %d: a second outcome for %d", b.seed, o.Ref)
		}
		b.status[o.Ref] = o.Status
	}
}

// saidBy is what a broker has said of messages.
func saidBy(f *fakebroker.Fickle) map[uint64]thump.Status {
	said := map[uint64]thump.Status{}
	for ref := range f.Confirmed {
		said[ref] = thump.Confirmed
	}
	for ref := range f.Refused {
		said[ref] = thump.Rejected
	}
	return said
}

// TestFaultStreamRandomDeath ends a stream publisher's connection, or its stream,
// at random. Every message that was accepted must have exactly one outcome, and
// it must be Unknown or what the broker has said.
func TestFaultStreamRandomDeath(t *testing.T) {
	for seed := range uint64(150) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 14))
			server := fakebroker.NewFickle(rand.New(rand.NewPCG(seed, 15)))
			written, read := -1, -1
			switch seed % 3 {
			case 0:
				written = random.IntN(3000)
			case 1:
				read = random.IntN(60_000)
			default:
				server.Left = random.IntN(300)
				_, server.End = fakebroker.Death(random, "events")
			}
			client := faultStreamClient(t, func(s *fakebroker.StreamSession) {
				server.Session = s
				s.Login()
				s.OpenPublisher(0)
				s.BreakAfter(written, read)
				s.Serve(server.Handle)
			})
			book := &outcomeBook{t: t, seed: seed, status: map[uint64]thump.Status{}}
			pub, err := client.Publisher(t.Context(), thump.PublisherConfig{
				To: thump.Stream("events"), Window: 1 + random.IntN(400), OnOutcomes: book.add,
				Stream: thump.StreamPublishing{SubEntry: []int{1, 3, 500}[random.IntN(3)]},
			})
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			accepted, err := publishUntilDeath(t, pub, random)
			told := outcomeError(t, err)
			_ = pub.Close(t.Context()) // it has ended, and Publish has said so
			synctest.Wait()            // the broker may still be at what came before the end
			checkDeath(t, seed, pub, accepted, told, book.status, saidBy(server))
			for ref, times := range server.Received {
				if times != 1 || ref >= uint64(accepted) {
					t.Errorf("seed %d: message %d of %d was received %d times", seed, ref, accepted, times)
				}
			}
		})
		if t.Failed() {
			t.Fatal("seed", seed)
		}
	}
}

// TestFaultSuperStreamDeath: one partition's connection dies. The publisher takes
// no more messages; those on the other partitions still get what becomes of them.
func TestFaultSuperStreamDeath(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 16))
			dying := fakebroker.NewFickle(rand.New(rand.NewPCG(seed, 17)))
			dying.Left = random.IntN(100)
			var name string
			name, dying.End = fakebroker.Death(random, "orders-1")
			living := fakebroker.NewFickle(rand.New(rand.NewPCG(seed, 18)))
			serve := func(f *fakebroker.Fickle) func(*fakebroker.StreamSession) {
				return func(s *fakebroker.StreamSession) {
					f.Session = s
					s.Login()
					s.OpenPublisher(0)
					s.Serve(f.Handle)
				}
			}
			client := faultStreamClient(t, serve(living), serve(dying))
			book := &outcomeBook{t: t, seed: seed, status: map[uint64]thump.Status{}}
			pub, err := client.Publisher(t.Context(), thump.PublisherConfig{
				To: thump.SuperStream("orders"), Window: 10_000, OnOutcomes: book.add, Stream: thump.StreamPublishing{SubEntry: 3},
			})
			if err != nil {
				t.Fatal(err)
			}
			accepted := 0
			for err == nil && accepted < 100_000 {
				n := 0
				ref := uint64(accepted)
				n, err = pub.Publish(t.Context(), thump.Message{Ref: ref, RoutingKey: fmt.Sprint("key ", ref%50), Body: fmt.Append(nil, ref, " x")})
				accepted += n
				if random.IntN(100) == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			if !errors.Is(err, thump.ErrNotSent) || !strings.Contains(err.Error(), `the publisher has ended: partition "orders-1": `) {
				t.Errorf("seed %d, %s: %v", seed, name, err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_ = pub.Close(ctx) // the living partition need not say something of everything
			synctest.Wait()    // the brokers may still be at what came before the end
			checkSuperStreamDeath(t, pub, book, uint64(accepted), living, dying)
		})
		if t.Failed() {
			t.Fatal("seed", seed)
		}
	}
}

func checkSuperStreamDeath(t *testing.T, pub *thump.Publisher, book *outcomeBook, accepted uint64, living, dying *fakebroker.Fickle) {
	t.Helper()
	said := saidBy(dying)
	for ref := range saidBy(living) {
		if said[ref] != 0 {
			t.Errorf("seed %d: message %d went to two partitions", book.seed, ref)
		}
	}
	heard := saidBy(living)
	for ref, status := range heard {
		said[ref] = status
		if book.status[ref] != status {
			t.Errorf("seed %d: message %d is %v, and a partition that lives has said %v", book.seed, ref, book.status[ref], status)
		}
	}
	if len(book.status) != int(accepted) {
		t.Errorf("seed %d: %d accepted, %d outcomes", book.seed, accepted, len(book.status))
	}
	for ref, status := range book.status {
		if status != thump.Unknown && status != said[ref] {
			t.Errorf("seed %d: message %d is %v, and the broker has said %v", book.seed, ref, status, said[ref])
		}
	}
	if n := pub.Counts(); n.Published != accepted || n.InFlight != 0 || n.Published != n.Confirmed+n.Rejected+n.Unknown {
		t.Errorf("seed %d: %d accepted, counts %+v", book.seed, accepted, n)
	}
}

// TestFaultStreamRefusedMessages: what can't be sent to a stream is refused before
// anything of it leaves, and the publisher goes on.
func TestFaultStreamRefusedMessages(t *testing.T) {
	header := func(v any) thump.Message {
		return thump.Message{Properties: &thump.Properties{Headers: thump.Table{{Key: "h", Value: v}}}}
	}
	named := thump.StreamPublishing{Name: "me"}
	for _, test := range []struct {
		name   string
		stream thump.StreamPublishing
		bad    thump.Message
		want   string
	}{
		{"body", thump.StreamPublishing{}, thump.Message{Body: make([]byte, 100_001)}, "100001 bytes is over the limit of 100000"},
		{"properties", thump.StreamPublishing{}, header(strings.Repeat("x", 1<<20)), "does not fit a frame of at most 1048576"},
		{"header of tables", thump.StreamPublishing{}, header(thump.Table{}), `header "h"`},
		{"header value", thump.StreamPublishing{}, header(struct{}{}), `the header "h" is a struct {}, which a Table can't hold`},
		{"exchange", thump.StreamPublishing{}, thump.Message{Exchange: "e"}, `exchange "e"`},
		{"expiration", thump.StreamPublishing{}, thump.Message{Properties: &thump.Properties{Expiration: 50 * 24 * time.Hour}}, "Expiration is 1200h0m0s, and the longest that a stream keeps is 1193h2m47.295s"},
		{"publishing id without a name", thump.StreamPublishing{}, thump.Message{PublishingID: 7}, "no Stream.Name"},
		{"publishing id again", named, thump.Message{PublishingID: 1}, "publishing id 1 is not above the last one, 1"},
		{"filter value", thump.StreamPublishing{}, thump.Message{FilterValue: "f"}, "not Stream.Filtered"},
		{"long filter value", thump.StreamPublishing{Filtered: true}, thump.Message{FilterValue: strings.Repeat("f", 40_000)}, "FilterValue is 40000 bytes long"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []string
				client := faultStreamClient(t, func(s *fakebroker.StreamSession) {
					s.Login()
					s.Serve(func(r *fakebroker.StreamReceived) bool {
						if p, ok := r.Command.(*fakebroker.Published); ok {
							for _, e := range p.Entries {
								got = append(got, e.Bodies...)
							}
						}
						return false
					})
				})
				pub, err := client.Publisher(t.Context(), thump.PublisherConfig{
					To: thump.Stream("events"), MaxMessageBytes: 100_000, Stream: test.stream,
				})
				if err != nil {
					t.Fatal(err)
				}
				one, two := thump.Message{Body: []byte("one")}, thump.Message{Body: []byte("two")}
				n, err := pub.Publish(t.Context(), one, test.bad, two)
				if n != 1 || err == nil || !strings.Contains(err.Error(), test.want) {
					t.Fatalf("%d accepted, %v, want %q", n, err, test.want)
				}
				if n, err := pub.Publish(t.Context(), two); n != 1 || err != nil {
					t.Errorf("afterwards: %d accepted, %v", n, err)
				}
				if err := pub.Close(t.Context()); err != nil {
					t.Error(err)
				}
				if strings.Join(got, ",") != "one,two" || pub.Counts().Confirmed != 2 {
					t.Errorf("the broker got %q, counts %+v", got, pub.Counts())
				}
			})
		})
	}
}

// TestSubEntriesAreAskedFor: a message has an entry of its own, which every client
// can read, unless the publisher asks for sub-entries or for compression.
func TestSubEntriesAreAskedFor(t *testing.T) {
	const n = 1000
	for _, to := range []thump.Target{thump.Stream("events"), thump.SuperStream("orders")} {
		for _, test := range []struct {
			name    string
			stream  thump.StreamPublishing
			largest int // messages of an entry
		}{
			{"nothing is asked for", thump.StreamPublishing{}, 1},
			{"a name", thump.StreamPublishing{Name: "me"}, 1},
			{"filters", thump.StreamPublishing{Filtered: true}, 1},
			{"sub-entries", thump.StreamPublishing{SubEntry: 100}, 100},
			{"compression", thump.StreamPublishing{Compression: thump.Gzip}, 500}, // zstd's encoders can't leave a bubble
		} {
			t.Run(fmt.Sprintf("%v/%s", to, test.name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var batches atomic.Bool
					var largest atomic.Int64
					serve := func(s *fakebroker.StreamSession) {
						s.Login()
						s.Serve(func(r *fakebroker.StreamReceived) bool {
							if p, ok := r.Command.(*fakebroker.Published); ok {
								for _, e := range p.Entries {
									if e.Batched {
										batches.Store(true)
									}
									largest.Store(max(largest.Load(), int64(len(e.Bodies))))
								}
							}
							return false
						})
					}
					client := faultStreamClient(t, serve, serve)
					pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: to, Stream: test.stream})
					if err != nil {
						t.Fatal(err)
					}
					msgs := make([]thump.Message, n)
					for i := range msgs {
						msgs[i] = thump.Message{RoutingKey: "the same", Body: []byte("m")}
					}
					if accepted, err := pub.Publish(t.Context(), msgs...); accepted != n || err != nil {
						t.Fatalf("%d accepted, %v", accepted, err)
					}
					if err := pub.Close(t.Context()); err != nil {
						t.Error(err)
					}
					if largest.Load() != int64(test.largest) || batches.Load() != (test.largest > 1) {
						t.Errorf("entries of up to %d messages, want %d; sub-entries: %v", largest.Load(), test.largest, batches.Load())
					}
				})
			})
		}
	}
}

// TestFaultStreamNoPassword fails in every way in which a stream connection can,
// and looks for the password in what is said and logged.
func TestFaultStreamNoPassword(t *testing.T) {
	const canary = "cAnArY%2F7"
	scripts := map[string]func(*fakebroker.StreamSession){
		"closed": (*fakebroker.StreamSession).Close,
		"silent": (*fakebroker.StreamSession).Discard,
		"AMQP":   func(s *fakebroker.StreamSession) { s.Next(); s.SendBytes([]byte("AMQP\x00\x00\x09\x01")); s.Close() },
		"refused": func(s *fakebroker.StreamSession) {
			s.Answer(s.LoginUpTo(fakebroker.LikelyStream(), "SaslAuthenticate"), &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeAuthenticationFailure})
			s.Discard()
		},
		"dropped at login": func(s *fakebroker.StreamSession) {
			s.LoginUpTo(fakebroker.LikelyStream(), "SaslAuthenticate")
			s.Close()
		},
		"no such vhost": func(s *fakebroker.StreamSession) {
			s.Answer(s.LoginUpTo(fakebroker.LikelyStream(), "Open"), &streamproto.OpenResponse{Code: streamproto.CodeVirtualHostAccessFailure})
			s.Discard()
		},
	}
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := fakebroker.Pipe(t, 64<<10, fakebroker.Stream(script))
				var log bytes.Buffer
				_, err := thump.Dial(t.Context(), thump.Config{
					Recovery: noRecovery,
					URLs:     []string{"rabbitmq-stream://me:" + canary + "@h/v"}, DialContext: b.DialContext,
					Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
				})
				if err == nil || !strings.Contains(err.Error(), "rabbitmq-stream://me:***@h:5552/v") {
					t.Errorf("got %v", err)
				}
				if said := fmt.Sprintf("%v %+v %#v %s", err, err, err, &log); strings.Contains(said, "cAnArY") {
					t.Errorf("the password is in %s", said)
				}
			})
		})
	}
}
