package amqpconn

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/transport"
)

// TestServerCancel: the broker ends a consumer. What it delivered before comes
// first, and it hears a basic.cancel of ours, without which RabbitMQ 4.3 keeps
// the consumer.
func TestServerCancel(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenConsumer()
		s.SendBytes(slices.Concat(deliver(1, 1, "one"), deliver(1, 2, "two"),
			fakebroker.Frame(1, &amqpproto.BasicCancel{ConsumerTag: "c", NoWait: true}), deliver(1, 3, "late")))
		if m, channel := fakebroker.Expect[*amqpproto.BasicCancel](s); m.ConsumerTag != "c" || !m.NoWait || channel != 1 {
			t.Errorf("got %+v on channel %d", m, channel)
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch, in := openConsumer(t, conn)
		synctest.Wait()
		if got := receive(t, in, 3); got[0] != "one" || got[1] != "two" {
			t.Errorf("got %q", got)
		}
		var d Deliveries
		var server *ServerError
		if err := in.Take(t.Context(), &d, 1); !errors.As(err, &server) || server.Code != 0 {
			t.Errorf("the consumer ended with %v", err)
		}
		if err := ch.Qos(t.Context(), 1); err != nil {
			t.Error("the channel does not live on:", err)
		}
	})
}

// TestCancelTakesAll: what comes in one read with the answer to our cancel is in
// the inbox before the inbox ends.
func TestCancelTakesAll(t *testing.T) {
	for range 50 {
		pair(t, func(s *fakebroker.Session) {
			s.OpenConsumer()
			s.SendBytes(deliver(1, 1, "one"))
			fakebroker.Expect[*amqpproto.BasicCancel](s)
			s.SendBytes(slices.Concat(deliver(1, 2, "two"), deliver(1, 3, "three"), fakebroker.Frame(1, &amqpproto.BasicCancelOk{ConsumerTag: "c"})))
			s.Serve(nil)
		}, func(t *testing.T, conn *Conn) {
			ch, in := openConsumer(t, conn)
			count := make(chan int)
			go func() {
				var d Deliveries
				n := 0
				for in.Take(t.Context(), &d, 10) == nil {
					n += len(d.List)
				}
				count <- n
			}()
			if err := ch.Cancel(t.Context(), in); err != nil {
				t.Error(err)
			}
			if n := <-count; n != 3 {
				t.Fatalf("%d of 3 deliveries came", n)
			}
		})
	}
}

// TestDeliveriesBeforeTheEnd: whatever tells of an end, the deliveries of the
// same read are in the inbox by then.
func TestDeliveriesBeforeTheEnd(t *testing.T) {
	for _, m := range []amqpproto.Method{&amqpproto.BasicCancelOk{}, &amqpproto.BasicCancel{ConsumerTag: "c"}, &amqpproto.ChannelClose{ReplyCode: 406}} {
		c := &Conn{channels: make(map[uint16]*Channel), server: Server{FrameMax: 4096}}
		ch, in := newChannel(c, 1), newInbox("c")
		ch.consumers, ch.reply, ch.awaited = map[string]*Inbox{"c": in}, make(chan reply, 1), 1
		p := &protocol{conn: c}
		p.touch(in)
		in.arriving.add(&Delivery{Body: []byte("last")}, nil)
		if err := p.method(ch, m); err != nil {
			t.Error(err)
		}
		if in.waiting() != 1 {
			t.Errorf("%v was handled before the delivery in front of it", m.ID())
		}
	}
}

