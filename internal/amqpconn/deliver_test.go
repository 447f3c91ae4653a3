package amqpconn

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
)

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
					b := fakebroker.Pipe(t, conntest.SocketSize, func(s *fakebroker.Session) {
						s.LoginAs(greeting)
						s.OpenConsumer()
						for i, size := range sizes {
							s.SendContent(1, &amqpproto.BasicDeliver{ConsumerTag: "c", DeliveryTag: uint64(i) + 1, Exchange: "x", RoutingKey: "q"},
								&amqpproto.Properties{MessageID: fmt.Sprint(i)}, []byte(fakebroker.Text(uint64(i), size)))
						}
						s.Serve(nil)
					})
					cfg := config(b)
					if torn {
						cfg.DialContext = b.DialTorn(1)
					}
					conn := dial(t, cfg)
					defer conntest.Drop(conn)
					_, in := openConsumer(t, conn)
					checkDeliveries(t, in, len(sizes), func(i int, d *Delivery) string {
						p, err := amqpproto.ParseProperties(d.Properties)
						if err != nil || p.MessageID != fmt.Sprint(i) || d.Exchange != "x" || d.RoutingKey != "q" {
							t.Errorf("delivery %d: %v %+v, exchange %q, routing key %q", i, err, p, d.Exchange, d.RoutingKey)
						}
						return fakebroker.Text(uint64(i), sizes[i])
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
				frames := pieces(1, i+1, fakebroker.Text(i, 2000), size)
				// An empty body frame is legal anywhere.
				frames = append(frames[:3], append([][]byte{fakebroker.Raw(amqpproto.FrameBody, 1, nil)}, frames[3:]...)...)
				s.SendBytes(slices.Concat(frames...))
			}
			s.Serve(nil)
		}, func(t *testing.T, conn *Conn) {
			_, in := openConsumer(t, conn)
			checkDeliveries(t, in, 5, func(i int, _ *Delivery) string { return fakebroker.Text(uint64(i), 2000) })
		})
	}
}

// TestLargeHeaders delivers and returns headers that are larger than frame-max, which
// RabbitMQ does not split, between ordinary messages, whole and torn into pieces.
func TestLargeHeaders(t *testing.T) {
	sizes := []int{0, 131_072 - 60, 131_072, 0, 140_000, 1 << 20, 0, 0, 9_000_000, 0}
	bodies := []int{5, aliasMax, 200_000}
	content := func(i int, m amqpproto.Method) (frames []byte) {
		p := &amqpproto.Properties{Headers: amqpproto.Table{{Key: "h", Value: fakebroker.Text(uint64(i), sizes[i%len(sizes)])}}}
		body := fakebroker.Text(uint64(i), bodies[i%len(bodies)])
		frames = fakebroker.Content(1, 0, m, p, nil)
		copy(frames[len(fakebroker.Frame(1, m))+7+4:], binary.BigEndian.AppendUint64(nil, uint64(len(body))))
		return append(frames, slices.Concat(pieces(1, 0, body, 131_064)[2:]...)...)
	}
	check := func(i int, d *Delivery) string {
		p, err := amqpproto.ParseProperties(d.Properties)
		if err != nil || p.Headers[0].Value != fakebroker.Text(uint64(i), sizes[i%len(sizes)]) {
			t.Errorf("delivery %d: a header of %d bytes, %v", i, len(d.Properties), err)
		}
		return fakebroker.Text(uint64(i), bodies[i%len(bodies)])
	}
	for _, torn := range []int{0, 4099} {
		synctest.Test(t, func(t *testing.T) {
			n := 3 * len(sizes)
			b := fakebroker.Pipe(t, conntest.SocketSize, func(s *fakebroker.Session) {
				s.Login()
				s.OpenConsumer()
				for i := range n {
					s.SendBytes(content(i, &amqpproto.BasicDeliver{ConsumerTag: "c", DeliveryTag: uint64(i) + 1, RoutingKey: "q"}))
				}
				for i := range n {
					fakebroker.Expect[*amqpproto.BasicGet](s)
					s.SendBytes(content(i, &amqpproto.BasicGetOk{DeliveryTag: uint64(n+i) + 1, RoutingKey: "q"}))
				}
				s.Serve(nil)
			})
			cfg := config(b)
			if torn > 0 {
				cfg.DialContext = b.DialTorn(torn)
			}
			conn := dial(t, cfg)
			defer conntest.Drop(conn)
			ch, in := openConsumer(t, conn)
			checkDeliveries(t, in, n, check)
			for i := range n {
				d, ok, err := ch.Get(t.Context(), "q", true)
				if err != nil || !ok || string(d.Body) != check(i, &d) {
					t.Fatalf("get %d: %v, %v", i, ok, err)
				}
			}
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
			one := pieces(1, i+1, fakebroker.Text(i, 100+int(i)), 40)
			two := pieces(2, i+1, fakebroker.Text(i+1000, 30), 40)
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
		checkDeliveries(t, one, n, func(i int, _ *Delivery) string { return fakebroker.Text(uint64(i), 100+i) })
		checkDeliveries(t, two, n, func(i int, _ *Delivery) string { return fakebroker.Text(uint64(i)+1000, 30) })
	})
}

// TestGet takes single messages, small and large, and none.
func TestGet(t *testing.T) {
	sizes := []int{0, 10, 200_000}
	pair(t, func(s *fakebroker.Session) {
		s.OpenChannel()
		for i, size := range sizes {
			fakebroker.Expect[*amqpproto.BasicGet](s)
			s.SendContent(1, &amqpproto.BasicGetOk{DeliveryTag: uint64(i) + 1, RoutingKey: "q"}, nil, []byte(fakebroker.Text(1, size)))
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		ch := openChannel(t, conn)
		for _, size := range sizes {
			d, ok, err := ch.Get(t.Context(), "q", true)
			if err != nil || !ok || string(d.Body) != fakebroker.Text(1, size) || d.RoutingKey != "q" {
				t.Errorf("got %d bytes, %v, %v, want %d", len(d.Body), ok, err, size)
			}
		}
		if _, ok, err := ch.Get(t.Context(), "q", true); ok || err != nil {
			t.Errorf("get from an empty queue: %v, %v", ok, err)
		}
	})
}
