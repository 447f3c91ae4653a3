package transport_test

import (
	"testing"
	"testing/synctest"

	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/outcome"
)

// TestCutAtEveryByte plays a whole life and breaks the connection after each
// number of bytes that the broker has written, and has read. Each time the client
// must come to an end with an error, and with whole messages only.
func TestCutAtEveryByte(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		t.Run("written", func(t *testing.T) { cutEverywhere(t, p, func(n int) (written, read int) { return n, -1 }) })
		t.Run("read", func(t *testing.T) { cutEverywhere(t, p, func(n int) (written, read int) { return -1, n }) })
	})
}

func cutEverywhere(t *testing.T, p *protocol, at func(n int) (written, read int)) {
	for n := 0; n <= 5000; n++ {
		written, read := at(n)
		if cut(t, p.life, written, read) {
			if n < 300 {
				t.Errorf("the session was over after %d bytes", n)
			}
			return
		}
		if t.Failed() {
			t.Fatal("at byte", n)
		}
	}
	t.Error("the session goes on and on")
}

// cut plays a life, and reports whether it was not cut.
func cut(t *testing.T, l life, written, read int) (complete bool) {
	synctest.Test(t, func(t *testing.T) {
		b := fakebroker.Pipe(t, conntest.SocketSize, func(s *fakebroker.Session) {
			s.BreakAfter(written, read)
			l.server(s)
		})
		bodies, total, err := l.client(t, b)
		complete = err == nil
		for i, body := range bodies {
			if body != l.bodies[i] {
				t.Errorf("cut after %d written, %d read: message %d is %q", written, read, i, body)
			}
		}
		if complete && (len(bodies) != len(l.bodies) || total != l.total) {
			t.Errorf("no error, and %d messages and %+v", len(bodies), total)
		}
	})
	return complete
}

// publishThree publishes three messages and waits for their outcomes.
func publishThree(t *testing.T, p publisher) (total outcome.Totals, err error) {
	if err := p.Begin(t.Context()); err != nil {
		return total, err
	}
	for i, body := range []string{"one", "two", "three"} {
		if ok, err := p.Publish(uint64(i), []byte(body)); !ok || err != nil {
			t.Errorf("publish: %v, %v", ok, err)
		}
	}
	p.End()
	if err := p.Wait(t.Context()); err != nil {
		t.Error("wait for confirms:", err)
	}
	total = p.Totals()
	if total.Published != 3 || total.Confirmed+total.Rejected+total.Returned+total.Unknown != 3 {
		t.Errorf("three messages, and the outcomes %+v", total)
	}
	return total, nil
}
