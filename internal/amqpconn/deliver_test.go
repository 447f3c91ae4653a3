package amqpconn

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// text is n bytes, at most 1 MiB, that differ from place to place and from
// message to message.
func text(message uint64, n int) string {
	start := int(message%10_000) * 97
	return pattern()[start : start+n]
}

var pattern = sync.OnceValue(func() string {
	b := make([]byte, 0, 3<<20)
	for len(b) < 2<<20 {
		b = append(strconv.AppendInt(b, int64(len(b)), 36), ' ')
	}
	return string(b)
})

// pieces is a delivery whose body comes in frames of at most size bytes.
func pieces(channel uint16, tag uint64, body string, size int) [][]byte {
	frames := [][]byte{
		fakebroker.Frame(channel, &amqpproto.BasicDeliver{ConsumerTag: "c", DeliveryTag: tag, Exchange: "x", RoutingKey: "q"}),
		fakebroker.Header(channel, uint64(len(body))),
	}
	for len(body) > 0 {
		n := min(size, len(body))
		frames = append(frames, fakebroker.Raw(amqpproto.FrameBody, channel, []byte(body[:n])))
		body = body[n:]
	}
	return frames
}

// TestDeliverySizes delivers bodies of every size that is special, at each
// frame-max, whole and torn into single bytes.
func TestDeliverySizes(t *testing.T) {
	for _, frameMax := range []uint32{4096, 131072} {
		sizes := []int{
			0, 1, 2, 1000, int(frameMax) - 9, int(frameMax) - 8, int(frameMax) - 7, int(frameMax), 2 * int(frameMax), 3*int(frameMax) + 1,
			aliasMax - 100, aliasMax - 1, aliasMax, aliasMax + 1, 300_000, 0, 5,
		}
		for _, torn := range []bool{false, true} {
			if torn {
				sizes = []int{0, 1, 1000, int(frameMax) - 8, int(frameMax) + 1, 0, aliasMax, 5}
			}
			t.Run(fmt.Sprintf("frame-max %d, torn %v", frameMax, torn), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					greeting := fakebroker.Likely()
					greeting.Tune.FrameMax = frameMax
					b := fakebroker.Pipe(t, socketSize, func(s *fakebroker.Session) {
						s.LoginAs(greeting)
						s.OpenConsumer()
						for i, size := range sizes {
							s.SendContent(1, &amqpproto.BasicDeliver{ConsumerTag: "c", DeliveryTag: uint64(i) + 1, Exchange: "x", RoutingKey: "q"},
								&amqpproto.Properties{MessageID: fmt.Sprint(i)}, []byte(text(uint64(i), size)))
						}
						s.Serve(nil)
					})
					cfg := config(b)
					if torn {
						cfg.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
							c, err := b.DialContext(ctx, network, address)
							return byteByByte{c}, err
						}
					}
					conn := dial(t, cfg)
					defer drop(conn)
					_, in := openConsumer(t, conn)
					checkDeliveries(t, in, len(sizes), func(i int, d *Delivery) string {
						p, err := amqpproto.ParseProperties(d.Properties)
						if err != nil || p.MessageID != fmt.Sprint(i) || d.Exchange != "x" || d.RoutingKey != "q" {
							t.Errorf("delivery %d: %v %+v, exchange %q, routing key %q", i, err, p, d.Exchange, d.RoutingKey)
						}
						return text(uint64(i), sizes[i])
					})
				})
			})
		}
	}
}

// checkDeliveries takes n deliveries, numbered from 0, and compares their bodies.
func checkDeliveries(t *testing.T, in *Inbox, n int, want func(i int, d *Delivery) string) {
	t.Helper()
	var d Deliveries
	defer d.Release()
	for i := 0; i < n; {
		if err := in.Take(t.Context(), &d, 1000); err != nil {
			t.Fatalf("after %d of %d: %v", i, n, err)
		}
		for j := range d.List {
			got := &d.List[j]
			if body := want(i, got); string(got.Body) != body {
				t.Fatalf("delivery %d: %d bytes, want %d: %.60q", i, len(got.Body), len(body), got.Body)
			}
			if got.Tag != uint64(i)+1 {
				t.Fatalf("delivery %d has tag %d", i, got.Tag)
			}
			i++
		}
	}
}

