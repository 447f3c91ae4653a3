package faulttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// The promises of the public API under faults that a real broker does not
// produce on demand: each plays against a scripted server, in a synctest bubble,
// where a hang or a goroutine that never ends fails the test.

// faultClient connects to a fake broker that runs the scripts: the client's own
// connection is served in order, and each script has the next one.
func faultClient(t *testing.T, recovery thump.Recovery, scripts ...func(*fakebroker.Session)) *thump.Client {
	t.Helper()
	control := func(s *fakebroker.Session) {
		s.Login()
		s.Serve(nil)
	}
	b := fakebroker.Pipe(t, 64<<10, append([]func(*fakebroker.Session){control}, scripts...)...)
	client, err := thump.Dial(t.Context(), thump.Config{Recovery: recovery, URLs: []string{b.URL()}, DialContext: b.DialContext})
	if err != nil {
		t.Fatal("dial:", err)
	}
	t.Cleanup(func() { _ = client.Close(context.Background()) }) // some cases have broken it
	return client
}

// outcomeError makes sure that err is a *thump.OutcomeError.
func outcomeError(t *testing.T, err error) *thump.OutcomeError {
	t.Helper()
	var outcome *thump.OutcomeError
	if !errors.As(err, &outcome) {
		t.Fatalf("got %v, want an OutcomeError", err)
	}
	return outcome
}

// fickle serves a publisher and settles its messages in every way, at random.
type fickle struct {
	random *rand.Rand
	spoken map[uint64]thump.Status // what the client can know, by Ref
	open   []uint64                // Refs that are not settled, from sequence next on
	next   uint64                  // the lowest sequence that is not settled
}

// handle is for Session.Serve. Bodies begin with the Ref.
func (f *fickle) handle(s *fakebroker.Session, r *fakebroker.Received) bool {
	if _, ok := r.Method.(*amqpproto.BasicPublish); !ok {
		return false
	}
	digits, _, _ := strings.Cut(string(r.Body), " ")
	ref, _ := strconv.ParseUint(digits, 10, 64)
	f.open = append(f.open, ref)
	switch f.random.IntN(4) {
	case 0:
		f.settle(s, &amqpproto.BasicAck{DeliveryTag: f.next + uint64(len(f.open)) - 1, Multiple: true}, thump.Confirmed)
	case 1:
		f.settle(s, &amqpproto.BasicNack{DeliveryTag: f.next + uint64(len(f.open)) - 1, Multiple: true}, thump.Rejected)
	case 2:
		f.spoken[ref] = thump.Returned
		s.SendContent(r.Channel, &amqpproto.BasicReturn{ReplyCode: 312, ReplyText: "NO_ROUTE", RoutingKey: "q"}, nil, r.Body)
	}
	return true
}

// settle notes what the frame says, before it leaves: it may get through.
func (f *fickle) settle(s *fakebroker.Session, m amqpproto.Method, status thump.Status) {
	for _, ref := range f.open {
		if f.spoken[ref] == 0 {
			f.spoken[ref] = status
		}
	}
	f.next, f.open = f.next+uint64(len(f.open)), nil
	s.Send(1, m)
}

// TestFaultRandomDeath breaks a publisher's connection after a random number of
// bytes in either direction. Every message that was accepted must have exactly
// one outcome, and it must be Unknown or what the server has said.
func TestFaultRandomDeath(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 4))
			written, read := random.IntN(5000), -1
			if seed%2 == 0 {
				written, read = -1, random.IntN(40_000)
			}
			server := &fickle{random: rand.New(rand.NewPCG(seed, 5)), spoken: map[uint64]thump.Status{}, next: 1}
			client := faultClient(t, noRecovery, func(s *fakebroker.Session) {
				s.Login()
				s.OpenPublisher()
				s.BreakAfter(written, read)
				s.Serve(func(r *fakebroker.Received) bool { return server.handle(s, r) })
			})
			outcomes := map[uint64]thump.Status{}
			pub, err := client.Publisher(t.Context(), thump.PublisherConfig{
				To: thump.Queue("q"), Window: 1 + random.IntN(400),
				OnOutcomes: func(list []thump.Outcome) {
					for _, o := range list {
						if outcomes[o.Ref] != 0 {
							t.Errorf("seed %d: a second outcome for %d", seed, o.Ref)
						}
						outcomes[o.Ref] = o.Status
					}
				},
			})
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			accepted, err := publishUntilDeath(t, pub, random)
			told := outcomeError(t, err)
			_ = pub.Close(t.Context()) // it has ended, and Publish has said so
			synctest.Wait()            // the broker may still be at what came before the end
			checkDeath(t, seed, pub, accepted, told, outcomes, server.spoken)
		})
		if t.Failed() {
			t.Fatal("seed", seed)
		}
	}
}

