package faulttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// serveAMQP and serveStream are scripts that answer whatever a publisher asks.
func serveAMQP(s *fakebroker.Session) {
	s.Login()
	s.Serve(nil)
}

func serveStream(s *fakebroker.StreamSession) {
	s.Login()
	s.Serve(nil)
}

// network has hosts that never answer, and leads everything else to a broker.
type network struct {
	broker *fakebroker.Broker
	mu     sync.Mutex
	silent map[string]int // times that each silent host was dialled
}

func newNetwork(b *fakebroker.Broker, silent ...string) *network {
	n := &network{broker: b, silent: make(map[string]int)}
	for _, host := range silent {
		n.silent[host] = 0
	}
	return n
}

func (n *network) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	n.mu.Lock()
	_, silent := n.silent[host]
	if silent {
		n.silent[host]++
	}
	n.mu.Unlock()
	if !silent {
		return n.broker.DialContext(ctx, network, address)
	}
	client, server := net.Pipe() // it takes the connection, reads, and never answers
	go func() { _, _ = io.Copy(io.Discard, server) }()
	return client, nil
}

func (n *network) dialled(host string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.silent[host]
}

// logs collects what is logged.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// TestFaultOneSilentURL: a host that takes connections and never answers does not
// hold up the others, whatever is asked of them, and is not asked first again. The order
// of the hosts is another for each client.
func TestFaultOneSilentURL(t *testing.T) {
	for name, c := range map[string]struct {
		script func(*fakebroker.Session)
		scheme string
		target thump.Target
	}{
		"queues":  {serveAMQP, "amqp", thump.Queue("q")},
		"streams": {fakebroker.Stream(serveStream), "rabbitmq-stream", thump.Stream("s")},
	} {
		t.Run(name, func(t *testing.T) {
			first := make(map[int]int) // clients, by how many silent hosts they dialled
			for range 60 {             // each number comes by chance: not once in 60 at 10 to the -10
				synctest.Test(t, func(t *testing.T) {
					first[dialSilent(t, c.script, c.scheme, c.target)]++
				})
			}
			if first[0] == 0 || first[1] == 0 || first[2] == 0 {
				t.Errorf("clients by how many silent hosts they dialled: %v, expected some of each", first)
			}
		})
	}
}

// dialSilent makes a client and two publishers of it, where two of three hosts are silent,
// and returns how many of those were dialled.
func dialSilent(t *testing.T, script func(*fakebroker.Session), scheme string, target thump.Target) (dialled int) {
	var log logs
	n := newNetwork(fakebroker.Pipe(t, 64<<10, script, script, script), "silent.test", "mute.test")
	start := time.Now()
	client, err := thump.Dial(t.Context(), thump.Config{
		URLs: []string{
			scheme + "://guest:canary@silent.test", scheme + "://guest:canary@mute.test", scheme + "://guest:canary@good.test",
		},
		DialContext: n.dial, Logger: log.logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("dialled in %v", took)
	}
	synctest.Wait()
	for _, host := range []string{"silent.test", "mute.test"} {
		times := n.dialled(host)
		dialled += times
		if said := strings.Contains(log.String(), host+":"); times > 1 || said != (times == 1) {
			t.Errorf("%s was dialled %d times, and the log says:\n%s", host, times, log.String())
		}
	}
	start = time.Now()
	for range 2 {
		p, err := client.Publisher(t.Context(), thump.PublisherConfig{To: target})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(start); took > 0 {
		t.Errorf("two publishers took %v", took)
	}
	if again := n.dialled("silent.test") + n.dialled("mute.test"); again != dialled {
		t.Errorf("silent hosts were dialled %d times by Dial, and %d times in the end", dialled, again)
	}
	if err := client.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), "canary") {
		t.Errorf("the log has the password:\n%s", log.String())
	}
	return dialled
}

// TestFaultShortContext: the last of several URLs is reached although the context
// is shorter than what each URL is given.
func TestFaultShortContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(fakebroker.Pipe(t, 64<<10, serveAMQP), "one.test", "two.test")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		client, err := thump.Dial(ctx, thump.Config{Recovery: noRecovery, URLs: []string{"amqp://one.test", "amqp://two.test", "amqp://good.test"}, DialContext: n.dial})
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestFaultNoURLAnswers: the error speaks of each, and of the context.
func TestFaultNoURLAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(nil, "one.test", "two.test")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := thump.Dial(ctx, thump.Config{Recovery: noRecovery, URLs: []string{"amqp://u:canary@one.test", "amqp://u:canary@two.test"}, DialContext: n.dial})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "one.test") || !strings.Contains(err.Error(), "two.test") ||
			strings.Contains(err.Error(), "canary") {
			t.Errorf("got %v", err)
		}
	})
}

