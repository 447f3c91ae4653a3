package faulttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// heap is how many bytes are in use.
func heap() int {
	runtime.GC() // twice, because of what is in pools
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// peak looks now and then at the memory that is in use, until what it returns is called,
// which returns the most.
func peak() func() int {
	most, stop, stopped := 0, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			most = max(most, heap())
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Second):
			}
		}
	}()
	return func() int { close(stop); <-stopped; return most }
}

// pour is a broker that sends frames for ever, without regard to credit, and answers
// nothing more.
func pour(frames []byte) func(*fakebroker.StreamSession) {
	return func(s *fakebroker.StreamSession) {
		s.Login()
		deliverTo(s)
		for s.Offer(frames) {
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// floods are frames of about a MiB.
func floods() map[string][]byte {
	beat := streamproto.AppendHeartbeat(nil)
	small := fakebroker.Deliver(fakebroker.Chunk(0, 0, "x"))
	return map[string][]byte{
		"chunks":               fakebroker.Deliver(fakebroker.Chunk(0, 0, strings.Repeat("x", 1<<20))),
		"empty chunks":         bytes.Repeat(fakebroker.Deliver(fakebroker.Chunk(0, 0)), 10_000),
		"chunks amid nonsense": append(bytes.Repeat(beat, 1<<20/len(beat)), small...),
	}
}

// TestFaultStreamHeld: a broker sends on and on, to a consumer that takes a batch, then
// nothing, and closes. What is held is bounded, whatever else is in the memory that the
// chunks keep, and Close comes to its end: with its context, or in its own time.
func TestFaultStreamHeld(t *testing.T) {
	for name, frames := range floods() {
		for _, test := range []struct {
			name   string
			cfg    thump.ConsumerConfig
			within time.Duration // of the Close's context, 0 for none
			most   int           // bytes that are held
		}{
			{"Close with a context", thump.ConsumerConfig{}, 5 * time.Second, 80 << 20},
			{"Close without", thump.ConsumerConfig{}, 0, 80 << 20},
			{"Close while offsets are stored", thump.ConsumerConfig{Stream: thump.StreamConsuming{Name: "me", StoreInterval: time.Second}}, 0, 340 << 20},
		} {
			t.Run(name+", "+test.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					before, most := heap(), peak()
					con := streamConsumer(t, faultStreamClient(t, pour(frames)), test.cfg)
					time.Sleep(5 * time.Second)
					if name != "empty chunks" {
						batch, err := con.Receive(t.Context())
						if err != nil {
							t.Fatal(err)
						}
						if err := batch.Ack(); err != nil {
							t.Error(err)
						}
					}
					time.Sleep(5 * time.Second)
					ctx, cancel := context.WithCancel(t.Context())
					if test.within > 0 {
						ctx, cancel = context.WithTimeout(t.Context(), test.within)
					}
					defer cancel()
					begin := time.Now()
					if err := con.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("close: %v", err)
					}
					if took := time.Since(begin); took > max(test.within, 40*time.Second) {
						t.Errorf("close took %v", took)
					}
					if held := most() - before; held > test.most {
						t.Errorf("%d MiB are held, want at most %d", held>>20, test.most>>20)
					} else {
						t.Logf("%d MiB are held", held>>20)
					}
				})
			})
		}
	}
}

// TestFaultStreamInflatedKept: batches come that are large when they are uncompressed, each
// of them after more small ones than the last. The memory that a consumer with
// ReuseBuffers uncompresses them into does not grow with their number.
func TestFaultStreamInflatedKept(t *testing.T) {
	const large, n = 48 << 20, 12
	big, bigSize := packed(t, compress.Gzip, strings.Repeat("x", large))
	small, smallSize := packed(t, compress.Gzip, "x")
	var frames [][]byte
	for i := range n {
		c := fakebroker.Chunk(0, uint64(i*n))
		for range i {
			fakebroker.AddCompressed(c, uint8(compress.Gzip), 1, smallSize, small)
		}
		fakebroker.AddCompressed(c, uint8(compress.Gzip), 1, bigSize, big)
		frames = append(frames, fakebroker.Deliver(c))
	}
	before := heap()
	con := streamConsumer(t, faultStreamClient(t, feed(frames...)), thump.ConsumerConfig{ReuseBuffers: true})
	most := 0
	for got := 0; got < n*(n+1)/2; {
		batch, err := con.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got += len(batch.Deliveries)
		if last := batch.Deliveries[len(batch.Deliveries)-1].Body; len(last) != large || last[large-1] != 'x' {
			t.Fatal(fmt.Sprint("the last of a chunk has ", len(last), " bytes"))
		}
		most = max(most, heap()-before)
	}
	if most > 4*large {
		t.Errorf("%d MiB are in use", most>>20)
	}
	if err := con.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
