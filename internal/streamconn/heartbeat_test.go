package streamconn

import (
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// TestIdleClientBeats: a client with nothing to say sends a heartbeat every half
// interval.
func TestIdleClientBeats(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		last := time.Now()
		for range 10 {
			s.ExpectHeartbeat()
			if gap := time.Since(last); gap > 30*time.Second || gap < 10*time.Second {
				t.Errorf("a heartbeat after %v", gap)
			}
			last = time.Now()
			s.SendBytes(streamproto.AppendHeartbeat(nil))
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		time.Sleep(301 * time.Second)
		goodbye(t, conn)
	})
}

// TestConsumerBeats: a client that only receives is idle as well, as far as the
// broker can hear.
func TestConsumerBeats(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		s.OpenSubscription()
		go func() {
			for range 100 {
				time.Sleep(3 * time.Second)
				s.Offer(fakebroker.Deliver(fakebroker.Chunk(0, 0, "x")))
			}
		}()
		for range 9 {
			s.ExpectHeartbeat()
		}
		time.Sleep(time.Minute)
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		_, in := openSubscription(t, conn, 1000)
		time.Sleep(290 * time.Second) // and takes nothing
		receive(t, in, 96)
		time.Sleep(time.Minute)
		goodbye(t, conn)
	})
}

// TestSilentServer: a server that says nothing is given up after two intervals,
// whether or not it still reads.
func TestSilentServer(t *testing.T) {
	for _, test := range []struct {
		name   string
		script func(*fakebroker.StreamSession)
	}{
		{"reads", (*fakebroker.StreamSession).Discard},
		{"does not read", func(*fakebroker.StreamSession) { time.Sleep(121 * time.Second) }},
		{"stops in a frame", func(s *fakebroker.StreamSession) {
			s.SendBytes([]byte{0, 0, 0, 40, 0})
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
	pair(t, func(s *fakebroker.StreamSession) {
		s.OpenSubscription()
		for _, b := range fakebroker.Deliver(fakebroker.Chunk(0, 0, "message 0")) {
			time.Sleep(100 * time.Second) // of 120
			s.SendBytes([]byte{b})
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		_, in := openSubscription(t, conn, 10)
		checkNumbered(t, receive(t, in, 1))
		goodbye(t, conn)
	})
}

// TestSlowConsumerIsNotSilence: while the reader waits for the consumer, the
// broker cannot be heard, and that is no silence of the broker.
func TestSlowConsumerIsNotSilence(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		s.OpenSubscription()
		chunk := fakebroker.Deliver(fakebroker.Chunk(0, 0, strings.Repeat("x", 8<<20)))
		for range 10 {
			s.SendBytes(chunk)
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		_, in := openSubscription(t, conn, 10)
		time.Sleep(10 * time.Minute)
		receive(t, in, 10)
		goodbye(t, conn)
	})
}

// TestRealHeartbeat is the same with a socket and a clock, as short as the
// protocol allows.
func TestRealHeartbeat(t *testing.T) {
	t.Parallel()
	greeting := fakebroker.LikelyStream()
	greeting.Tune.Heartbeat = 1
	b := fakebroker.Start(t, fakebroker.Stream(func(s *fakebroker.StreamSession) {
		s.LoginAs(greeting)
		s.ExpectHeartbeat()
		s.ExpectHeartbeat()
		s.ExpectHangUp()
	}))
	conn := dial(t, config(b))
	select {
	case <-conn.Done():
	case <-time.After(15 * time.Second):
		t.Error("the silence went unnoticed")
	}
	drop(conn)
}
