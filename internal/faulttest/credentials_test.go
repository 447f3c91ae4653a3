package faulttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// issuer gives secrets, "secret 1" and so on, and knows when each expires.
type issuer struct {
	lasts func(n int) time.Duration // how long secret n lasts; 0: for ever
	fails func(n int) error         // nil: never
	user  func(n int) string        // nil: always "app"

	mu      sync.Mutex
	asked   []time.Time
	expires map[string]time.Time
}

func (i *issuer) Credentials(ctx context.Context) (user, secret string, expires time.Time, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, bounded := ctx.Deadline(); !bounded {
		return "", "", time.Time{}, errors.New("it would be waited for without end")
	}
	i.asked = append(i.asked, time.Now())
	n := len(i.asked)
	if i.fails != nil {
		if err := i.fails(n); err != nil {
			return "", "", time.Time{}, err
		}
	}
	user, secret = "app", fmt.Sprint("secret ", n)
	if i.user != nil {
		user = i.user(n)
	}
	if lasts := i.lasts(n); lasts != 0 {
		expires = time.Now().Add(lasts)
	}
	if i.expires == nil {
		i.expires = make(map[string]time.Time)
	}
	i.expires[secret] = expires
	return user, secret, expires, nil
}

// longest is as rare as heartbeats can be.
const longest = 65535 * time.Second

// times returns how often it was asked.
func (i *issuer) times() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.asked)
}

// holders are the connections of a broker, each with the secrets that it has got.
type holders struct {
	mu      sync.Mutex
	secrets [][]string // of each connection, by when it logged in
	reasons []string   // what came with those that were handed over
	ended   []bool
	refuse  bool // answer no more

	late func(secret string) bool // it has expired
	was  []string                 // secrets that had, when the next came
}

func (h *holders) login(secret string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.secrets, h.ended = append(h.secrets, []string{secret}), append(h.ended, false)
	return len(h.secrets) - 1
}

// told notes that a connection got a secret, and reports whether to answer.
func (h *holders) told(n int, secret, reason string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if last := h.secrets[n][len(h.secrets[n])-1]; h.late != nil && h.late(last) {
		h.was = append(h.was, last)
	}
	h.secrets[n] = append(h.secrets[n], secret)
	h.reasons = append(h.reasons, reason)
	return !h.refuse
}

func (h *holders) end(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended[n] = true
}

func (h *holders) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	secrets := slices.SortedFunc(slices.Values(h.secrets), slices.Compare) // two may log in at once
	return fmt.Sprint(secrets)
}

func (h *holders) serveAMQP(s *fakebroker.Session) {
	g := fakebroker.Likely()
	g.Tune.Heartbeat = 0 // the broker sends none
	s.LoginAs(g)
	n := h.login(s.StartOk.Response)
	defer h.end(n)
	s.Serve(func(r *fakebroker.Received) bool {
		m, update := r.Method.(*amqpproto.ConnectionUpdateSecret)
		if update && h.told(n, m.NewSecret, m.Reason) {
			s.Send(0, &amqpproto.ConnectionUpdateSecretOk{})
		}
		return update
	})
}

func (h *holders) serveStream(g fakebroker.StreamGreeting) func(s *fakebroker.StreamSession) {
	return func(s *fakebroker.StreamSession) {
		g.Tune.Heartbeat = 0
		s.LoginAs(g)
		n := h.login(string(s.SASL.Data))
		defer h.end(n)
		s.Serve(func(r *fakebroker.StreamReceived) bool {
			m, update := r.Command.(*streamproto.SASLAuthenticate)
			if update && h.told(n, string(m.Data), "") {
				s.Answer(r.Correlation, &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeOK})
			}
			return update
		})
	}
}

