package transport_test

import (
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// TestIdleClientBeats: a client with nothing to say sends a heartbeat every half
// interval.
func TestIdleClientBeats(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		p.pair(t, func(s server) {
			last := time.Now()
			for range 10 {
				s.ExpectHeartbeat()
				if gap := time.Since(last); gap > 30*time.Second || gap < 10*time.Second {
					t.Errorf("a heartbeat after %v", gap)
				}
				last = time.Now()
				s.SendBytes(p.beat)
			}
			s.serve()
		}, func(t *testing.T, conn client) {
			time.Sleep(301 * time.Second)
			conntest.Goodbye(t, conn)
		})
	})
}

// TestConsumerBeats: a client that only receives is idle as well, as far as the
// broker can hear.
func TestConsumerBeats(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		p.pair(t, func(s server) {
			s.openConsumer()
			go func() {
				for i := range 100 {
					time.Sleep(3 * time.Second)
					s.Offer(p.delivery(i, "x"))
				}
			}()
			for range 9 {
				s.ExpectHeartbeat()
			}
			time.Sleep(time.Minute)
			s.serve()
		}, func(t *testing.T, conn client) {
			c := conn.consumer(t)
			time.Sleep(290 * time.Second) // and takes nothing
			receive(t, c, 96, func(int, []byte) {})
			time.Sleep(time.Minute)
			conntest.Goodbye(t, conn)
		})
	})
}

// TestSilentServer: a server that says nothing is given up after two intervals,
// whether or not it still reads.
func TestSilentServer(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		for name, script := range map[string]func(server){
			"reads":         server.Discard,
			"does not read": func(server) { time.Sleep(121 * time.Second) },
			"stops in a frame": func(s server) {
				s.SendBytes(p.half)
				s.Discard()
			},
		} {
			t.Run(name, func(t *testing.T) {
				p.pair(t, script, func(t *testing.T, conn client) {
					begin := time.Now()
					err := conntest.Ended(t, conn)
					if took := time.Since(begin); took != 2*time.Minute {
						t.Errorf("noticed after %v, want 2 min", took)
					}
					if !strings.Contains(err.Error(), "nothing heard from the broker for 2m0s") {
						t.Error(err)
					}
				})
			})
		}
	})
}

// TestBusyServer: any bytes are a sign of life, a heartbeat or not, a whole frame
// or not.
func TestBusyServer(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		p.pair(t, func(s server) {
			s.openConsumer()
			for _, b := range p.delivery(0, "slow") {
				time.Sleep(100 * time.Second) // of 120
				s.SendBytes([]byte{b})
			}
			s.serve()
		}, func(t *testing.T, conn client) {
			receive(t, conn.consumer(t), 1, func(_ int, body []byte) {
				if string(body) != "slow" {
					t.Errorf("got %q", body)
				}
			})
			conntest.Goodbye(t, conn)
		})
	})
}

// TestSlowConsumerIsNotSilence: while the reader waits for the consumer, the
// broker cannot be heard, and that is no silence of the broker.
func TestSlowConsumerIsNotSilence(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		p.pair(t, p.sendLarge, func(t *testing.T, conn client) {
			c := conn.consumer(t)
			time.Sleep(10 * time.Minute)
			receive(t, c, p.large.n, p.checkLarge(t))
			conntest.Goodbye(t, conn)
		})
	})
}

// TestRealHeartbeat is the same with a socket and a clock, as short as the
// protocols allow.
func TestRealHeartbeat(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		t.Parallel()
		b := fakebroker.Start(t, p.script(func(s server) {
			s.login(greeting{heartbeat: 1})
			s.ExpectHeartbeat()
			s.ExpectHeartbeat()
			s.ExpectHangUp()
		}))
		conn := p.mustDial(t, b)
		select {
		case <-conn.Done():
		case <-time.After(15 * time.Second):
			t.Error("the silence went unnoticed")
		}
		conntest.Drop(conn)
	})
}
