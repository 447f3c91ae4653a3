package amqpconn

import (
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// TestIdleClientBeats: a client with nothing to say sends a heartbeat every half
// interval.
func TestIdleClientBeats(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		last := time.Now()
		for range 10 {
			s.ExpectHeartbeat()
			if gap := time.Since(last); gap > 30*time.Second {
				t.Errorf("a heartbeat after %v", gap)
			}
			last = time.Now()
			s.SendBytes(amqpproto.AppendHeartbeat(nil))
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		time.Sleep(301 * time.Second)
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestSilentServer: a server that says nothing is given up after two intervals,
// whether or not it still reads.
func TestSilentServer(t *testing.T) {
	for _, test := range []struct {
		name   string
		script func(*fakebroker.Session)
	}{
		{"reads", (*fakebroker.Session).Discard},
		{"does not read", func(*fakebroker.Session) { time.Sleep(121 * time.Second) }},
		{"stops in a frame", func(s *fakebroker.Session) {
			s.SendBytes([]byte{1, 0, 0, 0})
			s.Discard()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			pair(t, test.script, func(t *testing.T, conn *Conn) {
				begin := time.Now()
				err := ended(t, conn)
				if took := time.Since(begin); took != 2*time.Minute {
					t.Errorf("noticed after %v, want 2 min", took)
				}
				if !strings.Contains(err.Error(), "nothing heard from the broker for 2m0s") {
					t.Error(err)
				}
			})
		})
	}
}

// TestBusyServer: any bytes are a sign of life, a heartbeat or not, a whole frame
// or not.
func TestBusyServer(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenConsumer()
		for _, b := range deliver(1, 1, "slow") {
			time.Sleep(100 * time.Second) // of 120
			s.SendBytes([]byte{b})
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		_, in := openConsumer(t, conn)
		if got := receive(t, in, 1); got[0] != "slow" {
			t.Errorf("got %q", got)
		}
	})
}

// TestSlowConsumerIsNotSilence: while the reader waits for the consumer, the
// broker cannot be heard, and that is no silence of the broker.
func TestSlowConsumerIsNotSilence(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenConsumer()
		for i := range uint64(20) {
			s.SendBytes(deliver(1, i+1, text(i, 1<<20)))
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		_, in := openConsumer(t, conn)
		time.Sleep(10 * time.Minute)
		checkDeliveries(t, in, 20, func(i int, _ *Delivery) string { return text(uint64(i), 1<<20) })
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestRealHeartbeat is the same with a socket and a clock, as short as the
// protocol allows.
func TestRealHeartbeat(t *testing.T) {
	t.Parallel()
	greeting := fakebroker.Likely()
	greeting.Tune.Heartbeat = 1
	b := fakebroker.Start(t, func(s *fakebroker.Session) {
		s.LoginAs(greeting)
		s.ExpectHeartbeat()
		s.ExpectHeartbeat()
		s.ExpectHangUp()
	})
	conn := dial(t, config(b))
	select {
	case <-conn.Done():
	case <-time.After(15 * time.Second):
		t.Error("the silence went unnoticed")
	}
	drop(conn)
}