// TestFaultCredentials: every login asks, over both protocols, and is renewed before its
// secret expires; the URL's password goes nowhere, and no secret into the log.
func TestFaultCredentials(t *testing.T) {
	queues := func(h *holders) func(*fakebroker.Session) { return h.serveAMQP }
	streams := func(g fakebroker.StreamGreeting) func(h *holders) func(*fakebroker.Session) {
		return func(h *holders) func(*fakebroker.Session) { return fakebroker.Stream(h.serveStream(g)) }
	}
	for _, test := range []struct {
		name, scheme, query string
		script              func(*holders) func(*fakebroker.Session)
		target              thump.Target
		lasts               time.Duration
		before              time.Duration // the expiry, when it is renewed; 0: never
		want                string        // the secrets of the client's own connection and of the publisher's
		asked               int
	}{
		{
			"queues", "amqp", "", queues, thump.Queue("q"), time.Hour, time.Minute,
			"[[\x00app\x00secret 1 secret 3] [\x00app\x00secret 2 secret 3]]", 3,
		},
		{
			"a short time", "amqp", "", queues, thump.Queue("q"), 2 * time.Minute, 12 * time.Second,
			"[[\x00app\x00secret 1 secret 3] [\x00app\x00secret 2 secret 3]]", 3,
		},
		{
			"a shorter time", "amqp", "", queues, thump.Queue("q"), 5 * time.Second, time.Second,
			"[[\x00app\x00secret 1 secret 3] [\x00app\x00secret 2 secret 3]]", 3,
		},
		{
			"for ever", "amqp", "", queues, thump.Queue("q"), 0, 0,
			"[[\x00app\x00secret 1] [\x00app\x00secret 2]]", 2,
		},
		{
			"streams", "rabbitmq-stream", "", streams(fakebroker.LikelyStream()), thump.Stream("s"), time.Hour, time.Minute,
			"[[\x00app\x00secret 1 \x00app\x00secret 3] [\x00app\x00secret 2 \x00app\x00secret 3]]", 3,
		},
		{
			"streams of an old broker", "rabbitmq-stream", "", streams(fakebroker.OldStream()), thump.Stream("s"), time.Hour, time.Minute,
			"[[\x00app\x00secret 1] [\x00app\x00secret 2]]", 3,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log logs
				var h holders
				i := &issuer{lasts: func(int) time.Duration { return test.lasts }}
				b := fakebroker.Pipe(t, 64<<10, test.script(&h), test.script(&h))
				client, err := thump.Dial(t.Context(), thump.Config{
					URLs: []string{test.scheme + "://guest:canary@h.test" + test.query}, DialContext: b.DialContext, Logger: log.logger(), Credentials: i.Credentials, Heartbeat: longest,
				})
				if err != nil {
					t.Fatal(err)
				}
				pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: test.target})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(test.lasts - test.before - time.Millisecond)
				if got := i.times(); got != 2 {
					t.Errorf("%d were asked for too early", got-2)
				}
				time.Sleep(2 * time.Millisecond)
				synctest.Wait()
				if got := h.String(); got != test.want || i.times() != test.asked {
					t.Errorf("asked %d times, and the connections got\n%q, want\n%q", i.times(), got, test.want)
				}
				for _, reason := range h.reasons {
					if reason != "renewed" && test.scheme == "amqp" {
						t.Errorf("the broker's reason is %q", reason)
					}
				}
				if err := errors.Join(pub.Close(t.Context()), client.Close(t.Context())); err != nil {
					t.Error(err)
				}
				for _, bad := range []string{"canary", "secret ", "could not be renewed"} {
					if strings.Contains(log.String(), bad) {
						t.Errorf("the log says %q:\n%s", bad, log.String())
					}
				}
			})
		})
	}
}

// TestFaultCredentialsOfACertificate: a URL whose user is in the certificate does not ask.
func TestFaultCredentialsOfACertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		b := fakebroker.Pipe(t, 64<<10, func(s *fakebroker.Session) {
			g := fakebroker.Likely()
			g.Mechanisms = "EXTERNAL"
			s.LoginAs(g)
			if s.StartOk.Response != "" {
				t.Errorf("it logs in with %q", s.StartOk.Response)
			}
			s.Serve(nil)
		})
		client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{"amqp://h.test?auth_mechanism=external"}, DialContext: b.DialContext, Credentials: i.Credentials, Heartbeat: longest})
		if err != nil || i.times() > 0 {
			t.Fatalf("%v, asked %d times", err, i.times())
		}
		_ = client.Close(t.Context())
	})
}

