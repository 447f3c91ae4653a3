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

// ChannelOpen opens the channel it is sent on.
type ChannelOpen struct {
	reserved1 string
}

func (*ChannelOpen) ID() MethodID { return MethodChannelOpen }

func (m *ChannelOpen) arguments(c codec) {
	c.shortString("reserved-1", &m.reserved1)
}

// ChannelOpenOk answers channel.open.
type ChannelOpenOk struct {
	reserved1 string
}

func (*ChannelOpenOk) ID() MethodID { return MethodChannelOpenOk }

func (m *ChannelOpenOk) arguments(c codec) {
	c.longString("reserved-1", &m.reserved1)
}

// ChannelFlow asks the peer to stop (Active false) or to resume sending messages on
// this channel. RabbitMQ hardly ever sends it, and refuses Active false from a client.
type ChannelFlow struct {
	Active bool
}

func (*ChannelFlow) ID() MethodID { return MethodChannelFlow }

func (m *ChannelFlow) arguments(c codec) {
	c.bits(&m.Active)
}

// ChannelFlowOk answers channel.flow.
type ChannelFlowOk struct {
	Active bool
}

func (*ChannelFlowOk) ID() MethodID { return MethodChannelFlowOk }

func (m *ChannelFlowOk) arguments(c codec) {
	c.bits(&m.Active)
}

// ChannelClose closes a channel; either side sends it. ClassID and MethodID name the
// method that was at fault, or are 0.
type ChannelClose struct {
	ReplyCode uint16
	ReplyText string
	ClassID   uint16
	MethodID  uint16
}

func (*ChannelClose) ID() MethodID { return MethodChannelClose }

func (m *ChannelClose) arguments(c codec) {
	c.short(&m.ReplyCode)
	c.shortString("reply-text", &m.ReplyText)
	c.short(&m.ClassID)
	c.short(&m.MethodID)
}

// ChannelCloseOk answers channel.close. The channel's number is free afterwards.
type ChannelCloseOk struct{}

func (*ChannelCloseOk) ID() MethodID { return MethodChannelCloseOk }

func (*ChannelCloseOk) arguments(codec) {}
