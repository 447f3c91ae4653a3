package fakebroker

import (
	"net"

	"github.com/thumpmq/thump/internal/streamproto"
)

// StreamSession is the server's side of one connection of the stream protocol,
// and its methods are the steps of a script, as those of a Session are. Stream
// makes a script for a Broker of one that takes it; a Broker can have scripts of
// both protocols.
type StreamSession struct {
	// Peer, SASL, Tune and Open are what the client said at login.
	Peer *streamproto.PeerProperties
	SASL *streamproto.SASLAuthenticate
	Tune *streamproto.Tune
	Open *streamproto.Open

	raw      *Session
	greeting StreamGreeting
	frameMax uint32 // the largest frame that the client may send now
	offsets  map[streamproto.QueryOffset]uint64
}

// preOpenMax is the largest frame that RabbitMQ takes until the login is over
// (initial_frame_max).
const preOpenMax = 8192

// Stream makes a Broker's script of one that speaks the stream protocol.
func Stream(script func(*StreamSession)) func(*Session) {
	return func(s *Session) {
		script(&StreamSession{raw: s, frameMax: preOpenMax, offsets: make(map[streamproto.QueryOffset]uint64)})
	}
}

// StreamURL is the URL to connect to with the stream protocol, as the user guest.
func (b *Broker) StreamURL() string { return "rabbitmq-stream://guest:guest@" + b.Address() + "/" }

// StreamGreeting is what a server says of itself, and proposes, at login.
type StreamGreeting struct {
	Properties []streamproto.Property
	Mechanisms []string
	Tune       streamproto.Tune
	Open       []streamproto.Property // advertised_host and advertised_port

	// Commands answers ExchangeCommandVersions; nil for a broker that is not
	// asked, because its version is before 3.11.
	Commands []streamproto.CommandVersion
}

// Advertised is the host and port by which LikelyStream wants to be found.
const (
	AdvertisedHost = "stream.test"
	AdvertisedPort = "5552"
)

// LikelyStream is the greeting of a RabbitMQ 4.3 with its usual settings.
func LikelyStream() StreamGreeting {
	return StreamGreeting{
		Properties: []streamproto.Property{
			{Key: "product", Value: "fakebroker"},
			{Key: "version", Value: "4.3.0"},
			{Key: "cluster_name", Value: "fake@stream.test"},
		},
		Mechanisms: []string{"AMQPLAIN", "PLAIN"},
		Tune:       streamproto.Tune{FrameMax: 1 << 20, Heartbeat: 60},
		Open: []streamproto.Property{
			{Key: "advertised_host", Value: AdvertisedHost}, {Key: "advertised_port", Value: AdvertisedPort},
		},
		Commands: commandVersions(),
	}
}

// OldStream is the greeting of a RabbitMQ 3.10, which is not asked for versions.
func OldStream() StreamGreeting {
	g := LikelyStream()
	g.Properties[1].Value = "3.10.8"
	g.Commands = nil
	return g
}

// commandVersions is what RabbitMQ 4.3 answers (rabbit_stream_utils.erl): not all
// that it has.
func commandVersions() []streamproto.CommandVersion {
	var list []streamproto.CommandVersion
	for _, key := range []streamproto.Key{
		streamproto.KeyDeclarePublisher, streamproto.KeyPublish, streamproto.KeyQueryPublisherSequence,
		streamproto.KeyDeletePublisher, streamproto.KeySubscribe, streamproto.KeyCredit, streamproto.KeyStoreOffset,
		streamproto.KeyQueryOffset, streamproto.KeyUnsubscribe, streamproto.KeyCreate, streamproto.KeyDelete,
		streamproto.KeyMetadata, streamproto.KeyClose, streamproto.KeyHeartbeat, streamproto.KeyRoute,
		streamproto.KeyPartitions, streamproto.KeyStreamStats, streamproto.KeyCreateSuperStream,
		streamproto.KeyDeleteSuperStream, streamproto.KeyResolveOffsetSpec,
	} {
		v := streamproto.CommandVersion{Key: key, Min: 1, Max: 1}
		if key == streamproto.KeyPublish {
			v.Max = 2
		}
		list = append(list, v)
	}
	return list
}

// MayLeave is that of Session.
func (s *StreamSession) MayLeave() { s.raw.MayLeave() }

// Login takes the client through the login of a RabbitMQ with its usual
// settings.
func (s *StreamSession) Login() {
	s.raw.t.Helper()
	s.LoginAs(LikelyStream())
}

// LoginAs is Login with a greeting of the script's own.
func (s *StreamSession) LoginAs(g StreamGreeting) {
	s.raw.t.Helper()
	s.LoginUpTo(g, "")
}