// TestBodyInSmallFrames splits a body as a broker may, not as ours would.
func TestBodyInSmallFrames(t *testing.T) {
	for _, size := range []int{1, 7, 1000} {
		pair(t, func(s *fakebroker.Session) {
			s.OpenConsumer()
			for i := range uint64(5) {
				frames := pieces(1, i+1, text(i, 2000), size)
				// An empty body frame is legal anywhere.
				frames = append(frames[:3], append([][]byte{fakebroker.Raw(amqpproto.FrameBody, 1, nil)}, frames[3:]...)...)
				s.SendBytes(join(frames...))
			}
			s.Serve(nil)
		}, func(t *testing.T, conn *Conn) {
			_, in := openConsumer(t, conn)
			checkDeliveries(t, in, 5, func(i int, _ *Delivery) string { return text(uint64(i), 2000) })
		})
	}
}

// TestInterleaved delivers on two channels at once, frame by frame, with
// heartbeats between.
func TestInterleaved(t *testing.T) {
	const n = 50
	pair(t, func(s *fakebroker.Session) {
		s.OpenConsumer()
		s.OpenConsumer()
		for i := range uint64(n) {
			one := pieces(1, i+1, text(i, 100+int(i)), 40)
			two := pieces(2, i+1, text(i+1000, 30), 40)
			for j := range max(len(one), len(two)) {
				if j < len(one) {
					s.SendBytes(one[j])
				}
				s.SendBytes(amqpproto.AppendHeartbeat(nil))
				if j < len(two) {
					s.SendBytes(two[j])
				}
			}
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		_, one := openConsumer(t, conn)
		_, two := openConsumer(t, conn)
		checkDeliveries(t, one, n, func(i int, _ *Delivery) string { return text(uint64(i), 100+i) })
		checkDeliveries(t, two, n, func(i int, _ *Delivery) string { return text(uint64(i)+1000, 30) })
	})
}

// TestBufferEnd sends far more than a read buffer holds, in messages of mixed
// sizes, so that contents lie across its end in every way, to a consumer that
// keeps some buffers for a while, and to one that keeps none.
func TestBufferEnd(t *testing.T) {
	for _, slow := range []bool{false, true} {
		for seed := range uint64(8) {
			t.Run(fmt.Sprintf("slow %v, seed %d", slow, seed), func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 3))
				var sizes []int
				for total := 0; total < 2<<20; {
					size := random.IntN(300)
					switch random.IntN(20) {
					case 0:
						size = random.IntN(aliasMax + 1000)
					case 1:
						size = random.IntN(200_000)
					}
					sizes, total = append(sizes, size), total+size
				}
				pair(t, func(s *fakebroker.Session) {
					s.OpenConsumer()
					var chunk []byte
					for i, size := range sizes {
						chunk = append(chunk, deliver(1, uint64(i)+1, text(uint64(i), size))...)
						if len(chunk) > random.IntN(100_000) || i == len(sizes)-1 {
							s.SendBytes(chunk)
							chunk = chunk[:0]
						}
					}
					s.Serve(nil)
				}, func(t *testing.T, conn *Conn) {
					_, in := openConsumer(t, conn)
					if slow {
						checkSlowly(t, in, sizes)
						return
					}
					checkDeliveries(t, in, len(sizes), func(i int, _ *Delivery) string { return text(uint64(i), sizes[i]) })
				})
			})
		}
	}
}

