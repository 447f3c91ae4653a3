package faulttest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// silentPublisher is a publisher to a broker that takes everything and confirms
// nothing, over each protocol; cut ends its connection.
func silentPublisher(t *testing.T, cfg thump.PublisherConfig, test func(t *testing.T, pub *thump.Publisher, cut func())) {
	t.Helper()
	for _, streams := range []bool{false, true} {
		name := "AMQP 0-9-1"
		if streams {
			name = "streams"
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				over := make(chan struct{})
				var client *thump.Client
				if streams {
					cfg.To = thump.Stream("events")
					client = faultStreamClient(t, func(s *fakebroker.StreamSession) {
						s.Login()
						s.OpenPublisher(0)
						go s.Discard()
						<-over
						s.Close()
					})
				} else {
					cfg.To = thump.Queue("q")
					client = faultClient(t, noRecovery, func(s *fakebroker.Session) {
						s.Login()
						s.OpenPublisher()
						go s.Discard()
						<-over
						s.Close()
					})
				}
				pub, err := client.Publisher(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				cut := func() {
					select {
					case <-over:
					default:
						close(over)
					}
				}
				test(t, pub, cut)
				cut()
				synctest.Wait()
			})
		})
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// TestFaultUnknownSaysWhy: an Unknown outcome has the reason, whether the connection or
// the caller's patience ended, for all who are told.
func TestFaultUnknownSaysWhy(t *testing.T) {
	const died = "the broker closed the connection without a word"
	var collected []thump.Outcome
	cfg := thump.PublisherConfig{OnOutcomes: func(list []thump.Outcome) { collected = append(collected, list...) }}
	silentPublisher(t, cfg, func(t *testing.T, pub *thump.Publisher, cut func()) {
		collected = nil
		told := outcomeError(t, pub.Send(within(t, time.Second), thump.Message{Ref: 1}, thump.Message{Ref: 2}))
		if told.Unknown != 2 || !errors.Is(told, context.DeadlineExceeded) || errors.Is(told, thump.ErrNotSent) ||
			told.Outcomes[1] != (thump.Outcome{Ref: 2, Status: thump.Unknown, Text: "context deadline exceeded"}) {
			t.Errorf("when ctx ends: %v, %+v", told, told.Outcomes)
		}
		var done []thump.Outcome
		if _, err := pub.Publish(t.Context(), thump.Message{Ref: 3, Done: func(o thump.Outcome) { done = append(done, o) }}); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, cut)
		told = outcomeError(t, pub.Send(t.Context(), thump.Message{Ref: 4}))
		if told.Unknown != 1 || told.Outcomes[0] != (thump.Outcome{Ref: 4, Status: thump.Unknown, Text: died}) || !strings.Contains(told.Error(), died) {
			t.Errorf("when the connection ends: %v, %+v", told, told.Outcomes)
		}
		<-pub.Done()
		if len(done) != 1 || done[0] != (thump.Outcome{Ref: 3, Status: thump.Unknown, Text: died}) {
			t.Errorf("Done got %+v", done)
		}
		if len(collected) != 4 {
			t.Errorf("OnOutcomes got %+v", collected)
		}
		for _, o := range collected {
			if o.Status != thump.Unknown || o.Text != died {
				t.Errorf("OnOutcomes got %+v", o)
			}
		}
	})
}

// TestFaultDoneAfterTheLastCallback: whoever waits for Done overlaps with no callback.
func TestFaultDoneAfterTheLastCallback(t *testing.T) {
	running := false
	cfg := thump.PublisherConfig{OnOutcomes: func([]thump.Outcome) {
		running = true
		time.Sleep(time.Second)
		running = false
	}}
	silentPublisher(t, cfg, func(t *testing.T, pub *thump.Publisher, cut func()) {
		if _, err := pub.Publish(t.Context(), make([]thump.Message, 100)...); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, cut)
		if err := pub.Err(); err != nil {
			t.Errorf("Err before the end: %v", err)
		}
		<-pub.Done()
		if running {
			t.Error("Done is closed, and a callback runs")
		}
		if pub.Err() == nil || pub.Counts().Unknown != 100 {
			t.Errorf("it ended with %v, counts %+v", pub.Err(), pub.Counts())
		}
	})
}

