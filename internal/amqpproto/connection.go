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

// newConnectionMethod returns an empty method of this class, or nil.
func newConnectionMethod(id MethodID) Method {
	switch id {
	case MethodConnectionStart:
		return new(ConnectionStart)
	case MethodConnectionStartOk:
		return new(ConnectionStartOk)
	case MethodConnectionSecure:
		return new(ConnectionSecure)
	case MethodConnectionSecureOk:
		return new(ConnectionSecureOk)
	case MethodConnectionTune:
		return new(ConnectionTune)
	case MethodConnectionTuneOk:
		return new(ConnectionTuneOk)
	case MethodConnectionOpen:
		return new(ConnectionOpen)
	case MethodConnectionOpenOk:
		return new(ConnectionOpenOk)
	case MethodConnectionClose:
		return new(ConnectionClose)
	case MethodConnectionCloseOk:
		return new(ConnectionCloseOk)
	case MethodConnectionBlocked:
		return new(ConnectionBlocked)
	case MethodConnectionUnblocked:
		return new(ConnectionUnblocked)
	case MethodConnectionUpdateSecret:
		return new(ConnectionUpdateSecret)
	case MethodConnectionUpdateSecretOk:
		return new(ConnectionUpdateSecretOk)
	}
	return nil
}

// connectionMethodName is the name of a method of this class, or empty.
func connectionMethodName(id MethodID) string {
	switch id {
	case MethodConnectionStart:
		return "connection.start"
	case MethodConnectionStartOk:
		return "connection.start-ok"
	case MethodConnectionSecure:
		return "connection.secure"
	case MethodConnectionSecureOk:
		return "connection.secure-ok"
	case MethodConnectionTune:
		return "connection.tune"
	case MethodConnectionTuneOk:
		return "connection.tune-ok"
	case MethodConnectionOpen:
		return "connection.open"
	case MethodConnectionOpenOk:
		return "connection.open-ok"
	case MethodConnectionClose:
		return "connection.close"
	case MethodConnectionCloseOk:
		return "connection.close-ok"
	case MethodConnectionBlocked:
		return "connection.blocked"
	case MethodConnectionUnblocked:
		return "connection.unblocked"
	case MethodConnectionUpdateSecret:
		return "connection.update-secret"
	case MethodConnectionUpdateSecretOk:
		return "connection.update-secret-ok"
	}
	return ""
}

// ConnectionStart is the server's first frame: what it is, and which ways to
// log in it offers.
type ConnectionStart struct {
	VersionMajor     uint8
	VersionMinor     uint8
	ServerProperties Table  // "capabilities" is a Table of bools
	Mechanisms       string // separated by spaces: "PLAIN AMQPLAIN"
	Locales          string // separated by spaces
}

// ID is connection.start's.
func (*ConnectionStart) ID() MethodID { return MethodConnectionStart }

func (m *ConnectionStart) arguments(c codec) {
	c.octet(&m.VersionMajor)
	c.octet(&m.VersionMinor)
	c.table("server-properties", &m.ServerProperties)
	c.longString("mechanisms", &m.Mechanisms)
	c.longString("locales", &m.Locales)
}

// ConnectionStartOk answers connection.start: what the client is, and its
// login.
type ConnectionStartOk struct {
	ClientProperties Table
	Mechanism        string
	Response         string // for PLAIN: "\x00user\x00password"
	Locale           string // "en_US"
}

// ID is connection.start-ok's.
func (*ConnectionStartOk) ID() MethodID { return MethodConnectionStartOk }

func (m *ConnectionStartOk) arguments(c codec) {
	c.table("client-properties", &m.ClientProperties)
	c.shortString("mechanism", &m.Mechanism)
	c.longString("response", &m.Response)
	c.shortString("locale", &m.Locale)
}

// ConnectionSecure asks for another round of the login mechanism.
type ConnectionSecure struct {
	Challenge string
}

// ID is connection.secure's.
func (*ConnectionSecure) ID() MethodID { return MethodConnectionSecure }

func (m *ConnectionSecure) arguments(c codec) {
	c.longString("challenge", &m.Challenge)
}

// ConnectionSecureOk answers connection.secure.
type ConnectionSecureOk struct {
	Response string
}

// ID is connection.secure-ok's.
func (*ConnectionSecureOk) ID() MethodID { return MethodConnectionSecureOk }

