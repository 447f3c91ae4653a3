package transport_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"testing/synctest"

	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// sendLarge is a script that delivers more than may wait for a consumer.
func (p *protocol) sendLarge(s server) {
	s.openConsumer()
	for i := range p.large.n {
		s.SendBytes(p.delivery(i, fakebroker.Text(uint64(i), p.large.bytes)))
	}
	s.serve()
}

func (p *protocol) checkLarge(t *testing.T) func(int, []byte) {
	return func(i int, body []byte) {
		if string(body) != fakebroker.Text(uint64(i), p.large.bytes) {
			t.Fatalf("delivery %d is %.60q", i, body)
		}
	}
}

// TestSlowConsumer: what a consumer does not take is bounded, the broker is held
// up, and everything comes once it takes.
func TestSlowConsumer(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		p.pair(t, p.sendLarge, func(t *testing.T, conn client) {
			c := conn.consumer(t)
			synctest.Wait()
			if got := c.waiting(); got > p.inboxRoom+2*p.large.bytes || got < p.inboxRoom {
				t.Errorf("%d MiB wait", got>>20)
			}
			receive(t, c, p.large.n, p.checkLarge(t))
			conntest.Goodbye(t, conn)
		})
	})
}

// TestBufferEnd sends far more than a read buffer holds, in deliveries of mixed
// sizes, so that they lie across its end in every way, to a consumer that keeps
// some for a while, and to one that keeps none.
func TestBufferEnd(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		for _, slow := range []bool{false, true} {
			for seed := range uint64(8) {
				t.Run(fmt.Sprintf("slow %v, seed %d", slow, seed), func(t *testing.T) {
					random := rand.New(rand.NewPCG(seed, 3))
					var sizes []int
					for total := 0; total < 4<<20; {
						size := p.sizes(random.IntN)
						sizes, total = append(sizes, size), total+size
					}
					p.pair(t, func(s server) {
						s.openConsumer()
						var many []byte
						for i, size := range sizes {
							many = append(many, p.delivery(i, fakebroker.Text(uint64(i), size))...)
							if len(many) > random.IntN(100_000) || i == len(sizes)-1 {
								s.SendBytes(many)
								many = many[:0]
							}
						}
						s.serve()
					}, func(t *testing.T, conn client) {
						if c := conn.consumer(t); slow {
							takeSlowly(t, c, sizes)
						} else {
							receive(t, c, len(sizes), func(i int, body []byte) { checkText(t, i, body, sizes) })
						}
						conntest.Goodbye(t, conn)
					})
				})
			}
		}
	})
}

func checkText(t *testing.T, i int, body []byte, sizes []int) {
	t.Helper()
	if string(body) != fakebroker.Text(uint64(i), sizes[i]) {
		t.Fatalf("delivery %d: %d bytes, want %d: %.60q", i, len(body), sizes[i], body)
	}
}

// takeSlowly takes deliveries of these sizes, and looks at their bodies only when
// more have come after them, and were taken three times.
func takeSlowly(t *testing.T, c consumer, sizes []int) {
	t.Helper()
	var taken [3]batch
	var first [3]int
	check := func(slot int) {
		if taken[slot] == nil {
			return
		}
		for j, body := range taken[slot].bodies() {
			checkText(t, first[slot]+j, body, sizes)
		}
		taken[slot].release()
	}
	for i, turn := 0, 0; i < len(sizes); turn++ {
		slot := turn % len(taken)
		check(slot)
		synctest.Wait()
		var err error
		if taken[slot], err = c.take(t.Context(), 1+turn%17); err != nil {
			t.Fatalf("after %d of %d: %v", i, len(sizes), err)
		}
		first[slot] = i
		i += len(taken[slot].bodies())
	}
	synctest.Wait()
	for slot := range taken {
		check(slot)
	}
}

// TestBuffersAreUsedAgain: a consumer that releases what it takes needs a few
// buffers, however much comes, of deliveries that are smaller than a buffer and
// larger.
func TestBuffersAreUsedAgain(t *testing.T) {
	each(t, func(t *testing.T, p *protocol) {
		for _, size := range p.aliased {
			message := []byte(fakebroker.Text(1, size))
			delivery := p.delivery(0, string(message))
			rounds := 200_000_000 / size
			// The garbage collector empties a sync.Pool, and how much is in it then depends on
			// how busy the machine is: so it rests meanwhile.
			collecting := debug.SetGCPercent(-1)
			fakebroker.CheckMemory(t, newBuffers, func() {
				p.pair(t, func(s server) {
					s.openConsumer()
					for i := range rounds {
						p.renumber(delivery, i)
						s.SendBytes(delivery)
					}
					s.serve()
				}, func(t *testing.T, conn client) {
					receive(t, conn.consumer(t), rounds, func(_ int, body []byte) {
						if !bytes.Equal(body, message) {
							t.Fatal("a body is wrong")
						}
					})
				})
			})
			debug.SetGCPercent(collecting)
		}
	})
}
