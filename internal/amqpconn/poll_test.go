package amqpconn

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// openPoller makes a consumer that polls.
func openPoller(t *testing.T, conn *Conn) (*Channel, *Inbox) {
	t.Helper()
	ch := openChannel(t, conn)
	in, err := ch.Poll("q", false)
	if err != nil {
		t.Fatal(err)
	}
	return ch, in
}

// give answers a basic.get with a message.
func give(s *fakebroker.Session, tag uint64, body string) {
	s.SendContent(1, &amqpproto.BasicGetOk{DeliveryTag: tag, Exchange: "x", RoutingKey: "key", Redelivered: tag > 1}, &amqpproto.Properties{MessageID: "id"}, []byte(body))
}

func expectGet(s *fakebroker.Session) {
	if get, _ := fakebroker.Expect[*amqpproto.BasicGet](s); get.Queue != "q" || get.NoAck {
		panic("another get")
	}
}

// take is one Take, and the body that it brought; "" for none.
func take(t *testing.T, ctx context.Context, in *Inbox) (string, error) {
	t.Helper()
	var d Deliveries
	defer in.Watch(ctx)()
	err := in.Take(ctx, &d, 10)
	if err != nil || len(d.List) == 0 {
		return "", err
	}
	if m := d.List[0]; len(d.List) > 1 || m.Exchange != "x" || m.RoutingKey != "key" || m.Redelivered != (m.Tag > 1) || m.Properties == nil {
		t.Errorf("%d messages, the first %+v", len(d.List), m)
	}
	return string(d.List[0].Body), nil
}

// TestPoll asks for messages, of every size that comes in another way, and of an empty queue.
func TestPoll(t *testing.T) {
	bodies := []string{"one", "", fakebroker.Text(1, aliasMax), fakebroker.Text(2, 300_000), "last"}
	pair(t, func(s *fakebroker.Session) {
		s.OpenChannel()
		for i, body := range bodies {
			expectGet(s)
			s.Send(1, &amqpproto.BasicGetEmpty{})
			expectGet(s)
			give(s, uint64(i)+1, body)
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch, in := openPoller(t, conn)
		for _, want := range bodies {
			for _, want := range []string{"", want} {
				if !ch.Ask(in) {
					t.Error("it has not asked")
				}
				if got, err := take(t, t.Context(), in); err != nil || got != want {
					t.Fatalf("%d bytes, %v, want %d", len(got), err, len(want))
				}
			}
		}
	})
}

// TestPollLater: an answer that nobody waits for any more stays in the inbox, and nothing is asked for
// meanwhile, or while a message waits.
func TestPollLater(t *testing.T) {
	const late = 2 * time.Second // more than shortly
	pair(t, func(s *fakebroker.Session) {
		s.OpenChannel()
		expectGet(s)
		time.Sleep(late)
		give(s, 1, "late")
		expectGet(s)
		time.Sleep(late)
		s.Send(1, &amqpproto.BasicGetEmpty{})
		expectGet(s)
		give(s, 2, "next")
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch, in := openPoller(t, conn)
		tooEarly := func() {
			t.Helper()
			if !ch.Ask(in) || ch.Ask(in) {
				t.Error("it has not asked once")
			}
			if _, err := take(t, shortly(t), in); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("without an answer: %v", err)
			}
			if ch.Ask(in) {
				t.Error("it has asked again, and the answer has not come")
			}
		}
		tooEarly()
		if got, err := take(t, t.Context(), in); err != nil || got != "late" {
			t.Errorf("%q, %v", got, err)
		}
		tooEarly()
		if got, err := take(t, t.Context(), in); err != nil || got != "" {
			t.Errorf("%q, %v", got, err)
		}
		if !ch.Ask(in) {
			t.Error("it has not asked")
		}
		if got, err := take(t, t.Context(), in); err != nil || got != "next" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// TestPollCancel: what was asked for comes before the end, and can be given back; nothing more is asked
// for.
func TestPollCancel(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenChannel()
		expectGet(s)
		fakebroker.Expect[*amqpproto.BasicQos](s)
		give(s, 1, "on its way")
		s.Send(1, &amqpproto.BasicQosOk{})
		if nack, _ := fakebroker.Expect[*amqpproto.BasicNack](s); nack.DeliveryTag != 1 || !nack.Requeue {
			panic("another nack")
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch, in := openPoller(t, conn)
		ch.Ask(in)
		in.Shut(ErrCancelled)
		if err := ch.Cancel(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		if !in.Untaken() {
			t.Error("what was asked for has not come")
		}
		if err := ch.GiveBack(in, false); err != nil {
			t.Error(err)
		}
		if ch.Ask(in) {
			t.Error("it has asked after Cancel")
		}
		if _, err := take(t, t.Context(), in); !errors.Is(err, ErrCancelled) {
			t.Errorf("taking after Cancel: %v", err)
		}
		if err := ch.Close(t.Context()); err != nil { // the broker has read the nack
			t.Error(err)
		}
	})
}

// TestPollEnds: the end of the channel ends a Take.
func TestPollEnds(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenChannel()
		expectGet(s)
		s.Send(1, &amqpproto.ChannelClose{ReplyCode: amqpproto.NotFound, ReplyText: "no queue"})
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch, in := openPoller(t, conn)
		ch.Ask(in)
		_, err := take(t, t.Context(), in)
		if server, ok := errors.AsType[*ServerError](err); !ok || server.Code != amqpproto.NotFound {
			t.Errorf("after the channel has ended: %v", err)
		}
		if ch.Ask(in) {
			t.Error("it has asked on a channel that has ended")
		}
		if _, err := ch.Poll("q", false); err == nil {
			t.Error("a channel that has ended polls")
		}
	})
}

// TestPollUnasked: a broker must not answer what was not asked.
func TestPollUnasked(t *testing.T) {
	for _, test := range []struct {
		name, want string
		answer     func(*fakebroker.Session)
	}{
		{"a second message", "basic.get-ok, which answers nothing", func(s *fakebroker.Session) { give(s, 1, "one"); give(s, 2, "two") }},
		{"a second empty answer", "basic.get-empty, which answers nothing", func(s *fakebroker.Session) {
			s.Send(1, &amqpproto.BasicGetEmpty{}, &amqpproto.BasicGetEmpty{})
		}},
		{"a tag that is no next", "delivery tag 2 after 0", func(s *fakebroker.Session) { give(s, 2, "two") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			pair(t, func(s *fakebroker.Session) {
				s.OpenChannel()
				expectGet(s)
				test.answer(s)
				s.Discard()
			}, func(t *testing.T, conn *Conn) {
				ch, in := openPoller(t, conn)
				ch.Ask(in)
				<-conn.Done()
				checkViolation(t, conn.Err(), test.want)
			})
		})
	}
}
