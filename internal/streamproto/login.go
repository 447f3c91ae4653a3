package streamproto

import "encoding/binary"

// Property is a name and a value. Peers, connections and subscriptions have
// properties, and the arguments of a stream are some.
type Property struct {
	Key, Value string
}

func (p *Property) fields(c codec) {
	c.text("Key", &p.Key)
	c.text("Value", &p.Value)
}

// PeerProperties is a client's first command: it says what the client is
// (PROTOCOL.adoc, PeerProperties). Until Open has succeeded, RabbitMQ 4.3.5 and later
// close the connection on a frame of more than 8192 bytes.
type PeerProperties struct {
	Properties []Property
}

func (*PeerProperties) Key() Key { return KeyPeerProperties }

func (r *PeerProperties) fields(c codec) { c.properties(&r.Properties) }

// PeerPropertiesResponse says what the server is. Its "version" decides which
// commands a client may send.
type PeerPropertiesResponse struct {
	Code       Code
	Properties []Property
}

func (*PeerPropertiesResponse) Key() Key { return KeyPeerProperties }

func (r *PeerPropertiesResponse) Result() Code { return r.Code }

func (r *PeerPropertiesResponse) fields(c codec) {
	c.code(&r.Code)
	if c.hasRest(r.Code) {
		c.properties(&r.Properties)
	}
}

// SASLHandshake asks for the login mechanisms (PROTOCOL.adoc, SaslHandshake).
type SASLHandshake struct{}

func (*SASLHandshake) Key() Key { return KeySASLHandshake }

func (*SASLHandshake) fields(codec) {}

// SASLHandshakeResponse names the mechanisms: "PLAIN", "AMQPLAIN", "EXTERNAL".
type SASLHandshakeResponse struct {
	Code       Code
	Mechanisms []string
}

func (*SASLHandshakeResponse) Key() Key { return KeySASLHandshake }

func (r *SASLHandshakeResponse) Result() Code { return r.Code }

func (r *SASLHandshakeResponse) fields(c codec) {
	c.code(&r.Code)
	if c.hasRest(r.Code) {
		c.texts("Mechanism", &r.Mechanisms)
	}
}

// SASLAuthenticate logs in, or answers a challenge (PROTOCOL.adoc,
// SaslAuthenticate).
type SASLAuthenticate struct {
	Mechanism string
	Data      []byte // for PLAIN "\x00user\x00password"; nil is null on the wire
}

func (*SASLAuthenticate) Key() Key { return KeySASLAuthenticate }

func (r *SASLAuthenticate) fields(c codec) {
	c.text("Mechanism", &r.Mechanism)
	c.bytes(&r.Data)
}

// SASLAuthenticateResponse says whether the login succeeded. With CodeSASLChallenge
// the server wants another SASLAuthenticate.
type SASLAuthenticateResponse struct {
	Code      Code
	Challenge []byte // nil if there is none
}

func (*SASLAuthenticateResponse) Key() Key { return KeySASLAuthenticate }

func (r *SASLAuthenticateResponse) Result() Code { return r.Code }

func (r *SASLAuthenticateResponse) fields(c codec) {
	c.code(&r.Code)
	c.challenge(&r.Challenge)
}

// Tune is the server's offer after a login, and the client's answer to it
// (PROTOCOL.adoc, Tune). It has no correlation id.
type Tune struct {
	FrameMax  uint32 // bytes, without the size field; 0: no limit
	Heartbeat uint32 // seconds; 0: none
}

// AppendTune appends the client's answer, which has the key of a response.
func AppendTune(dst []byte, t Tune) []byte {
	return appendTune(dst, uint16(KeyTune)|responseBit, t)
}

// AppendTuneOffer appends the server's offer, which has the key of a request.
func AppendTuneOffer(dst []byte, t Tune) []byte {
	return appendTune(dst, uint16(KeyTune), t)
}

func appendTune(dst []byte, key uint16, t Tune) []byte {
	b := beginFrame(dst, key, 1)
	b = binary.BigEndian.AppendUint32(b, t.FrameMax)
	b = binary.BigEndian.AppendUint32(b, t.Heartbeat)
	return endFrame(b, len(dst))
}

// ParseTune reads the offer or the answer. The errors are *UnexpectedFrameError and
// those of package wire.
func ParseTune(f Frame) (Tune, error) {
	if err := expect(&f, KeyTune, f.Response); err != nil {
		return Tune{}, err
	}
	r := newReader(f.Body)
	t := Tune{FrameMax: r.U32(), Heartbeat: r.U32()}
	return t, r.finish(&f)
}

// Open ends the login and names the virtual host (PROTOCOL.adoc, Open).
type Open struct {
	VirtualHost string
}

func (*Open) Key() Key { return KeyOpen }

func (r *Open) fields(c codec) { c.text("VirtualHost", &r.VirtualHost) }

// OpenResponse has the address that the server wants clients to use, in
// "advertised_host" and "advertised_port".
type OpenResponse struct {
	Code       Code
	Properties []Property
}

func (*OpenResponse) Key() Key { return KeyOpen }

func (r *OpenResponse) Result() Code { return r.Code }

func (r *OpenResponse) fields(c codec) {
	c.code(&r.Code)
	c.optionalProperties(&r.Properties)
}

// Close closes a connection; either side sends it (PROTOCOL.adoc, Close). The other
// side answers with a Done and closes the socket.
type Close struct {
	Code   Code // CodeOK, or what is wrong
	Reason string
}

func (*Close) Key() Key { return KeyClose }

func (r *Close) fields(c codec) {
	c.code(&r.Code)
	c.text("ClosingReason", &r.Reason)
}

// CommandVersion says which versions of a command a peer knows.
type CommandVersion struct {
	Key      Key
	Min, Max uint16
}

func (v *CommandVersion) fields(c codec) {
	key := uint16(v.Key)
	c.u16(&key)
	v.Key = Key(key)
	c.u16(&v.Min)
	c.u16(&v.Max)
}

// ExchangeCommandVersions says which commands the client knows, and asks the same of
// the server (PROTOCOL.adoc, ExchangeCommandVersions). A client sends it after the
// login and before the first Subscribe, because RabbitMQ sends version 2 of Deliver
// only to clients that have named it. RabbitMQ 3.10 and older close the connection
// when they get it.
type ExchangeCommandVersions struct {
	Commands []CommandVersion
}

func (*ExchangeCommandVersions) Key() Key { return KeyExchangeCommandVersions }

func (r *ExchangeCommandVersions) fields(c codec) { c.versions(&r.Commands) }

// ExchangeCommandVersionsResponse says which commands the server knows.
type ExchangeCommandVersionsResponse struct {
	Code     Code
	Commands []CommandVersion
}

func (*ExchangeCommandVersionsResponse) Key() Key { return KeyExchangeCommandVersions }

func (r *ExchangeCommandVersionsResponse) Result() Code { return r.Code }

func (r *ExchangeCommandVersionsResponse) fields(c codec) {
	c.code(&r.Code)
	if c.hasRest(r.Code) {
		c.versions(&r.Commands)
	}
}
