package amqpconn

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// TestServerCancel: the broker ends a consumer. What it delivered before comes
// first, and it hears a basic.cancel of ours, without which RabbitMQ 4.3 keeps
// the consumer.
func TestServerCancel(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenConsumer()
		s.SendBytes(join(deliver(1, 1, "one"), deliver(1, 2, "two"),
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
			s.SendBytes(join(deliver(1, 2, "two"), deliver(1, 3, "three"), fakebroker.Frame(1, &amqpproto.BasicCancelOk{ConsumerTag: "c"})))
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
		c.room.L, c.settled.L = &c.mu, &c.mu
		ch, in := newChannel(c, 1), newInbox("c")
		ch.consumers["c"], ch.reply = in, make(chan reply, 1)
		r := &reader{conn: c}
		r.touch(in)
		in.arriving.add(&Delivery{Body: []byte("last")}, nil)
		if err := r.method(ch, m); err != nil {
			t.Error(err)
		}
		if in.waiting() != 1 {
			t.Errorf("%v was handled before the delivery in front of it", m.ID())
		}
	}
}

// TestCancelBehindFullInbox: the answer to our cancel stands behind more than
// the inbox takes.
func TestCancelBehindFullInbox(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenConsumer()
		for i := range uint64(30) {
			s.SendBytes(deliver(1, i+1, text(i, 1<<20)))
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch, in := openConsumer(t, conn)
		synctest.Wait()
		if err := ch.Cancel(t.Context(), in); err != nil {
			t.Error(err)
		}
		checkDeliveries(t, in, 30, func(i int, _ *Delivery) string { return text(uint64(i), 1<<20) })
		var d Deliveries
		if err := in.Take(t.Context(), &d, 1); !errors.Is(err, ErrCancelled) {
			t.Errorf("the inbox ended with %v", err)
		}
	})
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
		s.SendBytes(join(deliver(2, 1, "last"), fakebroker.Frame(2, &amqpproto.ChannelClose{ReplyCode: 404, ReplyText: "NOT_FOUND"})))
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
		for _, err := range []error{ch.Err(), ch.BeginPublish(t.Context()), ch.Ack(1, false), ch.Nack(1, false, true), ch.Close(t.Context())} {
			if !errors.As(err, &server) || server.Code != 406 || server.Text != words || server.Method.String() != "basic.ack" {
				t.Errorf("got %v, want 406 with %q", err, words)
			}
		}
		var got []Outcome
		for {
			outcomes, err := ch.Outcomes(nil)
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
		b := fakebroker.Pipe(t, socketSize, func(s *fakebroker.Session) {
			s.LoginAs(greeting)
			s.Serve(nil)
		})
		conn := dial(t, config(b))
		defer drop(conn)
		for range 10 {
			ch := openChannel(t, conn)
			if err := ch.Close(t.Context()); err != nil || !errors.Is(ch.Err(), ErrClosed) {
				t.Fatal(err, ch.Err())
			}
			if err := ch.Qos(t.Context(), 1); !errors.Is(err, ErrClosed) {
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
		if _, err := ch.Consume(t.Context(), m); err == nil {
			t.Error("a tag was used twice")
		}
		var server *ServerError
		if _, err := openChannel(t, conn).Consume(t.Context(), m); !errors.As(err, &server) || server.Code != 404 {
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
		for _, err := range []error{ch.Ack(1, false), ch.Ack(1<<63, true), ch.Nack(3, false, true), ch.Nack(4, true, false)} {
			if err != nil {
				t.Error(err)
			}
		}
		if err := ch.Close(t.Context()); err != nil { // what was queued comes before
			t.Error(err)
		}
	})
}
