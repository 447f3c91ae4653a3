package streamconn

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/streamproto"
)

// cutSession is a whole life of a connection as the broker plays it: login, a
// subscription that gets three chunks and a turn, a named publisher that gets
// confirms and an error, a stored offset, and a goodbye.
func cutSession(s *fakebroker.StreamSession) {
	greeting := fakebroker.LikelyStream()
	greeting.Properties = greeting.Properties[1:] // fewer offsets
	s.LoginAs(greeting)
	s.OpenSubscription()
	s.SendBytes(fakebroker.Deliver(fakebroker.Chunk(0, 0, "message 0")))
	s.Ask(9, &streamproto.ConsumerUpdate{SubscriptionID: 0, Active: true})
	c := fakebroker.Chunk(0, 1, "message 1")
	fakebroker.AddBatch(c, "message 2", "message 3")
	s.SendBytes(fakebroker.Deliver(c))
	for credit, answered := 0, false; credit < 2 || !answered; {
		switch c := s.Next().Command.(type) {
		case *streamproto.Credit:
			credit += int(c.Credit)
		case *streamproto.ConsumerUpdateResponse:
			answered = true
		}
	}
	s.OpenPublisher(0)
	published(s, 3)
	s.Confirm(0, 3, 1)
	s.SendBytes(streamproto.AppendPublishError(nil, 0, streamproto.CodePreconditionFailed, 2))
	s.Serve(nil)
}

// cutClient is the client of cutSession. It returns what it received, what
// became of what it published, and the first error.
func cutClient(t *testing.T, b *fakebroker.Broker) (bodies []string, total outcome.Totals, err error) {
	conn, err := Dial(t.Context(), config(b))
	if err != nil {
		return nil, total, err
	}
	defer drop(conn)
	in := NewInbox()
	sub, err := conn.Subscribe(t.Context(), SubscribeConfig{Stream: "events", Credit: 10, Inbox: in})
	if err != nil {
		return nil, total, err
	}
	for len(bodies) < 4 {
		arrivals, err := in.Take(t.Context(), nil)
		if err != nil {
			return bodies, total, err
		}
		for i := range arrivals {
			bodies = append(bodies, chunkBodies(t, &arrivals[i].Chunk)...)
		}
	}
	if err := sub.Answer(<-sub.Updates(), streamproto.OffsetSpec{}); err != nil {
		return bodies, total, err
	}
	total, err = cutPublish(t, conn)
	if err != nil {
		return bodies, total, err
	}
	if err := conn.StoreOffset(&streamproto.StoreOffset{Reference: "me", Stream: "events", Offset: 3}); err != nil {
		return bodies, total, err
	}
	r, err := conn.Call(t.Context(), &streamproto.QueryOffset{Reference: "me", Stream: "events"})
	if err != nil {
		return bodies, total, err
	}
	if got := r.(*streamproto.QueryOffsetResponse).Offset; got != 3 {
		t.Errorf("offset %d is stored", got)
	}
	return bodies, total, conn.Close(t.Context())
}

// cutPublish publishes three messages and waits for their outcomes.
func cutPublish(t *testing.T, conn *Conn) (total outcome.Totals, err error) {
	p, err := conn.Publisher(t.Context(), PublisherConfig{Stream: "events", Reference: "me", Window: 10, SubEntry: 1})
	if err != nil {
		return total, err
	}
	if err := p.Begin(t.Context()); err != nil {
		return total, err
	}
	for _, body := range []string{"one", "two", "three"} {
		if ok, err := p.Publish(0, 0, []byte(body)); !ok || err != nil {
			t.Errorf("publish: %v, %v", ok, err)
		}
	}
	p.End()
	if err := p.WaitConfirms(t.Context()); err != nil {
		t.Error("wait for confirms:", err)
	}
	total = p.Totals()
	if total.Published != 3 || total.Confirmed+total.Rejected+total.Unknown != 3 {
		t.Errorf("three messages, and the outcomes %+v", total)
	}
	return total, p.Err()
}

// TestCutAtEveryByte plays the session and breaks the connection after each
// number of bytes that the broker has written, and has read. Each time the
// client must come to an end with an error, and with whole messages only.
func TestCutAtEveryByte(t *testing.T) {
	play := func(t *testing.T, written, read int) (complete bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			b := fakebroker.Pipe(t, socketSize, fakebroker.Stream(func(s *fakebroker.StreamSession) {
				s.BreakAfter(written, read)
				cutSession(s)
			}))
			bodies, total, err := cutClient(t, b)
			complete = err == nil
			for i, body := range bodies {
				if want := fmt.Sprint("message ", i); body != want {
					t.Errorf("cut after %d written, %d read: message %d is %q", written, read, i, body)
				}
			}
			if complete && (len(bodies) != 4 || total != outcome.Totals{Published: 3, Confirmed: 2, Rejected: 1}) {
				t.Errorf("no error, and %d messages and %+v", len(bodies), total)
			}
		})
		return complete
	}
	for _, side := range []string{"written", "read"} {
		t.Run(side, func(t *testing.T) {
			for n := 0; ; n++ {
				written, read := n, -1
				if side == "read" {
					written, read = -1, n
				}
				if play(t, written, read) {
					if n < 300 {
						t.Errorf("the session was over after %d bytes", n)
					}
					return
				}
				if t.Failed() || n > 5000 {
					t.Fatal("at byte", n)
				}
			}
		})
	}
}