// publishUntilDeath publishes batches until there is an error, and returns what Flush
// says of the end.
func publishUntilDeath(t *testing.T, pub *thump.Publisher, random *rand.Rand) (accepted int, err error) {
	for {
		msgs := make([]thump.Message, 1+random.IntN(60))
		for i := range msgs {
			ref := accepted + i
			msgs[i] = thump.Message{Ref: uint64(ref), Body: fmt.Appendf(nil, "%d %s", ref, strings.Repeat("x", random.IntN(200)))}
		}
		n, err := pub.Publish(t.Context(), msgs...)
		accepted += n
		if err != nil {
			if n == len(msgs) || !errors.Is(err, thump.ErrNotSent) || !strings.Contains(err.Error(), "the publisher has ended: ") {
				t.Errorf("%d of %d were accepted: %v", n, len(msgs), err)
			}
			return accepted, pub.Flush(t.Context())
		}
		if random.IntN(4) == 0 {
			if err = pub.Flush(t.Context()); err != nil && outcomeError(t, err).Err == nil {
				err = nil // rejected or returned messages are no end
			}
		}
		if err != nil {
			return accepted, err
		}
		if accepted > 100_000 {
			t.Fatal("the connection does not die")
		}
	}
}

func checkDeath(t *testing.T, seed uint64, pub *thump.Publisher, accepted int, told *thump.OutcomeError, outcomes, spoken map[uint64]thump.Status) {
	t.Helper()
	n := pub.Counts()
	if n.Published != uint64(accepted) || n.InFlight != 0 || n.Published != n.Confirmed+n.Rejected+n.Returned+n.Unknown {
		t.Errorf("seed %d: %d accepted, counts %+v", seed, accepted, n)
	}
	if len(outcomes) != accepted {
		t.Errorf("seed %d: %d accepted, %d outcomes", seed, accepted, len(outcomes))
	}
	tally := map[thump.Status]uint64{}
	for ref, status := range outcomes {
		tally[status]++
		if ref >= uint64(accepted) {
			t.Errorf("seed %d: an outcome for %d, which was not accepted", seed, ref)
		}
		if status != thump.Unknown && status != spoken[ref] {
			t.Errorf("seed %d: message %d is %v, and the server has said %v", seed, ref, status, spoken[ref])
		}
	}
	want := map[thump.Status]uint64{thump.Confirmed: n.Confirmed, thump.Rejected: n.Rejected, thump.Returned: n.Returned, thump.Unknown: n.Unknown}
	maps.DeleteFunc(want, func(_ thump.Status, n uint64) bool { return n == 0 })
	if !maps.Equal(tally, want) {
		t.Errorf("seed %d: outcomes %v, counts %v", seed, tally, want)
	}
	if told.Unknown != n.Unknown || told.Err == nil || !strings.Contains(told.Error(), told.Err.Error()) {
		t.Errorf("seed %d: the error is %v, and %d are unknown", seed, told, n.Unknown)
	}
	if n.Unknown > 0 && !strings.Contains(told.Error(), fmt.Sprintf("%d unknown", n.Unknown)) {
		t.Errorf("seed %d: the error does not say that %d are unknown: %v", seed, n.Unknown, told)
	}
	select {
	case <-pub.Done():
	default:
		t.Errorf("seed %d: Done is open", seed)
	}
}

// TestFaultRefusedMessages: what cannot be sent is refused before anything of it
// leaves, with its size, and the publisher goes on.
func TestFaultRefusedMessages(t *testing.T) {
	long := strings.Repeat("k", 256)
	header := thump.Properties{Headers: thump.Table{{Key: "h", Value: strings.Repeat("x", 140_000)}}}
	for _, test := range []struct {
		name string
		bad  thump.Message
		want []string
	}{
		{"body", thump.Message{Body: make([]byte, 1001)}, []string{"1001 bytes", "limit of 1000"}},
		{"header", thump.Message{Properties: &header}, []string{"1400", "131072"}},
		{"routing key", thump.Message{RoutingKey: long}, []string{"the RoutingKey is 256 bytes long"}},
		{"exchange", thump.Message{Exchange: long}, []string{"the Exchange is 256 bytes long"}},
		{"type", thump.Message{Properties: &thump.Properties{Type: long}}, []string{"Properties.Type is 256 bytes long"}},
		{"header value", thump.Message{Properties: &thump.Properties{Headers: thump.Table{{Key: "h", Value: uint64(1)}}}}, []string{`the header "h" is a uint64`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []string
				client := faultClient(t, noRecovery, func(s *fakebroker.Session) {
					s.Login()
					s.Serve(func(r *fakebroker.Received) bool {
						if _, ok := r.Method.(*amqpproto.BasicPublish); ok {
							got = append(got, string(r.Body))
						}
						return false
					})
				})
				pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue("q"), MaxMessageBytes: 1000})
				if err != nil {
					t.Fatal(err)
				}
				one, two := thump.Message{Body: []byte("one")}, thump.Message{Body: []byte("two")}
				n, err := pub.Publish(t.Context(), one, test.bad, two)
				if n != 1 || err == nil {
					t.Fatalf("%d accepted, %v", n, err)
				}
				for _, want := range test.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("got %v, want %q", err, want)
					}
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

// TestFaultCloseInTime: Close of a publisher keeps to its context while the
// broker blocks it, and while it does not even read.
func TestFaultCloseInTime(t *testing.T) {
	for _, reads := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			client := faultClient(t, noRecovery, func(s *fakebroker.Session) {
				s.Login()
				s.OpenPublisher()
				time.Sleep(time.Second)
				s.Send(0, &amqpproto.ConnectionBlocked{Reason: "low on memory"})
				if reads {
					s.Discard()
				} else {
					time.Sleep(6 * time.Second)
				}
			})
			pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue("q")})
			if err != nil {
				t.Fatal(err)
			}
			if n, err := pub.Publish(t.Context(), thump.Message{Body: make([]byte, 1<<20)}); n != 1 || err != nil {
				t.Errorf("%d accepted, %v", n, err)
			}
			time.Sleep(2 * time.Second)
			if pub.Blocked() != "low on memory" {
				t.Errorf("blocked: %q", pub.Blocked())
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			begin := time.Now()
			told := outcomeError(t, pub.Close(ctx))
			if took := time.Since(begin); took > 3*time.Second {
				t.Errorf("close took %v", took)
			}
			if told.Unknown != 1 || pub.Counts().Unknown != 1 || !errors.Is(told, context.DeadlineExceeded) {
				t.Errorf("got %v, counts %+v", told, pub.Counts())
			}
			if !errors.Is(pub.Err(), thump.ErrClosed) {
				t.Errorf("it ended with %v", pub.Err())
			}
		})
	}
}

