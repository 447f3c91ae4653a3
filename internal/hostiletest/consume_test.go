package hostiletest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/fakebroker"
)

// What docs/memory.md says of a queue's consumer.
const (
	consumerHeld = 9 << 20   // 8 MiB, the read that crossed it, and the buffer that is read into
	flushHeld    = 257 << 20 // while a Flush waits
	settleHeld   = 8 << 20   // acks that wait, and those that are being written
	headerMost   = 512 << 20
)

// numbering is deliveries with a number each, which counts on.
type numbering struct {
	bytes []byte
	at    []int // of the delivery tags
	tag   uint64
}

// add adds a delivery to the consumer "thump", whose frames these are with any tag.
func (n *numbering) add(delivery ...[]byte) {
	const tagAt = 7 + 4 + 1 + len("thump")
	n.at = append(n.at, len(n.bytes)+tagAt)
	n.bytes = append(n.bytes, slices.Concat(delivery...)...)
}

// next returns the deliveries with the numbers that follow.
func (n *numbering) next() []byte {
	for _, at := range n.at {
		n.tag++
		binary.BigEndian.PutUint64(n.bytes[at:], n.tag)
	}
	return n.bytes
}

// deliver is the frames of a delivery.
func deliver(key string, p *amqpproto.Properties, body []byte) []byte {
	return fakebroker.Content(1, 131072, &amqpproto.BasicDeliver{ConsumerTag: "thump", RoutingKey: key}, p, body)
}

// begin is the method of a delivery, for a content of the script's own.
func begin() []byte {
	return fakebroker.Frame(1, &amqpproto.BasicDeliver{ConsumerTag: "thump"})
}

// each numbers deliveries, as many at a time as make a large write.
func each(delivery []byte) func() []byte {
	n := &numbering{}
	for len(n.bytes) < 128<<10 {
		n.add(delivery)
	}
	return n.next
}

// consuming is the script of a broker that delivers what next returns.
func (p *pouring) consuming(total int, next func() []byte) func(*fakebroker.Session) {
	return func(s *fakebroker.Session) {
		s.Login()
		s.OpenConsumer()
		p.pour(s, total, next)
	}
}

func consumer(ctx context.Context, client *thump.Client, cfg thump.ConsumerConfig) (*thump.Consumer, error) {
	cfg.From = thump.Queue("q")
	return client.Consumer(ctx, cfg)
}

// slow is a consumer that takes nothing, until as much has come as comes, and then waits
// for its Close.
func (p *pouring) slow(cfg thump.ConsumerConfig) func(context.Context, *thump.Client) error {
	return func(ctx context.Context, client *thump.Client) error {
		con, err := consumer(ctx, client, cfg)
		if err != nil {
			return err
		}
		p.stalled(ctx)
		closing, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		return con.Close(closing)
	}
}

// receive takes batches until there is an error.
func receive(ctx context.Context, client *thump.Client) error {
	con, err := consumer(ctx, client, thump.ConsumerConfig{})
	if err != nil {
		return err
	}
	for {
		if _, err := con.Receive(ctx); err != nil {
			return err
		}
	}
}

// sends is a script that sends these bytes to a consumer, and waits for its end.
func sends(b ...[]byte) func(*fakebroker.Session) {
	return func(s *fakebroker.Session) {
		s.Login()
		s.OpenConsumer()
		s.Offer(slices.Concat(b...))
		s.Discard()
	}
}

// heartbeats is n bytes of heartbeat frames.
func heartbeats(n int) []byte { return repeated(amqpproto.AppendHeartbeat(nil), n) }

