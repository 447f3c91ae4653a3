package transport_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
	"github.com/thumpmq/thump/internal/window"
)

// goodbyeCorrelation is that of the server's Close.
const goodbyeCorrelation = 77

// stream is RabbitMQ's stream protocol. A delivery is a chunk of one message.
func stream() *protocol {
	p := &protocol{
		name: "streams",
		dial: func(ctx context.Context, cfg transport.Config) (client, error) {
			conn, err := streamconn.Dial(ctx, cfg)
			return streamClient{conn}, err
		},
		script: func(script func(server)) func(*fakebroker.Session) {
			return fakebroker.Stream(func(s *fakebroker.StreamSession) { script(streamServer{s}) })
		},
		frameMax: 16 << 20, readBuffer: 1 << 20, inboxRoom: 32 << 20,
		// half is of an answer to the client's first command.
		beat: streamproto.AppendHeartbeat(nil), half: []byte{0, 0, 0, 40, 0x80, 0x11, 0, 1, 0}, broken: []byte{0, 0, 0, 3},
		greeting: fakebroker.StreamResponse(1, &streamproto.PeerPropertiesResponse{Code: streamproto.CodeOK}),
		goodbye: fakebroker.StreamRequest(goodbyeCorrelation, &streamproto.Close{
			Code: streamproto.CodeInternalError, Reason: "Node is going down",
		}),
		delivery: func(i int, body string) []byte { return fakebroker.Deliver(fakebroker.Chunk(0, uint64(i), body)) },
		renumber: func([]byte, int) {},
		steps:    []string{"waiting for the broker's greeting", "logging in", "logging in", `opening vhost "/"`, "exchanging versions"},
		offered:  func(mechanisms ...string) string { return fmt.Sprintf("%q", mechanisms) },
		stranger: "not a stream server",
		tlsAlert: "not a stream server: it answered with a TLS alert; is this a TLS port (rabbitmq-stream+tls)?",
		leaving:  "broker answered 15, internal error: Node is going down",
		isLeft: func(err error) bool {
			server, ok := errors.AsType[*streamconn.ServerError](err)
			return ok && server.Code == streamproto.CodeInternalError
		},
		isBroken: func(err error) bool {
			broken, ok := errors.AsType[*streamconn.ProtocolError](err)
			return ok && broken.Code == streamproto.CodeUnknownFrame
		},
		batches: []int{1, 100}, aliased: []int{50_000, 1 << 20, 5_000_000},
		sizes: func(random func(int) int) int {
			switch random(20) {
			case 0:
				return random(100_000)
			case 1:
				return random(400_000)
			case 2:
				return random(3 << 20) // and so more than a read buffer
			default:
				return random(3000)
			}
		},
		life: life{
			server: fakebroker.Stream(streamLife), client: streamLifeClient, bodies: []string{"message 0", "message 1", "message 2", "message 3"},
			total: outcome.Totals{Published: 3, Confirmed: 2, Rejected: 1},
		},
	}
	p.large.n, p.large.bytes = 12, 8<<20
	return p
}

type streamServer struct{ *fakebroker.StreamSession }

func (s streamServer) hello() { s.Next() }

func (s streamServer) login(g greeting) {
	likely := fakebroker.LikelyStream()
	if g.heartbeat != 0 {
		likely.Tune.Heartbeat = uint32(g.heartbeat)
	}
	if g.unlimited {
		likely.Tune.FrameMax = 0
	}
	if g.mechanisms != nil {
		likely.Mechanisms = g.mechanisms
	}
	s.LoginAs(likely)
}

func (s streamServer) loginUpTo(step int) {
	at := []streamproto.Key{
		streamproto.KeyPeerProperties, streamproto.KeySASLHandshake, streamproto.KeySASLAuthenticate,
		streamproto.KeyOpen, streamproto.KeyExchangeCommandVersions,
	}
	s.LoginUpTo(fakebroker.LikelyStream(), at[step].String())
}

func (s streamServer) loginButLast() []byte {
	g := fakebroker.LikelyStream()
	correlation := s.LoginUpTo(g, streamproto.KeyExchangeCommandVersions.String())
	return fakebroker.StreamResponse(correlation, &streamproto.ExchangeCommandVersionsResponse{Code: streamproto.CodeOK, Commands: g.Commands})
}

func (s streamServer) refuse() {
	s.Ask(goodbyeCorrelation, &streamproto.Close{Code: streamproto.CodeInternalError, Reason: "no way"})
	s.goodbyeAnswered()
}

