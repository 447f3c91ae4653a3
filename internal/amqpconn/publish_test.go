package amqpconn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/window"
)

// collectOutcomes takes outcomes until the channel ends.
func collectOutcomes(ch *Channel) (all []outcome.Outcome, why error) {
	var taken []outcome.Outcome
	for {
		taken, why = conntest.Outcomes(ch.window())
		if why != nil {
			return all, why
		}
		all = append(all, taken...)
	}
}

// TestConfirms has a broker confirm six messages in its own ways.
func TestConfirms(t *testing.T) {
	ack := func(tag uint64) amqpproto.Method { return &amqpproto.BasicAck{DeliveryTag: tag} }
	ackTo := func(tag uint64) amqpproto.Method { return &amqpproto.BasicAck{DeliveryTag: tag, Multiple: true} }
	nack := func(tag uint64) amqpproto.Method { return &amqpproto.BasicNack{DeliveryTag: tag} }
	nackTo := func(tag uint64) amqpproto.Method { return &amqpproto.BasicNack{DeliveryTag: tag, Multiple: true} }
	for _, test := range []struct {
		name  string
		sent  []amqpproto.Method
		want  string
		total outcome.Totals
	}{
		{
			"one by one",
			[]amqpproto.Method{ack(1), ack(2), ack(3), ack(4), ack(5), ack(6)},
			"1 confirmed, 2 confirmed, 3 confirmed, 4 confirmed, 5 confirmed, 6 confirmed",
			outcome.Totals{Published: 6, Confirmed: 6},
		},
		{
			"multiple with tag 0",
			[]amqpproto.Method{ackTo(0)},
			"1 confirmed, 2 confirmed, 3 confirmed, 4 confirmed, 5 confirmed, 6 confirmed",
			outcome.Totals{Published: 6, Confirmed: 6},
		},
		{
			"as RabbitMQ does",
			[]amqpproto.Method{ackTo(2), ack(6), nack(4), ack(5), ack(3)},
			"1 confirmed, 2 confirmed, 6 confirmed, 4 rejected, 5 confirmed, 3 confirmed",
			outcome.Totals{Published: 6, Confirmed: 5, Rejected: 1},
		},
		{
			"ack twice, nack after ack",
			[]amqpproto.Method{ack(1), ack(1), nack(1), nackTo(1), ack(3), nack(3), nackTo(4)},
			"1 confirmed, 3 confirmed, 2 rejected, 4 rejected, 5 unknown, 6 unknown",
			outcome.Totals{Published: 6, Confirmed: 2, Rejected: 2, Unknown: 2},
		},
		{"none", nil, "1 unknown, 2 unknown, 3 unknown, 4 unknown, 5 unknown, 6 unknown", outcome.Totals{Published: 6, Unknown: 6}},
	} {
		t.Run(test.name, func(t *testing.T) {
			pair(t, func(s *fakebroker.Session) {
				s.OpenPublisher()
				for i := range 6 {
					if r := s.Next(); string(r.Body) != fmt.Sprint("m", i+1) {
						t.Errorf("message %d is %q", i+1, r.Body)
					}
				}
				s.Send(1, test.sent...)
				time.Sleep(time.Second)
				s.Close()
			}, func(t *testing.T, conn *Conn) {
				ch := openPublisher(t, conn, 6, true)
				publish(t, ch, 1, "m1", "m2", "m3", "m4", "m5", "m6")
				outcomes, why := collectOutcomes(ch)
				if got := outcomeText(outcomes); got != test.want || why == nil {
					t.Errorf("got %s, %v\nwant %s", got, why, test.want)
				}
				if got := ch.window().Totals(); got != test.total {
					t.Errorf("totals %+v, want %+v", got, test.total)
				}
			})
		})
	}
}