func (m *ConnectionSecureOk) arguments(c codec) {
	c.longString("response", &m.Response)
}

// ConnectionTune proposes limits, once the login is accepted. 0 stands for no
// limit, or no heartbeats.
type ConnectionTune struct {
	ChannelMax uint16 // highest channel number
	FrameMax   uint32 // bytes, overhead included
	Heartbeat  uint16 // seconds
}

// ID is connection.tune's.
func (*ConnectionTune) ID() MethodID { return MethodConnectionTune }

func (m *ConnectionTune) arguments(c codec) {
	c.short(&m.ChannelMax)
	c.long(&m.FrameMax)
	c.short(&m.Heartbeat)
}

// ConnectionTuneOk settles the limits. RabbitMQ closes the connection (530) when
// ChannelMax or FrameMax is higher than it proposed, 0 counting as the highest.
type ConnectionTuneOk struct {
	ChannelMax uint16 // highest channel number
	FrameMax   uint32 // bytes, overhead included
	Heartbeat  uint16 // seconds
}

// ID is connection.tune-ok's.
func (*ConnectionTuneOk) ID() MethodID { return MethodConnectionTuneOk }

func (m *ConnectionTuneOk) arguments(c codec) {
	c.short(&m.ChannelMax)
	c.long(&m.FrameMax)
	c.short(&m.Heartbeat)
}

// ConnectionOpen asks for a virtual host.
type ConnectionOpen struct {
	VirtualHost string
	reserved1   string
	reserved2   bool
}

// ID is connection.open's.
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

// ID is connection.open-ok's.
func (*ConnectionOpenOk) ID() MethodID { return MethodConnectionOpenOk }

func (m *ConnectionOpenOk) arguments(c codec) {
	c.shortString("reserved-1", &m.reserved1)
}

// ConnectionClose ends the connection, from either side: the last method but
// for its answer. ClassID and MethodID name the method that was at fault, or
// are 0.
type ConnectionClose struct {
	ReplyCode uint16
	ReplyText string
	ClassID   uint16
	MethodID  uint16
}

// ID is connection.close's.
func (*ConnectionClose) ID() MethodID { return MethodConnectionClose }

func (m *ConnectionClose) arguments(c codec) {
	c.short(&m.ReplyCode)
	c.shortString("reply-text", &m.ReplyText)
	c.short(&m.ClassID)
	c.short(&m.MethodID)
}

// ConnectionCloseOk answers connection.close. The socket is closed after it.
type ConnectionCloseOk struct{}

// ID is connection.close-ok's.
func (*ConnectionCloseOk) ID() MethodID { return MethodConnectionCloseOk }

func (*ConnectionCloseOk) arguments(codec) {}

// ConnectionBlocked says that the server no longer reads what a publisher
// sends, because it is short of memory or disk. RabbitMQ's extension; it is
// sent to a client with the capability connection.blocked.
type ConnectionBlocked struct {
	Reason string
}

// ID is connection.blocked's.
func (*ConnectionBlocked) ID() MethodID { return MethodConnectionBlocked }

func (m *ConnectionBlocked) arguments(c codec) {
	c.shortString("reason", &m.Reason)
}

// ConnectionUnblocked ends what connection.blocked began.
type ConnectionUnblocked struct{}

// ID is connection.unblocked's.
func (*ConnectionUnblocked) ID() MethodID { return MethodConnectionUnblocked }

func (*ConnectionUnblocked) arguments(codec) {}

// ConnectionUpdateSecret replaces the login's secret, such as a token about to
// expire. RabbitMQ's extension.
type ConnectionUpdateSecret struct {
	NewSecret string
	Reason    string
}

// ID is connection.update-secret's.
func (*ConnectionUpdateSecret) ID() MethodID { return MethodConnectionUpdateSecret }

func (m *ConnectionUpdateSecret) arguments(c codec) {
	c.longString("new-secret", &m.NewSecret)
	c.shortString("reason", &m.Reason)
}

// ConnectionUpdateSecretOk answers connection.update-secret.
type ConnectionUpdateSecretOk struct{}

// ID is connection.update-secret-ok's.
func (*ConnectionUpdateSecretOk) ID() MethodID { return MethodConnectionUpdateSecretOk }

func (*ConnectionUpdateSecretOk) arguments(codec) {}
