package faulttest

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// keptRounds rounds of one small message and keptLarge large ones are 64 MB.
const (
	keptRounds = 200
	keptLarge  = 8
	keptSize   = 40_000
)

// TestClonesFreeTheRest keeps a Clone of one small message in nine, unsettled, of 64 MB:
// nothing of the others may stay in memory. The clones can be settled afterwards.
func TestClonesFreeTheRest(t *testing.T) {
	large := strings.Repeat("x", keptSize)
	t.Run("queue", func(t *testing.T) {
		client := faultClient(t, noRecovery, func(s *fakebroker.Session) {
			s.Login()
			s.OpenConsumer()
			for tag := range uint64(keptRounds * (1 + keptLarge)) {
				body := large
				if tag%(1+keptLarge) == 0 {
					body = "small"
				}
				s.SendContent(1, &amqpproto.BasicDeliver{ConsumerTag: "thump", DeliveryTag: tag + 1, RoutingKey: "q"}, nil, []byte(body))
			}
			s.Serve(nil)
		})
		clonesFree(t, client, thump.ConsumerConfig{From: thump.Queue("q")})
	})
	t.Run("stream", func(t *testing.T) {
		chunk := fakebroker.Chunk(0, 0, "small")
		for range keptLarge {
			fakebroker.AddEntry(chunk, large)
		}
		frames := make([][]byte, keptRounds)
		for i := range frames {
			frames[i] = fakebroker.Deliver(chunk)
			if i > 0 {
				frames[i] = frames[0]
			}
		}
		client := faultStreamClient(t, new(offsetKeeper).serve(frames...))
		clonesFree(t, client, thump.ConsumerConfig{From: thump.Stream("events"), Stream: thump.StreamConsuming{Name: "reader"}})
	})
}

func clonesFree(t *testing.T, client *thump.Client, cfg thump.ConsumerConfig) {
	con, err := client.Consumer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var clones []thump.Delivery
	for got := 0; got < keptRounds*(1+keptLarge); {
		batch, err := con.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range batch.Deliveries {
			if len(batch.Deliveries[i].Body) < keptSize {
				clones = append(clones, batch.Deliveries[i].Clone())
			}
		}
		got += len(batch.Deliveries)
	}
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	if memory.HeapAlloc > 16<<20 {
		t.Errorf("%d clones keep %d MiB in memory", len(clones), memory.HeapAlloc>>20)
	}
	for i := range clones {
		if string(clones[i].Body) != "small" {
			t.Fatalf("a clone is %.20q", clones[i].Body)
		}
		if err := clones[i].Ack(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = con.Close(ctx) // the others were not settled
}
