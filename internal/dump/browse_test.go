package dump_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
	"github.com/thumpmq/thump/internal/dump"
)

// TestBrowse: what is read is all there afterwards, in order, however the reading ends, and
// what that changes is what Browse says. There are more messages than one consumer holds.
func TestBrowse(t *testing.T) {
	t.Parallel()
	const count, part = 10_000, 6_000
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum} {
			for _, limit := range []int{0, 100} {
				if kind == thump.Classic && limit > 0 {
					continue
				}
				t.Run(fmt.Sprintf("%s-limit-%d", kind, limit), func(t *testing.T) {
					t.Parallel()
					client := dial(t, b)
					name := queueName(t, client, "browse")
					if _, err := client.DeclareQueue(t.Context(), thump.QueueSpec{Name: name, Kind: kind, DeliveryLimit: limit}); err != nil {
						t.Fatal(err)
					}
					next := 0
					publish(t, client, thump.Queue(name), count, func() thump.Message {
						next++
						return thump.Message{Body: []byte(fmt.Sprint(next))}
					})
					checkAll(t, client, name, count)

					refused := errors.New("enough")
					ctx, cancel := context.WithCancel(t.Context())
					interrupted := make(chan struct{})
					for _, end := range []struct {
						ctx  context.Context
						how  func() error
						want error
					}{
						{t.Context(), func() error { return refused }, refused},
						{t.Context(), func() error { close(interrupted); return nil }, dump.ErrInterrupted},
						{ctx, func() error { cancel(); return nil }, context.Canceled},
					} {
						n := 0
						_, err := dump.Browse(end.ctx, client, dump.Browsing{Queue: name, Interrupted: interrupted, Each: func(*thump.Delivery) error {
							if n++; n == part {
								return end.how()
							}
							return nil
						}})
						if !errors.Is(err, end.want) || n < part {
							t.Fatalf("%d read, %v, want %v", n, err, end.want)
						}
						if end.want == dump.ErrInterrupted {
							interrupted = nil
						}
						awaitReady(t, client, name, count)
						if end.want != context.Canceled { // then the connections end in any order
							checkAll(t, client, name, count)
						}
					}
					checkMarks(t, client, name, kind, count)
				})
			}
		}
	})
}

// checkAll browses all, and checks that they are in order.
func checkAll(t *testing.T, client *thump.Client, name string, count uint64) {
	t.Helper()
	n := uint64(0)
	read, err := dump.Browse(t.Context(), client, dump.Browsing{Queue: name, Each: func(d *thump.Delivery) error {
		n++
		if want := fmt.Sprint(n); string(d.Body) != want {
			return fmt.Errorf("message %s is in the place of %s", d.Body, want)
		}
		return nil
	}})
	if err != nil || read != count {
		t.Fatalf("%d read: %v", read, err)
	}
}

// checkMarks consumes all, and checks what Browse has changed.
func checkMarks(t *testing.T, client *thump.Client, name string, kind thump.QueueKind, count int) {
	t.Helper()
	con, err := client.Consumer(t.Context(), thump.ConsumerConfig{From: thump.Queue(name)})
	if err != nil {
		t.Fatal(err)
	}
	counts := kind == thump.Quorum && dump.Counts(client.Server())
	seen := make(map[string]bool)
	for len(seen) < count {
		batch, err := con.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range batch.Deliveries {
			d := &batch.Deliveries[i]
			seen[string(d.Body)] = true
			n, _ := d.DeliveryCount()
			if !d.Redelivered || counts && n < 2 || n > 0 && kind == thump.Classic {
				t.Fatalf("message %s: redelivered %v, count %d", d.Body, d.Redelivered, n)
			}
			// The last reading was cut off, which counts everywhere, and what one connection
			// gave back another may have got.
			if kind == thump.Quorum && !counts && n > 3 {
				t.Fatalf("message %s was counted %d times", d.Body, n)
			}
		}
		if err := batch.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	if err := con.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// awaitReady waits until a queue has so many messages ready.
func awaitReady(t *testing.T, client *thump.Client, name string, count int) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		info, err := client.InspectQueue(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Messages == count {
			return
		}
		if time.Since(begin) > time.Minute {
			t.Fatalf("%d messages are ready, want %d", info.Messages, count)
		}
	}
}