// checkSlowly takes messages a few at a time, and looks at their bodies only
// when more have come in behind them.
func checkSlowly(t *testing.T, in *Inbox, sizes []int) {
	t.Helper()
	var kept [3]Deliveries
	first := [3]int{}
	for i, turn := 0, 0; i < len(sizes); turn++ {
		slot := turn % len(kept)
		checkKept(t, &kept[slot], first[slot], sizes)
		synctest.Wait()
		if err := in.Take(t.Context(), &kept[slot], 1+turn%17); err != nil {
			t.Fatal(err)
		}
		first[slot] = i
		i += len(kept[slot].List)
	}
	synctest.Wait()
	for slot := range kept {
		checkKept(t, &kept[slot], first[slot], sizes)
		kept[slot].Release()
	}
}

func checkKept(t *testing.T, d *Deliveries, first int, sizes []int) {
	t.Helper()
	for j := range d.List {
		if want := text(uint64(first+j), sizes[first+j]); string(d.List[j].Body) != want {
			t.Fatalf("message %d was overwritten: %.60q, want %.60q", first+j, d.List[j].Body, want)
		}
	}
}

// TestBuffersAreUsedAgain: a consumer that releases what it takes needs a few
// buffers, however much comes.
func TestBuffersAreUsedAgain(t *testing.T) {
	// 100 MB in 500 buffers. The race detector makes a sync.Pool drop every
	// fourth on purpose.
	const rounds, size = 2000, 50_000
	message := []byte(text(1, size))
	checkMemory(t, 64<<20, func() {
		pair(t, func(s *fakebroker.Session) {
			s.OpenConsumer()
			frames := deliver(1, 1, string(message))
			for i := range uint64(rounds) {
				copy(frames[13:], []byte{0, 0, 0, 0, 0, 0, byte((i + 1) >> 8), byte(i + 1)}) // the delivery tag
				s.SendBytes(frames)
			}
			s.Serve(nil)
		}, func(t *testing.T, conn *Conn) {
			_, in := openConsumer(t, conn)
			var d Deliveries
			for taken := 0; taken < rounds; taken += len(d.List) {
				if err := in.Take(t.Context(), &d, 10); err != nil {
					t.Fatal(err)
				}
				for i := range d.List {
					if !bytes.Equal(d.List[i].Body, message) {
						t.Fatal("a body is wrong")
					}
				}
			}
		})
	})
}

// TestSlowConsumer: what a consumer does not take is bounded, the broker is held
// up, and everything comes once it takes.
func TestSlowConsumer(t *testing.T) {
	const n, size = 40, 1 << 20
	pair(t, func(s *fakebroker.Session) {
		s.OpenConsumer()
		for i := range uint64(n) {
			s.SendBytes(deliver(1, i+1, text(i, size)))
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		_, in := openConsumer(t, conn)
		synctest.Wait()
		if got := in.waiting(); got*size > 2*inboxRoom {
			t.Errorf("%d MiB wait", got)
		}
		checkDeliveries(t, in, n, func(i int, _ *Delivery) string { return text(uint64(i), size) })
	})
}

// TestGet takes single messages, small and large, and none.
func TestGet(t *testing.T) {
	sizes := []int{0, 10, 200_000}
	pair(t, func(s *fakebroker.Session) {
		s.OpenChannel()
		for i, size := range sizes {
			fakebroker.Expect[*amqpproto.BasicGet](s)
			s.SendContent(1, &amqpproto.BasicGetOk{DeliveryTag: uint64(i) + 1, RoutingKey: "q"}, nil, []byte(text(1, size)))
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch := openChannel(t, conn)
		for _, size := range sizes {
			d, ok, err := ch.Get(t.Context(), "q", true)
			if err != nil || !ok || string(d.Body) != text(1, size) || d.RoutingKey != "q" {
				t.Errorf("got %d bytes, %v, %v, want %d", len(d.Body), ok, err, size)
			}
		}
		if _, ok, err := ch.Get(t.Context(), "q", true); ok || err != nil {
			t.Errorf("get from an empty queue: %v, %v", ok, err)
		}
	})
}
