package thump_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// faultDeliver sends deliveries first to last, with their tags for bodies.
func faultDeliver(s *fakebroker.Session, first, last uint64) {
	var frames []byte
	for tag := first; tag <= last; tag++ {
		frames = append(frames, fakebroker.Content(1, 131072,
			&amqpproto.BasicDeliver{ConsumerTag: "thump", DeliveryTag: tag, RoutingKey: "q"}, nil, fmt.Append(nil, tag))...)
	}
	s.SendBytes(frames)
}

// settleText writes a settlement as "ack 3+" (multiple) or "requeue 4", and any
// other method by its name.
func settleText(m amqpproto.Method) string {
	word, tag, multiple := m.ID().String(), uint64(0), false
	switch m := m.(type) {
	case *amqpproto.BasicAck:
		word, tag, multiple = "ack", m.DeliveryTag, m.Multiple
	case *amqpproto.BasicNack:
		word, tag, multiple = "nack", m.DeliveryTag, m.Multiple
		if m.Requeue {
			word = "requeue"
		}
	default:
		return word
	}
	text := fmt.Sprint(word, " ", tag)
	if multiple {
		text += "+"
	}
	return text
}

// TestFaultSettlement settles three batches of three in every order, and reads
// the frames: multiple must never reach over a batch that is open, and its tag
// must itself be unsettled, because RabbitMQ closes the channel otherwise.
func TestFaultSettlement(t *testing.T) {
	ack := func(b *thump.Batch) error { return b.Ack() }
	nack := func(b *thump.Batch) error { return b.Nack() }
	requeue := func(b *thump.Batch) error { return b.Requeue() }
	type step struct {
		batch, delivery int // delivery -1: the batch
		do              func(*thump.Batch) error
		err             error
	}
	all := func(batch int, do func(*thump.Batch) error) step { return step{batch, -1, do, nil} }
	one := func(batch, delivery int) step { return step{batch, delivery, ack, nil} }
	again := func(batch, delivery int) step { return step{batch, delivery, ack, thump.ErrSettled} }
	for _, test := range []struct {
		name  string
		steps []step
		want  string
	}{
		{"in order", []step{all(0, ack), all(1, nack), all(2, requeue)}, "ack 3+, nack 6+, requeue 9+"},
		{"the last first", []step{all(2, ack), all(1, ack), all(0, ack)}, "ack 7, ack 8, ack 9, ack 4, ack 5, ack 6, ack 3+"},
		{"the middle first", []step{all(1, ack), all(0, ack), all(2, ack)}, "ack 4, ack 5, ack 6, ack 3+, ack 9+"},
		{
			"the middle nacked, then requeued",
			[]step{all(1, nack), all(2, requeue), all(0, nack)},
			"nack 4, nack 5, nack 6, requeue 7, requeue 8, requeue 9, nack 3+",
		},
		{"one, then its batch", []step{one(0, 0), all(0, ack)}, "ack 1, ack 3+"},
		{"the last one, then its batch", []step{one(0, 2), all(0, ack)}, "ack 3, ack 2+"},
		{"the last two, then their batch", []step{one(0, 1), one(0, 2), all(0, nack), all(1, ack)}, "ack 2, ack 3, nack 1+, ack 6+"},
		{"each, then the batch", []step{one(0, 2), one(0, 0), one(0, 1), all(0, ack), all(1, ack)}, "ack 3, ack 1, ack 2, ack 6+"},
		{"one of a later batch", []step{one(1, 1), all(1, requeue), all(0, ack), all(2, ack)}, "ack 5, requeue 4, requeue 6, ack 3+, ack 9+"},
		{"the last one of a later batch", []step{one(1, 2), all(0, ack), all(1, ack)}, "ack 6, ack 3+, ack 5+"},
		{"a batch twice", []step{all(0, ack), all(0, ack), all(0, nack), all(1, ack)}, "ack 3+, ack 6+"},
		{"one twice", []step{one(0, 1), again(0, 1), all(0, ack), again(0, 0), again(0, 1)}, "ack 2, ack 3+"},
		{"one twice, the batch between", []step{all(1, ack), again(1, 0), one(0, 0), again(0, 0)}, "ack 4, ack 5, ack 6, ack 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []string
				client := faultClient(t, func(s *fakebroker.Session) {
					s.Login()
					s.OpenConsumer()
					faultDeliver(s, 1, 9)
					s.Serve(func(r *fakebroker.Received) bool {
						if text := settleText(r.Method); strings.Contains(text, "ack ") || strings.Contains(text, "requeue ") {
							got = append(got, text)
						}
						return false
					})
				})
				con, batches := receiveBatches(t, client)
				for i, step := range test.steps {
					err := error(nil)
					if step.delivery < 0 {
						err = step.do(batches[step.batch])
					} else {
						err = batches[step.batch].Deliveries[step.delivery].Ack()
					}
					if !errors.Is(err, step.err) {
						t.Errorf("step %d: got %v, want %v", i, err, step.err)
					}
				}
				if err := con.Close(t.Context()); err != nil {
					t.Error("close:", err)
				}
				if got := strings.Join(got, ", "); got != test.want {
					t.Errorf("got  %s\nwant %s", got, test.want)
				}
				open := thump.Delivery{}
				if err := open.Ack(); !errors.Is(err, thump.ErrSettled) {
					t.Errorf("a delivery of no consumer: %v", err)
				}
			})
		})
	}
}