// TestSlowConsumer: what waits for a consumer that takes nothing.
func TestSlowConsumer(t *testing.T) {
	const total = 256 << 20
	large := amqpproto.Table{{Key: "k", Value: strings.Repeat("h", 100_000)}}
	type flood struct {
		name  string
		total int
		next  func() func() []byte
	}
	filler := heartbeats(192 << 10)
	for _, f := range []flood{
		{"two bytes, and heartbeats behind them", total, func() func() []byte {
			n := &numbering{}
			n.add(deliver("q", nil, []byte("ab")), filler)
			return n.next
		}},
		{"two bytes, and heartbeats in a write of their own", total, func() func() []byte {
			n, turn := &numbering{}, 0
			n.add(deliver("q", nil, []byte("ab")))
			return func() []byte {
				if turn++; turn%2 == 1 {
					return n.next()
				}
				time.Sleep(100 * time.Microsecond) // so that the delivery is read alone
				return filler
			}
		}},
		{"a sixteenth of each read buffer", total, func() func() []byte {
			n := &numbering{}
			for range 17 { // just enough to stay in the read buffer
				n.add(deliver("q", nil, make([]byte, 1000)))
			}
			n.bytes = append(n.bytes, heartbeats(236<<10)...)
			return n.next
		}},
		{"empty messages", 64 << 20, func() func() []byte { return each(deliver("", nil, nil)) }},
		{"keys that all differ", 96 << 20, func() func() []byte {
			keys := uint64(0)
			return func() []byte {
				n := &numbering{tag: keys}
				for range 200 {
					keys++
					n.add(deliver(fmt.Sprintf("%0255d", keys), nil, nil))
				}
				return n.next()
			}
		}},
		{"bodies byte by byte", 64 << 20, func() func() []byte {
			n := &numbering{}
			for range 1000 {
				n.add(begin(), fakebroker.Header(1, 3), fakebroker.Raw(3, 1, []byte("a")), fakebroker.Raw(3, 1, nil), fakebroker.Raw(3, 1, []byte("bc")))
			}
			return n.next
		}},
		{"large headers", total, func() func() []byte {
			return each(deliver("q", &amqpproto.Properties{Headers: large}, []byte("b")))
		}},
		{"bodies of 64 KiB", total, func() func() []byte { return each(deliver("q", nil, make([]byte, 64<<10))) }},
		{"bodies of 1 MiB", total, func() func() []byte { return each(deliver("q", nil, make([]byte, 1<<20))) }},
	} {
		for _, autoAck := range []bool{false, true} {
			if autoAck && f.name != "two bytes, and heartbeats behind them" && f.name != "bodies of 1 MiB" {
				continue
			}
			p := &pouring{}
			held := uint64(consumerHeld)
			if f.name == "bodies of 1 MiB" {
				held += 2 << 20 // and the one that crossed it, while it is put together
			}
			play(t, []scenario{{
				name:   fmt.Sprintf("%s/AutoAck %v", f.name, autoAck),
				broker: p.consuming(f.total, f.next()), held: held, within: 4 * time.Second,
				call: p.slow(thump.ConsumerConfig{AutoAck: autoAck}), want: ended,
			}})
		}
	}
}

