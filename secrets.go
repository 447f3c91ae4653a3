package thump

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/thumpmq/thump/internal/amqpconn"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
)

// secrets knows which password a connection logs in with: an endpoint's own, until
// UpdateSecret replaces it. A new secret that could not be handed over to every
// connection is doubtful: it is tried first, and where it is refused the one before
// it still counts. It is safe for concurrent use.
type secrets struct {
	mu       sync.Mutex
	current  secret
	former   secret // the last one that was not doubtful
	doubtful bool   // current is

	generation uint64 // counts the calls of begin
}

// secret is a password that replaces those of the endpoints; not set: it does not.
type secret struct {
	text string
	set  bool
}

func (s secret) of(e Endpoint) string {
	if s.set {
		return s.text
	}
	return e.Password
}

// passwords returns the password to log in with at e, and, while that is doubtful,
// the one to try after it.
func (s *secrets) passwords(e Endpoint) (password, former string, doubtful bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current.of(e), s.former.of(e), s.doubtful
}

// begin makes text the secret. It is doubtful until it is proved.
func (s *secrets) begin(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.doubtful {
		s.former = s.current
	}
	s.current, s.doubtful = secret{text, true}, true
	s.generation++
}

// now is the generation of the secret that a connection logs in with from now on.
func (s *secrets) now() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.generation
}

// newerThan returns the secret that counts, and its generation, if that is not the
// one given.
func (s *secrets) newerThan(generation uint64) (text string, now uint64, newer bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current.text, s.generation, s.generation != generation && s.current.set
}

// catchUp calls update where there is a newer secret than that of the generation. It is
// for a connection that logged in while UpdateSecret did not know of it, and now
// does. A broker that is too old to take it keeps the connection as it is.
func (s *secrets) catchUp(generation uint64, update func(secret string) error) error {
	for {
		text, now, newer := s.newerThan(generation)
		if !newer {
			return nil
		}
		err := update(text)
		if _, old := errors.AsType[*streamconn.VersionError](err); err != nil && !old {
			return fmt.Errorf("updating the secret: %w", toPublic(err))
		}
		generation = now
	}
}

// renewedReason is the reason that catchUp's callers give the broker.
const renewedReason = "it was renewed during the login"

// proved says that the broker has taken the secret.
func (s *secrets) proved(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == (secret{text, true}) {
		s.doubtful = false
	}
}

// disproved says that the broker has refused the secret, and has taken the one before
// it.
func (s *secrets) disproved(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.doubtful && s.current == (secret{text, true}) {
		s.current, s.doubtful = s.former, false
	}
}

// handOverSecret does what UpdateSecret says. The error joins those of the connections.
func (c *Client) handOverSecret(ctx context.Context, secret, reason string) error {
	c.secrets.begin(secret)
	c.mu.Lock()
	members := slices.Collect(maps.Keys(c.members))
	c.mu.Unlock()
	updates := append(c.publishing.updates(ctx, secret, reason), c.consuming.updates(ctx, secret, reason)...)
	if conn, live, _ := c.topology.current(); live {
		updates = append(updates, func() error { return handOver(conn, func() error { return conn.UpdateSecret(ctx, secret, reason) }) })
	}
	if conn, live, _ := c.locator.current(); live {
		updates = append(updates, func() error { return handOver(conn, func() error { return conn.UpdateSecret(ctx, secret) }) })
	}
	for _, m := range members {
		updates = append(updates, func() error { return m.updateSecret(ctx, secret, reason) })
	}
	if err := allAtOnce(updates); err != nil {
		return err
	}
	c.secrets.proved(secret)
	return nil
}

// handOver calls update, which gives a connection a new secret. One that has ended, or
// is closed meanwhile, needs none.
func handOver(conn interface{ Err() error }, update func() error) error {
	if conn.Err() != nil {
		return nil
	}
	err := update()
	if errors.Is(err, transport.ErrClosed) {
		return nil
	}
	return err
}

// loginRefused reports whether a broker that could be reached did not accept user and
// password.
func loginRefused(err error) bool {
	if server, ok := errors.AsType[*amqpconn.ServerError](err); ok {
		return server.Code == amqpproto.AccessRefused
	}
	server, ok := errors.AsType[*streamconn.ServerError](err)
	return ok && server.Code == streamproto.CodeAuthenticationFailure
}
