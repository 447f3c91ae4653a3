package faulttest

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

// settleText writes a settlement as "ack 3+" (multiple), "reject 4", "requeue 4" or
// "release 4", and any other method by its name.
func settleText(m amqpproto.Method) string {
	word, tag, multiple := m.ID().String(), uint64(0), false
	switch m := m.(type) {
	case *amqpproto.BasicAck:
		word, tag, multiple = "ack", m.DeliveryTag, m.Multiple
	case *amqpproto.BasicNack:
		word, tag, multiple = "reject", m.DeliveryTag, m.Multiple
		if m.Requeue {
			word = "release"
		}
	case *amqpproto.BasicReject:
		word, tag = "basic.reject", m.DeliveryTag
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
	reject := func(b *thump.Batch) error { return b.Reject() }
	release := func(b *thump.Batch) error { return b.Release() }
	requeue := func(b *thump.Batch) error { return b.Requeue() }
	type step struct {
		batch, delivery int // delivery -1: the batch
		do              func(*thump.Batch) error
		err             error
	}
	all := func(batch int, do func(*thump.Batch) error) step { return step{batch, -1, do, nil} }
	one := func(batch, delivery int) step { return step{batch, delivery, ack, nil} }
	again := func(batch, delivery int) step { return step{batch, delivery, ack, thump.ErrSettled} }
	twice := func(batch int, do func(*thump.Batch) error) step { return step{batch, -1, do, thump.ErrSettled} }
	for _, test := range []struct {
		name  string
		steps []step
		want  string
	}{
		{"in order", []step{all(0, ack), all(1, reject), all(2, release)}, "ack 3+, reject 6+, release 9+"},
		{"requeued", []step{all(0, requeue), all(1, ack), all(2, requeue)}, "requeue 1, requeue 2, requeue 3, ack 6+, requeue 7, requeue 8, requeue 9"},
		{"the last first", []step{all(2, ack), all(1, ack), all(0, ack)}, "ack 7, ack 8, ack 9, ack 4, ack 5, ack 6, ack 3+"},
		{"the middle first", []step{all(1, ack), all(0, ack), all(2, ack)}, "ack 4, ack 5, ack 6, ack 3+, ack 9+"},
		{
			"the middle rejected, then released",
			[]step{all(1, reject), all(2, release), all(0, reject)},
			"reject 4, reject 5, reject 6, release 7, release 8, release 9, reject 3+",
		},
		{"one, then its batch", []step{one(0, 0), all(0, ack)}, "ack 1, ack 3+"},
		{"the last one, then its batch", []step{one(0, 2), all(0, ack)}, "ack 3, ack 2+"},
		{"the last two, then their batch", []step{one(0, 1), one(0, 2), all(0, reject), all(1, ack)}, "ack 2, ack 3, reject 1+, ack 6+"},
		{"each, then the batch", []step{one(0, 2), one(0, 0), one(0, 1), all(0, ack), all(1, ack)}, "ack 3, ack 1, ack 2, ack 6+"},
		{"one of a later batch", []step{one(1, 1), all(1, requeue), all(0, ack), all(2, ack)}, "ack 5, requeue 4, requeue 6, ack 3+, ack 9+"},
		{"the last one of a later batch", []step{one(1, 2), all(0, ack), all(1, ack)}, "ack 6, ack 3+, ack 5+"},
		{"a batch twice", []step{all(0, ack), twice(0, ack), twice(0, reject), all(1, ack)}, "ack 3+, ack 6+"},
		{"one twice", []step{one(0, 1), again(0, 1), all(0, ack), again(0, 0), again(0, 1)}, "ack 2, ack 3+"},
		{"one twice, the batch between", []step{all(1, ack), again(1, 0), one(0, 0), again(0, 0)}, "ack 4, ack 5, ack 6, ack 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []string
				client := faultClient(t, noRecovery, func(s *fakebroker.Session) {
					s.Login()
					s.OpenConsumer()
					faultDeliver(s, 1, 9)
					s.Serve(func(r *fakebroker.Received) bool {
						if text := settleText(r.Method); strings.Contains(text, " ") {
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
				closeUnsettled(t, con)
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

// closeUnsettled closes a consumer that may have left deliveries unsettled.
func closeUnsettled(t *testing.T, con *thump.Consumer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := con.Close(ctx)
	if err != nil && (!errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "not settled") && !strings.Contains(err.Error(), "not acked")) {
		t.Error("close:", err)
	}
	if errors.Is(err, context.DeadlineExceeded) && strings.Contains(err.Error(), " 0 deliveries") {
		t.Error("close: nothing is unsettled:", err)
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
				client := faultClient(t, noRecovery, func(s *fakebroker.Session) {
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
				if err := batches[1].Deliveries[0].Reject(); err != nil {
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
				for _, late := range []error{batches[1].Ack(), batches[2].Requeue(), batches[2].Deliveries[1].Ack(), batches[2].Reject(), batches[2].Release()} {
					if !errors.Is(late, thump.ErrStale) || !strings.Contains(late.Error(), test.want) {
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

// TestFaultServerCancels: the queue is deleted under a consumer. The loop gets the
// reason after the batch that it has, and what it has can't be settled any more.
func TestFaultServerCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := faultClient(t, noRecovery, func(s *fakebroker.Session) {
			s.Login()
			s.OpenConsumer()
			faultDeliver(s, 1, 5)
			time.Sleep(time.Second)
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
			if err := batch.Deliveries[0].Ack(); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Second) // meanwhile it is cancelled
			for _, late := range []error{batch.Ack(), batch.Deliveries[1].Requeue()} {
				if !errors.Is(late, thump.ErrStale) || !strings.Contains(late.Error(), "cancelled") {
					t.Errorf("settling after the broker cancelled: %v", late)
				}
			}
			if err := batch.Deliveries[0].Ack(); !errors.Is(err, thump.ErrSettled) {
				t.Errorf("settling twice: %v", err)
			}
			if err := con.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), "cancelled") {
				t.Errorf("flush: %v", err)
			}
		}
		if received != 2 {
			t.Errorf("%d received, want 2", received)
		}
		if err := con.Close(t.Context()); err != nil {
			t.Error("close:", err)
		}
	})
}

// TestFaultServerCancelsDuringClose: what a Close waits for can no longer be settled, so
// it ends, and says why.
func TestFaultServerCancelsDuringClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := faultClient(t, noRecovery, func(s *fakebroker.Session) {
			s.Login()
			s.OpenConsumer()
			faultDeliver(s, 1, 2)
			m, _ := fakebroker.Expect[*amqpproto.BasicCancel](s)
			s.Send(1, &amqpproto.BasicCancelOk{ConsumerTag: m.ConsumerTag})
			time.Sleep(time.Second)
			s.Send(1, &amqpproto.BasicCancel{ConsumerTag: "thump", NoWait: true})
			s.Serve(nil)
		})
		con, err := client.Consumer(t.Context(), thump.ConsumerConfig{From: thump.Queue("q")})
		if err != nil {
			t.Fatal(err)
		}
		batch, err := con.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		err = con.Close(ctx)
		if err == nil || !strings.Contains(err.Error(), "cancelled") || !strings.Contains(err.Error(), "2 deliveries were not settled") {
			t.Errorf("close: %v", err)
		}
		if took := time.Since(begin); took != time.Second {
			t.Errorf("close took %v", took)
		}
		if err := batch.Ack(); !errors.Is(err, thump.ErrStale) {
			t.Errorf("ack: %v", err)
		}
	})
}

// TestFaultStop: Stop in another goroutine lets a loop end after the batch that it
// has, and what was not handed out goes back, uncounted, what comes before the broker
// has answered included. With AutoAck, where it would be lost, it is handed out.
// Close then waits for what was handed out, wherever it is settled.
func TestFaultStop(t *testing.T) {
	for _, autoAck := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var got []string
			client := faultClient(t, noRecovery, func(s *fakebroker.Session) {
				s.Login()
				s.OpenConsumer()
				faultDeliver(s, 1, 6)
				s.Serve(func(r *fakebroker.Received) bool {
					got = append(got, settleText(r.Method))
					if m, ok := r.Method.(*amqpproto.BasicCancel); ok {
						faultDeliver(s, 7, 8)
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
					n += len(batch.Deliveries)
					time.Sleep(time.Second) // meanwhile it is stopped
					go func() {             // the work leaves the loop
						time.Sleep(time.Minute)
						if err := batch.Ack(); !errors.Is(err, thump.ErrAutoAck) && (autoAck || err != nil) {
							t.Error("ack:", err)
						}
					}()
				}
				received <- n
			}()
			synctest.Wait()
			begin := time.Now()
			con.Stop()
			con.Stop()
			if _, err := con.Receive(ended(t)); err == nil {
				t.Error("received after Stop")
			}
			want, wantFrames, wantWait := 4, "basic.cancel, release 5, release 6, release 7, release 8, ack 4+, basic.qos, connection.close", time.Minute+time.Second
			if autoAck {
				want, wantFrames, wantWait = 8, "basic.cancel, connection.close", 2*time.Second
			}
			if n := <-received; n != want {
				t.Errorf("auto-ack %v: %d received, want %d", autoAck, n, want)
			}
			<-con.Done()
			if !errors.Is(con.Err(), thump.ErrClosed) {
				t.Errorf("it ended with %v", con.Err())
			}
			if err := con.Close(t.Context()); err != nil {
				t.Error("close:", err)
			}
			if took := time.Since(begin); took != wantWait {
				t.Errorf("auto-ack %v: it took %v, want %v", autoAck, took, wantWait)
			}
			if got := strings.Join(got, ", "); got != wantFrames {
				t.Errorf("got  %s\nwant %s", got, wantFrames)
			}
			if _, err := con.Receive(t.Context()); !errors.Is(err, thump.ErrClosed) {
				t.Errorf("receive after close: %v", err)
			}
			time.Sleep(time.Hour) // acks of AutoAck
		})
	}
}

// ended is a context that has ended.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// TestFaultConsumerCloseInTime: Close keeps to its context when the loop does
// not come to its end, and when the broker does not answer.
func TestFaultConsumerCloseInTime(t *testing.T) {
	for _, answers := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			client := faultClient(t, noRecovery, func(s *fakebroker.Session) {
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

// TestFaultGetNamesItsQueue: an error of settling says of which queue.
func TestFaultGetNamesItsQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fakebroker.Pipe(t, 64<<10, func(s *fakebroker.Session) {
			s.Login()
			s.Serve(func(r *fakebroker.Received) bool {
				_, get := r.Method.(*amqpproto.BasicGet)
				if get {
					s.SendBytes(fakebroker.Content(1, 131072, &amqpproto.BasicGetOk{DeliveryTag: 1, RoutingKey: "q"}, nil, []byte("body")))
				}
				return get
			})
		})
		client, err := thump.Dial(t.Context(), thump.Config{Recovery: noRecovery, URLs: []string{b.URL()}, DialContext: b.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		d, ok, err := client.GetUnacked(t.Context(), "q")
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if err := d.Ack(); err != nil {
			t.Error(err)
		}
		err = d.Ack()
		if want := `thump: settling deliveries of queue "q": already settled`; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		_ = client.Close(t.Context())
	})
}

// TestFaultSecondReceiver: who waits for another one's loop, or in the loop for its own,
// sees the end of the consumer, and says what the loop would say.
func TestFaultSecondReceiver(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*testing.T, *thump.Consumer)
		fail bool // the broker ends it
	}{
		{"stop", func(_ *testing.T, con *thump.Consumer) { con.Stop() }, false},
		{"close", func(t *testing.T, con *thump.Consumer) {
			if err := con.Close(ended(t)); !errors.Is(err, context.Canceled) {
				t.Error("close:", err)
			}
		}, false},
		{"the broker's end", func(*testing.T, *thump.Consumer) {}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := faultClient(t, noRecovery, func(s *fakebroker.Session) {
					s.Login()
					s.OpenConsumer()
					faultDeliver(s, 1, 2)
					if test.fail {
						time.Sleep(time.Second)
						s.Close()
					}
					s.Serve(nil)
				})
				con, err := client.Consumer(t.Context(), thump.ConsumerConfig{From: thump.Queue("q"), MaxBatch: 1})
				if err != nil {
					t.Fatal(err)
				}
				looped := make(chan error)
				for _, err := range con.Batches(t.Context()) {
					if err != nil {
						t.Fatal(err)
					}
					go func() {
						time.Sleep(time.Second)
						test.end(t, con)
					}()
					go func() {
						var said error
						for _, err := range con.Batches(context.Background()) {
							said = err
						}
						looped <- said
					}()
					_, err := con.Receive(context.Background())
					switch said := <-looped; {
					case test.fail:
						for _, err := range []error{err, said} {
							if err == nil || !strings.Contains(err.Error(), "without a word") || !strings.Contains(err.Error(), "1 delivery was not settled") {
								t.Errorf("got %v", err)
							}
						}
					case !errors.Is(err, thump.ErrClosed) || said != nil:
						t.Errorf("Receive: %v, a loop: %v", err, said)
					}
					break
				}
				err = con.Close(ended(t))
				if test.fail && err != nil && !errors.Is(err, context.Canceled) {
					t.Error("close:", err)
				}
			})
		})
	}
}

// TestFaultFlushBehindLargeDeliveries: whoever flushes takes nothing meanwhile, and the
// answer comes after all that prefetch allows.
func TestFaultFlushBehindLargeDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const large, count = 1 << 20, 64
		client := faultClient(t, noRecovery, func(s *fakebroker.Session) {
			s.Login()
			s.OpenConsumer()
			for tag := range uint64(count) {
				s.SendBytes(fakebroker.Content(1, 131072,
					&amqpproto.BasicDeliver{ConsumerTag: "thump", DeliveryTag: tag + 1, RoutingKey: "q"}, nil, make([]byte, large)))
			}
			s.Serve(nil)
		})
		con, err := client.Consumer(t.Context(), thump.ConsumerConfig{From: thump.Queue("q"), MaxBatch: 1})
		if err != nil {
			t.Fatal(err)
		}
		batch, err := con.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := batch.Ack(); err != nil {
			t.Error(err)
		}
		if err := con.Flush(t.Context()); err != nil {
			t.Error("flush:", err)
		}
		if err := con.Close(t.Context()); err != nil {
			t.Error("close:", err)
		}
	})
}
