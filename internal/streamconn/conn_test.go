package streamconn

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// TestUpdateSecret logs in again on the same connection.
func TestUpdateSecret(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		q, correlation := fakebroker.ExpectCommand[*streamproto.SASLAuthenticate](s)
		if q.Mechanism != "PLAIN" || string(q.Data) != "\x00guest\x00new" {
			t.Errorf("got %+v", q)
		}
		s.Answer(correlation, &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeOK})
		_, correlation = fakebroker.ExpectCommand[*streamproto.SASLAuthenticate](s)
		s.Answer(correlation, &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeAuthenticationFailure})
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		if err := conn.UpdateSecret(t.Context(), "new"); err != nil {
			t.Error(err)
		}
		err := conn.UpdateSecret(t.Context(), "canary")
		checkCode(t, err, streamproto.CodeAuthenticationFailure)
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("the secret is in %v", err)
		}
		synctest.Wait()
		conntest.Goodbye(t, conn)
	})
}
