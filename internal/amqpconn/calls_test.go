package amqpconn

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// TestTogether: a reserved channel is opened with its first calls, and all of them leave before
// the first answer comes.
func TestTogether(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		fakebroker.Expect[*amqpproto.ChannelOpen](s)
		fakebroker.Expect[*amqpproto.BasicQos](s)
		fakebroker.Expect[*amqpproto.BasicConsume](s)
		s.Send(1, &amqpproto.ChannelOpenOk{})
		s.Send(1, &amqpproto.BasicQosOk{})
		s.SendBytes(fakebroker.Frame(1, &amqpproto.BasicConsumeOk{ConsumerTag: "c"}))
		fakebroker.Expect[*amqpproto.QueueDeclare](s)
		s.Send(1, &amqpproto.QueueDeclareOk{Queue: "q"})
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch := reserve(t, conn)
		in, err := ch.Consume(t.Context(), 7, &amqpproto.BasicConsume{Queue: "q", ConsumerTag: "c"})
		if err != nil || in.prefetch != 7 {
			t.Fatalf("got %v", err)
		}
		if _, err := ch.Call(t.Context(), &amqpproto.QueueDeclare{Queue: "q"}); err != nil { // the turn is free, and nothing is opened twice
			t.Error(err)
		}
	})
}

func reserve(t *testing.T, conn *Conn) *Channel {
	t.Helper()
	ch, err := conn.Reserve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// TestTogetherRefused: of calls that leave together, the first that the broker refuses is the
// one that the error names, and the answers before it are returned.
func TestTogetherRefused(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenChannel()
		fakebroker.Expect[*amqpproto.QueueDeclare](s)
		s.Send(1, &amqpproto.QueueDeclareOk{Queue: "q"})
		s.Send(1, &amqpproto.ChannelClose{ReplyCode: 404, ReplyText: "no exchange"})
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch := openChannel(t, conn)
		answers, err := ch.Calls(t.Context(), &amqpproto.QueueDeclare{Queue: "q"}, &amqpproto.QueueBind{Queue: "q", Exchange: "e"}, &amqpproto.ConfirmSelect{})
		refused, ok := errors.AsType[*ServerError](err)
		if len(answers) != 1 || !ok || refused.Code != 404 {
			t.Fatalf("%d answers, and %v", len(answers), err)
		}
		if want := "queue.bind: "; err.Error()[:len(want)] != want {
			t.Errorf("the error is %v", err)
		}
	})
}

// TestTogetherGivenUp: calls that leave together are given up in the middle, and the next call
// begins once all of their answers have come.
func TestTogetherGivenUp(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenChannel()
		fakebroker.Expect[*amqpproto.QueueDeclare](s)
		fakebroker.Expect[*amqpproto.QueueBind](s)
		fakebroker.Expect[*amqpproto.ConfirmSelect](s)
		s.Send(1, &amqpproto.QueueDeclareOk{Queue: "q"})
		time.Sleep(10 * time.Second)
		s.Send(1, &amqpproto.QueueBindOk{})
		time.Sleep(10 * time.Second)
		s.Send(1, &amqpproto.ConfirmSelectOk{})
		fakebroker.Expect[*amqpproto.QueueDeclare](s)
		s.Send(1, &amqpproto.QueueDeclareOk{Queue: "next"})
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch := openChannel(t, conn)
		answers, err := ch.Calls(shortly(t), &amqpproto.QueueDeclare{Queue: "q"}, &amqpproto.QueueBind{Queue: "q"}, &amqpproto.ConfirmSelect{})
		if len(answers) != 1 || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%d answers, and %v", len(answers), err)
		}
		if m, err := ch.Call(t.Context(), &amqpproto.QueueDeclare{Queue: "next"}); err != nil || m.(*amqpproto.QueueDeclareOk).Queue != "next" {
			t.Errorf("got %v, %v", m, err)
		}
	})
}

// TestReservedAndLeft: a channel that was reserved and never used is closed without a word to
// the broker, which does not know of it, and its id is free.
func TestReservedAndLeft(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.Serve(func(r *fakebroker.Received) bool {
			if open, ok := r.Method.(*amqpproto.ChannelOpen); ok {
				t.Errorf("%v arrived", open.ID())
			}
			return false
		})
	}, func(t *testing.T, conn *Conn) {
		ch := reserve(t, conn)
		if err := ch.Close(t.Context()); err != nil || len(conn.channels) != 1 || len(conn.slots) != 0 {
			t.Errorf("%v, %d channels", err, len(conn.channels))
		}
		if _, err := ch.Calls(t.Context()); err == nil {
			t.Error("a closed channel takes calls")
		}
	})
}