// TestFaultTwoAnswer: the connection that is not taken is closed, and not left.
func TestFaultTwoAnswer(t *testing.T) {
	given := 0 // connections that were begun, and not taken
	for range 40 {
		synctest.Test(t, func(t *testing.T) {
			slow := fakebroker.Pipe(t, 64<<10, func(s *fakebroker.Session) {
				time.Sleep(600 * time.Millisecond)
				s.Discard() // given up
				given++
			})
			good := fakebroker.Pipe(t, 64<<10, serveAMQP)
			dial := func(ctx context.Context, network, address string) (net.Conn, error) {
				if address == "slow.test:5672" {
					return slow.DialContext(ctx, network, address)
				}
				return good.DialContext(ctx, network, address)
			}
			client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{"amqp://slow.test", "amqp://good.test"}, DialContext: dial})
			if err != nil {
				t.Fatal(err)
			}
			if address := client.Server().Address; address != "good.test:5672" {
				t.Errorf("connected to %s", address)
			}
			if err := client.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	if given == 0 || given == 40 {
		t.Errorf("the slow host was dialled first %d times of 40", given)
	}
}

// TestFaultLostConnectionIsLogged: with what it was for, why, and no password; one
// that is closed is not.
func TestFaultLostConnectionIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logs
		cut := func(s *fakebroker.Session) {
			s.Login()
			s.OpenPublisher()
			time.Sleep(time.Second)
			s.Send(0, &amqpproto.ConnectionClose{ReplyCode: 320, ReplyText: "CONNECTION_FORCED - \x1b[31mbye"})
			s.Discard()
		}
		b := fakebroker.Pipe(t, 64<<10, serveAMQP, cut, serveAMQP)
		client, err := thump.Dial(t.Context(), thump.Config{Recovery: noRecovery, URLs: []string{"amqp://u:canary@lost.test"}, DialContext: b.DialContext, Logger: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		lost, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue("cut off")})
		if err != nil {
			t.Fatal(err)
		}
		<-lost.Done()
		fine, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue("closed")})
		if err != nil {
			t.Fatal(err)
		}
		if err := fine.Close(t.Context()); err != nil {
			t.Error(err)
		}
		_ = client.Close(t.Context())
		synctest.Wait()
		for _, part := range []string{"connection lost", "lost.test", "cut off", "CONNECTION_FORCED"} {
			if !strings.Contains(log.String(), part) {
				t.Errorf("the log does not say %q:\n%s", part, log.String())
			}
		}
		if strings.Contains(log.String(), `queue \"closed`) || strings.ContainsAny(log.String(), "\x1b") || strings.Contains(log.String(), "canary") {
			t.Errorf("the log says:\n%s", log.String())
		}
	})
}

// TestFaultSecretThatWasNotHandedOver: later connections work, with the new secret
// where the broker takes it, and with the old one where it does not.
func TestFaultSecretThatWasNotHandedOver(t *testing.T) {
	for _, right := range []string{"the new one", "guest"} {
		t.Run(right, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mute := func(s *fakebroker.Session) {
					s.Login()
					s.Serve(func(r *fakebroker.Received) bool {
						_, update := r.Method.(*amqpproto.ConnectionUpdateSecret)
						return update // and no answer
					})
				}
				// strict lets nobody in who has another password.
				strict := func(s *fakebroker.Session) {
					s.ExpectProtocolHeader()
					s.Send(0, fakebroker.Likely().Start())
					ok, _ := fakebroker.Expect[*amqpproto.ConnectionStartOk](s)
					if ok.Response != "\x00guest\x00"+right {
						s.Send(0, &amqpproto.ConnectionClose{ReplyCode: amqpproto.AccessRefused, ReplyText: "ACCESS_REFUSED"})
						s.Discard()
						return
					}
					tune := fakebroker.Likely().Tune
					s.Send(0, &tune)
					fakebroker.Expect[*amqpproto.ConnectionTuneOk](s)
					fakebroker.Expect[*amqpproto.ConnectionOpen](s)
					s.Send(0, &amqpproto.ConnectionOpenOk{})
					s.Serve(nil)
				}
				scripts := []func(*fakebroker.Session){mute, strict, strict}
				if right == "guest" { // refused once, and not again
					scripts = append(scripts, strict)
				}
				b := fakebroker.Pipe(t, 64<<10, scripts...)
				client, err := thump.Dial(t.Context(), thump.Config{Recovery: noRecovery, URLs: []string{b.URL()}, DialContext: b.DialContext})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				if err := client.UpdateSecret(ctx, "the new one", "rotation"); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("UpdateSecret: %v, expected the deadline", err)
				}
				cancel()
				for range 2 {
					p, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue("q")})
					if err != nil {
						t.Fatal(err)
					}
					if err := p.Close(t.Context()); err != nil {
						t.Error(err)
					}
				}
				_ = client.Close(t.Context())
			})
		})
	}
}

// TestFaultSecretAfterTheEnd: with a context that is over, nothing changes.
func TestFaultSecretAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		passwords := make(chan string, 2)
		note := func(s *fakebroker.StreamSession) {
			s.Login()
			passwords <- string(s.SASL.Data)
			s.Serve(nil)
		}
		b := fakebroker.Pipe(t, 64<<10, fakebroker.Stream(note), fakebroker.Stream(note))
		client, err := thump.Dial(t.Context(), thump.Config{Recovery: noRecovery, URLs: []string{b.StreamURL()}, DialContext: b.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := client.UpdateSecret(ctx, "another", ""); !errors.Is(err, context.Canceled) {
			t.Errorf("UpdateSecret: %v", err)
		}
		p, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Stream("s")})
		if err != nil {
			t.Fatal(err)
		}
		if first, second := <-passwords, <-passwords; first != second {
			t.Errorf("logged in with %q, and then with %q", first, second)
		}
		_ = p.Close(t.Context())
		_ = client.Close(t.Context())
	})
}