// TestEndOfConsumer: a broker that delivers on and on, and answers nothing, while a
// consumer is stopped and closed.
func TestEndOfConsumer(t *testing.T) {
	const total = 160 << 20
	var scenarios []scenario
	for _, autoAck := range []bool{false, true} {
		for _, size := range []int{1000, 1 << 20} {
			if size > 1000 && !autoAck {
				continue
			}
			name := fmt.Sprintf("bodies of %d/AutoAck %v", size, autoAck)
			bytes := each(deliver("q", nil, make([]byte, size)))
			taken := func(ctx context.Context, client *thump.Client) (*thump.Consumer, error) {
				con, err := consumer(ctx, client, thump.ConsumerConfig{AutoAck: autoAck})
				if err == nil {
					_, err = con.Receive(ctx)
				}
				return con, err
			}
			p := &pouring{}
			scenarios = append(scenarios, scenario{
				name: "Close/" + name, broker: p.consuming(total, bytes), held: consumerHeld + 2<<20,
				want: ended, within: 500 * time.Millisecond,
				call: func(ctx context.Context, client *thump.Client) error {
					con, err := taken(ctx, client)
					if err != nil {
						return err
					}
					return con.Close(ctx)
				},
			}, scenario{
				name: "Close without end, until the connection is gone/" + name, held: consumerHeld + 2<<20, within: 5 * time.Second,
				broker: func(s *fakebroker.Session) {
					s.Login()
					s.OpenConsumer()
					n := &numbering{}
					n.add(deliver("q", nil, make([]byte, size)))
					for sent := 0; sent < total; sent += len(n.bytes) {
						if !s.Offer(n.next()) {
							return
						}
					}
					s.Reset()
				},
				want: "the broker", // reading from it, or writing to it
				call: func(ctx context.Context, client *thump.Client) error {
					con, err := taken(ctx, client)
					if err != nil {
						return err
					}
					return con.Close(context.WithoutCancel(ctx))
				},
			})
		}
	}
	idle := &pouring{}
	scenarios = append(scenarios, scenario{
		name: "Stop, and nobody takes", broker: idle.consuming(total, each(deliver("q", nil, make([]byte, 1000)))),
		held: consumerHeld, want: ended,
		call: func(ctx context.Context, client *thump.Client) error {
			con, err := consumer(ctx, client, thump.ConsumerConfig{AutoAck: true})
			if err != nil {
				return err
			}
			con.Stop()
			<-ctx.Done()
			return ctx.Err()
		},
	}, scenario{
		name: "Stop, and the answer comes after more than a prefetch", held: consumerHeld + settleHeld,
		want: "more than a prefetch allows",
		broker: func(s *fakebroker.Session) {
			s.Login()
			s.OpenConsumer()
			next := each(deliver("", nil, nil))
			for sent := 0; sent < 8<<20; sent += 128 << 10 {
				s.Offer(next())
			}
			s.Offer(fakebroker.Frame(1, &amqpproto.BasicCancelOk{ConsumerTag: "thump"}))
			s.Discard()
		},
		call: func(ctx context.Context, client *thump.Client) error {
			con, err := consumer(ctx, client, thump.ConsumerConfig{})
			if err != nil {
				return err
			}
			return con.Close(ctx)
		},
	})
	play(t, scenarios)
}

// TestFlushWhileItPours: a Flush makes room for the answer, and not without end.
func TestFlushWhileItPours(t *testing.T) {
	p := &pouring{}
	play(t, []scenario{{
		name: "it pours", broker: p.consuming(768<<20, each(deliver("q", nil, make([]byte, 60<<10)))),
		held: flushHeld, want: "flushing the acks", within: 3 * time.Second,
		call: func(ctx context.Context, client *thump.Client) error {
			con, err := consumer(ctx, client, thump.ConsumerConfig{})
			if err != nil {
				return err
			}
			flushing, cancel := context.WithCancel(ctx)
			go func() {
				p.stalled(ctx)
				cancel()
			}()
			return con.Flush(flushing)
		},
	}})
}

// TestHeldByTheCaller: what a program keeps of deliveries keeps no more beside it than
// docs/memory.md says.
func TestHeldByTheCaller(t *testing.T) {
	padded := &numbering{}
	padded.add(deliver("q", nil, []byte("ab")), heartbeats(192<<10))
	table := make([]any, 60_000) // of nothings: a byte each on the wire
	p, q := &pouring{}, &pouring{}
	var kept [][]byte
	play(t, []scenario{{
		name: "small bodies out of much", broker: p.consuming(300<<20, padded.next), held: consumerHeld,
		call: func(ctx context.Context, client *thump.Client) error {
			con, err := consumer(ctx, client, thump.ConsumerConfig{})
			if err != nil {
				return err
			}
			for batch, err := range con.Batches(ctx) {
				if err != nil {
					return err
				}
				for _, d := range batch.Deliveries {
					kept = append(kept, d.Body)
				}
				if len(kept) >= 1000 {
					break
				}
			}
			return nil
		},
	}, {
		name: "properties, when asked for", held: consumerHeld + 500*16*60_000/10,
		broker: q.consuming(16<<20, each(deliver("q", &amqpproto.Properties{Headers: amqpproto.Table{{Key: "k", Value: table}}}, nil))),
		call: func(ctx context.Context, client *thump.Client) error {
			con, err := consumer(ctx, client, thump.ConsumerConfig{MaxBatch: 50})
			if err != nil {
				return err
			}
			batch, err := con.Receive(ctx)
			if err != nil {
				return err
			}
			for i := range batch.Deliveries {
				if list, _ := batch.Deliveries[i].Header("k").([]any); len(list) != len(table) {
					return fmt.Errorf("a list of %d", len(list))
				}
			}
			return nil
		},
	}})
	if len(kept) < 1000 {
		t.Errorf("%d bodies were kept: the scenario tests nothing", len(kept))
	}
}