// TestFaultCredentialsFail: an error of Credentials is one of the attempt, and may pass; a
// refusal names the user that they gave, and may pass with what they give next.
func TestFaultCredentialsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := fmt.Errorf("vault is sealed: %w", thump.ErrClosed)
		i := &issuer{lasts: func(int) time.Duration { return 0 }, fails: func(n int) error {
			if n <= 2 {
				return boom
			}
			return nil
		}}
		b := fakebroker.Pipe(t, 64<<10, func(s *fakebroker.Session) {
			s.ExpectProtocolHeader()
			s.Send(0, fakebroker.Likely().Start())
			fakebroker.Expect[*amqpproto.ConnectionStartOk](s)
			s.Send(0, &amqpproto.ConnectionClose{ReplyCode: 403, ReplyText: "ACCESS_REFUSED"})
			s.Discard()
		})
		cfg := thump.Config{URLs: []string{"amqp://u:canary@one.test", "amqp://u:canary@two.test"}, DialContext: b.DialContext, Credentials: i.Credentials}
		_, err := thump.Dial(t.Context(), cfg)
		checkSays(t, err, "@one.test:5672: Config.Credentials: vault is sealed")
		checkSays(t, err, "@two.test:5672: Config.Credentials: vault is sealed")
		cfg.URLs = cfg.URLs[:1]
		_, err = thump.Dial(t.Context(), cfg)
		checkSays(t, err, `with the user "app" of Config.Credentials: logging in: broker answered 403`)
		if strings.Contains(err.Error(), "secret 3") || !thump.Temporary(err) {
			t.Errorf("not temporary, or with the secret: %v", err)
		}
	})
}

// TestFaultCredentialsHang: Credentials that wait for ctx hold up Dial no longer than
// DialTimeout, and Close not at all.
func TestFaultCredentialsHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := false
		i := &issuer{lasts: func(int) time.Duration { return time.Minute }}
		ask := func(ctx context.Context) (string, string, time.Time, error) {
			if hang {
				<-ctx.Done()
				return "", "", time.Time{}, ctx.Err()
			}
			return i.Credentials(ctx)
		}
		b := fakebroker.Pipe(t, 64<<10, serveAMQP)
		cfg := thump.Config{URLs: []string{b.URL()}, DialContext: b.DialContext, Credentials: ask, DialTimeout: 3 * time.Second}
		client, err := thump.Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		hang = true
		start := time.Now()
		if _, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue("q")}); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		time.Sleep(time.Until(start.Add(55 * time.Second))) // in a renewal
		start = time.Now()
		if err := client.Close(t.Context()); err != nil || time.Since(start) > 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// TestFaultCredentialsNotRenewed: a renewal that fails, because nobody gives a secret or a
// connection does not take it, is logged and tried again, several times before the secret
// expires and now and then after that.
func TestFaultCredentialsNotRenewed(t *testing.T) {
	for _, mute := range []bool{false, true} {
		t.Run(fmt.Sprint("mute ", mute), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log logs
				var h holders
				failing := true
				i := &issuer{lasts: func(int) time.Duration { return time.Hour }, fails: func(n int) error {
					if n > 1 && failing && !mute {
						return errors.New("vault is sealed")
					}
					return nil
				}}
				b := fakebroker.Pipe(t, 64<<10, h.serveAMQP)
				client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL()}, DialContext: b.DialContext, Logger: log.logger(), Credentials: i.Credentials, Heartbeat: longest})
				if err != nil {
					t.Fatal(err)
				}
				h.mu.Lock()
				h.refuse = mute
				h.mu.Unlock()
				time.Sleep(time.Hour)
				tries := i.times() - 1
				if mute && (tries < 2 || tries > 4) || !mute && (tries < 5 || tries > 20) {
					t.Errorf("tried %d times before it expired", tries)
				}
				if said := strings.Count(log.String(), "could not be renewed"); said < tries-1 || said > tries {
					t.Errorf("tried %d times, and said %d times", tries, said)
				}
				time.Sleep(time.Minute)
				if more := i.times() - 1 - tries; more < 1 || more > 7 {
					t.Errorf("tried %d times more in the minute after", more)
				}
				if mute { // for good
					_ = client.Close(t.Context())
					return
				}
				i.mu.Lock()
				failing = false
				i.mu.Unlock()
				time.Sleep(11 * time.Second)
				synctest.Wait()
				if got := h.String(); strings.Count(got, "secret") != 2 {
					t.Errorf("the connection got %q", got)
				}
				if strings.Contains(log.String(), "secret ") {
					t.Errorf("the log has a secret:\n%s", log.String())
				}
				_ = client.Close(t.Context())
			})
		})
	}
}