// TestFaultSecretForEverybody: a connection that has died, and one that does not answer,
// keep the secret from none of the others, and each refusal is found in the error.
func TestFaultSecretForEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan string, 10)
		serve := func(answer func(s *fakebroker.Session)) func(*fakebroker.Session) {
			return func(s *fakebroker.Session) {
				s.Login()
				s.Serve(func(r *fakebroker.Received) bool {
					m, update := r.Method.(*amqpproto.ConnectionUpdateSecret)
					if update {
						told <- m.NewSecret
						answer(s)
					}
					return update
				})
			}
		}
		take := func(s *fakebroker.Session) { s.Send(0, &amqpproto.ConnectionUpdateSecretOk{}) }
		mute, refuse := false, uint16(0)
		b := fakebroker.Pipe(t, 64<<10, serve(take),
			func(s *fakebroker.Session) { // dies
				s.Login()
				s.OpenConsumer()
				s.Close()
			},
			serve(func(s *fakebroker.Session) {
				if !mute {
					take(s)
				}
			}),
			serve(func(s *fakebroker.Session) {
				if refuse != 0 {
					s.Send(0, &amqpproto.ConnectionClose{ReplyCode: refuse, ReplyText: "no"})
				} else {
					take(s)
				}
			}))
		client, err := thump.Dial(t.Context(), thump.Config{Recovery: noRecovery, URLs: []string{b.URL()}, DialContext: b.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		con, err := client.Consumer(t.Context(), thump.ConsumerConfig{From: thump.Queue("q")})
		if err != nil {
			t.Fatal(err)
		}
		<-con.Done()
		for range 2 {
			if _, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue("q")}); err != nil {
				t.Fatal(err)
			}
		}
		if err := client.UpdateSecret(t.Context(), "second", ""); err != nil {
			t.Errorf("with a dead consumer: %v", err)
		}
		for range 3 {
			<-told
		}

		mute, refuse = true, 530
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = client.UpdateSecret(ctx, "third", "")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, expected the deadline of the one that does not answer", err)
		}
		var broker *thump.BrokerError
		if !errors.As(err, &broker) || broker.Code != 530 {
			t.Errorf("got %v, expected what the broker said to the other one", err)
		}
		for range 3 {
			if secret := <-told; secret != "third" {
				t.Errorf("told %q", secret)
			}
		}
		_ = client.Close(ctx)
	})
}

// TestFaultSecretDuringLogin: a connection that logs in while the secret changes gets
// the new one once it is open.
func TestFaultSecretDuringLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan string, 10)
		serve := func(s *fakebroker.Session) {
			s.Serve(func(r *fakebroker.Received) bool {
				switch m := r.Method.(type) {
				case *amqpproto.ConnectionUpdateSecret:
					told <- m.NewSecret
					s.Send(0, &amqpproto.ConnectionUpdateSecretOk{})
				case *amqpproto.ExchangeDelete:
					s.Send(1, &amqpproto.ExchangeDeleteOk{})
				default:
					return false
				}
				return true
			})
		}
		slow := func(s *fakebroker.Session) {
			s.ExpectProtocolHeader()
			s.Send(0, fakebroker.Likely().Start())
			fakebroker.Expect[*amqpproto.ConnectionStartOk](s)
			time.Sleep(time.Second)
			tune := fakebroker.Likely().Tune
			s.Send(0, &tune)
			fakebroker.Expect[*amqpproto.ConnectionTuneOk](s)
			fakebroker.Expect[*amqpproto.ConnectionOpen](s)
			s.Send(0, &amqpproto.ConnectionOpenOk{})
			serve(s)
		}
		b := fakebroker.Pipe(t, 64<<10, func(s *fakebroker.Session) { // the client's own, which dies
			s.Login()
			s.Close()
		}, slow, slow)
		client, err := thump.Dial(t.Context(), thump.Config{Recovery: noRecovery, URLs: []string{b.URL()}, DialContext: b.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, test := range []struct {
			name, secret string
			login        func() error
		}{
			{"a publisher", "second", func() error {
				p, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue("q")})
				if err != nil {
					return err
				}
				return p.Close(t.Context())
			}},
			{"the client's own", "third", func() error { return client.DeleteExchange(t.Context(), "e", thump.DeleteOptions{}) }},
		} {
			done := make(chan error)
			go func() { done <- test.login() }()
			time.Sleep(time.Second / 2)
			if err := client.UpdateSecret(t.Context(), test.secret, ""); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			if err := <-done; err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			found := false
			for len(told) > 0 {
				found = <-told == test.secret || found
			}
			if !found {
				t.Errorf("%s: the connection that was logging in did not get the secret", test.name)
			}
		}
		_ = client.Close(t.Context())
	})
}
