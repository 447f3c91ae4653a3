package faulttest

import (
	"runtime"
	"slices"
	"testing"
	"time"
	"weak"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// TestFaultClientForgets: a client keeps nothing of a publisher or a consumer that was
// closed, nor of one whose connection died and that has said what there was to say. A
// service may make one after another for years.
func TestFaultClientForgets(t *testing.T) {
	for _, test := range []struct {
		name     string
		n        int
		consumes bool
		closes   bool
	}{
		{"publishers that were closed", 2000, false, true},
		{"publishers that died", 200, false, false},
		{"consumers that were closed", 200, true, true},
		{"consumers that died", 200, true, false},
	} {
		for _, protocol := range []thump.Protocol{thump.AMQP091, thump.Streams} {
			t.Run(test.name+", "+protocol.String(), func(t *testing.T) {
				over := make(chan struct{})
				amqp := func(s *fakebroker.Session) {
					s.Login()
					if test.closes {
						s.Serve(nil)
						return
					}
					if test.consumes {
						s.OpenConsumer()
					} else {
						s.OpenPublisher()
					}
					<-over
					s.Close()
				}
				stream := func(s *fakebroker.StreamSession) {
					s.Login()
					if test.closes {
						s.Serve(nil)
						return
					}
					if test.consumes {
						s.OpenSubscription()
					} else {
						s.OpenPublisher(0)
					}
					<-over
					s.Close()
				}
				var client *thump.Client
				to := thump.Queue("q")
				if protocol == thump.AMQP091 {
					client = faultClient(t, noRecovery, slices.Repeat([]func(*fakebroker.Session){amqp}, test.n)...)
				} else {
					to = thump.Stream("events")
					client = faultStreamClient(t, slices.Repeat([]func(*fakebroker.StreamSession){stream}, test.n)...)
				}
				alive := make([]func() bool, test.n)
				for i := range alive {
					if test.consumes {
						alive[i] = forgottenConsumer(t, client, to, test.closes, over)
					} else {
						alive[i] = forgottenPublisher(t, client, to, test.closes, over)
					}
				}
				left := func() (n int) {
					runtime.GC()
					for _, one := range alive {
						if one() {
							n++
						}
					}
					return n
				}
				for start := time.Now(); left() > 1 && time.Since(start) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
				}
				if n := left(); n > 1 { // the last may be on a stack
					t.Errorf("%d of %d are still there", n, test.n)
				}
				runtime.KeepAlive(client)
			})
		}
	}
}

// forgottenPublisher makes a publisher that ends, and says whether it is still in memory.
func forgottenPublisher(t *testing.T, client *thump.Client, to thump.Target, closes bool, over chan struct{}) (alive func() bool) {
	p, err := client.Publisher(t.Context(), thump.PublisherConfig{To: to})
	if err != nil {
		t.Fatal(err)
	}
	if closes {
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	} else {
		over <- struct{}{}
		<-p.Done()
	}
	w := weak.Make(p)
	return func() bool { return w.Value() != nil }
}

// forgottenConsumer is forgottenPublisher for a consumer.
func forgottenConsumer(t *testing.T, client *thump.Client, from thump.Target, closes bool, over chan struct{}) (alive func() bool) {
	c, err := client.Consumer(t.Context(), thump.ConsumerConfig{From: from})
	if err != nil {
		t.Fatal(err)
	}
	if closes {
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	} else {
		over <- struct{}{}
		if _, err := c.Receive(t.Context()); err == nil {
			t.Fatal("received from a connection that is gone")
		}
	}
	w := weak.Make(c)
	return func() bool { return w.Value() != nil }
}
