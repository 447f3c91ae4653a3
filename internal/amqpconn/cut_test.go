package amqpconn

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// cutSession is a whole life of a connection as the broker plays it: login, a
// consumer that gets three messages (one in pieces), a publisher that gets a
// return, an ack and a nack, and a goodbye.
func cutSession(s *fakebroker.Session) {
	greeting := fakebroker.Likely()
	greeting.Properties = amqpproto.Table{{Key: "product", Value: "x"}} // fewer offsets
	s.LoginAs(greeting)
	s.OpenConsumer()
	s.SendBytes(deliver(1, 1, "message 1"))
	s.SendBytes(join(pieces(1, 2, "message 2", 4)...))
	s.SendBytes(deliver(1, 3, "message 3"))
	s.OpenPublisher()
	for range 3 {
		fakebroker.Expect[*amqpproto.BasicPublish](s)
	}
	s.SendContent(2, &amqpproto.BasicReturn{ReplyCode: 312, RoutingKey: "q"}, nil, []byte("two"))
	s.Send(2, &amqpproto.BasicAck{DeliveryTag: 2, Multiple: true}, &amqpproto.BasicNack{DeliveryTag: 3})
	s.Serve(nil)
}

// cutClient is the client of cutSession. It returns what it received, what
// became of what it published, and the first error.
func cutClient(t *testing.T, b *fakebroker.Broker) (bodies []string, total Totals, err error) {
	conn, err := Dial(t.Context(), config(b))
	if err != nil {
		return nil, total, err
	}
	defer drop(conn)
	consumer, err := conn.Channel(t.Context())
	if err != nil {
		return nil, total, err
	}
	in, err := consumer.Consume(t.Context(), &amqpproto.BasicConsume{Queue: "q", ConsumerTag: "c"})
	if err != nil {
		return nil, total, err
	}
	var d Deliveries
	for len(bodies) < 3 {
		if err := in.Take(t.Context(), &d, 10); err != nil {
			return bodies, total, err
		}
		for i := range d.List {
			bodies = append(bodies, string(d.List[i].Body))
		}
	}
	publisher, err := conn.Channel(t.Context())
	if err != nil {
		return bodies, total, err
	}
	if err := publisher.Confirm(t.Context(), 10, false); err != nil {
		return bodies, total, err
	}
	if err := publisher.BeginPublish(t.Context()); err != nil {
		return bodies, total, err
	}
	for _, body := range []string{"one", "two", "three"} {
		p := Publishing{Body: []byte(body)}
		p.RoutingKey, p.Mandatory = "q", true
		if ok, err := publisher.Publish(&p); !ok || err != nil {
			t.Errorf("publish: %v, %v", ok, err)
		}
	}
	publisher.EndPublish()
	if err := publisher.WaitConfirms(t.Context()); err != nil {
		t.Error("wait for confirms:", err)
	}
	total = publisher.Totals()
	if total.Published != 3 || total.Confirmed+total.Rejected+total.Returned+total.Unknown != 3 {
		t.Errorf("three messages, and the outcomes %+v", total)
	}
	if err := conn.Err(); err != nil {
		return bodies, total, err
	}
	return bodies, total, conn.Close(t.Context())
}

// TestCutAtEveryByte plays the session and breaks the connection after each
// number of bytes that the broker has written, and has read. Each time the
// client must come to an end with an error, and with whole messages only.
func TestCutAtEveryByte(t *testing.T) {
	play := func(t *testing.T, written, read int) (complete bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			b := fakebroker.Pipe(t, socketSize, func(s *fakebroker.Session) {
				s.BreakAfter(written, read)
				cutSession(s)
			})
			bodies, total, err := cutClient(t, b)
			complete = err == nil
			for i, body := range bodies {
				if want := fmt.Sprint("message ", i+1); body != want {
					t.Errorf("cut after %d written, %d read: message %d is %q", written, read, i+1, body)
				}
			}
			if complete && (len(bodies) != 3 || total != Totals{Published: 3, Confirmed: 1, Rejected: 1, Returned: 1}) {
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