// LoginUpTo takes the client through the login until the command is there whose
// key has that name, and leaves it unanswered. Its correlation id is returned.
func (s *StreamSession) LoginUpTo(g StreamGreeting, last string) (correlation uint32) {
	s.raw.t.Helper()
	s.greeting = g
	s.Peer, correlation = ExpectCommand[*streamproto.PeerProperties](s)
	if last == streamproto.KeyPeerProperties.String() {
		return correlation
	}
	s.Answer(correlation, &streamproto.PeerPropertiesResponse{Code: streamproto.CodeOK, Properties: g.Properties})
	_, correlation = ExpectCommand[*streamproto.SASLHandshake](s)
	if last == streamproto.KeySASLHandshake.String() {
		return correlation
	}
	s.Answer(correlation, &streamproto.SASLHandshakeResponse{Code: streamproto.CodeOK, Mechanisms: g.Mechanisms})
	s.SASL, correlation = ExpectCommand[*streamproto.SASLAuthenticate](s)
	if last == streamproto.KeySASLAuthenticate.String() {
		return correlation
	}
	s.Answer(correlation, &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeOK})
	s.SendBytes(streamproto.AppendTuneOffer(nil, g.Tune))
	s.Tune, _ = ExpectCommand[*streamproto.Tune](s)
	s.Open, correlation = ExpectCommand[*streamproto.Open](s)
	if last == streamproto.KeyOpen.String() {
		return correlation
	}
	s.Answer(correlation, &streamproto.OpenResponse{Code: streamproto.CodeOK, Properties: g.Open})
	s.frameMax = s.Tune.FrameMax
	if g.Commands == nil {
		return 0
	}
	_, correlation = ExpectCommand[*streamproto.ExchangeCommandVersions](s)
	if last == streamproto.KeyExchangeCommandVersions.String() {
		return correlation
	}
	s.Answer(correlation, &streamproto.ExchangeCommandVersionsResponse{Code: streamproto.CodeOK, Commands: g.Commands})
	return 0
}

// OpenPublisher waits for DeclarePublisher, answers it, and for a publisher with
// a reference answers QueryPublisherSequence with known. It returns the
// publisher's id.
func (s *StreamSession) OpenPublisher(known uint64) uint8 {
	s.raw.t.Helper()
	declare, correlation := ExpectCommand[*streamproto.DeclarePublisher](s)
	s.Answer(correlation, &streamproto.Done{For: declare.Key(), Code: streamproto.CodeOK})
	if declare.Reference != "" {
		_, correlation = ExpectCommand[*streamproto.QueryPublisherSequence](s)
		s.Answer(correlation, &streamproto.QueryPublisherSequenceResponse{Code: streamproto.CodeOK, Sequence: known})
	}
	return declare.PublisherID
}

// OpenSubscription waits for Subscribe, answers it, and returns it.
func (s *StreamSession) OpenSubscription() *streamproto.Subscribe {
	s.raw.t.Helper()
	subscribe, correlation := ExpectCommand[*streamproto.Subscribe](s)
	s.Answer(correlation, &streamproto.Done{For: subscribe.Key(), Code: streamproto.CodeOK})
	return subscribe
}

// SendBytes writes bytes as they are.
func (s *StreamSession) SendBytes(b []byte) {
	s.raw.t.Helper()
	s.raw.SendBytes(b)
}

// Offer is SendBytes to a client that may hang up meanwhile; it reports whether
// the client still took all.
func (s *StreamSession) Offer(b []byte) bool { return s.raw.Offer(b) }

// Answer writes the response to the request with that correlation id.
func (s *StreamSession) Answer(correlation uint32, r streamproto.Response) {
	s.raw.t.Helper()
	s.SendBytes(StreamResponse(correlation, r))
}

// Ask writes a request of the server's.
func (s *StreamSession) Ask(correlation uint32, r streamproto.Request) {
	s.raw.t.Helper()
	s.SendBytes(StreamRequest(correlation, r))
}

// Confirm writes a PublishConfirm of these publishing ids.
func (s *StreamSession) Confirm(publisher uint8, ids ...uint64) {
	s.raw.t.Helper()
	s.SendBytes(streamproto.AppendPublishConfirm(nil, publisher, ids...))
}

// BreakAfter lets the connection break, and the script end, once the server has
// written that many more bytes or has read that many more. -1 is never.
func (s *StreamSession) BreakAfter(written, read int) { s.raw.BreakAfter(written, read) }

// Discard reads, whatever it is, until the client hangs up.
func (s *StreamSession) Discard() { s.raw.Discard() }

// Conn is the connection itself, for a script with steps of its own. Bytes that
// were read and belong to no step yet are lost to it.
func (s *StreamSession) Conn() net.Conn { return s.raw.net }

// Close closes the connection in the middle of things.
func (s *StreamSession) Close() { s.raw.Close() }

// Reset breaks the connection as a crashed host or a firewall does: the client
// may not get what was written last.
func (s *StreamSession) Reset() { s.raw.Reset() }
