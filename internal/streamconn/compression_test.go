package streamconn

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// TestCompression: each codec, with what can be compressed and what can't, in
// frames of every size. The fake broker reads every message. There is no bubble:
// zstd's encoders, which are kept for the next user, can't leave the one that
// they were made in.
func TestCompression(t *testing.T) {
	for codec := compress.None; codec <= compress.Zstd; codec++ {
		for _, frameMax := range []uint32{4096, 100_000, 1 << 20} {
			t.Run(fmt.Sprint(codec, " ", frameMax), func(t *testing.T) {
				g := fakebroker.LikelyStream()
				g.Tune.FrameMax = frameMax
				random := rand.New(rand.NewPCG(uint64(codec), 11))
				var bodies []string
				for total := 0; total < 250_000; total += len(bodies[len(bodies)-1]) {
					body := make([]byte, random.IntN(1900))
					for i := range body {
						if body[i] = 'x'; random.IntN(100) < len(bodies)%100 {
							body[i] = byte(random.Uint32())
						}
					}
					bodies = append(bodies, string(body))
				}
				pairInRealTime(t, g, func(s *fakebroker.StreamSession) {
					s.OpenPublisher(0)
					got, next := 0, uint64(0)
					s.Serve(func(r *fakebroker.StreamReceived) bool {
						p, ok := r.Command.(*fakebroker.Published)
						if !ok {
							return false
						}
						for _, e := range p.Entries {
							for _, body := range e.Bodies {
								if body != bodies[got] {
									t.Errorf("message %d is another", got)
								}
								got++
							}
							if next += uint64(len(e.Bodies)); e.ID != next || e.Compression != codec || !e.Batched {
								t.Errorf("entry %d:%d with compression %v, want %d", e.ID, len(e.Bodies), e.Compression, next)
							}
						}
						return false
					})
					if got != len(bodies) {
						t.Errorf("%d messages came, want %d", got, len(bodies))
					}
				}, func(t *testing.T, conn *Conn) {
					p := openPublisher(t, conn, PublisherConfig{Window: newWindow(10_000, false), SubEntry: 100, Compression: codec})
					publish(t, p, 0, bodies...)
					if err := p.window.Wait(t.Context()); err != nil || p.window.Totals().Confirmed != uint64(len(bodies)) {
						t.Errorf("%v, %+v", err, p.window.Totals())
					}
					sent, wire := p.Bytes()
					if total := uint64(len(strings.Join(bodies, ""))); sent != total || (codec != compress.None) != (wire < total*9/10) {
						t.Errorf("%d bytes of bodies, %d on the wire, want %d", sent, wire, total)
					}
					conntest.Goodbye(t, conn)
				})
			})
		}
	}
}
