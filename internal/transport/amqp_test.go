package transport_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/thumpmq/thump/internal/amqpconn"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/transport"
	"github.com/thumpmq/thump/internal/window"
)

// amqp is AMQP 0-9-1. A delivery is one to consumer c on channel 1.
func amqp() *protocol {
	p := &protocol{
		name: "AMQP 0-9-1",
		dial: func(ctx context.Context, cfg transport.Config) (client, error) {
			conn, err := amqpconn.Dial(ctx, amqpconn.Config{Config: cfg, ChannelMax: 2047})
			return amqpClient{conn}, err
		},
		script: func(script func(server)) func(*fakebroker.Session) {
			return func(s *fakebroker.Session) { script(amqpServer{s}) }
		},
		frameMax: 131072, readBuffer: 256 << 10, inboxRoom: 8 << 20,
		beat: amqpproto.AppendHeartbeat(nil), half: []byte{1, 0, 0, 0, 0}, broken: []byte("garbage!"),
		greeting: fakebroker.Frame(0, fakebroker.Likely().Start()),
		goodbye: fakebroker.Frame(0, &amqpproto.ConnectionClose{
			ReplyCode: 320, ReplyText: "CONNECTION_FORCED - broker forced connection closure", ClassID: 60, MethodID: 40,
		}),
		delivery: func(i int, body string) []byte { return amqpDelivery(1, uint64(i)+1, body) },
		renumber: func(delivery []byte, i int) {
			const tagOffset = 7 + 4 + 2 // frame header, method id and consumer tag "c"
			binary.BigEndian.PutUint64(delivery[tagOffset:], uint64(i)+1)
		},
		steps:    []string{"waiting for the broker's greeting", "logging in", `opening vhost "/"`},
		offered:  func(mechanisms ...string) string { return fmt.Sprintf("%q", strings.Join(mechanisms, " ")) },
		stranger: "not an AMQP server",
		tlsAlert: "not an AMQP server: it answered with a TLS alert; is this a TLS port (amqps)?",
		leaving:  "broker answered 320 CONNECTION_FORCED - broker forced connection closure",
		isLeft: func(err error) bool {
			server, ok := errors.AsType[*amqpconn.ServerError](err)
			return ok && server.Code == 320 && server.Method == amqpproto.MethodBasicPublish
		},
		isBroken: func(err error) bool {
			broken, ok := errors.AsType[*amqpconn.ProtocolError](err)
			return ok && broken.Code == amqpproto.FrameError
		},
		batches: []int{1}, aliased: []int{50_000},
		sizes: func(random func(int) int) int {
			switch random(20) {
			case 0:
				return random(65536 + 1000)
			case 1:
				return random(200_000)
			default:
				return random(300)
			}
		},
		life: life{
			server: amqpLife, client: amqpLifeClient, bodies: []string{"message 1", "message 2", "message 3"},
			total: outcome.Totals{Published: 3, Confirmed: 1, Rejected: 1, Returned: 1},
		},
	}
	p.large.n, p.large.bytes = 40, 1<<20
	return p
}

func amqpDelivery(channel uint16, tag uint64, body string) []byte {
	return fakebroker.Content(channel, 131072,
		&amqpproto.BasicDeliver{ConsumerTag: "c", DeliveryTag: tag, Exchange: "x", RoutingKey: "q"},
		&amqpproto.Properties{DeliveryMode: 2}, []byte(body))
}

type amqpServer struct{ *fakebroker.Session }

func (s amqpServer) hello() { s.ExpectProtocolHeader() }

func (s amqpServer) login(g greeting) {
	likely := fakebroker.Likely()
	if g.heartbeat != 0 {
		likely.Tune.Heartbeat = g.heartbeat
	}
	if g.unlimited {
		likely.Tune.FrameMax = 0
	}
	if g.mechanisms != nil {
		likely.Mechanisms = strings.Join(g.mechanisms, " ")
	}
	s.LoginAs(likely)
}

