package conformance

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thumpmq/thump"
)

// vault gives a user's password, for three seconds at a time.
type vault struct {
	user string

	mu       sync.Mutex
	password string
	asked    int
}

func (v *vault) Credentials(context.Context) (user, secret string, expires time.Time, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked++
	return v.user, v.password, time.Now().Add(3 * time.Second), nil
}

// change makes the password another, and returns how often it was asked for.
func (v *vault) change(password string) (asked int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.password = password
	return v.asked
}

// TestCredentials logs in, over both protocols, with what a function gives and not with
// what the URLs say, and goes on while it gives something else.
func TestCredentials(t *testing.T) {
	t.Parallel()
	eachStreamRig(t, func(r *rig) {
		name, queue, stream := unique("user"), r.classicQueue(), r.stream(thump.StreamSpec{})
		r.user(name, "the first", ".*")
		v := &vault{user: name, password: "the first"}
		var log lines
		cfg := urls(r.as("nobody", "secret1234"), r.streamAs("nobody", "secret1234"))
		cfg.Credentials, cfg.Logger = v.Credentials, slog.New(slog.NewTextHandler(&log, nil))
		client := r.dial(cfg)
		ctx := r.Context()
		publishers := []*thump.Publisher{}
		publish := func(to thump.Target) {
			p, err := client.Publisher(ctx, thump.PublisherConfig{To: to})
			r.noError(err)
			publishers = append(publishers, p)
		}
		publish(thump.Queue(queue))
		publish(thump.Stream(stream))
		r.password(name, "the second")
		asked := v.change("the second")
		for v.change("the second") < asked+3 { // three renewals
			time.Sleep(100 * time.Millisecond)
		}
		publish(thump.Queue(queue))
		publish(thump.Stream(stream))
		for _, p := range publishers {
			r.publish(p, numbered(1)...)
			r.flush(p)
		}
		r.noError(client.Close(ctx))
		for _, bad := range []string{"could not be renewed", "the first", "the second", "secret1234", "connection lost"} {
			if strings.Contains(log.String(), bad) {
				r.Errorf("the log says %q:\n%s", bad, log.String())
			}
		}
		v.change("wrong")
		cfg.URLs = cfg.URLs[:1]
		r.brokerError(r.refusal(cfg, name, "ACCESS_REFUSED"), 403)
	})
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
