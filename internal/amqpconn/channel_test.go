package amqpconn

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// shortly is a context that ends after a second.
func shortly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	t.Cleanup(cancel)
	return ctx
}

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
		ch, in := openConsumer(t, conn, "c")
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
			ch, in := openConsumer(t, conn, "c")
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
		ch, in := openConsumer(t, conn, "c")
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
		_, in := openConsumer(t, conn, "c")
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

// TestLateAnswer: a call is given up, its answer comes late, and the next call
// gets its own.
func TestLateAnswer(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenChannel()
		for range 3 {
			m, _ := fakebroker.Expect[*amqpproto.QueueDeclare](s)
			time.Sleep(10 * time.Second)
			s.Send(1, &amqpproto.QueueDeclareOk{Queue: m.Queue})
		}
		fakebroker.Expect[*amqpproto.BasicGet](s)
		time.Sleep(10 * time.Second)
		s.SendContent(1, &amqpproto.BasicGetOk{DeliveryTag: 1}, nil, []byte("late"))
		fakebroker.Expect[*amqpproto.BasicGet](s)
		s.SendContent(1, &amqpproto.BasicGetOk{DeliveryTag: 2}, nil, []byte("next"))
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch := openChannel(t, conn)
		if _, err := ch.Call(shortly(t), &amqpproto.QueueDeclare{Queue: "given up"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if _, err := ch.Call(shortly(t), &amqpproto.QueueDeclare{Queue: "never sent"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		for i := range 2 {
			name := fmt.Sprint("q", i)
			m, err := ch.Call(t.Context(), &amqpproto.QueueDeclare{Queue: name})
			if err != nil || m.(*amqpproto.QueueDeclareOk).Queue != name {
				t.Errorf("got %v, %v, want the answer for %s", m, err, name)
			}
		}
		if _, _, err := ch.Get(shortly(t), "q", true); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if d, ok, err := ch.Get(t.Context(), "q", true); !ok || err != nil || string(d.Body) != "next" {
			t.Errorf("got %q, %v, %v", d.Body, ok, err)
		}
	})
}

// TestGivenUpChannel: neither a channel whose opening was given up, nor one that
// is closed while a call on it is, may keep its id, or stay open at the broker.
func TestGivenUpChannel(t *testing.T) {
	for _, test := range []struct {
		name string
		use  func(*testing.T, *Conn)
	}{
		{"opening", func(t *testing.T, conn *Conn) {
			if _, err := conn.Channel(shortly(t)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		}},
		{"a context that has ended", func(t *testing.T, conn *Conn) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := conn.Channel(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}},
		{"a call", func(t *testing.T, conn *Conn) {
			ch := openChannel(t, conn)
			ctx := shortly(t)
			if _, err := ch.Call(ctx, &amqpproto.QueueDeclare{Queue: "q"}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			if err := ch.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("close: %v", err)
			}
			if !errors.Is(ch.Err(), ErrClosed) {
				t.Errorf("it ended with %v", ch.Err())
			}
		}},
		{"closing", func(t *testing.T, conn *Conn) {
			if err := openChannel(t, conn).Close(shortly(t)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				greeting := fakebroker.Likely()
				greeting.Tune.ChannelMax = 2
				b := fakebroker.Pipe(t, socketSize, func(s *fakebroker.Session) {
					s.LoginAs(greeting)
					open := map[uint16]bool{}
					s.Serve(func(r *fakebroker.Received) bool {
						switch m := r.Method.(type) {
						case *amqpproto.ChannelOpen:
							if open[r.Channel] {
								t.Errorf("channel %d was opened twice", r.Channel)
							}
							open[r.Channel] = true
							if test.name == "opening" {
								time.Sleep(2 * time.Second)
							}
						case *amqpproto.QueueDeclare:
							time.Sleep(2 * time.Second)
						case *amqpproto.ChannelClose:
							if !open[r.Channel] {
								t.Errorf("channel %d was closed, and it was not open: %+v", r.Channel, m)
							}
							delete(open, r.Channel)
							if test.name == "closing" {
								time.Sleep(2 * time.Second)
							}
						}
						return false
					})
					if len(open) != 0 {
						t.Errorf("channels are open in the end: %v", open)
					}
				})
				conn := dial(t, config(b))
				for range 5 { // of two channels
					test.use(t, conn)
					time.Sleep(10 * time.Second)
				}
				if err := conn.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
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

// TestConcurrentCalls: calls on one channel wait for each other.
func TestConcurrentCalls(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.Serve(func(r *fakebroker.Received) bool {
			if _, ok := r.Method.(*amqpproto.QueueDeclare); ok {
				time.Sleep(time.Millisecond)
			}
			return false
		})
	}, func(t *testing.T, conn *Conn) {
		ch := openChannel(t, conn)
		errs := make(chan error)
		for i := range 20 {
			go func() {
				name := fmt.Sprint(i)
				m, err := ch.Call(t.Context(), &amqpproto.QueueDeclare{Queue: name})
				if err == nil && m.(*amqpproto.QueueDeclareOk).Queue != name {
					err = fmt.Errorf("got the answer for %v, not %s", m, name)
				}
				errs <- err
			}()
		}
		for range 20 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
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
		ch, _ := openConsumer(t, conn, "c")
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