// TestCancelBehindFullInbox: the answer to our cancel stands behind more than
// the inbox takes. Whoever takes meanwhile gets all of it. Where nobody does, what has
// no room is dropped, and the rest can be taken.
func TestCancelBehindFullInbox(t *testing.T) {
	const n = 30
	for _, drains := range []bool{false, true} {
		pair(t, func(s *fakebroker.Session) {
			s.OpenConsumer()
			for i := range uint64(n) {
				s.SendBytes(deliver(1, i+1, fakebroker.Text(i, 1<<20)))
			}
			s.Serve(nil)
		}, func(t *testing.T, conn *Conn) {
			ch, in := openConsumer(t, conn)
			synctest.Wait()
			cancelled := make(chan error)
			cancel := func() { cancelled <- ch.Cancel(t.Context(), in) }
			want := n
			go cancel()
			if drains {
				in.Drain()
				if err := <-cancelled; err != nil {
					t.Error(err)
				}
				if want = in.waiting(); want < inboxRoom>>20 || want > inboxRoom>>20+2 {
					t.Errorf("%d MiB wait", want)
				}
				go func() { cancelled <- nil }()
			}
			checkDeliveries(t, in, want, func(i int, _ *Delivery) string { return fakebroker.Text(uint64(i), 1<<20) })
			if err := <-cancelled; err != nil {
				t.Error(err)
			}
			var d Deliveries
			if err := in.Take(t.Context(), &d, 1); !errors.Is(err, ErrCancelled) {
				t.Errorf("the inbox ended with %v", err)
			}
		})
	}
}

// TestServerClosesChannel: an exception of one channel ends it and no other, its
// id can be used again, and everyone on it hears code and text.
func TestServerClosesChannel(t *testing.T) {
	const words = "PRECONDITION_FAILED - unknown delivery tag 7"
	pair(t, func(s *fakebroker.Session) {
		s.OpenPublisher()
		s.OpenConsumer()
		s.OpenChannel()
		for range 2 {
			fakebroker.Expect[*amqpproto.BasicPublish](s)
		}
		s.Send(1, &amqpproto.BasicAck{DeliveryTag: 1}, &amqpproto.ChannelClose{ReplyCode: 406, ReplyText: words, ClassID: 60, MethodID: 80})
		s.SendBytes(slices.Concat(deliver(2, 1, "last"), fakebroker.Frame(2, &amqpproto.ChannelClose{ReplyCode: 404, ReplyText: "NOT_FOUND"})))
		fakebroker.Expect[*amqpproto.ChannelCloseOk](s)
		fakebroker.Expect[*amqpproto.ChannelCloseOk](s)
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch := openPublisher(t, conn, 10, true)
		_, in := openConsumer(t, conn)
		other := openChannel(t, conn)
		publish(t, ch, 1, "one", "two")
		<-ch.Done()
		var server *ServerError
		for _, err := range []error{ch.Err(), ch.BeginPublish(t.Context()), ch.Ack(false, 1), ch.Nack(false, true, 1), ch.Close(t.Context())} {
			if !errors.As(err, &server) || server.Code != 406 || server.Text != words || server.Method.String() != "basic.ack" {
				t.Errorf("got %v, want 406 with %q", err, words)
			}
		}
		var got []outcome.Outcome
		for {
			outcomes, err := conntest.Outcomes(ch.window())
			if err != nil {
				break
			}
			got = append(got, outcomes...)
		}
		if text := outcomeText(got); text != "1 confirmed, 2 unknown" {
			t.Errorf("outcomes: %s", text)
		}
		if got := receive(t, in, 1); got[0] != "last" {
			t.Errorf("got %q", got)
		}
		var d Deliveries
		if err := in.Take(t.Context(), &d, 1); !errors.As(err, &server) || server.Code != 404 {
			t.Errorf("the consumer ended with %v", err)
		}
		if err := other.Qos(t.Context(), 1); err != nil || conn.Err() != nil {
			t.Errorf("another channel: %v, the connection: %v", err, conn.Err())
		}
		for range 2047 - 1 {
			openChannel(t, conn)
		}
		if _, err := conn.Channel(t.Context()); err == nil {
			t.Error("one channel more than agreed was opened")
		}
	})
}

