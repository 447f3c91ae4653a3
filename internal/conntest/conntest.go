// Package conntest is what the tests of connections share, whatever the protocol: a
// client and a script of the fake broker, joined in memory, and the end of a connection.
package conntest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/transport"
	"github.com/thumpmq/thump/internal/window"
)

// SocketSize is how many bytes a socket's buffers hold in these tests.
const SocketSize = 64 << 10

// Conn is a connection that is tested.
type Conn interface {
	Fail(why error)
	Close(ctx context.Context) error
	Done() <-chan struct{}
	Err() error
}

// Config is an ordinary one, for a fake broker. frameMax is in bytes.
func Config(b *fakebroker.Broker, frameMax uint32) transport.Config {
	return transport.Config{
		Address: b.Address(), Mechanism: "PLAIN", User: "guest", Password: "secret", Vhost: "/",
		Name: "test", FrameMax: frameMax, Heartbeat: 60 * time.Second,
		Timeout: 10 * time.Second, DialContext: b.DialContext,
	}
}

// Pair runs a script and a test against it in a synctest bubble: time is fake, a call
// that never returns fails the test, and so does a goroutine that never ends. dial
// connects the client, or fails the test.
func Pair[C Conn](t *testing.T, script func(*fakebroker.Session), dial func(*testing.T, *fakebroker.Broker) C, test func(*testing.T, C)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { PairInRealTime(t, script, dial, test) })
}

// PairInRealTime is Pair outside of a bubble.
func PairInRealTime[C Conn](t *testing.T, script func(*fakebroker.Session), dial func(*testing.T, *fakebroker.Broker) C, test func(*testing.T, C)) {
	t.Helper()
	conn := dial(t, fakebroker.Pipe(t, SocketSize, script))
	test(t, conn)
	Drop(conn)
}

// Drop ends a connection, which may have ended before, without a goodbye, and returns
// when its goroutines are gone.
func Drop(conn Conn) {
	conn.Fail(transport.ErrClosed)
	_ = conn.Close(context.Background()) // it says why it ended, and that is known
}

// Goodbye closes a connection, which must work.
func Goodbye(t *testing.T, conn Conn) {
	t.Helper()
	if err := conn.Close(t.Context()); err != nil {
		t.Error("close:", err)
	}
}

// Ended waits for the end of a connection, in fake time, and returns why it ended.
func Ended(t *testing.T, conn Conn) error {
	t.Helper()
	select {
	case <-conn.Done():
		return conn.Err()
	case <-time.After(10 * time.Minute):
		t.Fatal("the connection did not end")
		return nil
	}
}

// Outcomes waits for outcomes, as a list. Those it returned before were handed over. The
// error is the window's: why there will be no more.
func Outcomes(w interface {
	Outcomes() (*window.Outcomes, error)
},
) ([]outcome.Outcome, error) {
	taken, err := w.Outcomes()
	if err != nil {
		return nil, err
	}
	var list []outcome.Outcome
	for _, r := range taken.Runs {
		for i := r.First; i < r.First+r.Count; i++ {
			list = append(list, outcome.Outcome{Ref: taken.Ref(i), Status: r.Status, Code: r.Code, Text: r.Text, Resent: r.Resent})
		}
	}
	return list, nil
}