func (s amqpServer) loginUpTo(step int) {
	s.ExpectProtocolHeader()
	if step > 0 {
		s.Send(0, fakebroker.Likely().Start())
		fakebroker.Expect[*amqpproto.ConnectionStartOk](s.Session)
	}
	if step > 1 {
		s.SendBytes(amqpproto.AppendHeartbeat(nil))
		s.Send(0, &amqpproto.ConnectionTune{ChannelMax: 10, FrameMax: 8192, Heartbeat: 60})
		s.TuneOk, _ = fakebroker.Expect[*amqpproto.ConnectionTuneOk](s.Session)
		fakebroker.Expect[*amqpproto.ConnectionOpen](s.Session)
	}
}

func (s amqpServer) loginButLast() []byte {
	s.loginUpTo(2)
	return fakebroker.Frame(0, &amqpproto.ConnectionOpenOk{})
}

func (s amqpServer) refuse() {
	s.Send(0, &amqpproto.ConnectionClose{ReplyCode: 320, ReplyText: "no way", ClassID: 60, MethodID: 40})
	fakebroker.Expect[*amqpproto.ConnectionCloseOk](s.Session)
}

func (s amqpServer) offer(mechanisms []string) {
	s.ExpectProtocolHeader()
	likely := fakebroker.Likely()
	likely.Mechanisms = strings.Join(mechanisms, " ")
	s.Send(0, likely.Start())
}

func (s amqpServer) saslSent() (mechanism, response string) {
	return s.StartOk.Mechanism, s.StartOk.Response
}

func (s amqpServer) openPublisher() { s.OpenPublisher() }
func (s amqpServer) openConsumer()  { s.OpenConsumer() }

func (s amqpServer) published(n int) {
	for range n {
		fakebroker.Expect[*amqpproto.BasicPublish](s.Session)
	}
}

// called reads one call: on a channel, one waits for the other.
func (s amqpServer) called(int)       { fakebroker.Expect[*amqpproto.BasicQos](s.Session) }
func (s amqpServer) stopped()         { fakebroker.Expect[*amqpproto.BasicCancel](s.Session) }
func (s amqpServer) goodbyeAnswered() { fakebroker.Expect[*amqpproto.ConnectionCloseOk](s.Session) }
func (s amqpServer) broken()          { s.Refused(amqpproto.FrameError) }
func (s amqpServer) serve()           { s.Serve(nil) }

type amqpClient struct{ *amqpconn.Conn }

func (c amqpClient) publisher(t *testing.T, o publishing) publisher {
	t.Helper()
	ch, err := c.Channel(t.Context())
	if err != nil {
		t.Fatal("channel:", err)
	}
	w := o.newWindow()
	if err := ch.Carry(t.Context(), w, w.Fail); err != nil {
		t.Fatal("carry:", err)
	}
	return amqpPublisher{ch, w}
}

func (c amqpClient) consumer(t *testing.T) consumer {
	t.Helper()
	ch, err := c.Channel(t.Context())
	if err != nil {
		t.Fatal("channel:", err)
	}
	in, err := ch.Consume(t.Context(), 0, &amqpproto.BasicConsume{Queue: "q", ConsumerTag: "c"})
	if err != nil {
		t.Fatal("consume:", err)
	}
	return amqpConsumer{ch, in}
}

func (c amqpClient) begin(ctx context.Context) map[string]error {
	_, channel := c.Channel(ctx)
	return map[string]error{"a channel": channel, "a new secret": c.UpdateSecret(ctx, "s", "r"), "a goodbye": c.Close(ctx)}
}

type amqpPublisher struct {
	*amqpconn.Channel
	*window.Window
}

func (p amqpPublisher) Begin(ctx context.Context) error { return p.BeginPublish(ctx) }
func (p amqpPublisher) End()                            { p.EndPublish() }