// TestCrossing: both sides close a channel, and the connection, at once.
func TestCrossing(t *testing.T) {
	t.Run("channel", func(t *testing.T) {
		pair(t, func(s *fakebroker.Session) {
			s.OpenChannel()
			fakebroker.Expect[*amqpproto.ChannelClose](s)
			s.Send(1, &amqpproto.ChannelClose{ReplyCode: 406, ReplyText: "PRECONDITION_FAILED"})
			// RabbitMQ answers, although it had closed the channel itself.
			s.Send(1, &amqpproto.ChannelCloseOk{})
			fakebroker.Expect[*amqpproto.ChannelCloseOk](s)
			s.Serve(nil)
		}, func(t *testing.T, conn *Conn) {
			var server *ServerError
			if err := openChannel(t, conn).Close(t.Context()); !errors.As(err, &server) {
				t.Errorf("close: %v", err)
			}
			synctest.Wait()
			for range 2047 { // the id is free again
				openChannel(t, conn)
			}
			if err := conn.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("connection", func(t *testing.T) {
		pair(t, func(s *fakebroker.Session) {
			fakebroker.Expect[*amqpproto.ConnectionClose](s)
			s.Send(0, &amqpproto.ConnectionClose{ReplyCode: 320, ReplyText: "CONNECTION_FORCED"})
			fakebroker.Expect[*amqpproto.ConnectionCloseOk](s)
		}, func(t *testing.T, conn *Conn) {
			var server *ServerError
			if err := conn.Close(t.Context()); !errors.As(err, &server) {
				t.Errorf("close: %v", err)
			}
		})
	})
}

// TestChannelsOneByOne opens and closes more channels than there are ids.
func TestChannelsOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		greeting := fakebroker.Likely()
		greeting.Tune.ChannelMax = 3
		b := fakebroker.Pipe(t, conntest.SocketSize, func(s *fakebroker.Session) {
			s.LoginAs(greeting)
			s.Serve(nil)
		})
		conn := dial(t, config(b))
		defer conntest.Drop(conn)
		for range 10 {
			ch := openChannel(t, conn)
			if err := ch.Close(t.Context()); err != nil || !errors.Is(ch.Err(), transport.ErrClosed) {
				t.Fatal(err, ch.Err())
			}
			if err := ch.Qos(t.Context(), 1); !errors.Is(err, transport.ErrClosed) {
				t.Error("a call on a closed channel:", err)
			}
		}
		for range 3 {
			openChannel(t, conn)
		}
		if _, err := conn.Channel(t.Context()); err == nil {
			t.Error("a fourth channel was opened")
		}
	})
}

// TestConsumerTagInUse and a consumer that the broker refuses.
func TestConsumerTagInUse(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenConsumer()
		s.OpenChannel()
		fakebroker.Expect[*amqpproto.BasicConsume](s)
		s.Send(2, &amqpproto.ChannelClose{ReplyCode: 404, ReplyText: "NOT_FOUND - no queue 'q'"})
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch, _ := openConsumer(t, conn)
		m := &amqpproto.BasicConsume{Queue: "q", ConsumerTag: "c"}
		if _, err := ch.Consume(t.Context(), 0, m); err == nil {
			t.Error("a tag was used twice")
		}
		var server *ServerError
		if _, err := openChannel(t, conn).Consume(t.Context(), 0, m); !errors.As(err, &server) || server.Code != 404 {
			t.Errorf("got %v", err)
		}
	})
}

// TestSettleFrames reads the frames that settle deliveries.
func TestSettleFrames(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenChannel()
		for _, want := range []amqpproto.Method{
			&amqpproto.BasicAck{DeliveryTag: 1}, &amqpproto.BasicAck{DeliveryTag: 1 << 63, Multiple: true},
			&amqpproto.BasicNack{DeliveryTag: 3, Requeue: true}, &amqpproto.BasicNack{DeliveryTag: 4, Multiple: true},
		} {
			if got := s.Next(); got.Channel != 1 || fmt.Sprint(got.Method) != fmt.Sprint(want) {
				t.Errorf("got %v on channel %d, want %v", got.Method, got.Channel, want)
			}
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch := openChannel(t, conn)
		for _, err := range []error{ch.Ack(false, 1), ch.Ack(true, 1<<63), ch.Nack(false, true, 3), ch.Nack(true, false, 4)} {
			if err != nil {
				t.Error(err)
			}
		}
		if err := ch.Close(t.Context()); err != nil { // what was queued comes before
			t.Error(err)
		}
	})
}