// TestFaultCredentialsOfAnotherUser: connections stay logged in as they are, and new ones
// are the new user's.
func TestFaultCredentialsOfAnotherUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logs
		var h holders
		i := &issuer{lasts: func(int) time.Duration { return time.Hour }, user: func(n int) string { return fmt.Sprint("lease ", n) }}
		b := fakebroker.Pipe(t, 64<<10, h.serveAMQP, h.serveAMQP)
		client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL()}, DialContext: b.DialContext, Logger: log.logger(), Credentials: i.Credentials, Heartbeat: longest})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if i.times() != 2 || !strings.Contains(log.String(), "another user") {
			t.Errorf("asked %d times, and the log says\n%s", i.times(), log.String())
		}
		p, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue("q")})
		if err != nil {
			t.Fatal(err)
		}
		if got := h.String(); got != "[[\x00lease 1\x00secret 1] [\x00lease 3\x00secret 3]]" {
			t.Errorf("the connections got %q", got)
		}
		_ = p.Close(t.Context())
		_ = client.Close(t.Context())
	})
}

// TestFaultCredentialsThatHaveExpired: secrets that are over when they are given are asked
// for at most once a second.
func TestFaultCredentialsThatHaveExpired(t *testing.T) {
	for _, lasts := range []time.Duration{-time.Hour, 1, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			i := &issuer{lasts: func(int) time.Duration { return lasts }}
			var h holders
			b := fakebroker.Pipe(t, 64<<10, h.serveAMQP)
			client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL()}, DialContext: b.DialContext, Credentials: i.Credentials, Heartbeat: longest})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if n := i.times(); n < 50 || n > 62 {
				t.Errorf("%v: asked %d times in a minute", lasts, n)
			}
			_ = client.Close(t.Context())
		})
	}
}

// look returns the secrets that a connection had after they had expired, and how many
// connections have a renewed one.
func (h *holders) look() (expired []string, renewed int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	expired = h.was
	for n, secrets := range h.secrets {
		last := secrets[len(secrets)-1]
		if !h.ended[n] && h.late(last) {
			expired = append(expired, last)
		}
		if !h.ended[n] && len(secrets) > 1 {
			renewed++
		}
	}
	return expired, renewed
}

// TestFaultCredentialsRandom: publishers come and go while secrets expire, and no
// connection ever holds one that has.
func TestFaultCredentialsRandom(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			seed := rand.Uint64()
			random := rand.New(rand.NewPCG(seed, 0))
			var h holders
			lasts := make([]time.Duration, 10_000)
			for n := range lasts {
				lasts[n] = 3 * time.Second << random.IntN(8)
				lasts[n] += time.Duration(random.Int64N(int64(lasts[n])))
			}
			i := &issuer{lasts: func(n int) time.Duration { return lasts[n] }}
			h.late = func(secret string) bool {
				i.mu.Lock()
				defer i.mu.Unlock()
				return !i.expires[strings.TrimPrefix(secret, "\x00app\x00")].After(time.Now())
			}
			slow := func(s *fakebroker.Session) {
				time.Sleep(lasts[len(lasts)-1] / 800) // a login takes up to a second
				h.serveAMQP(s)
			}
			b := fakebroker.Pipe(t, 64<<10, slices.Repeat([]func(*fakebroker.Session){slow}, 300)...)
			client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL()}, DialContext: b.DialContext, Credentials: i.Credentials, Heartbeat: longest})
			if err != nil {
				t.Fatal(err)
			}
			checked := 0
			var open []*thump.Publisher
			for range 200 {
				switch {
				case random.IntN(2) == 0:
					p, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue("q")})
					if err != nil {
						t.Fatalf("seed %d: %v", seed, err)
					}
					open = append(open, p)
				case len(open) > 0:
					n := random.IntN(len(open))
					if err := open[n].Close(t.Context()); err != nil {
						t.Errorf("seed %d: %v", seed, err)
					}
					open = slices.Delete(open, n, n+1)
				}
				time.Sleep(time.Duration(random.Int64N(int64(time.Minute))))
				synctest.Wait()
				expired, renewed := h.look()
				if checked += renewed; len(expired) > 0 {
					t.Fatalf("seed %d: connections had %q after they had expired", seed, expired)
				}
			}
			if checked < 200 {
				t.Errorf("seed %d: only %d times was a secret renewed", seed, checked)
			}
			_ = client.Close(t.Context())
		})
	}
}
