package load

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/brokertest"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// TestReceiveMaxBatch: what the output has at a time does not grow with what is held besides.
func TestReceiveMaxBatch(t *testing.T) {
	t.Parallel()
	queue := Queue{Name: "q", Prefetch: 65535}
	for _, test := range []struct {
		from      Place
		max, want int
	}{
		{queue, 0, 16383}, {queue, 1, 1}, {Stream{Name: "s"}, 0, streamBatch}, {Stream{Name: "s"}, 50, 50},
	} {
		cfg := ReceiveConfig{From: test.from, Output: struct{ Output }{}, MaxBatch: test.max}
		if got := cfg.consumer(0, 1).MaxBatch; got != test.want {
			t.Errorf("%v with %d: batches of %d, want %d", test.from, test.max, got, test.want)
		}
	}
}

// slowOutput takes that long for each batch.
type slowOutput time.Duration

func (o slowOutput) Write(*thump.Batch, []thump.Delivery) error {
	time.Sleep(time.Duration(o))
	return nil
}

func (slowOutput) Sync() error { return nil }

// TestPatientWithTheOutputAlone: a patient end waits for the output, however long that takes, and
// for a broker that answers nothing only as long as any other end.
func TestPatientWithTheOutputAlone(t *testing.T) {
	for _, output := range []slowOutput{0, slowOutput(20 * time.Second)} {
		synctest.Test(t, func(t *testing.T) {
			orderly := func(s *fakebroker.Session) { s.Login(); s.Serve(nil) }
			silent := func(s *fakebroker.Session) {
				s.Login()
				channel, tag := s.OpenConsumer()
				s.SendContent(channel, &amqpproto.BasicDeliver{ConsumerTag: tag, DeliveryTag: 1}, nil, []byte("x"))
				s.Discard()
			}
			b := fakebroker.Pipe(t, 64<<10, orderly, silent)
			client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL()}, DialContext: b.DialContext})
			if err != nil {
				t.Fatal(err)
			}
			stop := make(chan struct{})
			time.AfterFunc(time.Second, func() { close(stop) })
			begin := time.Now()
			var r result.Run
			_, err = Receive(t.Context(), client, ReceiveConfig{
				From: Queue{Name: "q", Prefetch: 10}, Consumers: 1, Output: output, Patient: true, Progress: new(Progress),
			}, &r, stop)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("it ended with %v", err)
			}
			least := max(time.Second, time.Duration(output))
			if took := time.Since(begin); took < least || took > least+stoppedTimeout+time.Second {
				t.Errorf("with an output that takes %v it took %v", time.Duration(output), took)
			}
			if *r.Received != 1 {
				t.Errorf("%d received", *r.Received)
			}
			_ = client.Close(t.Context())
		})
	}
}

// TestIdleWhileDeliveriesAreLate: what is on its way is waited for.
func TestIdleWhileDeliveriesAreLate(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		const count = 2000
		near, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = near.Close(context.Background()) }()
		queue := brokertest.QueueName(t)
		if _, err := near.DeclareQueue(t.Context(), thump.QueueSpec{Name: queue}); err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = near.DeleteQueue(context.Background(), queue, thump.DeleteOptions{}) }()
		pub, err := near.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue(queue)})
		if err != nil {
			t.Fatal(err)
		}
		if err := pub.Send(t.Context(), slices.Repeat([]thump.Message{{Body: []byte("x")}}, count)...); err != nil {
			t.Fatal(err)
		}
		far, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL}, DialContext: brokertest.DialLate})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = far.Close(context.Background()) }()
		var r result.Run
		cfg := ReceiveConfig{From: Queue{Name: queue, Prefetch: count}, Consumers: 1, Idle: 500 * time.Millisecond, Progress: new(Progress)}
		if _, err := Receive(t.Context(), far, cfg, &r, nil); err != nil || *r.Received != count {
			t.Errorf("%d received, %v", *r.Received, err)
		}
	})
}
