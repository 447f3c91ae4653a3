package streamconn

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/streamproto"
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
	b.Cleanup(func() { drop(conn) })
	return conn
}

// BenchmarkPublish publishes to a peer that confirms every entry, from the first
// byte to the last confirm: an entry per message, and batches of up to 500.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{14, 1024} {
		for _, cfg := range []PublisherConfig{
			{SubEntry: 1},
			{SubEntry: 1, Collect: true},
			{SubEntry: 500},
			{SubEntry: 500, Collect: true},
			{SubEntry: 500, Compression: compress.LZ4},
		} {
			name := fmt.Sprintf("body=%d/subentry=%d", size, cfg.SubEntry)
			if cfg.Collect {
				name += "/outcomes"
			}
			if cfg.Compression != compress.None {
				name += "/" + cfg.Compression.String()
			}
			b.Run(name, func(b *testing.B) { benchmarkPublish(b, size, cfg) })
		}
	}
}

func benchmarkPublish(b *testing.B, size int, cfg PublisherConfig) {
	conn := benchPair(b, func(s *fakebroker.StreamSession) {
		s.OpenPublisher(0)
		confirmAll(s.Conn())
	})
	cfg.Stream, cfg.Window = "events", 100_000
	p, err := conn.Publisher(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	if cfg.Collect {
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
			ok, err := p.Publish(uint64(published), 0, body)
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
	if err := p.WaitConfirms(b.Context()); err != nil {
		b.Fatal(err)
	}
	if n := p.Totals(); n.Confirmed != uint64(published) {
		b.Fatalf("%d published, %+v", published, n)
	}
}

func drainOutcomes(p *Publisher) {
	var taken []outcome.Outcome
	for err := error(nil); err == nil; {
		taken, err = p.Outcomes(taken)
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
// messages as a consumer does, checksum included.
func BenchmarkDeliver(b *testing.B) {
	for _, size := range []int{14, 1024} {
		for _, perEntry := range []int{1, 500} {
			b.Run(fmt.Sprintf("body=%d/subentry=%d", size, perEntry), func(b *testing.B) { benchmarkDeliver(b, size, perEntry) })
		}
	}
}

func benchmarkDeliver(b *testing.B, size, perEntry int) {
	conn := benchPair(b, func(s *fakebroker.StreamSession) {
		s.OpenSubscription()
		deliverForCredit(s.Conn(), benchChunk(4000, perEntry, size))
	})
	in := NewInbox()
	if _, err := conn.Subscribe(b.Context(), SubscribeConfig{Stream: "events", Credit: 10, Inbox: in}); err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	r := benchReader{b: b, size: size}
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
		r.arrivals[r.i].Release()
		r.i++
	}
	if r.i == len(r.arrivals) {
		var err error
		if r.arrivals, err = in.Take(ctx, r.arrivals); err != nil {
			r.b.Fatal(err)
		}
		r.i = 0
	}
	c := &r.arrivals[r.i].Chunk
	if err := c.CheckCRC(); err != nil {
		r.b.Fatal(err)
	}
	r.entries = c.Reader()
}

func (r *benchReader) check(message []byte) {
	if body, ok := streamproto.Data(message); !ok || len(body) != r.size {
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