func (s streamServer) offer(mechanisms []string) {
	correlation := s.LoginUpTo(fakebroker.LikelyStream(), streamproto.KeySASLHandshake.String())
	s.Answer(correlation, &streamproto.SASLHandshakeResponse{Code: streamproto.CodeOK, Mechanisms: mechanisms})
}

func (s streamServer) saslSent() (mechanism, response string) {
	return s.SASL.Mechanism, string(s.SASL.Data)
}

func (s streamServer) openPublisher() { s.OpenPublisher(0) }
func (s streamServer) openConsumer()  { s.OpenSubscription() }

func (s streamServer) published(n int) {
	for got := 0; got < n; {
		p, _ := fakebroker.ExpectCommand[*fakebroker.Published](s.StreamSession)
		for _, e := range p.Entries {
			got += len(e.Bodies)
		}
	}
}

func (s streamServer) called(calls int) {
	for range calls {
		fakebroker.ExpectCommand[*streamproto.QueryOffset](s.StreamSession)
	}
}

func (s streamServer) stopped() {
	fakebroker.ExpectCommand[*streamproto.Unsubscribe](s.StreamSession)
}

// goodbyeAnswered passes over the credit that a consumer may give.
func (s streamServer) goodbyeAnswered() {
	for {
		r := s.Next()
		done, ok := r.Command.(*streamproto.Done)
		if ok && done.For == streamproto.KeyClose && r.Correlation == goodbyeCorrelation {
			return
		}
	}
}

func (s streamServer) broken() { s.Refused(streamproto.CodeUnknownFrame) }
func (s streamServer) serve()  { s.Serve(nil) }

type streamClient struct{ *streamconn.Conn }

func (c streamClient) publisher(t *testing.T, o publishing) publisher {
	t.Helper()
	w := o.newWindow()
	p, err := c.Publisher(t.Context(), streamconn.NewBacklog(streamconn.PublisherConfig{Stream: "events", Window: w, Ended: w.Fail, SubEntry: max(1, o.batch)}))
	if err != nil {
		t.Fatal("publisher:", err)
	}
	return streamPublisher{p, w, c.Conn}
}

func (c streamClient) consumer(t *testing.T) consumer {
	t.Helper()
	in := streamconn.NewInbox()
	sub, err := c.Subscribe(t.Context(), streamconn.SubscribeConfig{Stream: "events", Credit: 1000, Inbox: in, Ended: in.End})
	if err != nil {
		t.Fatal("subscribe:", err)
	}
	return streamConsumer{sub, in}
}

func (c streamClient) begin(ctx context.Context) map[string]error {
	ended := func(error) {}
	_, publisher := c.Publisher(ctx, streamconn.NewBacklog(streamconn.PublisherConfig{Stream: "events", Window: publishing{}.newWindow(), Ended: ended, SubEntry: 1}))
	_, subscription := c.Subscribe(ctx, streamconn.SubscribeConfig{Stream: "events", Credit: 2, Inbox: streamconn.NewInbox(), Ended: ended})
	_, call := c.Call(ctx, &streamproto.QueryOffset{Reference: "me", Stream: "events"})
	return map[string]error{
		"a publisher": publisher, "a subscription": subscription, "a call": call,
		"storing": c.StoreOffset(&streamproto.StoreOffset{}), "a goodbye": c.Close(ctx),
	}
}

type streamPublisher struct {
	*streamconn.Publisher
	*window.Window
	conn *streamconn.Conn
}

func (p streamPublisher) Publish(ref uint64, body []byte) (bool, error) {
	return p.Publisher.Publish(window.Tag{Ref: ref}, 0, body)
}

func (p streamPublisher) call(ctx context.Context) error {
	_, err := p.conn.Call(ctx, &streamproto.QueryOffset{Reference: "me", Stream: "events"})
	return err
}

type streamConsumer struct {
	sub *streamconn.Subscription
	in  *streamconn.Inbox
}

func (c streamConsumer) take(ctx context.Context, _ int) (batch, error) {
	taken, err := c.in.Take(ctx, nil)
	return streamBatch(taken), err
}

func (c streamConsumer) stop(ctx context.Context) error { return c.sub.Unsubscribe(ctx) }

func (c streamConsumer) waiting() int {
	c.in.Lock()
	defer c.in.Unlock()
	return c.in.Bytes
}

