package hostiletest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// What docs/memory.md says of streams.
const (
	streamHeld          = 2 << 20        // a connection with its read buffer
	streamConsumerHeld  = 67 << 20       // 64 MiB of chunks, the read that crossed it, and the buffer that is read into
	inflatedHeld        = 2 * (64 << 20) // and what was uncompressed
	streamPublisherHeld = 12 << 20       // 8 MiB in flight, and what is encoded
)

// orderlyStream is a broker for streams without faults.
func orderlyStream(s *fakebroker.StreamSession) {
	s.Login()
	s.Serve(nil)
}

// streamScenario is a scenario whose broker speaks the stream protocol.
type streamScenario struct {
	scenario
	broker func(*fakebroker.StreamSession)
}

func playStreams(t *testing.T, scenarios []streamScenario) {
	t.Helper()
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			b := fakebroker.Start(t, fakebroker.Stream(orderlyStream), fakebroker.Stream(sc.broker))
			client := dial(t, b.StreamURL())
			sc.play(t, client)
		})
	}
}

// subscribed is the script of a broker that delivers what next returns, whatever the
// credit, and reads nothing more.
func (p *pouring) subscribed(total int, next func() []byte) func(*fakebroker.StreamSession) {
	return func(s *fakebroker.StreamSession) {
		s.Login()
		s.OpenSubscription()
		p.pour(s, total, next)
	}
}

// delivers is the script of a broker that sends these bytes to a consumer.
func delivers(b ...[]byte) func(*fakebroker.StreamSession) {
	return new(pouring).subscribed(1, same(slices.Concat(b...)))
}

func streamConsumer(ctx context.Context, client *thump.Client, cfg thump.ConsumerConfig) (*thump.Consumer, error) {
	cfg.From = thump.Stream("events")
	cfg.Stream.Start = thump.FromOffset(0)
	return client.Consumer(ctx, cfg)
}

// read takes batches until there is an error.
func read(cfg thump.ConsumerConfig) func(context.Context, *thump.Client) error {
	return func(ctx context.Context, client *thump.Client) error {
		con, err := streamConsumer(ctx, client, cfg)
		if err != nil {
			return err
		}
		for {
			if _, err := con.Receive(ctx); err != nil {
				return err
			}
		}
	}
}

// slowStream is a consumer that takes nothing, until as much has come as comes, and then
// waits for its Close.
func (p *pouring) slowStream(ctx context.Context, client *thump.Client) error {
	con, err := streamConsumer(ctx, client, thump.ConsumerConfig{})
	if err != nil {
		return err
	}
	p.stalled(ctx)
	closing, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	return con.Close(closing)
}

// chunks is as many frames of a chunk as make a large write.
func chunks(c *streamproto.Chunk) func() []byte {
	return same(repeated(fakebroker.Deliver(c), 256<<10))
}

// TestSlowStream: what waits for a consumer that takes nothing.
func TestSlowStream(t *testing.T) {
	const total = 320 << 20
	for _, f := range []struct {
		name  string
		total int
		chunk *streamproto.Chunk
	}{
		{"chunks of 100 kB", total, fakebroker.Chunk(0, 0, strings.Repeat("b", 100_000))},
		{"chunks of a byte", 64 << 20, fakebroker.Chunk(0, 0, "b")},
		{"empty chunks", 64 << 20, fakebroker.Chunk(0, 0)},
	} {
		p := &pouring{}
		playStreams(t, []streamScenario{{
			scenario{name: f.name, held: streamConsumerHeld, want: ended, within: 3 * time.Second, call: p.slowStream},
			p.subscribed(f.total, chunks(f.chunk)),
		}})
	}
}

