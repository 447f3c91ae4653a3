package amqpproto

// Methods of class connection (AMQP 0-9-1 1.4.2).
const (
	MethodConnectionStart          MethodID = ClassConnection<<16 | 10
	MethodConnectionStartOk        MethodID = ClassConnection<<16 | 11
	MethodConnectionSecure         MethodID = ClassConnection<<16 | 20
	MethodConnectionSecureOk       MethodID = ClassConnection<<16 | 21
	MethodConnectionTune           MethodID = ClassConnection<<16 | 30
	MethodConnectionTuneOk         MethodID = ClassConnection<<16 | 31
	MethodConnectionOpen           MethodID = ClassConnection<<16 | 40
	MethodConnectionOpenOk         MethodID = ClassConnection<<16 | 41
	MethodConnectionClose          MethodID = ClassConnection<<16 | 50
	MethodConnectionCloseOk        MethodID = ClassConnection<<16 | 51
	MethodConnectionBlocked        MethodID = ClassConnection<<16 | 60
	MethodConnectionUnblocked      MethodID = ClassConnection<<16 | 61
	MethodConnectionUpdateSecret   MethodID = ClassConnection<<16 | 70
	MethodConnectionUpdateSecretOk MethodID = ClassConnection<<16 | 71
)

// ConnectionStart is the server's first method: what the server is, and which login
// mechanisms it offers.
type ConnectionStart struct {
	VersionMajor     uint8
	VersionMinor     uint8
	ServerProperties Table  // "capabilities" is a Table of bools
	Mechanisms       string // separated by spaces: "PLAIN AMQPLAIN"
	Locales          string // separated by spaces
}

func (*ConnectionStart) ID() MethodID { return MethodConnectionStart }

func (m *ConnectionStart) arguments(c codec) {
	c.octet(&m.VersionMajor)
	c.octet(&m.VersionMinor)
	c.table("server-properties", &m.ServerProperties)
	c.longString("mechanisms", &m.Mechanisms)
	c.longString("locales", &m.Locales)
}

// ConnectionStartOk answers connection.start: what the client is, and its login.
type ConnectionStartOk struct {
	ClientProperties Table
	Mechanism        string
	Response         string // for PLAIN: "\x00user\x00password"
	Locale           string // "en_US"
}

func (*ConnectionStartOk) ID() MethodID { return MethodConnectionStartOk }

func (m *ConnectionStartOk) arguments(c codec) {
	c.table("client-properties", &m.ClientProperties)
	c.shortString("mechanism", &m.Mechanism)
	c.longString("response", &m.Response)
	c.shortString("locale", &m.Locale)
}

// ConnectionSecure asks the client for another step of the login mechanism.
type ConnectionSecure struct {
	Challenge string
}

func (*ConnectionSecure) ID() MethodID { return MethodConnectionSecure }

func (m *ConnectionSecure) arguments(c codec) {
	c.longString("challenge", &m.Challenge)
}

// ConnectionSecureOk answers connection.secure.
type ConnectionSecureOk struct {
	Response string
}

func (*ConnectionSecureOk) ID() MethodID { return MethodConnectionSecureOk }

func (m *ConnectionSecureOk) arguments(c codec) {
	c.longString("response", &m.Response)
}

// ConnectionTune proposes limits, once the server has accepted the login. 0 means no
// limit, and no heartbeats.
type ConnectionTune struct {
	ChannelMax uint16 // highest channel number
	FrameMax   uint32 // bytes, overhead included
	Heartbeat  uint16 // seconds
}

func (*ConnectionTune) ID() MethodID { return MethodConnectionTune }

func (m *ConnectionTune) arguments(c codec) {
	c.short(&m.ChannelMax)
	c.long(&m.FrameMax)
	c.short(&m.Heartbeat)
}

// ConnectionTuneOk sets the limits. RabbitMQ closes the connection (530) if
// ChannelMax or FrameMax is higher than it proposed; 0 counts as the highest.
type ConnectionTuneOk struct {
	ChannelMax uint16 // highest channel number
	FrameMax   uint32 // bytes, overhead included
	Heartbeat  uint16 // seconds
}

func (*ConnectionTuneOk) ID() MethodID { return MethodConnectionTuneOk }

func (m *ConnectionTuneOk) arguments(c codec) {
	c.short(&m.ChannelMax)
	c.long(&m.FrameMax)
	c.short(&m.Heartbeat)
}

// ConnectionOpen names the virtual host to use.
type ConnectionOpen struct {
	VirtualHost string
	reserved1   string
	reserved2   bool
}

func (*ConnectionOpen) ID() MethodID { return MethodConnectionOpen }

func (m *ConnectionOpen) arguments(c codec) {
	c.shortString("virtual-host", &m.VirtualHost)
	c.shortString("reserved-1", &m.reserved1)
	c.bits(&m.reserved2)
}

// ConnectionOpenOk says that the connection is ready for channels.
type ConnectionOpenOk struct {
	reserved1 string
}

func (*ConnectionOpenOk) ID() MethodID { return MethodConnectionOpenOk }

func (m *ConnectionOpenOk) arguments(c codec) {
	c.shortString("reserved-1", &m.reserved1)
}

// ConnectionClose closes the connection; either side sends it, as its last method.
// ClassID and MethodID name the method that was at fault, or are 0.
type ConnectionClose struct {
	ReplyCode uint16
	ReplyText string
	ClassID   uint16
	MethodID  uint16
}

func (*ConnectionClose) ID() MethodID { return MethodConnectionClose }

func (m *ConnectionClose) arguments(c codec) {
	c.short(&m.ReplyCode)
	c.shortString("reply-text", &m.ReplyText)
	c.short(&m.ClassID)
	c.short(&m.MethodID)
}

// ConnectionCloseOk answers connection.close. Then the socket is closed.
type ConnectionCloseOk struct{}

func (*ConnectionCloseOk) ID() MethodID { return MethodConnectionCloseOk }

func (*ConnectionCloseOk) arguments(codec) {}

// ConnectionBlocked says that the server has stopped reading from publishers,
// because it is short of memory or disk. RabbitMQ's extension, sent to a client with
// the capability connection.blocked.
type ConnectionBlocked struct {
	Reason string
}

func (*ConnectionBlocked) ID() MethodID { return MethodConnectionBlocked }

func (m *ConnectionBlocked) arguments(c codec) {
	c.shortString("reason", &m.Reason)
}

// ConnectionUnblocked says that the server reads from publishers again.
type ConnectionUnblocked struct{}

func (*ConnectionUnblocked) ID() MethodID { return MethodConnectionUnblocked }

func (*ConnectionUnblocked) arguments(codec) {}

// ConnectionUpdateSecret replaces the login's secret, for example a token that is
// about to expire. RabbitMQ's extension.
type ConnectionUpdateSecret struct {
	NewSecret string
	Reason    string
}

func (*ConnectionUpdateSecret) ID() MethodID { return MethodConnectionUpdateSecret }

func (m *ConnectionUpdateSecret) arguments(c codec) {
	c.longString("new-secret", &m.NewSecret)
	c.shortString("reason", &m.Reason)
}

// ConnectionUpdateSecretOk answers connection.update-secret.
type ConnectionUpdateSecretOk struct{}

func (*ConnectionUpdateSecretOk) ID() MethodID { return MethodConnectionUpdateSecretOk }

func (*ConnectionUpdateSecretOk) arguments(codec) {}