func (p amqpPublisher) Publish(ref uint64, body []byte) (bool, error) {
	m := amqpconn.Message{Body: body, Tag: window.Tag{Ref: ref}}
	m.RoutingKey, m.Mandatory = "q", true
	return p.Channel.Publish(&m)
}

func (p amqpPublisher) call(ctx context.Context) error { return p.Qos(ctx, 1) }

type amqpConsumer struct {
	ch *amqpconn.Channel
	in *amqpconn.Inbox
}

func (c amqpConsumer) take(ctx context.Context, limit int) (batch, error) {
	b := new(amqpBatch)
	return b, c.in.Take(ctx, &b.Deliveries, limit)
}

func (c amqpConsumer) stop(ctx context.Context) error { return c.ch.Cancel(ctx, c.in) }

func (c amqpConsumer) waiting() int {
	c.in.Lock()
	defer c.in.Unlock()
	return c.in.Bytes
}

type amqpBatch struct{ amqpconn.Deliveries }

func (b *amqpBatch) bodies() [][]byte {
	list := make([][]byte, len(b.List))
	for i := range list {
		list[i] = b.List[i].Body
	}
	return list
}

func (b *amqpBatch) release() { b.Release() }

// amqpLife has a consumer that gets three messages, one of them in pieces, and a
// publisher that gets a return, an ack and a nack.
func amqpLife(s *fakebroker.Session) {
	g := fakebroker.Likely()
	g.Properties = amqpproto.Table{{Key: "product", Value: "x"}} // fewer offsets
	s.LoginAs(g)
	s.OpenConsumer()
	s.SendBytes(amqpDelivery(1, 1, "message 1"))
	s.Send(1, &amqpproto.BasicDeliver{ConsumerTag: "c", DeliveryTag: 2, Exchange: "x", RoutingKey: "q"})
	s.SendBytes(fakebroker.Header(1, 9))
	for _, piece := range []string{"mess", "age ", "2"} {
		s.SendBytes(fakebroker.Raw(amqpproto.FrameBody, 1, []byte(piece)))
	}
	s.SendBytes(amqpDelivery(1, 3, "message 3"))
	s.OpenPublisher()
	for range 3 {
		fakebroker.Expect[*amqpproto.BasicPublish](s)
	}
	s.SendContent(2, &amqpproto.BasicReturn{ReplyCode: 312, RoutingKey: "q"}, nil, []byte("two"))
	s.Send(2, &amqpproto.BasicAck{DeliveryTag: 2, Multiple: true}, &amqpproto.BasicNack{DeliveryTag: 3})
	s.Serve(nil)
}

func amqpLifeClient(t *testing.T, b *fakebroker.Broker) (bodies []string, total outcome.Totals, err error) {
	conn, err := amqpconn.Dial(t.Context(), amqpconn.Config{Config: amqp().config(b), ChannelMax: 2047})
	if err != nil {
		return nil, total, err
	}
	defer conntest.Drop(amqpClient{conn})
	ch, err := conn.Channel(t.Context())
	if err != nil {
		return nil, total, err
	}
	in, err := ch.Consume(t.Context(), 0, &amqpproto.BasicConsume{Queue: "q", ConsumerTag: "c"})
	if err != nil {
		return nil, total, err
	}
	var d amqpconn.Deliveries
	for len(bodies) < 3 {
		if err := in.Take(t.Context(), &d, 10); err != nil {
			return bodies, total, err
		}
		for i := range d.List {
			bodies = append(bodies, string(d.List[i].Body))
		}
	}
	if ch, err = conn.Channel(t.Context()); err != nil {
		return bodies, total, err
	}
	w := publishing{window: 10}.newWindow()
	if err := ch.Carry(t.Context(), w, w.Fail); err != nil {
		return bodies, total, err
	}
	if total, err = publishThree(t, amqpPublisher{ch, w}); err != nil {
		return bodies, total, err
	}
	if err := conn.Err(); err != nil {
		return bodies, total, err
	}
	return bodies, total, conn.Close(t.Context())
}
