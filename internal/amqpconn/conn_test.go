package amqpconn

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/transport"
)

// TestBlocked: publishing waits while the broker blocks the connection, as long
// as its context allows, and goes on when it no longer does.
func TestBlocked(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenPublisher()
		s.Send(0, &amqpproto.ConnectionBlocked{Reason: "low on disk"})
		time.Sleep(time.Minute)
		s.Send(0, &amqpproto.ConnectionUnblocked{})
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch := openPublisher(t, conn, 10, false)
		synctest.Wait()
		if conn.Blocked() != "low on disk" {
			t.Errorf("blocked is %q", conn.Blocked())
		}
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := ch.BeginPublish(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 10*time.Second {
			t.Errorf("publish ended with %v after %v", err, time.Since(begin))
		}
		publish(t, ch, 1, "one", "two")
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("published after %v", took)
		}
		if err := ch.window().Wait(t.Context()); err != nil || ch.window().Totals().Confirmed != 2 {
			t.Errorf("%v, %+v", err, ch.window().Totals())
		}
	})
}

// TestCloseWhileBlocked: Close returns when its context ends, though the broker
// blocks the connection, and leaves every message with an outcome.
func TestCloseWhileBlocked(t *testing.T) {
	for name, script := range map[string]func(*fakebroker.Session){
		"reading": func(s *fakebroker.Session) {
			fakebroker.Expect[*amqpproto.BasicPublish](s)
			s.Send(0, &amqpproto.ConnectionBlocked{Reason: "low on memory"})
			s.Discard()
		},
		"not reading": func(s *fakebroker.Session) {
			time.Sleep(time.Second)
			s.Send(0, &amqpproto.ConnectionBlocked{Reason: "low on memory"})
			time.Sleep(8 * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			pair(t, func(s *fakebroker.Session) {
				s.OpenPublisher()
				script(s)
			}, func(t *testing.T, conn *Conn) {
				ch := openPublisher(t, conn, 10, false)
				publish(t, ch, 1, "one")
				time.Sleep(2 * time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				begin := time.Now()
				err := conn.Close(ctx)
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 3*time.Second {
					t.Errorf("close ended with %v after %v", err, time.Since(begin))
				}
				if total := ch.window().Totals(); total.Unknown != 1 || !errors.Is(ch.Err(), transport.ErrClosed) {
					t.Errorf("totals %+v, channel ended with %v", total, ch.Err())
				}
			})
		})
	}
}

func TestUpdateSecret(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		if m, _ := fakebroker.Expect[*amqpproto.ConnectionUpdateSecret](s); m.NewSecret != "new" || m.Reason != "rotation" {
			t.Errorf("got %+v", m)
		}
		s.Send(0, &amqpproto.ConnectionUpdateSecretOk{})
		fakebroker.Expect[*amqpproto.ConnectionUpdateSecret](s)
		s.Send(0, &amqpproto.ConnectionClose{ReplyCode: 530, ReplyText: "NOT_ALLOWED - no"})
		fakebroker.Expect[*amqpproto.ConnectionCloseOk](s)
	}, func(t *testing.T, conn *Conn) {
		if err := conn.UpdateSecret(t.Context(), "new", "rotation"); err != nil {
			t.Error(err)
		}
		err := conn.UpdateSecret(t.Context(), "canary", "rotation")
		var server *ServerError
		if !errors.As(err, &server) || server.Code != 530 || strings.Contains(err.Error(), "canary") {
			t.Errorf("got %v", err)
		}
		_ = conn.Close(t.Context()) // close-ok gets out
	})
}