// TestChunks: chunks that are not what they say.
func TestChunks(t *testing.T) {
	be := binary.BigEndian
	lying := func(change func(c *streamproto.Chunk)) []byte {
		c := fakebroker.Chunk(0, 0, "one", "two")
		change(c)
		return fakebroker.Deliver(c)
	}
	claim := func(size uint32) []byte {
		return append(be.AppendUint32(nil, size), 0, byte(streamproto.KeyDeliver), 0, 1)
	}
	compressed := func(codec compress.Codec, count int, size uint32, plain []byte) []byte {
		data, err := compress.Compress(nil, codec, plain)
		if err != nil {
			t.Fatal(err)
		}
		c := fakebroker.Chunk(0, 0)
		fakebroker.AddCompressed(c, uint8(codec), count, size, data)
		return fakebroker.Deliver(c)
	}
	bomb := make([]byte, 8<<20)
	var scenarios []streamScenario
	add := func(name, want string, held uint64, sent ...[]byte) {
		scenarios = append(scenarios, streamScenario{
			scenario{name: name, want: want, held: held, call: read(thump.ConsumerConfig{})}, delivers(sent...),
		})
	}
	add("1 GiB announced, and 1 MiB sent", ended, streamHeld+4<<20, claim(1<<30), make([]byte, 1<<20))
	add("1 GiB and a byte announced", "larger", streamHeld, claim(1<<30+1), nil)
	add("65535 entries in nothing", "an entry is cut short", streamHeld, lying(func(c *streamproto.Chunk) { c.Entries, c.Data = 65535, nil }))
	add("2^32-1 records", "4294967295", streamHeld, lying(func(c *streamproto.Chunk) { c.Records = 1<<32 - 1 }))
	add("another subscription", "a chunk for subscription 7", streamHeld, lying(func(c *streamproto.Chunk) { c.SubscriptionID = 7 }))
	add("offsets up to 2^64-1", ended, streamHeld, lying(func(c *streamproto.Chunk) { c.FirstOffset = 1<<64 - 1 }))
	add("rubbish with a good checksum", "an entry is cut short", streamHeld, lying(func(c *streamproto.Chunk) { c.Data = bytes.Repeat([]byte{0x7f}, 10_000); c.Entries = 100 }))
	opens := func(name, want string, codec compress.Codec, size uint32, plain []byte) {
		add(fmt.Sprintf("%s, %v", name, codec), want, inflatedHeld, compressed(codec, 1, size, plain))
		scenarios[len(scenarios)-1].call = func(ctx context.Context, client *thump.Client) error {
			con, err := streamConsumer(ctx, client, thump.ConsumerConfig{})
			if err != nil {
				return err
			}
			batch, err := con.Receive(ctx)
			if err != nil {
				return err
			}
			_, err = batch.Deliveries[0].Properties()
			return err
		}
	}
	for _, codec := range []compress.Codec{compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd} {
		opens("a bomb", "want 100 bytes uncompressed, got more", codec, 100, bomb)
		opens("a claim of 2 GiB", "2147483647 bytes, more than the 67108864 that are accepted", codec, 1<<31-1, []byte("x"))
		opens("a claim of 64 MiB", "want 67108864 bytes uncompressed, got 1", codec, 64<<20, []byte("x"))
	}
	playStreams(t, scenarios)
}

// TestStreamAnswers: answers and requests of a broker for streams.
func TestStreamAnswers(t *testing.T) {
	flood := func(frame []byte) func(*fakebroker.StreamSession) {
		return new(pouring).subscribed(32<<20, same(repeated(frame, 128<<10)))
	}
	update := fakebroker.StreamRequest(1, &streamproto.ConsumerUpdate{SubscriptionID: 0, Active: true})
	be := binary.BigEndian
	playStreams(t, []streamScenario{
		{scenario{name: "turns without end", held: streamHeld, call: read(thump.ConsumerConfig{}), want: "updates of one subscription at once"}, flood(update)},
		{scenario{name: "credit errors without end", held: streamHeld, call: read(thump.ConsumerConfig{}), want: ended}, flood(streamproto.AppendCreditError(nil, streamproto.CreditError{Code: streamproto.CodeSubscriptionIDDoesNotExist}))},
		{scenario{name: "late answers without end", held: streamHeld, call: read(thump.ConsumerConfig{}), want: ended}, flood(fakebroker.StreamResponse(1, &streamproto.Done{For: streamproto.KeyCreate, Code: streamproto.CodeOK}))},
		{scenario{name: "an answer nobody asked for", held: streamHeld, call: read(thump.ConsumerConfig{}), want: "which was not asked"}, flood(fakebroker.StreamResponse(1<<31, &streamproto.Done{For: streamproto.KeyCreate, Code: streamproto.CodeOK}))},
		{scenario{name: "a request that only clients make", held: streamHeld, call: read(thump.ConsumerConfig{}), want: "the broker asks for"}, flood(fakebroker.StreamRequest(1, &streamproto.Create{Stream: "s"}))},
		{scenario{name: "confirms to a consumer", held: streamHeld, call: read(thump.ConsumerConfig{}), want: "violation"}, flood(streamproto.AppendPublishConfirm(nil, 0, 1))},
		{scenario{name: "2^31 confirms announced", held: streamHeld, call: read(thump.ConsumerConfig{}), want: "too short"}, delivers(fakebroker.StreamRaw(streamproto.KeyPublishConfirm, 1, append([]byte{0}, be.AppendUint32(nil, 1<<31)...)))},
		{scenario{name: "a frame of 4 MiB and more", held: streamHeld, call: read(thump.ConsumerConfig{}), want: "larger"}, delivers(append(be.AppendUint32(nil, 4<<20+1), 0, byte(streamproto.KeyPublishConfirm), 0, 1))},
		{scenario{name: "goodbye with escapes", held: streamHeld, call: read(thump.ConsumerConfig{}), want: `\x1b[2J\nthump: ok`}, delivers(fakebroker.StreamRequest(1, &streamproto.Close{Code: streamproto.CodeInternalError, Reason: "\x1b[2J\nthump: ok"}))},
	})
}