// TestFaultNoPassword fails in every way in which a connection can, and looks
// for the password in what is said and logged.
func TestFaultNoPassword(t *testing.T) {
	const canary = "cAnArY%2F7"
	scripts := map[string]func(*fakebroker.Session){
		"closed": (*fakebroker.Session).Close,
		"silent": (*fakebroker.Session).Discard,
		"HTTP":   func(s *fakebroker.Session) { s.SendBytes([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")); s.Discard() },
		"refused": func(s *fakebroker.Session) {
			s.ExpectProtocolHeader()
			s.Send(0, fakebroker.Likely().Start())
			fakebroker.Expect[*amqpproto.ConnectionStartOk](s)
			s.Send(0, &amqpproto.ConnectionClose{ReplyCode: 403, ReplyText: "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN"})
			s.Discard()
		},
		"dropped at login": func(s *fakebroker.Session) {
			s.ExpectProtocolHeader()
			s.Send(0, fakebroker.Likely().Start())
			fakebroker.Expect[*amqpproto.ConnectionStartOk](s)
			s.Close()
		},
		"no common mechanism": func(s *fakebroker.Session) {
			greeting := fakebroker.Likely()
			greeting.Mechanisms = "GSSAPI"
			s.ExpectProtocolHeader()
			s.Send(0, greeting.Start())
			s.Discard()
		},
	}
	check := func(t *testing.T, said string) {
		t.Helper()
		if strings.Contains(said, "cAnArY") {
			t.Errorf("the password is in %s", said)
		}
	}
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := fakebroker.Pipe(t, 64<<10, script)
				var log bytes.Buffer
				_, err := thump.Dial(t.Context(), thump.Config{
					Recovery: noRecovery,
					URLs:     []string{"amqp://me:" + canary + "@h/v"}, DialContext: b.DialContext,
					Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
				})
				if err == nil || !strings.Contains(err.Error(), "me:***@h") {
					t.Errorf("got %v", err)
				}
				check(t, fmt.Sprintf("%v %+v %#v %s", err, err, err, &log))
			})
		})
	}
	for _, format := range []string{
		"amqp://me:%s@h:port/", "amqp://me:%s@h:99999/", "amqp://me:%s@/", "amqp://me:%s@h/a/b", "amqp://me:%s@h/?x=1",
		"amqp://me:%s@h/?heartbeat=x", "amqp://me:%s@h/#f", "http://me:%s@h/", "me:%s@h", "amqp://me:%s#@h/", "amqp://me:%s/@h/",
		"amqp://me:%s?@h/", "amqp://me:%s%%@h/", "amqp://me:%s @h/", "amqp://me:%s\x00@h/", "amqp://me:%s@[::1/", "amqp://me:%s@h/%%zz",
		"amqps://me:%s@h/?cacertfile=/nonexistent", "amqps://me:%s@h/?certfile=/nonexistent",
	} {
		_, err := thump.Dial(t.Context(), thump.Config{Recovery: noRecovery, URLs: []string{fmt.Sprintf(format, canary)}})
		if err == nil {
			t.Errorf("%q was taken", format)
			continue
		}
		check(t, fmt.Sprintf("%v %+v %#v", err, err, err))
	}
}
