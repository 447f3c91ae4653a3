package amqpproto

// Methods of class channel (AMQP 0-9-1 1.5.2).
const (
	MethodChannelOpen    MethodID = ClassChannel<<16 | 10
	MethodChannelOpenOk  MethodID = ClassChannel<<16 | 11
	MethodChannelFlow    MethodID = ClassChannel<<16 | 20
	MethodChannelFlowOk  MethodID = ClassChannel<<16 | 21
	MethodChannelClose   MethodID = ClassChannel<<16 | 40
	MethodChannelCloseOk MethodID = ClassChannel<<16 | 41
)

// newChannelMethod returns an empty method of this class, or nil.
func newChannelMethod(id MethodID) Method {
	switch id {
	case MethodChannelOpen:
		return new(ChannelOpen)
	case MethodChannelOpenOk:
		return new(ChannelOpenOk)
	case MethodChannelFlow:
		return new(ChannelFlow)
	case MethodChannelFlowOk:
		return new(ChannelFlowOk)
	case MethodChannelClose:
		return new(ChannelClose)
	case MethodChannelCloseOk:
		return new(ChannelCloseOk)
	}
	return nil
}

// channelMethodName is the name of a method of this class, or empty.
func channelMethodName(id MethodID) string {
	switch id {
	case MethodChannelOpen:
		return "channel.open"
	case MethodChannelOpenOk:
		return "channel.open-ok"
	case MethodChannelFlow:
		return "channel.flow"
	case MethodChannelFlowOk:
		return "channel.flow-ok"
	case MethodChannelClose:
		return "channel.close"
	case MethodChannelCloseOk:
		return "channel.close-ok"
	}
	return ""
}

// ChannelOpen opens the channel it is sent on.
type ChannelOpen struct {
	reserved1 string
}

// ID is channel.open's.
func (*ChannelOpen) ID() MethodID { return MethodChannelOpen }

func (m *ChannelOpen) arguments(c codec) {
	c.shortString("reserved-1", &m.reserved1)
}

// ChannelOpenOk answers channel.open.
type ChannelOpenOk struct {
	reserved1 string
}

// ID is channel.open-ok's.
func (*ChannelOpenOk) ID() MethodID { return MethodChannelOpenOk }

func (m *ChannelOpenOk) arguments(c codec) {
	c.longString("reserved-1", &m.reserved1)
}

// ChannelFlow asks the peer to stop (Active false) or resume sending messages
// on this channel. Servers hardly send it, and RabbitMQ refuses Active false
// from a client.
type ChannelFlow struct {
	Active bool
}

// ID is channel.flow's.
func (*ChannelFlow) ID() MethodID { return MethodChannelFlow }

func (m *ChannelFlow) arguments(c codec) {
	c.bits(&m.Active)
}

// ChannelFlowOk answers channel.flow.
type ChannelFlowOk struct {
	Active bool
}

// ID is channel.flow-ok's.
func (*ChannelFlowOk) ID() MethodID { return MethodChannelFlowOk }

func (m *ChannelFlowOk) arguments(c codec) {
	c.bits(&m.Active)
}

// ChannelClose ends a channel, from either side. ClassID and MethodID name the
// method that was at fault, or are 0.
type ChannelClose struct {
	ReplyCode uint16
	ReplyText string
	ClassID   uint16
	MethodID  uint16
}

// ID is channel.close's.
func (*ChannelClose) ID() MethodID { return MethodChannelClose }

func (m *ChannelClose) arguments(c codec) {
	c.short(&m.ReplyCode)
	c.shortString("reply-text", &m.ReplyText)
	c.short(&m.ClassID)
	c.short(&m.MethodID)
}

// ChannelCloseOk answers channel.close. The channel's number is free after it.
type ChannelCloseOk struct{}

// ID is channel.close-ok's.
func (*ChannelCloseOk) ID() MethodID { return MethodChannelCloseOk }

func (*ChannelCloseOk) arguments(codec) {}
