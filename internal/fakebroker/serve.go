package fakebroker

import (
	"github.com/thumpmq/thump/internal/amqpproto"
)

// Greeting is what a server says of itself, and proposes, at login.
type Greeting struct {
	Properties amqpproto.Table // server-properties; nil: like RabbitMQ's
	Mechanisms string          // default "PLAIN AMQPLAIN"
	Tune       amqpproto.ConnectionTune
}

// Likely is the greeting of a RabbitMQ with its usual settings.
func Likely() Greeting {
	return Greeting{
		Properties: amqpproto.Table{
			{Key: "capabilities", Value: amqpproto.Table{
				{Key: "publisher_confirms", Value: true},
				{Key: "exchange_exchange_bindings", Value: true},
				{Key: "basic.nack", Value: true},
				{Key: "consumer_cancel_notify", Value: true},
				{Key: "connection.blocked", Value: true},
				{Key: "authentication_failure_close", Value: true},
			}},
			{Key: "product", Value: "fakebroker"},
			{Key: "version", Value: "4.3.0"},
		},
		Mechanisms: "PLAIN AMQPLAIN",
		Tune:       amqpproto.ConnectionTune{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 60},
	}
}

// Start is the connection.start of the greeting.
func (g Greeting) Start() *amqpproto.ConnectionStart {
	return &amqpproto.ConnectionStart{VersionMinor: 9, ServerProperties: g.Properties, Mechanisms: g.Mechanisms, Locales: "en_US"}
}

// Login takes the client through the login of a RabbitMQ with its usual
// settings.
func (s *Session) Login() {
	s.t.Helper()
	s.LoginAs(Likely())
}

// LoginAs is Login with a greeting of the script's own.
func (s *Session) LoginAs(g Greeting) {
	s.t.Helper()
	s.ExpectProtocolHeader()
	s.Send(0, g.Start())
	s.StartOk, _ = Expect[*amqpproto.ConnectionStartOk](s)
	s.Send(0, &g.Tune)
	s.TuneOk, _ = Expect[*amqpproto.ConnectionTuneOk](s)
	s.Open, _ = Expect[*amqpproto.ConnectionOpen](s)
	s.Send(0, &amqpproto.ConnectionOpenOk{})
}

// ExpectProtocolHeader reads the eight bytes that a connection begins with.
func (s *Session) ExpectProtocolHeader() {
	s.t.Helper()
	if got := string(s.ReadBytes(8)); got != amqpproto.ProtocolHeader {
		s.fail("got % x, not the protocol header", got)
	}
}

// OpenChannel waits for channel.open, answers it, and returns the number.
func (s *Session) OpenChannel() uint16 {
	s.t.Helper()
	_, channel := Expect[*amqpproto.ChannelOpen](s)
	s.Send(channel, &amqpproto.ChannelOpenOk{})
	return channel
}

// OpenPublisher is OpenChannel, and confirm.select.
func (s *Session) OpenPublisher() uint16 {
	s.t.Helper()
	channel := s.OpenChannel()
	Expect[*amqpproto.ConfirmSelect](s)
	s.Send(channel, &amqpproto.ConfirmSelectOk{})
	return channel
}

// OpenConsumer is OpenChannel, a basic.qos if there is one, and basic.consume,
// whose consumer tag it returns.
func (s *Session) OpenConsumer() (channel uint16, tag string) {
	s.t.Helper()
	channel = s.OpenChannel()
	r := s.Next()
	if _, ok := r.Method.(*amqpproto.BasicQos); ok {
		s.Send(channel, &amqpproto.BasicQosOk{})
		r = s.Next()
	}
	m, ok := r.Method.(*amqpproto.BasicConsume)
	if !ok {
		s.fail("got %v, not basic.consume", r.Method.ID())
	}
	s.Send(channel, &amqpproto.BasicConsumeOk{ConsumerTag: m.ConsumerTag})
	return channel, m.ConsumerTag
}

// Refused waits for the client's connection.close with that reply code, which
// it sends when the server broke the protocol, and hangs up. Methods that come
// before it are passed over.
func (s *Session) Refused(code uint16) {
	s.t.Helper()
	for {
		r := s.Next()
		m, ok := r.Method.(*amqpproto.ConnectionClose)
		if !ok {
			continue
		}
		if m.ReplyCode != code {
			s.fail("the client closed with %d %s, not %d", m.ReplyCode, m.ReplyText, code)
		}
		s.Close()
		return
	}
}

// Serve does what an orderly broker would, until the client has said goodbye or
// has hung up: it answers every method, confirms every message, and delivers
// nothing. handle, where it is not nil, sees each method first, and reports
// whether it has dealt with it.
func (s *Session) Serve(handle func(*Received) bool) {
	s.t.Helper()
	for {
		r, err := s.next()
		if err != nil {
			return
		}
		if handle != nil && handle(r) {
			continue
		}
		if answer := s.answer(r); answer != nil && !s.Offer(Frame(r.Channel, answer)) {
			return
		}
		if _, ok := r.Method.(*amqpproto.ConnectionClose); ok {
			s.Close()
			return
		}
	}
}

// answer is what an orderly broker answers; nil for nothing.
func (s *Session) answer(r *Received) amqpproto.Method {
	switch m := r.Method.(type) {
	case *amqpproto.ConnectionClose:
		return &amqpproto.ConnectionCloseOk{}
	case *amqpproto.ConnectionUpdateSecret:
		return &amqpproto.ConnectionUpdateSecretOk{}
	case *amqpproto.ChannelOpen:
		s.published[r.Channel] = 0
		return &amqpproto.ChannelOpenOk{}
	case *amqpproto.ChannelClose:
		return &amqpproto.ChannelCloseOk{}
	case *amqpproto.ConfirmSelect:
		return &amqpproto.ConfirmSelectOk{}
	case *amqpproto.BasicPublish:
		return &amqpproto.BasicAck{DeliveryTag: s.published[r.Channel]}
	case *amqpproto.BasicQos:
		return &amqpproto.BasicQosOk{}
	case *amqpproto.BasicConsume:
		return &amqpproto.BasicConsumeOk{ConsumerTag: m.ConsumerTag}
	case *amqpproto.BasicGet:
		return &amqpproto.BasicGetEmpty{}
	case *amqpproto.BasicCancel:
		if !m.NoWait {
			return &amqpproto.BasicCancelOk{ConsumerTag: m.ConsumerTag}
		}
	case *amqpproto.QueueDeclare:
		return &amqpproto.QueueDeclareOk{Queue: m.Queue}
	case *amqpproto.QueueDelete:
		return &amqpproto.QueueDeleteOk{}
	case *amqpproto.QueuePurge:
		return &amqpproto.QueuePurgeOk{}
	case *amqpproto.QueueBind:
		return &amqpproto.QueueBindOk{}
	case *amqpproto.ExchangeDeclare:
		return &amqpproto.ExchangeDeclareOk{}
	}
	return nil
}