// TestStreamPublisher: what a broker can do to a publisher.
func TestStreamPublisher(t *testing.T) {
	pub := func(ctx context.Context, client *thump.Client) (*thump.Publisher, error) {
		return client.Publisher(ctx, thump.PublisherConfig{To: thump.Stream("events")})
	}
	send := func(ctx context.Context, client *thump.Client) error {
		p, err := pub(ctx, client)
		if err != nil {
			return err
		}
		return p.Send(ctx, thump.Message{Body: []byte("m")})
	}
	publish := func(ctx context.Context, client *thump.Client) error {
		p, err := pub(ctx, client)
		for err == nil {
			_, err = p.Publish(ctx, thump.Message{Body: make([]byte, 10_000)})
		}
		return err
	}
	answers := func(total int, frame []byte) func(*fakebroker.StreamSession) {
		return func(s *fakebroker.StreamSession) {
			s.Login()
			s.OpenPublisher(0)
			s.Next()
			new(pouring).pour(s, total, same(repeated(frame, total)))
		}
	}
	playStreams(t, []streamScenario{
		{scenario{name: "it reads nothing", held: streamPublisherHeld, call: publish, want: ended}, func(s *fakebroker.StreamSession) {
			s.Login()
			s.OpenPublisher(0)
			stay(s, streamproto.AppendHeartbeat(nil))
		}},
		{scenario{name: "it reads, and confirms nothing", held: streamPublisherHeld, call: publish, want: ended}, func(s *fakebroker.StreamSession) {
			s.Login()
			s.OpenPublisher(0)
			s.Discard()
		}},
		{scenario{name: "confirms of what was never published", held: streamPublisherHeld, call: send, want: "violation"}, answers(1, streamproto.AppendPublishConfirm(nil, 0, 1<<40))},
		{scenario{name: "confirms again and again", held: streamPublisherHeld, call: func(ctx context.Context, client *thump.Client) error {
			if err := send(ctx, client); err != nil && !strings.Contains(err.Error(), "violation") {
				return err
			}
			return errors.New("it was confirmed")
		}, want: "it was confirmed"}, answers(16<<20, streamproto.AppendPublishConfirm(nil, 0, 0))},
		{scenario{name: "confirms of nothing without end", held: streamPublisherHeld, call: send, want: ended}, answers(16<<20, streamproto.AppendPublishConfirm(nil, 0))},
	})
}

// TestStreamClient: what a broker can do to a client's own connection for streams.
func TestStreamClient(t *testing.T) {
	ask := func(ctx context.Context, client *thump.Client) error {
		_, err := client.Partitions(ctx, "invoices")
		return err
	}
	many := func(n int) []string { // made when it is asked for: the other scenarios measure the heap
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf("%08d", i)
		}
		return names
	}
	answering := func(answer func(correlation uint32) []byte) func(*fakebroker.StreamSession) {
		return func(s *fakebroker.StreamSession) {
			s.Login()
			r := s.Next()
			s.Offer(answer(r.Correlation))
			s.Discard()
		}
	}
	for _, sc := range []streamScenario{
		{scenario{name: "no answer", want: ended}, answering(func(uint32) []byte { return nil })},
		{scenario{name: "the answer to another question", want: "violation"}, answering(func(c uint32) []byte {
			return fakebroker.StreamResponse(c, &streamproto.Done{For: streamproto.KeyCreate, Code: streamproto.CodeOK})
		})},
		{scenario{name: "2^32-1 partitions", want: "too short"}, answering(func(c uint32) []byte {
			return fakebroker.StreamRaw(streamproto.KeyPartitions|1<<15, 1, append(binary.BigEndian.AppendUint32(nil, c), "\x00\x01\xff\xff\xff\xff"...))
		})},
		{scenario{name: "300000 partitions", held: 64 << 20, want: "300000 partitions, more than the 1000 that RabbitMQ allows"}, answering(func(c uint32) []byte {
			return fakebroker.StreamResponse(c, &streamproto.PartitionsResponse{Code: streamproto.CodeOK, Streams: many(300_000)})
		})},
	} {
		t.Run(sc.name, func(t *testing.T) {
			b := fakebroker.Start(t, fakebroker.Stream(sc.broker))
			client := dial(t, b.StreamURL())
			sc.held += streamHeld
			sc.call = ask
			sc.play(t, client)
		})
	}
}
