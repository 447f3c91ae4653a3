package streamconn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
	"github.com/thumpmq/thump/internal/window"
)

// TestBytesInFlight: besides the number of messages, their bytes are bounded, of
// entries and of batches; there is room again once an eighth was confirmed.
func TestBytesInFlight(t *testing.T) {
	const size = 50_000
	for _, cfg := range []PublisherConfig{
		{SubEntry: 1}, {SubEntry: 500}, {SubEntry: 3, Compression: compress.LZ4}, {SubEntry: 1, Filtered: true},
	} {
		t.Run(fmt.Sprintf("%d, %v, filtered %v", cfg.SubEntry, cfg.Compression, cfg.Filtered), func(t *testing.T) {
			pair(t, func(s *fakebroker.StreamSession) {
				s.OpenPublisher(0)
				var mu sync.Mutex
				var entries []fakebroker.PublishedEntry
				confirm := func(messages int) {
					mu.Lock()
					defer mu.Unlock()
					var ids []uint64
					for _, e := range entries {
						if messages -= len(e.Bodies); messages < 0 {
							break
						}
						ids = append(ids, e.ID)
					}
					s.Confirm(0, ids...) // some of them once more
				}
				go func() {
					time.Sleep(time.Minute)
					confirm(16)
					time.Sleep(time.Minute)
					confirm(48)
				}()
				s.Serve(func(r *fakebroker.StreamReceived) bool {
					p, ok := r.Command.(*fakebroker.Published)
					if ok {
						mu.Lock()
						entries = append(entries, p.Entries...)
						mu.Unlock()
					}
					return ok
				})
			}, func(t *testing.T, conn *Conn) {
				cfg.Window = newWindow(2000, false)
				p := openPublisher(t, conn, cfg)
				begin := time.Now()
				n := 0
				for more := -1; more != 0; n += more {
					more = publishRandomBytes(t, p, size)
				}
				if least, most := windowBytesMost/size-1, (windowBytesMost+transport.OutRoom)/size+4; n < least || n > most {
					t.Errorf("%d messages of %d bytes were taken, want from %d to %d", n, size, least, most)
				}
				if err := p.Begin(t.Context()); err != nil {
					t.Fatal(err)
				}
				p.End()
				if took := time.Since(begin); took != 2*time.Minute {
					t.Errorf("there was room again after %v", took)
				}
				conntest.Goodbye(t, conn)
			})
		})
	}
}

// publishRandomBytes publishes messages of n bytes, which can't be compressed,
// for as long as it need not wait long for room, and returns
// how many.
func publishRandomBytes(t *testing.T, p *Publisher, n int) (taken int) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{})
	body := make([]byte, n)
	for {
		_, _ = random.Read(body) // never fails
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := p.Begin(ctx); err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			return taken
		}
		var ok bool
		var err error
		if p.cfg.Filtered {
			ok, err = p.PublishMessage(window.Tag{}, 0, amqp10.AppendData(nil, body), "f", n)
		} else {
			ok, err = p.Publish(window.Tag{}, 0, body)
		}
		if p.End(); err != nil {
			t.Fatal(err)
		}
		if ok {
			taken++
		}
	}
}

// TestLargeConfirm: the broker confirms as many entries at once as it likes,
// whatever was agreed for our frames.
func TestLargeConfirm(t *testing.T) {
	const n = 50_000
	g := fakebroker.LikelyStream()
	g.Tune.FrameMax = 4096
	pairAs(t, g, func(s *fakebroker.StreamSession) {
		s.OpenPublisher(0)
		var ids []uint64
		for _, e := range published(s, n) {
			ids = append(ids, e.ID)
		}
		s.Confirm(0, ids[:n/2]...)
		s.SendBytes(streamproto.AppendPublishError(nil, 0, streamproto.CodePreconditionFailed, ids[n/2:]...))
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		p := openPublisher(t, conn, PublisherConfig{Window: newWindow(2*n, false)})
		publish(t, p, 0, make([]string, n)...)
		if err := p.window.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if got := p.window.Totals(); got.Confirmed != n/2 || got.Rejected != n/2 {
			t.Errorf("totals %+v", got)
		}
		conntest.Goodbye(t, conn)
	})
}
