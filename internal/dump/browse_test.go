package dump_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

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
					declareQueue(t, client, thump.QueueSpec{Name: name, Kind: kind, DeliveryLimit: limit})
					next := 0
					publish(t, client, thump.Queue(name), count, func() thump.Message {
						next++
						return thump.Message{Body: []byte(fmt.Sprint(next))}
					})
					checkAll(t, client, name, count)

					refused, interrupted := errors.New("enough"), make(chan struct{})
					browsePart(t, client, name, part, refused, dump.Browsing{}, func() error { return refused })
					checkAll(t, client, name, count)
					browsePart(t, client, name, part, dump.ErrInterrupted, dump.Browsing{Interrupted: interrupted}, func() error { close(interrupted); return nil })
					checkAll(t, client, name, count)
					checkMarks(t, client, name, kind)

					// Cut off, the connections end in any order, and messages may be sent from one
					// to the next: they are all there.
					ctx, cancel := context.WithCancel(t.Context())
					_, err := dump.Browse(ctx, client, dump.Browsing{Queue: name, Each: func(d *thump.Delivery) error {
						if string(d.Body) == fmt.Sprint(part) {
							cancel()
						}
						return nil
					}})
					if !errors.Is(err, context.Canceled) {
						t.Fatal(err)
					}
					consumeAll(t, client, name, count)
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

// browsePart browses until how ends it at a message.
func browsePart(t *testing.T, client *thump.Client, name string, part int, want error, b dump.Browsing, how func() error) {
	t.Helper()
	n := 0
	b.Queue = name
	b.Each = func(*thump.Delivery) error {
		if n++; n == part {
			return how()
		}
		return nil
	}
	if read, err := dump.Browse(t.Context(), client, b); !errors.Is(err, want) || n < part {
		t.Fatalf("%d read, %v, want %v", read, err, want)
	}
}

// checkMarks checks what Browse has changed.
func checkMarks(t *testing.T, client *thump.Client, name string, kind thump.QueueKind) {
	t.Helper()
	counts := kind == thump.Quorum && dump.Counts(client.Server())
	_, err := dump.Browse(t.Context(), client, dump.Browsing{Queue: name, Each: func(d *thump.Delivery) error {
		n, _ := d.DeliveryCount()
		if !d.Redelivered || counts && n < 2 || !counts && n > 0 {
			return fmt.Errorf("message %s: redelivered %v, count %d", d.Body, d.Redelivered, n)
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// consumeAll takes all messages away, in whatever order.
func consumeAll(t *testing.T, client *thump.Client, name string, count int) {
	t.Helper()
	con, err := client.Consumer(t.Context(), thump.ConsumerConfig{From: thump.Queue(name)})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for len(seen) < count {
		batch, err := con.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range batch.Deliveries {
			seen[string(batch.Deliveries[i].Body)] = true
		}
		if err := batch.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	if err := con.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