// TestReturns: the broker returns some messages, and confirms all, returned ones
// too, as RabbitMQ does.
func TestReturns(t *testing.T) {
	bodies := []string{"same", "", "same", strings.Repeat("long ", 40_000), "same", "last"}
	pair(t, func(s *fakebroker.Session) {
		s.OpenPublisher()
		var got []*fakebroker.Received
		for range bodies {
			got = append(got, s.Next())
		}
		for _, i := range []int{1, 2, 3, 4} {
			m := got[i].Method.(*amqpproto.BasicPublish)
			s.SendContent(1, &amqpproto.BasicReturn{ReplyCode: 312, ReplyText: "NO_ROUTE", Exchange: m.Exchange, RoutingKey: m.RoutingKey},
				&got[i].Properties, got[i].Body)
		}
		s.Send(1, &amqpproto.BasicAck{DeliveryTag: 6, Multiple: true})
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch := openPublisher(t, conn, 10, true)
		publish(t, ch, 1, bodies...)
		collected := make(chan []outcome.Outcome)
		go func() {
			outcomes, _ := collectOutcomes(ch)
			collected <- outcomes
		}()
		if err := ch.window().Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if bad := ch.window().Report().First; bad != (outcome.Outcome{Ref: 2, Status: outcome.Returned, Code: 312, Text: "NO_ROUTE"}) {
			t.Errorf("the first bad one is %+v", bad)
		}
		if bad := ch.window().Report().First; bad != (outcome.Outcome{}) {
			t.Errorf("the next bad one is %+v", bad)
		}
		_ = conn.Close(t.Context())
		// Of three equal messages two came back. Returns come in the order of
		// publishing, and one that came back between says which two.
		if got, want := outcomeText(<-collected), "2 returned, 3 returned, 4 returned, 5 returned, 1 confirmed, 6 confirmed"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if total := ch.window().Totals(); total != (outcome.Totals{Published: 6, Confirmed: 2, Returned: 4}) {
			t.Errorf("totals %+v", total)
		}
	})
}

// TestWindowHoldsPublishing: no more than the window is in flight, and outcomes
// that nobody takes fill it too.
func TestWindowHoldsPublishing(t *testing.T) {
	for _, collect := range []bool{false, true} {
		t.Run(fmt.Sprintf("collect %v", collect), func(t *testing.T) {
			pair(t, func(s *fakebroker.Session) {
				s.OpenPublisher()
				for range 8 {
					fakebroker.Expect[*amqpproto.BasicPublish](s)
				}
				time.Sleep(10 * time.Second)
				s.Send(1, &amqpproto.BasicAck{DeliveryTag: 8, Multiple: true})
				s.Serve(nil)
			}, func(t *testing.T, conn *Conn) {
				ch := openPublisher(t, conn, 8, collect)
				publish(t, ch, 1, strings.Split("12345678", "")...)
				if err := ch.BeginPublish(shortly(t)); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("a ninth message was let in: %v", err)
				}
				if err := ch.window().Wait(shortly(t)); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("wait for confirms: %v", err)
				}
				time.Sleep(10 * time.Second)
				if got := ch.window().Totals().Confirmed; got != 8 {
					t.Errorf("%d confirmed", got)
				}
				err := ch.BeginPublish(shortly(t))
				if (err != nil) != collect {
					t.Fatalf("publish once all are confirmed, their outcomes not taken: %v", err)
				}
				if err == nil {
					ch.EndPublish()
				}
				if collect {
					_, err := conntest.Outcomes(ch.window())
					if err != nil {
						t.Error(err)
					}
					go func() { _, _ = conntest.Outcomes(ch.window()) }() // hands them over, and waits
				}
				publish(t, ch, 9, "9")
			})
		})
	}
}

// TestWaitConfirmsOfSeveral: each waits for what was published before it began.
func TestWaitConfirmsOfSeveral(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenPublisher()
		for range 3 {
			fakebroker.Expect[*amqpproto.BasicPublish](s)
		}
		for tag := range uint64(3) {
			time.Sleep(time.Second)
			s.Send(1, &amqpproto.BasicAck{DeliveryTag: tag + 1})
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch := openPublisher(t, conn, 8, false)
		begin := time.Now()
		took := make(chan time.Duration, 3)
		for i := range 3 {
			publish(t, ch, uint64(i), "x")
			go func() {
				if err := ch.window().Wait(t.Context()); err != nil {
					t.Error(err)
				}
				took <- time.Since(begin)
			}()
			synctest.Wait()
		}
		for i := range 3 {
			if got, want := <-took, time.Duration(i+1)*time.Second; got != want {
				t.Errorf("wait %d took %v, want %v", i, got, want)
			}
		}
	})
}