type streamBatch []streamconn.Arrival

func (b streamBatch) bodies() [][]byte {
	var list [][]byte
	for i := range b {
		list = append(list, chunkBodies(&b[i].Chunk)...)
	}
	return list
}

func (b streamBatch) release() {
	for i := range b {
		b[i].Release()
	}
}

// chunkBodies reads the messages of a chunk; it panics where that is none.
func chunkBodies(c *streamproto.Chunk) [][]byte {
	if err := c.CheckCRC(); err != nil {
		panic(err)
	}
	var bodies [][]byte
	add := func(message []byte) {
		body, ok := amqp10.Data(message)
		if !ok {
			panic(fmt.Sprintf("% x is no data section", message))
		}
		bodies = append(bodies, body)
	}
	entries := c.Reader()
	for e, ok := entries.Next(); ok; e, ok = entries.Next() {
		if !e.Batched {
			add(e.Data)
			continue
		}
		for message, rest, ok := streamproto.NextBatched(e.Data); ok; message, rest, ok = streamproto.NextBatched(rest) {
			add(message)
		}
	}
	if err := entries.Err(); err != nil {
		panic(err)
	}
	return bodies
}

// streamLife has a subscription that gets three chunks and a turn, a named
// publisher that gets confirms and an error, and a stored offset.
func streamLife(s *fakebroker.StreamSession) {
	g := fakebroker.LikelyStream()
	g.Properties = g.Properties[1:] // fewer offsets
	s.LoginAs(g)
	s.OpenSubscription()
	s.SendBytes(fakebroker.Deliver(fakebroker.Chunk(0, 0, "message 0")))
	s.Ask(9, &streamproto.ConsumerUpdate{SubscriptionID: 0, Active: true})
	c := fakebroker.Chunk(0, 1, "message 1")
	fakebroker.AddBatch(c, "message 2", "message 3")
	s.SendBytes(fakebroker.Deliver(c))
	for credit, answered := 0, false; credit < 2 || !answered; {
		switch c := s.Next().Command.(type) {
		case *streamproto.Credit:
			credit += int(c.Credit)
		case *streamproto.ConsumerUpdateResponse:
			answered = true
		}
	}
	s.OpenPublisher(0)
	streamServer{s}.published(3)
	s.Confirm(0, 3, 1)
	s.SendBytes(streamproto.AppendPublishError(nil, 0, streamproto.CodePreconditionFailed, 2))
	s.Serve(nil)
}

func streamLifeClient(t *testing.T, b *fakebroker.Broker) (bodies []string, total outcome.Totals, err error) {
	conn, err := streamconn.Dial(t.Context(), stream().config(b))
	if err != nil {
		return nil, total, err
	}
	defer conntest.Drop(streamClient{conn})
	in := streamconn.NewInbox()
	sub, err := conn.Subscribe(t.Context(), streamconn.SubscribeConfig{Stream: "events", Credit: 10, Inbox: in, Ended: in.End})
	if err != nil {
		return nil, total, err
	}
	for len(bodies) < 4 {
		arrivals, err := in.Take(t.Context(), nil)
		if err != nil {
			return bodies, total, err
		}
		for _, body := range streamBatch(arrivals).bodies() {
			bodies = append(bodies, string(body))
		}
	}
	if err := sub.Answer(<-sub.Updates(), streamproto.OffsetSpec{}); err != nil {
		return bodies, total, err
	}
	w := publishing{window: 10}.newWindow()
	p, err := conn.Publisher(t.Context(), streamconn.NewBacklog(streamconn.PublisherConfig{Stream: "events", Reference: "me", Window: w, Ended: w.Fail, SubEntry: 1}))
	if err != nil {
		return bodies, total, err
	}
	if total, err = publishThree(t, streamPublisher{p, w, conn}); err != nil {
		return bodies, total, err
	}
	if err := p.Err(); err != nil {
		return bodies, total, err
	}
	if err := conn.StoreOffset(&streamproto.StoreOffset{Reference: "me", Stream: "events", Offset: 3}); err != nil {
		return bodies, total, err
	}
	r, err := conn.Call(t.Context(), &streamproto.QueryOffset{Reference: "me", Stream: "events"})
	if err != nil {
		return bodies, total, err
	}
	if got := r.(*streamproto.QueryOffsetResponse).Offset; got != 3 {
		t.Errorf("offset %d is stored", got)
	}
	return bodies, total, conn.Close(t.Context())
}