// TestContents: what a broker announces, and what comes of it.
func TestContents(t *testing.T) {
	const large = 256 << 20
	frame := fakebroker.Raw(amqpproto.FrameBody, 1, make([]byte, 131064))
	one := func(b ...[]byte) []byte {
		n := &numbering{}
		n.add(slices.Concat(b...))
		return n.next()
	}
	play(t, []scenario{
		{
			name: "a large body, whole", held: consumerHeld + large*3/2, within: 5 * time.Second,
			broker: func(s *fakebroker.Session) {
				s.Login()
				s.OpenConsumer()
				s.Offer(one(begin(), fakebroker.Header(1, large)))
				left := large
				for ; left > 131064 && s.Offer(frame); left -= 131064 {
				}
				s.Offer(fakebroker.Raw(amqpproto.FrameBody, 1, make([]byte, left)))
				s.Discard()
			},
			call: func(ctx context.Context, client *thump.Client) error {
				con, err := consumer(ctx, client, thump.ConsumerConfig{})
				if err != nil {
					return err
				}
				batch, err := con.Receive(ctx)
				if err == nil && len(batch.Deliveries[0].Body) != large {
					err = fmt.Errorf("a body of %d bytes", len(batch.Deliveries[0].Body))
				}
				return err
			},
		},
		{
			name: "512 MiB announced, and one sent", held: consumerHeld + 2<<20, want: ended, call: receive,
			broker: sends(one(begin(), fakebroker.Header(1, 512<<20)), repeated(frame, 1<<20)),
		},
		{
			name: "a body of 512 MiB and a byte", held: consumerHeld, want: "a body over 512 MiB is announced", call: receive,
			broker: sends(one(begin(), fakebroker.Header(1, 512<<20+1))),
		},
		{
			name: "a body of 2^64-1", held: consumerHeld, want: "a body over 512 MiB is announced", call: receive,
			broker: sends(one(begin(), fakebroker.Header(1, math.MaxUint64))),
		},
		{
			name: "more body than announced", held: consumerHeld, want: "more body than the 2000000 bytes announced", call: receive,
			broker: sends(one(begin(), fakebroker.Header(1, 2_000_000)), repeated(frame, 3_000_000)),
		},
		{
			name: "a body whose frames are empty", held: consumerHeld, want: ended, call: receive,
			broker: func(s *fakebroker.Session) {
				s.Login()
				s.OpenConsumer()
				s.Offer(one(begin(), fakebroker.Header(1, 10)))
				new(pouring).pour(s, 64<<20, same(repeated(fakebroker.Raw(amqpproto.FrameBody, 1, nil), 64<<10)))
			},
		},
		{
			name: "a header of 512 MiB announced, and one MiB sent", held: consumerHeld + 4<<20, want: ended, call: receive,
			broker: sends(one(begin()), binary.BigEndian.AppendUint32([]byte{amqpproto.FrameHeader, 0, 1}, headerMost-8), make([]byte, 1<<20)),
		},
		{
			name: "a header of more", held: consumerHeld, want: "larger than the 536870912 that are accepted", call: receive,
			broker: sends(one(begin()), binary.BigEndian.AppendUint32([]byte{amqpproto.FrameHeader, 0, 1}, headerMost)),
		},
		{
			name: "a method that is larger than a frame", held: consumerHeld, want: "larger than the 131072 that are accepted", call: receive,
			broker: func(s *fakebroker.Session) {
				s.Login()
				s.OpenConsumer()
				s.Offer(binary.BigEndian.AppendUint32([]byte{amqpproto.FrameMethod, 0, 1}, 100<<20))
				// queue.declare with a table that is 16 times as large in memory.
				s.Offer(slices.Concat([]byte{0, 50, 0, 10, 0, 0, 1, 'q', 0}, binary.BigEndian.AppendUint32(nil, 100<<20-16), []byte("\x01kA"), binary.BigEndian.AppendUint32(nil, 100<<20-23)))
				new(pouring).pour(s, 100<<20, same(repeated([]byte("V"), 1<<20)))
			},
		},
		{
			name: "a message nobody asked for", held: consumerHeld, want: "basic.get-ok, which answers nothing", call: receive,
			broker: func(s *fakebroker.Session) {
				s.Login()
				s.OpenConsumer()
				s.Offer(slices.Concat(fakebroker.Frame(1, &amqpproto.BasicGetOk{DeliveryTag: 1}), fakebroker.Header(1, 512<<20)))
				new(pouring).pour(s, 200<<20, same(repeated(frame, 1<<20)))
			},
		},
		{
			name: "a return to a consumer", held: consumerHeld, want: "a message came back on a channel that publishes nothing", call: receive,
			broker: func(s *fakebroker.Session) {
				s.Login()
				s.OpenConsumer()
				s.Offer(slices.Concat(fakebroker.Frame(1, &amqpproto.BasicReturn{ReplyCode: 312}), fakebroker.Header(1, 512<<20)))
				new(pouring).pour(s, 200<<20, same(repeated(frame, 1<<20)))
			},
		},
		{
			name: "a delivery tag left out", held: consumerHeld, want: "delivery tag 3 after 1", call: receive,
			broker: sends(one(deliver("q", nil, []byte("a"))), func() []byte {
				n := &numbering{tag: 2}
				n.add(deliver("q", nil, []byte("c")))
				return n.next()
			}()),
		},
		{
			name: "a consumer that was never started", held: consumerHeld, want: "which was never started", call: receive,
			broker: sends(fakebroker.Frame(1, &amqpproto.BasicDeliver{ConsumerTag: strings.Repeat("z", 255), DeliveryTag: 1})),
		},
	})
}