// TestRefusedMessages: what cannot be sent is refused, with its size, before any
// byte of it leaves, and the channel is as good as before.
func TestRefusedMessages(t *testing.T) {
	long := strings.Repeat("x", 256)
	for _, test := range []struct {
		name string
		p    Message
		want string
	}{
		{"routing key", Message{BasicPublish: amqpproto.BasicPublish{RoutingKey: long}}, "routing-key is 256 bytes long"},
		{"exchange", Message{BasicPublish: amqpproto.BasicPublish{Exchange: long}}, "exchange is 256 bytes long"},
		{"message id", Message{Properties: amqpproto.Properties{MessageID: long}}, "message-id is 256 bytes long"},
		{"header", Message{Properties: amqpproto.Properties{Headers: amqpproto.Table{{Key: "h", Value: strings.Repeat("x", 5000)}}}}, "4096"},
		{"header key", Message{Properties: amqpproto.Properties{Headers: amqpproto.Table{{Key: long}}}}, "256 bytes long"},
		{"header type", Message{Properties: amqpproto.Properties{Headers: amqpproto.Table{{Key: "h", Value: struct{}{}}}}}, "struct {}"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				greeting := fakebroker.Likely()
				greeting.Tune.FrameMax = 4096
				b := fakebroker.Pipe(t, conntest.SocketSize, func(s *fakebroker.Session) {
					s.LoginAs(greeting)
					s.OpenPublisher()
					for _, want := range []string{"before", "after"} {
						if r := s.Next(); string(r.Body) != want {
							t.Errorf("got %q, want %q", r.Body, want)
						}
					}
					s.Send(1, &amqpproto.BasicAck{DeliveryTag: 2, Multiple: true})
					s.Serve(nil)
				})
				conn := dial(t, config(b))
				defer conntest.Drop(conn)
				ch := openPublisher(t, conn, 8, false)
				publish(t, ch, 1, "before")
				if err := ch.BeginPublish(t.Context()); err != nil {
					t.Fatal(err)
				}
				ok, err := ch.Publish(&test.p)
				ch.EndPublish()
				if ok || err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %q", err, test.want)
				}
				publish(t, ch, 2, "after")
				if err := ch.window().Wait(t.Context()); err != nil || ch.window().Totals() != (outcome.Totals{Published: 2, Confirmed: 2}) {
					t.Errorf("%v, %+v", err, ch.window().Totals())
				}
			})
		})
	}
}

// TestFrameMax: a body comes out in frames as large as was agreed, and no larger.
func TestFrameMax(t *testing.T) {
	for _, frameMax := range []uint32{4096, 8192} {
		synctest.Test(t, func(t *testing.T) {
			greeting := fakebroker.Likely()
			greeting.Tune.FrameMax = frameMax
			whole := fakebroker.Text(7, 50_000)
			b := fakebroker.Pipe(t, conntest.SocketSize, func(s *fakebroker.Session) {
				s.LoginAs(greeting)
				s.OpenPublisher()
				want, err := amqpproto.AppendPublish(nil, 1, frameMax, &amqpproto.BasicPublish{RoutingKey: "q", Mandatory: true}, nil, []byte(whole))
				if err != nil {
					t.Error(err)
				}
				largest := 0
				for got := s.ReadBytes(len(want)); len(got) > 0; {
					_, n, err := amqpproto.ParseFrame(got, frameMax)
					if err != nil || n == 0 {
						t.Errorf("frame-max %d: %d bytes of a frame, %v", frameMax, n, err)
						break
					}
					got, largest = got[n:], max(largest, n)
				}
				if largest != int(frameMax) {
					t.Errorf("frame-max %d: the largest frame is %d", frameMax, largest)
				}
				s.Send(1, &amqpproto.BasicAck{DeliveryTag: 1})
				s.Serve(nil)
			})
			conn := dial(t, config(b))
			defer conntest.Drop(conn)
			ch := openPublisher(t, conn, 8, false)
			publish(t, ch, 1, whole)
			if err := ch.window().Wait(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWithoutConfirms counts what is published and what comes back.
func TestWithoutConfirms(t *testing.T) {
	pair(t, func(s *fakebroker.Session) {
		s.OpenChannel()
		for range 3 {
			fakebroker.Expect[*amqpproto.BasicPublish](s)
		}
		for _, body := range []string{"one", "anything"} {
			s.SendContent(1, &amqpproto.BasicReturn{ReplyCode: 312, RoutingKey: "q"}, nil, []byte(body))
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch := openChannel(t, conn)
		ch.carry(t, window.Config{Messages: 10, Unconfirmed: true})
		publish(t, ch, 1, "one", "two", "three")
		if err := ch.Qos(t.Context(), 0); err != nil {
			t.Error(err)
		}
		if got := ch.window().Totals(); got != (outcome.Totals{Published: 3, Returned: 2}) {
			t.Errorf("totals %+v", got)
		}
		if bad := ch.window().Report().First; bad != (outcome.Outcome{Status: outcome.Returned, Code: 312}) {
			t.Errorf("the first bad one is %+v", bad)
		}
	})
}