// TestFaultWaitingSaysForWhat: a Publish whose context ends says what it waited for, and
// how long that may last.
func TestFaultWaitingSaysForWhat(t *testing.T) {
	silentPublisher(t, thump.PublisherConfig{Window: 10}, func(t *testing.T, pub *thump.Publisher, _ func()) {
		n, err := pub.Publish(within(t, time.Second), make([]thump.Message, 20)...)
		if n != 10 || !errors.Is(err, thump.ErrNotSent) || !errors.Is(err, context.DeadlineExceeded) ||
			!strings.Contains(err.Error(), "message 11 of 20 was not sent: the window is full: 10 messages have no outcome yet: context deadline exceeded") {
			t.Errorf("%d accepted: %v", n, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		client := faultClient(t, noRecovery, func(s *fakebroker.Session) {
			s.Login()
			s.OpenPublisher()
			s.Send(0, &amqpproto.ConnectionBlocked{Reason: "low on memory"})
			s.Serve(nil)
		})
		pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue("q")})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		n, err := pub.Publish(within(t, time.Second), thump.Message{})
		if n != 0 || !errors.Is(err, thump.ErrNotSent) || !strings.Contains(err.Error(), "not sent: the broker blocks publishing (low on memory): context deadline exceeded") {
			t.Errorf("%d accepted: %v", n, err)
		}
	})
}

// TestFaultCloseWaitsForNobody: a Close keeps to its context while nothing is confirmed
// and a callback does not return, and so does a Close beside it.
func TestFaultCloseWaitsForNobody(t *testing.T) {
	silentPublisher(t, thump.PublisherConfig{}, func(t *testing.T, pub *thump.Publisher, _ func()) {
		if _, err := pub.Publish(t.Context(), thump.Message{Done: func(thump.Outcome) { time.Sleep(time.Hour) }}, thump.Message{}); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		first := make(chan error, 1)
		go func() { first <- pub.Close(within(t, 3*time.Second)) }()
		synctest.Wait()
		if n, err := pub.Publish(t.Context(), thump.Message{}); n != 0 || !errors.Is(err, thump.ErrClosed) || !errors.Is(err, thump.ErrNotSent) {
			t.Errorf("during Close: %d accepted, %v", n, err)
		}
		if err := pub.Close(within(t, time.Second)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the second Close: %v", err)
		}
		told := outcomeError(t, <-first)
		if took := time.Since(begin); took != 3*time.Second || told.Unknown != 2 || !errors.Is(told, context.DeadlineExceeded) {
			t.Errorf("the first Close took %v: %v", took, told)
		}
		time.Sleep(2 * time.Hour)
		<-pub.Done()
	})
}

// TestFaultSendTellsOnce: what a Send has said of its messages, Flush and Close do not say
// again. What became known after a Send had gone they say, and what nobody was told.
func TestFaultSendTellsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := make(chan struct{})
		client := faultClient(t, noRecovery, func(s *fakebroker.Session) {
			s.Login()
			s.OpenPublisher()
			var tag uint64
			s.Serve(func(r *fakebroker.Received) bool {
				if _, ok := r.Method.(*amqpproto.BasicPublish); !ok {
					return false
				}
				if string(r.Body) == "late" {
					<-refused
				}
				tag++
				s.Send(1, &amqpproto.BasicNack{DeliveryTag: tag})
				return true
			})
		})
		pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue("q")})
		if err != nil {
			t.Fatal(err)
		}
		send := func(ctx context.Context, body string) *thump.OutcomeError {
			return outcomeError(t, pub.Send(ctx, thump.Message{Body: []byte(body), Ref: 1}, thump.Message{Body: []byte(body), Ref: 1}))
		}
		if e := send(t.Context(), "x"); e.Rejected != 2 {
			t.Error(e)
		}
		if err := pub.Flush(t.Context()); err != nil {
			t.Errorf("Flush after a Send: %v", err)
		}
		if _, err := pub.Publish(t.Context(), thump.Message{Body: []byte("x"), Ref: 7}); err != nil {
			t.Fatal(err)
		}
		if e := send(t.Context(), "x"); e.Rejected != 2 {
			t.Error(e)
		}
		if e := outcomeError(t, pub.Flush(t.Context())); e.Published != 1 || e.Rejected != 1 || e.First.Ref != 7 {
			t.Errorf("Flush after a Publish and a Send: %+v", e)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if e := send(ctx, "late"); e.Unknown != 2 {
			t.Error(e)
		}
		close(refused)
		if e := outcomeError(t, pub.Flush(t.Context())); e.Published != 2 || e.Rejected != 2 {
			t.Errorf("Flush after a Send that did not wait: %+v", e)
		}
		if e := send(t.Context(), "x"); e.Rejected != 2 {
			t.Error(e)
		}
		if n := pub.Counts(); n.Rejected != 9 {
			t.Errorf("Counts: %+v", n)
		}
		if err := pub.Close(t.Context()); err != nil {
			t.Errorf("Close after a Send: %v", err)
		}
	})
}
