package amqpproto

// Methods of class basic (AMQP 0-9-1 1.8.3).
const (
	MethodBasicQos          MethodID = ClassBasic<<16 | 10
	MethodBasicQosOk        MethodID = ClassBasic<<16 | 11
	MethodBasicConsume      MethodID = ClassBasic<<16 | 20
	MethodBasicConsumeOk    MethodID = ClassBasic<<16 | 21
	MethodBasicCancel       MethodID = ClassBasic<<16 | 30
	MethodBasicCancelOk     MethodID = ClassBasic<<16 | 31
	MethodBasicPublish      MethodID = ClassBasic<<16 | 40
	MethodBasicReturn       MethodID = ClassBasic<<16 | 50
	MethodBasicDeliver      MethodID = ClassBasic<<16 | 60
	MethodBasicGet          MethodID = ClassBasic<<16 | 70
	MethodBasicGetOk        MethodID = ClassBasic<<16 | 71
	MethodBasicGetEmpty     MethodID = ClassBasic<<16 | 72
	MethodBasicAck          MethodID = ClassBasic<<16 | 80
	MethodBasicReject       MethodID = ClassBasic<<16 | 90
	MethodBasicRecoverAsync MethodID = ClassBasic<<16 | 100
	MethodBasicRecover      MethodID = ClassBasic<<16 | 110
	MethodBasicRecoverOk    MethodID = ClassBasic<<16 | 111
	MethodBasicNack         MethodID = ClassBasic<<16 | 120
)

// BasicQos limits how many deliveries may wait for an ack: with Global on the whole
// channel, without it for each consumer that is started later on the channel.
// RabbitMQ refuses a PrefetchSize other than 0, and 4.3 ignores Global unless it is
// configured not to.
type BasicQos struct {
	PrefetchSize  uint32 // bytes
	PrefetchCount uint16 // messages; 0 is no limit
	Global        bool
}

func (*BasicQos) ID() MethodID { return MethodBasicQos }

func (m *BasicQos) arguments(c codec) {
	c.long(&m.PrefetchSize)
	c.short(&m.PrefetchCount)
	c.bits(&m.Global)
}

// BasicQosOk answers basic.qos.
type BasicQosOk struct{}

func (*BasicQosOk) ID() MethodID { return MethodBasicQosOk }

func (*BasicQosOk) arguments(codec) {}

// BasicConsume starts a consumer. If ConsumerTag is empty, the server picks a tag.
type BasicConsume struct {
	reserved1   uint16
	Queue       string
	ConsumerTag string
	NoLocal     bool // RabbitMQ ignores it
	NoAck       bool // deliveries need no ack: the server forgets them once sent
	Exclusive   bool
	NoWait      bool
	Arguments   Table
}

func (*BasicConsume) ID() MethodID { return MethodBasicConsume }

func (m *BasicConsume) arguments(c codec) {
	c.short(&m.reserved1)
	c.shortString("queue", &m.Queue)
	c.shortString("consumer-tag", &m.ConsumerTag)
	c.bits(&m.NoLocal, &m.NoAck, &m.Exclusive, &m.NoWait)
	c.table("arguments", &m.Arguments)
}

// BasicConsumeOk answers basic.consume.
type BasicConsumeOk struct {
	ConsumerTag string
}

func (*BasicConsumeOk) ID() MethodID { return MethodBasicConsumeOk }

func (m *BasicConsumeOk) arguments(c codec) {
	c.shortString("consumer-tag", &m.ConsumerTag)
}

// BasicCancel ends a consumer. RabbitMQ sends it too, for example when the queue is
// deleted, to a client with the capability consumer_cancel_notify.
type BasicCancel struct {
	ConsumerTag string
	NoWait      bool
}

func (*BasicCancel) ID() MethodID { return MethodBasicCancel }

func (m *BasicCancel) arguments(c codec) {
	c.shortString("consumer-tag", &m.ConsumerTag)
	c.bits(&m.NoWait)
}

// BasicCancelOk answers basic.cancel.
type BasicCancelOk struct {
	ConsumerTag string
}

func (*BasicCancelOk) ID() MethodID { return MethodBasicCancelOk }

func (m *BasicCancelOk) arguments(c codec) {
	c.shortString("consumer-tag", &m.ConsumerTag)
}

// BasicPublish sends a message; its header and body follow. AppendPublish writes all
// three.
type BasicPublish struct {
	reserved1  uint16
	Exchange   string // empty: the default exchange, which routes by queue name
	RoutingKey string
	Mandatory  bool // return the message if it is routed to no queue
	Immediate  bool // RabbitMQ refuses it (540)
}

func (*BasicPublish) ID() MethodID { return MethodBasicPublish }

func (m *BasicPublish) arguments(c codec) {
	c.short(&m.reserved1)
	c.shortString("exchange", &m.Exchange)
	c.shortString("routing-key", &m.RoutingKey)
	c.bits(&m.Mandatory, &m.Immediate)
}

