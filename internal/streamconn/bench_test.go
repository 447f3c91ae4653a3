package streamconn

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/window"
)

// benchBatch is how many messages are published together. An operation of the
// benchmarks is one message.
const benchBatch = 500

// benchPair connects to a script over a pipe that holds as much as the buffers
// of a socket on loopback do.
func benchPair(b *testing.B, script func(*fakebroker.StreamSession)) *Conn {
	b.Helper()
	broker := fakebroker.Pipe(b, 1<<20, fakebroker.Stream(func(s *fakebroker.StreamSession) {
		s.Login()
		script(s)
	}))
	conn, err := Dial(b.Context(), config(broker))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conntest.Drop(conn) })
	return conn
}

// BenchmarkPublish publishes to a peer that confirms every entry, from the first
// byte to the last confirm: an entry per message, and batches of up to 500, and with a copy of all of it.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{14, 1024} {
		for _, bm := range []struct {
			cfg     PublisherConfig
			collect bool
		}{
			{PublisherConfig{SubEntry: 1}, false},
			{PublisherConfig{SubEntry: 1}, true},
			{PublisherConfig{SubEntry: 500}, false},
			{PublisherConfig{SubEntry: 500}, true},
			{PublisherConfig{SubEntry: 500, Compression: compress.LZ4}, false},
			{PublisherConfig{SubEntry: 1, Keep: true}, false},
			{PublisherConfig{SubEntry: 500, Keep: true}, false},
			{PublisherConfig{SubEntry: 500, Keep: true, Compression: compress.LZ4}, false},
		} {
			name := fmt.Sprintf("body=%d/subentry=%d", size, bm.cfg.SubEntry)
			if bm.collect {
				name += "/outcomes"
			}
			if bm.cfg.Compression != compress.None {
				name += "/" + bm.cfg.Compression.String()
			}
			if bm.cfg.Keep {
				name += "/keep"
			}
			b.Run(name, func(b *testing.B) { benchmarkPublish(b, size, bm.cfg, bm.collect) })
		}
	}
}

