package streamconn

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// text is n bytes, at most 8 MiB, that differ from place to place and from
// message to message.
func text(message uint64, n int) string {
	start := int(message%10_000) * 97
	return pattern()[start : start+n]
}

var pattern = sync.OnceValue(func() string {
	b := make([]byte, 0, 10<<20)
	for len(b) < 9<<20 {
		b = append(strconv.AppendInt(b, int64(len(b)), 36), ' ')
	}
	return string(b)
})

// textChunk is the frame of a chunk at an offset with one message of n bytes.
func textChunk(offset, n int) []byte {
	return fakebroker.Deliver(fakebroker.Chunk(0, uint64(offset), text(uint64(offset), n)))
}

// checkTexts takes chunks of textChunk, with these sizes, and compares their
// messages.
func checkTexts(t *testing.T, in *Inbox, sizes []int) {
	t.Helper()
	var arrivals []Arrival
	for i := 0; i < len(sizes); {
		var err error
		if arrivals, err = in.Take(t.Context(), arrivals); err != nil {
			t.Fatalf("after %d of %d: %v", i, len(sizes), err)
		}
		for j := range arrivals {
			checkText(t, &arrivals[j], i, sizes)
			arrivals[j].Release()
			i++
		}
	}
}

func checkText(t *testing.T, a *Arrival, i int, sizes []int) {
	t.Helper()
	body := chunkBodies(t, &a.Chunk)[0]
	if want := text(uint64(i), sizes[i]); a.Chunk.FirstOffset != uint64(i) || body != want {
		t.Fatalf("chunk %d at %d: %d bytes, want %d: %.60q", i, a.Chunk.FirstOffset, len(body), len(want), body)
	}
}

// TestDeliverySizes delivers chunks of every size that is special, as the socket
// has them, and torn into pieces of that many bytes. Their size has nothing to do
// with what was agreed for frames.
func TestDeliverySizes(t *testing.T) {
	for torn, sizes := range map[int][]int{
		1 << 30: {
			0, 1, 255, 256, 4000, 4096, 65536, readBufferMin - readMin, readBufferMin - 100, readBufferMin - 64, readBufferMin,
			readBufferMin + 1, 2 * readBufferMin, 3*readBufferMin + 5, 0, 8 << 20, 7,
		},
		97: {0, 1, 256, 4096, readMin, readBufferMin - 64, readBufferMin + 1, 5},
		1:  {0, 1, 256, 4096, 5},
	} {
		t.Run(fmt.Sprint("pieces of ", torn), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := fakebroker.LikelyStream()
				g.Tune.FrameMax = 4096
				b := fakebroker.Pipe(t, socketSize, fakebroker.Stream(func(s *fakebroker.StreamSession) {
					s.LoginAs(g)
					s.OpenSubscription()
					for i, size := range sizes {
						s.SendBytes(textChunk(i, size))
					}
					s.Serve(nil)
				}))
				cfg := config(b)
				cfg.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
					c, err := b.DialContext(ctx, network, address)
					return tornConn{c, torn}, err
				}
				conn := dial(t, cfg)
				_, in := openSubscription(t, conn, 100)
				checkTexts(t, in, sizes)
				goodbye(t, conn)
			})
		})
	}
}

// TestChunkVersions: version 2 has the committed chunk id in front.
func TestChunkVersions(t *testing.T) {
	for _, version := range []uint16{1, 2} {
		pair(t, func(s *fakebroker.StreamSession) {
			s.OpenSubscription()
			c := fakebroker.Chunk(0, 100, "message 0", "message 1")
			fakebroker.AddBatch(c, "message 2", "message 3")
			c.CommittedChunkID = 99
			s.SendBytes(streamproto.AppendDeliver(nil, version, c))
			s.Serve(nil)
		}, func(t *testing.T, conn *Conn) {
			sub, in := openSubscription(t, conn, 10)
			arrivals, err := in.Take(t.Context(), nil)
			if err != nil || len(arrivals) != 1 {
				t.Fatal(len(arrivals), err)
			}
			c := arrivals[0].Chunk
			if arrivals[0].Subscription != sub || c.FirstOffset != 100 || c.Records != 4 || c.Entries != 3 ||
				c.CommittedChunkID != uint64(99*(version-1)) || c.Timestamp != 1_700_000_000_000 {
				t.Errorf("version %d: got %+v", version, c)
			}
			checkNumbered(t, chunkBodies(t, &c))
			goodbye(t, conn)
		})
	}
}

