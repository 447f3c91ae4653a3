package streamproto

import "encoding/binary"

// Property is a name and a value: of a peer, a connection, a subscription, or an
// argument of a stream.
type Property struct {
	Key, Value string
}

func (p *Property) fields(c codec) {
	c.text("Key", &p.Key)
	c.text("Value", &p.Value)
}

// PeerProperties begins a connection: the client says what it is (PROTOCOL.adoc,
// PeerProperties). Until Open has succeeded RabbitMQ 4.3.5 and later hang up on a
// frame of more than 8192 bytes.
type PeerProperties struct {
	Properties []Property
}

// Key is KeyPeerProperties.
func (*PeerProperties) Key() Key { return KeyPeerProperties }

func (r *PeerProperties) fields(c codec) { c.properties(&r.Properties) }

// PeerPropertiesResponse says what the server is. Its "version" decides which
// commands it may be sent.
type PeerPropertiesResponse struct {
	Code       Code
	Properties []Property
}

// Key is KeyPeerProperties.
func (*PeerPropertiesResponse) Key() Key { return KeyPeerProperties }

// Result is the response's code.
func (r *PeerPropertiesResponse) Result() Code { return r.Code }

func (r *PeerPropertiesResponse) fields(c codec) {
	c.code(&r.Code)
	if c.hasRest(r.Code) {
		c.properties(&r.Properties)
	}
}

// SASLHandshake asks for the mechanisms to log in with (PROTOCOL.adoc,
// SaslHandshake).
type SASLHandshake struct{}

// Key is KeySASLHandshake.
func (*SASLHandshake) Key() Key { return KeySASLHandshake }

func (*SASLHandshake) fields(codec) {}

// SASLHandshakeResponse names the mechanisms: "PLAIN", "AMQPLAIN", "EXTERNAL".
type SASLHandshakeResponse struct {
	Code       Code
	Mechanisms []string
}

// Key is KeySASLHandshake.
func (*SASLHandshakeResponse) Key() Key { return KeySASLHandshake }

// Result is the response's code.
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
	Data      []byte // nil is null on the wire; for PLAIN "\x00user\x00password"
}

// Key is KeySASLAuthenticate.
func (*SASLAuthenticate) Key() Key { return KeySASLAuthenticate }

func (r *SASLAuthenticate) fields(c codec) {
	c.text("Mechanism", &r.Mechanism)
	c.bytes(&r.Data)
}

// SASLAuthenticateResponse says whether the login worked. With CodeSASLChallenge
// it wants another SASLAuthenticate.
type SASLAuthenticateResponse struct {
	Code      Code
	Challenge []byte // nil for none
}

// Key is KeySASLAuthenticate.
func (*SASLAuthenticateResponse) Key() Key { return KeySASLAuthenticate }

// Result is the response's code.
func (r *SASLAuthenticateResponse) Result() Code { return r.Code }

func (r *SASLAuthenticateResponse) fields(c codec) {
	c.code(&r.Code)
	c.challenge(&r.Challenge)
}

// Tune is the server's offer after a login, and the client's answer to it
// (PROTOCOL.adoc, Tune). It has no correlation id.
type Tune struct {
	FrameMax  uint32 // bytes, the size field not counted; 0 is no limit
	Heartbeat uint32 // seconds; 0 is none
}

// AppendTune appends the client's answer, a frame with the key of a response.
func AppendTune(dst []byte, t Tune) []byte {
	return appendTune(dst, uint16(KeyTune)|responseBit, t)
}

// AppendTuneOffer appends the server's offer, a frame with the key of a request.
func AppendTuneOffer(dst []byte, t Tune) []byte {
	return appendTune(dst, uint16(KeyTune), t)
}

func appendTune(dst []byte, key uint16, t Tune) []byte {
	b := beginFrame(dst, key, 1)
	b = binary.BigEndian.AppendUint32(b, t.FrameMax)
	b = binary.BigEndian.AppendUint32(b, t.Heartbeat)
	return endFrame(b, len(dst))
}

// ParseTune reads the offer or the answer. The errors are *UnexpectedFrameError
// and wire's.
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

// Key is KeyOpen.
func (*Open) Key() Key { return KeyOpen }

func (r *Open) fields(c codec) { c.text("VirtualHost", &r.VirtualHost) }

// OpenResponse has what the server wants to be called by:
// "advertised_host" and "advertised_port".
type OpenResponse struct {
	Code       Code
	Properties []Property
}

// Key is KeyOpen.
func (*OpenResponse) Key() Key { return KeyOpen }

// Result is the response's code.
func (r *OpenResponse) Result() Code { return r.Code }

func (r *OpenResponse) fields(c codec) {
	c.code(&r.Code)
	c.optionalProperties(&r.Properties)
}

// Close ends a connection, from either side (PROTOCOL.adoc, Close). The other
// side answers with a Done and hangs up.
type Close struct {
	Code   Code // CodeOK, or what was wrong
	Reason string
}

// Key is KeyClose.
func (*Close) Key() Key { return KeyClose }

func (r *Close) fields(c codec) {
	c.code(&r.Code)
	c.text("ClosingReason", &r.Reason)
}

// CommandVersion is a command and the versions of it that a peer knows.
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

// ExchangeCommandVersions says which commands the client knows, and asks what
// the server does (PROTOCOL.adoc, ExchangeCommandVersions). It belongs between
// login and the first Subscribe: RabbitMQ sends version 2 of Deliver only to who
// has named it. RabbitMQ 3.10 and older close the connection on it.
type ExchangeCommandVersions struct {
	Commands []CommandVersion
}

// Key is KeyExchangeCommandVersions.
func (*ExchangeCommandVersions) Key() Key { return KeyExchangeCommandVersions }

func (r *ExchangeCommandVersions) fields(c codec) { c.versions(&r.Commands) }

// ExchangeCommandVersionsResponse says which commands the server knows.
type ExchangeCommandVersionsResponse struct {
	Code     Code
	Commands []CommandVersion
}

// Key is KeyExchangeCommandVersions.
func (*ExchangeCommandVersionsResponse) Key() Key { return KeyExchangeCommandVersions }

// Result is the response's code.
func (r *ExchangeCommandVersionsResponse) Result() Code { return r.Code }

func (r *ExchangeCommandVersionsResponse) fields(c codec) {
	c.code(&r.Code)
	if c.hasRest(r.Code) {
		c.versions(&r.Commands)
	}
}