// receiveBatches consumes three batches of three. Bodies are their tags.
func receiveBatches(t *testing.T, client *thump.Client) (*thump.Consumer, []*thump.Batch) {
	t.Helper()
	con, err := client.Consumer(t.Context(), thump.ConsumerConfig{From: thump.Queue("q"), MaxBatch: 3})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	var batches []*thump.Batch
	for i := range 3 {
		batch, err := con.Receive(t.Context())
		if err != nil || len(batch.Deliveries) != 3 {
			t.Fatalf("batch %d: %v", i, err)
		}
		for j := range batch.Deliveries {
			if got, want := string(batch.Deliveries[j].Body), fmt.Sprint(3*i+j+1); got != want {
				t.Errorf("delivery %s, want %s", got, want)
			}
		}
		batches = append(batches, batch)
	}
	return con, batches
}

// TestFaultConsumerDies: when the connection is gone, whoever receives hears how
// many deliveries were not settled, and settling says that it is too late.
func TestFaultConsumerDies(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*fakebroker.Session)
		code uint16
		want string
	}{
		{"closed", (*fakebroker.Session).Close, 0, "closed the connection"},
		{"reset", (*fakebroker.Session).Reset, 0, "reset"},
		{"silent", (*fakebroker.Session).Discard, 0, "nothing heard"},
		{"connection.close", func(s *fakebroker.Session) {
			s.Send(0, &amqpproto.ConnectionClose{ReplyCode: 320, ReplyText: "CONNECTION_FORCED - bye"})
			s.Discard()
		}, 320, "320 CONNECTION_FORCED - bye"},
		{"channel.close", func(s *fakebroker.Session) {
			s.Send(1, &amqpproto.ChannelClose{ReplyCode: 406, ReplyText: "PRECONDITION_FAILED - timeout"})
			s.Serve(nil)
		}, 406, "406 PRECONDITION_FAILED - timeout"},
		{"garbage", func(s *fakebroker.Session) {
			s.SendBytes([]byte("garbage!"))
			s.Discard()
		}, 0, "protocol violation"},
		{"a delivery tag that jumps", func(s *fakebroker.Session) {
			faultDeliver(s, 20, 20)
			s.Discard()
		}, 0, "delivery tag 20 after 9"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := faultClient(t, func(s *fakebroker.Session) {
					s.Login()
					s.OpenConsumer()
					faultDeliver(s, 1, 9)
					fakebroker.Expect[*amqpproto.BasicAck](s)
					fakebroker.Expect[*amqpproto.BasicNack](s)
					test.end(s)
				})
				con, batches := receiveBatches(t, client)
				if err := batches[0].Ack(); err != nil {
					t.Error(err)
				}
				if err := batches[1].Deliveries[0].Nack(); err != nil {
					t.Error(err)
				}
				_, err := con.Receive(t.Context())
				if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "5 deliveries were not settled") {
					t.Errorf("got %v, want %q and 5 unsettled", err, test.want)
				}
				var broker *thump.BrokerError
				if errors.As(err, &broker) != (test.code != 0) || broker != nil && broker.Code != test.code {
					t.Errorf("got %v, want code %d", err, test.code)
				}
				<-con.Done()
				for _, late := range []error{batches[1].Ack(), batches[2].Requeue(), batches[2].Deliveries[1].Ack()} {
					if late == nil || !strings.Contains(late.Error(), "too late") {
						t.Errorf("settling too late: %v", late)
					}
				}
				if err := batches[1].Deliveries[0].Ack(); !errors.Is(err, thump.ErrSettled) {
					t.Errorf("settling twice: %v", err)
				}
				if err := con.Close(t.Context()); err != nil {
					t.Error("close:", err)
				}
			})
		})
	}
}

