package thump

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/thumpmq/thump/internal/printable"
	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/transport"
)

const (
	// A secret is renewed when a tenth of its time is left, within these bounds.
	renewalLeast = time.Second
	renewalMost  = time.Minute

	// renewalLate is the pause between tries to renew a secret that has expired.
	renewalLate = 10 * time.Second
)

// credentials knows when what Config.Credentials has given is to be renewed. It is safe
// for concurrent use.
type credentials struct {
	mu      sync.Mutex
	user    string    // that was given last
	expires time.Time // the first of those that a connection has; zero: none expires
	due     time.Time // when to renew; zero: never

	changed chan struct{} // holds a token if due has changed

	stop    context.CancelFunc // nil where nothing is renewed
	stopped chan struct{}
}

// credentialsError says that Config.Credentials has failed, for whatever reason.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return "Config.Credentials: " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// renewal is when to renew a secret that was given now.
func renewal(now, expires time.Time) time.Time {
	margin := min(max(expires.Sub(now)/10, renewalLeast), renewalMost)
	if due := expires.Add(-margin); due.After(now.Add(renewalLeast)) {
		return due
	}
	return now.Add(renewalLeast)
}

// retrial is when to try again to renew a secret, after that has failed.
func retrial(now, expires time.Time) time.Time {
	left := expires.Sub(now)
	if left <= 0 {
		return now.Add(renewalLate)
	}
	return now.Add(min(max(left/4, renewalLeast), renewalMost))
}

// gave notes what a connection logs in with.
func (k *credentials) gave(user string, expires time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.user = user
	if !expires.IsZero() {
		k.expectLocked(expires, renewal(time.Now(), expires))
	}
}

// expectLocked has a secret that expires then renewed when it is due, or before.
func (k *credentials) expectLocked(expires, due time.Time) {
	if k.expires.IsZero() || expires.Before(k.expires) {
		k.expires = expires
	}
	if k.due.IsZero() || due.Before(k.due) {
		k.due = due
		select {
		case k.changed <- struct{}{}:
		default:
		}
	}
}

// take waits until something is due, and forgets it: what is given from then on counts
// by itself. It reports false when ctx has ended.
func (k *credentials) take(ctx context.Context) (user string, expires time.Time, ok bool) {
	for {
		k.mu.Lock()
		due := k.due
		if !due.IsZero() && !due.After(time.Now()) {
			user, expires = k.user, k.expires
			k.due, k.expires = time.Time{}, time.Time{}
			k.mu.Unlock()
			return user, expires, true
		}
		k.mu.Unlock()
		waiting, cancel := ctx, func() {}
		if !due.IsZero() {
			waiting, cancel = context.WithDeadline(ctx, due)
		}
		select {
		case <-waiting.Done():
		case <-k.changed:
		}
		cancel()
		if ctx.Err() != nil {
			return "", time.Time{}, false
		}
	}
}

// askCredentials asks Config.Credentials, which may take that long.
func (c *Client) askCredentials(ctx context.Context, timeout time.Duration) (user, secret string, expires time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	user, secret, expires, err = c.cfg.Credentials(ctx)
	if err != nil {
		err = &credentialsError{err}
	}
	return user, secret, expires, err
}

// dialGiven dials with what Config.Credentials gives.
func dialGiven[C any](ctx context.Context, c *Client, cfg transport.Config, dial func(transport.Config) (C, error)) (C, error) {
	user, secret, expires, err := c.askCredentials(ctx, cfg.Timeout)
	if err != nil {
		var none C
		return none, err
	}
	cfg.User, cfg.Password = user, secret
	conn, err := dial(cfg)
	if loginRefused(err) {
		err = later{err} // the next answer may be another
	}
	if err != nil {
		return conn, fmt.Errorf("with the user %q of Config.Credentials: %w", printable.Text(user), err)
	}
	c.credentials.gave(user, expires)
	return conn, nil
}

// startRenewing renews what Config.Credentials gives, until stopRenewing.
func (c *Client) startRenewing(ctx context.Context) {
	if c.cfg.Credentials == nil {
		return
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.credentials.stop, c.credentials.stopped = stop, make(chan struct{})
	go func() {
		defer close(c.credentials.stopped)
		for {
			user, expires, ok := c.credentials.take(ctx)
			if !ok {
				return
			}
			if err := c.renew(ctx, user); err != nil && ctx.Err() == nil {
				c.cfg.Logger.Warn("the credentials could not be renewed", "expire", expires, "error", err)
				c.credentials.mu.Lock()
				c.credentials.expectLocked(expires, retrial(time.Now(), expires))
				c.credentials.mu.Unlock()
			}
		}
	}()
}

// stopRenewing waits for the end of a renewal, as long as ctx allows.
func (c *Client) stopRenewing(ctx context.Context) {
	if c.credentials.stop == nil {
		return
	}
	c.credentials.stop()
	select {
	case <-c.credentials.stopped:
	case <-ctx.Done():
	}
}

// renew asks for a new secret and hands it over to the connections that live, which have
// logged in as that user.
func (c *Client) renew(ctx context.Context, user string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*c.cfg.DialTimeout) // half of it for the handing over
	defer cancel()
	renewed, secret, expires, err := c.askCredentials(ctx, c.cfg.DialTimeout)
	if err != nil {
		return err
	}
	if renewed != user {
		c.cfg.Logger.Warn("Config.Credentials gives another user: connections stay logged in as they are", "user", printable.Text(renewed))
		return nil
	}
	if err := withoutOld(c.handOverSecret(ctx, secret, "renewed")); err != nil {
		return err
	}
	c.credentials.gave(user, expires)
	c.cfg.Logger.Debug("the credentials were renewed", "expire", expires)
	return nil
}

// withoutOld leaves out of joined errors those of brokers before RabbitMQ 3.13: they keep
// a stream's connection with the secret that it logged in with.
func withoutOld(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	return errors.Join(slices.DeleteFunc(slices.Clone(joined.Unwrap()), func(err error) bool {
		_, old := errors.AsType[*streamconn.VersionError](err)
		return old
	})...)
}