// TestConsumersAnswers: what a consumer sends because the broker makes it.
func TestConsumersAnswers(t *testing.T) {
	flood := func(m amqpproto.Method) func(*fakebroker.Session) {
		frames := repeated(fakebroker.Frame(1, m), 128<<10)
		return func(s *fakebroker.Session) {
			s.Login()
			s.OpenConsumer()
			for sent := 0; sent < 64<<20 && s.Offer(frames); sent += len(frames) { // and nothing is read
			}
		}
	}
	small := each(deliver("", nil, nil))
	play(t, []scenario{
		{name: "channel.flow without end", broker: flood(&amqpproto.ChannelFlow{}), held: consumerHeld, call: receive, want: "does not read the answers it asks for"},
		{name: "basic.cancel without end", broker: flood(&amqpproto.BasicCancel{ConsumerTag: "other"}), held: consumerHeld, call: receive, want: "does not read the answers it asks for"},
		{name: "basic.cancel of ours, and deliveries", held: consumerHeld, call: receive, want: "cancelled the consumer", broker: func(s *fakebroker.Session) {
			s.Login()
			s.OpenConsumer()
			s.Offer(fakebroker.Frame(1, &amqpproto.BasicCancel{ConsumerTag: "thump"}))
			new(pouring).pour(s, 64<<20, small)
		}},
		{
			name: "acks that are not read", held: consumerHeld + settleHeld, within: 10 * time.Second, want: "does not read what settles it",
			broker: func(s *fakebroker.Session) {
				s.Login()
				s.OpenConsumer()
				next := each(deliver("", nil, nil))
				for sent := 0; sent < 256<<20 && s.Offer(next()); sent += 128 << 10 {
				}
			},
			call: func(ctx context.Context, client *thump.Client) error {
				con, err := consumer(ctx, client, thump.ConsumerConfig{ReuseBuffers: true})
				if err != nil {
					return err
				}
				for batch, err := range con.Batches(ctx) {
					if err != nil {
						return err
					}
					for i := range batch.Deliveries {
						if err := batch.Deliveries[i].Ack(); err != nil {
							return errors.Join(err, con.Err())
						}
					}
				}
				return nil
			},
		},
	})
}