// TestUnusualChunks: tracking chunks, empty ones, gaps between offsets and
// offsets that go back: what they mean is for the consumer to say.
func TestUnusualChunks(t *testing.T) {
	tracking := func(kind uint8, offset uint64) []byte {
		c := fakebroker.Chunk(0, offset)
		c.Type, c.Entries, c.Records, c.Data = kind, 1, 1, []byte("\x00\x00\x00\x05track")
		return fakebroker.Deliver(c)
	}
	sent := join(
		tracking(streamproto.ChunkTrackingDelta, 5), fakebroker.Deliver(fakebroker.Chunk(0, 6, "message 0")),
		tracking(streamproto.ChunkTrackingSnapshot, 7), fakebroker.Deliver(fakebroker.Chunk(0, 1<<63, "message 1")),
		fakebroker.Deliver(fakebroker.Chunk(0, 9)), fakebroker.Deliver(fakebroker.Chunk(0, 3, "message 2")),
	)
	pair(t, func(s *fakebroker.StreamSession) {
		s.OpenSubscription()
		s.SendBytes(sent)
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		_, in := openSubscription(t, conn, 10)
		synctest.Wait()
		arrivals, err := in.Take(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		var bodies []string
		for i := range arrivals {
			c := &arrivals[i].Chunk
			got = append(got, fmt.Sprint(c.Type, "@", c.FirstOffset))
			if c.Type == streamproto.ChunkUser {
				bodies = append(bodies, chunkBodies(t, c)...)
			}
		}
		if got, want := strings.Join(got, " "), "1@5 0@6 2@7 0@9223372036854775808 0@9 0@3"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		checkNumbered(t, bodies)
		goodbye(t, conn)
	})
}

// TestBufferEnd sends far more than a read buffer holds, in chunks of mixed
// sizes, so that they lie across its end in every way, to a consumer that keeps
// some for a while, and to one that keeps none.
func TestBufferEnd(t *testing.T) {
	for _, slow := range []bool{false, true} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprintf("slow %v, seed %d", slow, seed), func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 3))
				var sizes []int
				for total := 0; total < 4*readBufferMin; {
					size := random.IntN(3000)
					switch random.IntN(20) {
					case 0:
						size = random.IntN(100_000)
					case 1:
						size = random.IntN(400_000)
					}
					sizes, total = append(sizes, size), total+size
				}
				pair(t, func(s *fakebroker.StreamSession) {
					s.OpenSubscription()
					var many []byte
					for i, size := range sizes {
						many = append(many, textChunk(i, size)...)
						if len(many) > random.IntN(100_000) || i == len(sizes)-1 {
							s.SendBytes(many)
							many = many[:0]
						}
					}
					s.Serve(nil)
				}, func(t *testing.T, conn *Conn) {
					_, in := openSubscription(t, conn, 1000)
					if slow {
						checkSlowly(t, in, sizes)
					} else {
						checkTexts(t, in, sizes)
					}
					goodbye(t, conn)
				})
			})
		}
	}
}

// checkSlowly takes what there is three times, and looks at the messages of the
// first only when more have come in behind them.
func checkSlowly(t *testing.T, in *Inbox, sizes []int) {
	t.Helper()
	var kept [3][]Arrival
	var first [3]int
	check := func(slot int) {
		for j := range kept[slot] {
			checkText(t, &kept[slot][j], first[slot]+j, sizes)
			kept[slot][j].Release()
		}
		kept[slot] = kept[slot][:0]
	}
	for i, turn := 0, 0; i < len(sizes); turn++ {
		slot := turn % len(kept)
		check(slot)
		var err error
		if kept[slot], err = in.Take(t.Context(), kept[slot]); err != nil {
			t.Fatal(err)
		}
		first[slot] = i
		i += len(kept[slot])
		synctest.Wait()
	}
	for slot := range kept {
		check(slot)
	}
}

// TestBuffersAreUsedAgain: a consumer that releases what it takes needs a few
// buffers, however much comes, of chunks that are smaller than a buffer and
// larger.
func TestBuffersAreUsedAgain(t *testing.T) {
	for _, size := range []int{50_000, readBufferMin, 5_000_000} {
		message := text(1, size)
		frame := fakebroker.Deliver(fakebroker.Chunk(0, 0, message))
		rounds := 120_000_000 / size
		// The race detector makes a sync.Pool drop every fourth buffer on purpose.
		checkMemory(t, 80<<20, func() {
			pair(t, func(s *fakebroker.StreamSession) {
				s.OpenSubscription()
				for range rounds {
					s.SendBytes(frame)
				}
				s.Serve(nil)
			}, func(t *testing.T, conn *Conn) {
				_, in := openSubscription(t, conn, 10)
				var arrivals []Arrival
				for taken := 0; taken < rounds; taken += len(arrivals) {
					var err error
					if arrivals, err = in.Take(t.Context(), arrivals); err != nil {
						t.Fatal(err)
					}
					for i := range arrivals {
						if !bytes.HasSuffix(arrivals[i].Chunk.Data, []byte(message[size-10:])) {
							t.Fatal("a message is wrong")
						}
						arrivals[i].Release()
					}
				}
			})
		})
	}
}

// TestSlowConsumer: what a consumer does not take is bounded, the broker is held
// up, the connection goes on for others that wait for no delivery, and everything
// comes once it is taken.
func TestSlowConsumer(t *testing.T) {
	const size = 8 << 20
	sizes := make([]int, 12)
	for i := range sizes {
		sizes[i] = size
	}
	pair(t, func(s *fakebroker.StreamSession) {
		s.OpenSubscription()
		for i := range sizes {
			s.SendBytes(textChunk(i, size))
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		_, in := openSubscription(t, conn, 100)
		synctest.Wait()
		if got := len(in.pending) * size; got > inboxRoom+2*size {
			t.Errorf("%d MiB wait", got>>20)
		}
		checkTexts(t, in, sizes)
		goodbye(t, conn)
	})
}