// TestFaultServerCancels: the queue is deleted under a consumer. The loop gets
// what came before, then the reason.
func TestFaultServerCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := faultClient(t, func(s *fakebroker.Session) {
			s.Login()
			s.OpenConsumer()
			faultDeliver(s, 1, 5)
			s.Send(1, &amqpproto.BasicCancel{ConsumerTag: "thump", NoWait: true})
			s.Serve(nil)
		})
		con, err := client.Consumer(t.Context(), thump.ConsumerConfig{From: thump.Queue("q"), MaxBatch: 2})
		if err != nil {
			t.Fatal(err)
		}
		received := 0
		for batch, err := range con.Batches(t.Context()) {
			if err != nil {
				var broker *thump.BrokerError
				if !errors.As(err, &broker) || broker.Code != 0 || !strings.Contains(err.Error(), "cancelled") {
					t.Errorf("got %v", err)
				}
				break
			}
			received += len(batch.Deliveries)
			if err := batch.Ack(); err != nil {
				t.Error(err)
			}
		}
		if received != 5 {
			t.Errorf("%d received, want 5", received)
		}
		if err := con.Close(t.Context()); err != nil {
			t.Error("close:", err)
		}
	})
}

// TestFaultCloseDrains: Close lets a running loop finish what comes until the
// broker has answered the cancel, and every ack is read before the channel ends.
func TestFaultCloseDrains(t *testing.T) {
	for _, autoAck := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var got []string
			client := faultClient(t, func(s *fakebroker.Session) {
				s.Login()
				s.OpenConsumer()
				faultDeliver(s, 1, 10)
				s.Serve(func(r *fakebroker.Received) bool {
					got = append(got, settleText(r.Method))
					if m, ok := r.Method.(*amqpproto.BasicCancel); ok {
						faultDeliver(s, 11, 15)
						s.Send(1, &amqpproto.BasicCancelOk{ConsumerTag: m.ConsumerTag})
						return true
					}
					return false
				})
			})
			con, err := client.Consumer(t.Context(), thump.ConsumerConfig{From: thump.Queue("q"), MaxBatch: 4, AutoAck: autoAck})
			if err != nil {
				t.Fatal(err)
			}
			received := make(chan int)
			go func() {
				n := 0
				for batch, err := range con.Batches(t.Context()) {
					if err != nil {
						t.Error("batches:", err)
						break
					}
					time.Sleep(time.Second) // handling takes a while
					n += len(batch.Deliveries)
					if err := batch.Ack(); err != nil && !autoAck {
						t.Error("ack:", err)
					}
				}
				received <- n
			}()
			synctest.Wait()
			closed := make(chan error, 1)
			go func() { closed <- con.Close(t.Context()) }()
			if n := <-received; n != 15 {
				t.Errorf("auto-ack %v: %d received, want 15", autoAck, n)
			}
			if err := <-closed; err != nil {
				t.Error("close:", err)
			}
			want := "basic.cancel, ack 4+, ack 8+, ack 12+, ack 15+, channel.close, connection.close"
			if autoAck {
				want = "basic.cancel, channel.close, connection.close"
			}
			if got := strings.Join(got, ", "); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if _, err := con.Receive(t.Context()); !errors.Is(err, thump.ErrClosed) {
				t.Errorf("receive after close: %v", err)
			}
		})
	}
}

// TestFaultConsumerCloseInTime: Close keeps to its context when the loop does
// not come to its end, and when the broker does not answer.
func TestFaultConsumerCloseInTime(t *testing.T) {
	for _, answers := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			client := faultClient(t, func(s *fakebroker.Session) {
				s.Login()
				s.OpenConsumer()
				faultDeliver(s, 1, 1)
				if answers {
					s.Serve(nil)
				} else {
					s.Discard()
				}
			})
			con, err := client.Consumer(t.Context(), thump.ConsumerConfig{From: thump.Queue("q")})
			if err != nil {
				t.Fatal(err)
			}
			inLoop, leave := make(chan struct{}), make(chan struct{})
			go func() {
				for _, err := range con.Batches(t.Context()) {
					if err != nil {
						t.Error(err)
					}
					close(inLoop)
					<-leave
					break
				}
			}()
			<-inLoop
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			begin := time.Now()
			if err := con.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("answers %v: close: %v", answers, err)
			}
			if took := time.Since(begin); took != time.Second {
				t.Errorf("answers %v: close took %v", answers, took)
			}
			close(leave)
		})
	}
}