func benchmarkPublish(b *testing.B, size int, cfg PublisherConfig, collect bool) {
	conn := benchPair(b, func(s *fakebroker.StreamSession) {
		s.OpenPublisher(0)
		confirmAll(s.Conn())
	})
	cfg.Stream, cfg.Window = "events", newWindow(100_000, collect)
	cfg.Ended = cfg.Window.Fail
	p, err := conn.Publisher(b.Context(), NewBacklog(cfg))
	if err != nil {
		b.Fatal(err)
	}
	if collect {
		go drainOutcomes(p)
	}
	body, published := make([]byte, size), 0
	next := func() {
		for {
			if published%benchBatch == 0 {
				if published > 0 {
					p.End()
				}
				if err := p.Begin(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			ok, err := p.Publish(window.Tag{Ref: uint64(published)}, 0, body)
			if err != nil {
				b.Fatal(err)
			}
			if ok {
				published++
				return
			}
			p.End()
			if err := p.Begin(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	for range 400_000 { // warm: every buffer and ring has grown
		next()
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		next()
	}
	p.End()
	if err := p.window.Wait(b.Context()); err != nil {
		b.Fatal(err)
	}
	if n := p.window.Totals(); n.Confirmed != uint64(published) {
		b.Fatalf("%d published, %+v", published, n)
	}
}

// drainOutcomes takes outcomes as a publisher does: in memory of its own that it uses
// again.
func drainOutcomes(p *Publisher) {
	var list []outcome.Outcome
	for {
		taken, err := p.window.Outcomes()
		if err != nil {
			return
		}
		list = list[:0]
		for _, r := range taken.Runs {
			for i := r.First; i < r.First+r.Count; i++ {
				list = append(list, outcome.Outcome{Ref: taken.Ref(i), Status: r.Status, Code: r.Code, Text: r.Text, Resent: r.Resent})
			}
		}
	}
}

// confirmAll confirms what each read brought with one frame, without allocating.
func confirmAll(conn io.ReadWriter) {
	in, start, end := make([]byte, 4<<20), 0, 0
	out := make([]byte, 0, 1<<20)
	for {
		n, err := conn.Read(in[end:])
		if err != nil {
			return
		}
		end += n
		out = streamproto.AppendPublishConfirm(out[:0], 0)
		head := len(out)
		for {
			f, size, err := streamproto.ParseFrame(in[start:end], streamproto.Limits{})
			if err != nil || size == 0 || size > end-start {
				break
			}
			start += size
			if f.Key != streamproto.KeyPublish {
				continue
			}
			_, _, entries, err := streamproto.ParsePublish(f)
			if err != nil {
				return
			}
			for id, _, _, ok := entries.Next(); ok; id, _, _, ok = entries.Next() {
				out = binary.BigEndian.AppendUint64(out, id)
			}
		}
		if len(out) > head {
			binary.BigEndian.PutUint32(out, uint32(len(out)-4))
			binary.BigEndian.PutUint32(out[9:], uint32((len(out)-head)/8))
			if _, err := conn.Write(out); err != nil {
				return
			}
		}
		end = copy(in, in[start:end])
		start = 0
	}
}

// BenchmarkDeliver takes chunks from a peer that writes, for each credit, one of
// 4000 messages: an entry each, and in batches of 500. It goes through the
// messages as a consumer does, checksum included. The buffers are given back, or let
// go, which shows as bytes.
func BenchmarkDeliver(b *testing.B) {
	for _, size := range []int{14, 1024} {
		for _, perEntry := range []int{1, 500} {
			for _, reuse := range []bool{true, false} {
				name := fmt.Sprintf("body=%d/subentry=%d/reuse=%v", size, perEntry, reuse)
				b.Run(name, func(b *testing.B) { benchmarkDeliver(b, size, perEntry, reuse) })
			}
		}
	}
}

func benchmarkDeliver(b *testing.B, size, perEntry int, reuse bool) {
	conn := benchPair(b, func(s *fakebroker.StreamSession) {
		s.OpenSubscription()
		deliverForCredit(s.Conn(), benchChunk(4000, perEntry, size))
	})
	in := NewInbox()
	if _, err := conn.Subscribe(b.Context(), SubscribeConfig{Stream: "events", Credit: 10, Inbox: in, Ended: in.End}); err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	r := benchReader{b: b, size: size, reuse: reuse}
	for range 400_000 { // warm
		r.next(ctx, in)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		r.next(ctx, in)
	}
}

// benchReader reads the messages of chunks one by one.
type benchReader struct {
	b        *testing.B
	size     int
	reuse    bool
	arrivals []Arrival
	i        int // of the arrival that is being read
	entries  streamproto.EntryReader
	rest     []byte // of a batch
}

func (r *benchReader) next(ctx context.Context, in *Inbox) {
	for {
		message, rest, ok := streamproto.NextBatched(r.rest)
		if r.rest = rest; ok {
			r.check(message)
			return
		}
		e, ok := r.entries.Next()
		switch {
		case ok && e.Batched:
			r.rest = e.Data
		case ok:
			r.check(e.Data)
			return
		default:
			r.chunk(ctx, in)
		}
	}
}

// chunk goes on to the next chunk.
func (r *benchReader) chunk(ctx context.Context, in *Inbox) {
	if err := r.entries.Err(); err != nil {
		r.b.Fatal(err)
	}
	if r.i < len(r.arrivals) {
		if r.reuse {
			r.arrivals[r.i].Release()
		} else {
			r.arrivals[r.i].LetGo()
		}
		r.i++
	}
	if r.i == len(r.arrivals) {
		var err error
		if r.arrivals, err = in.Take(ctx, r.arrivals); err != nil {
			r.b.Fatal(err)
		}
		r.i = 0
	}
	if err := r.arrivals[r.i].Damage; err != nil {
		r.b.Fatal(err)
	}
	r.entries = r.arrivals[r.i].Chunk.Reader()
}

func (r *benchReader) check(message []byte) {
	if body, ok := amqp10.Data(message); !ok || len(body) != r.size {
		r.b.Fatalf("a message of %d bytes", len(message))
	}
}

// benchChunk is the frame of a chunk of n messages.
func benchChunk(n, perEntry, size int) []byte {
	c := fakebroker.Chunk(0, 0)
	body := string(make([]byte, size))
	for i := 0; i < n; i += perEntry {
		if perEntry == 1 {
			fakebroker.AddEntry(c, body)
			continue
		}
		bodies := make([]string, perEntry)
		for j := range bodies {
			bodies[j] = body
		}
		fakebroker.AddBatch(c, bodies...)
	}
	return fakebroker.Deliver(c)
}

// deliverForCredit writes a frame for each credit, without allocating.
func deliverForCredit(conn io.ReadWriter, frame []byte) {
	credit := make(chan int, 1000)
	credit <- 10
	go func() {
		defer close(credit)
		in, end := make([]byte, 64<<10), 0
		for {
			n, err := conn.Read(in[end:])
			if err != nil {
				return
			}
			end += n
			start := 0
			for {
				f, size, err := streamproto.ParseFrame(in[start:end], streamproto.Limits{})
				if err != nil || size == 0 || size > end-start {
					break
				}
				start += size
				if c, err := streamproto.ParseCredit(f); err == nil {
					credit <- int(c.Credit)
				}
			}
			end = copy(in, in[start:end])
		}
	}()
	for n := range credit {
		for range n {
			if _, err := conn.Write(frame); err != nil {
				return
			}
		}
	}
}
