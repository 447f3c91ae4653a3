package streamconn

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// textChunk is the frame of a chunk at an offset with one message of n bytes.
func textChunk(offset, n int) []byte {
	return fakebroker.Deliver(fakebroker.Chunk(0, uint64(offset), fakebroker.Text(uint64(offset), n)))
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
	if want := fakebroker.Text(uint64(i), sizes[i]); a.Chunk.FirstOffset != uint64(i) || body != want {
		t.Fatalf("chunk %d at %d: %d bytes, want %d: %.60q", i, a.Chunk.FirstOffset, len(body), len(want), body)
	}
}

// TestDeliverySizes delivers chunks of every size that is special, as the socket
// has them, and torn into pieces of that many bytes. Their size has nothing to do
// with what was agreed for frames.
func TestDeliverySizes(t *testing.T) {
	for torn, sizes := range map[int][]int{
		1 << 30: {
			0, 1, 255, 256, 4000, 4096, 65536, readBufferLeast - readLeast, readBufferLeast - 100, readBufferLeast - 64, readBufferLeast,
			readBufferLeast + 1, 2 * readBufferLeast, 3*readBufferLeast + 5, 0, 8 << 20, 7,
		},
		97: {0, 1, 256, 4096, readLeast, readBufferLeast - 64, readBufferLeast + 1, 5},
		1:  {0, 1, 256, 4096, 5},
	} {
		t.Run(fmt.Sprint("pieces of ", torn), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := fakebroker.LikelyStream()
				g.Tune.FrameMax = 4096
				b := fakebroker.Pipe(t, conntest.SocketSize, fakebroker.Stream(func(s *fakebroker.StreamSession) {
					s.LoginAs(g)
					s.OpenSubscription()
					for i, size := range sizes {
						s.SendBytes(textChunk(i, size))
					}
					s.Serve(nil)
				}))
				cfg := config(b)
				cfg.DialContext = b.DialTorn(torn)
				conn := dial(t, cfg)
				_, in := openSubscription(t, conn, 100)
				checkTexts(t, in, sizes)
				conntest.Goodbye(t, conn)
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
			conntest.Goodbye(t, conn)
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
	sent := slices.Concat(
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
		conntest.Goodbye(t, conn)
	})
}