// BasicReturn returns a mandatory message that the server could not route; its
// header and body follow. It comes before the confirm of that message.
type BasicReturn struct {
	ReplyCode  uint16
	ReplyText  string
	Exchange   string
	RoutingKey string
}

func (*BasicReturn) ID() MethodID { return MethodBasicReturn }

func (m *BasicReturn) arguments(c codec) {
	c.short(&m.ReplyCode)
	c.shortString("reply-text", &m.ReplyText)
	c.shortString("exchange", &m.Exchange)
	c.shortString("routing-key", &m.RoutingKey)
}

// BasicDeliver brings a message to a consumer; its header and body follow.
// ParseDeliver reads it in place.
type BasicDeliver struct {
	ConsumerTag string
	DeliveryTag uint64
	Redelivered bool
	Exchange    string
	RoutingKey  string
}

func (*BasicDeliver) ID() MethodID { return MethodBasicDeliver }

func (m *BasicDeliver) arguments(c codec) {
	c.shortString("consumer-tag", &m.ConsumerTag)
	c.longlong(&m.DeliveryTag)
	c.bits(&m.Redelivered)
	c.shortString("exchange", &m.Exchange)
	c.shortString("routing-key", &m.RoutingKey)
}

// BasicGet asks for one message.
type BasicGet struct {
	reserved1 uint16
	Queue     string
	NoAck     bool // the message needs no ack: the server forgets it once sent
}

func (*BasicGet) ID() MethodID { return MethodBasicGet }

func (m *BasicGet) arguments(c codec) {
	c.short(&m.reserved1)
	c.shortString("queue", &m.Queue)
	c.bits(&m.NoAck)
}

// BasicGetOk answers basic.get; the message's header and body follow.
type BasicGetOk struct {
	DeliveryTag  uint64
	Redelivered  bool
	Exchange     string
	RoutingKey   string
	MessageCount uint32 // messages left in the queue
}

func (*BasicGetOk) ID() MethodID { return MethodBasicGetOk }

func (m *BasicGetOk) arguments(c codec) {
	c.longlong(&m.DeliveryTag)
	c.bits(&m.Redelivered)
	c.shortString("exchange", &m.Exchange)
	c.shortString("routing-key", &m.RoutingKey)
	c.long(&m.MessageCount)
}

// BasicGetEmpty answers basic.get if the queue is empty.
type BasicGetEmpty struct {
	reserved1 string
}

func (*BasicGetEmpty) ID() MethodID { return MethodBasicGetEmpty }

func (m *BasicGetEmpty) arguments(c codec) {
	c.shortString("reserved-1", &m.reserved1)
}

// BasicAck acks a delivery, or, from the server, confirms a publish. With Multiple
// it does so for all up to and including the tag, and tag 0 means all there are.
// AppendAck and ParseAck are faster.
type BasicAck struct {
	DeliveryTag uint64 // in a confirm, the number of the publish, from 1
	Multiple    bool
}

func (*BasicAck) ID() MethodID { return MethodBasicAck }

func (m *BasicAck) arguments(c codec) {
	c.longlong(&m.DeliveryTag)
	c.bits(&m.Multiple)
}

// BasicReject refuses one delivery.
type BasicReject struct {
	DeliveryTag uint64
	Requeue     bool // back to the queue; otherwise dropped or dead-lettered
}

func (*BasicReject) ID() MethodID { return MethodBasicReject }

func (m *BasicReject) arguments(c codec) {
	c.longlong(&m.DeliveryTag)
	c.bits(&m.Requeue)
}

// BasicRecoverAsync is basic.recover without an answer. Deprecated.
type BasicRecoverAsync struct {
	Requeue bool
}

func (*BasicRecoverAsync) ID() MethodID { return MethodBasicRecoverAsync }

func (m *BasicRecoverAsync) arguments(c codec) {
	c.bits(&m.Requeue)
}

// BasicRecover asks the server to redeliver what this channel has not acked.
type BasicRecover struct {
	Requeue bool
}

func (*BasicRecover) ID() MethodID { return MethodBasicRecover }

func (m *BasicRecover) arguments(c codec) {
	c.bits(&m.Requeue)
}

// BasicRecoverOk answers basic.recover.
type BasicRecoverOk struct{}

func (*BasicRecoverOk) ID() MethodID { return MethodBasicRecoverOk }

func (*BasicRecoverOk) arguments(codec) {}

// BasicNack refuses a delivery, or, from the server, a publish; Multiple is as in
// BasicAck. RabbitMQ's extension. AppendNack and ParseNack are faster.
type BasicNack struct {
	DeliveryTag uint64
	Multiple    bool
	Requeue     bool // back to the queue; otherwise dropped or dead-lettered
}

func (*BasicNack) ID() MethodID { return MethodBasicNack }

func (m *BasicNack) arguments(c codec) {
	c.longlong(&m.DeliveryTag)
	c.bits(&m.Multiple, &m.Requeue)
}
