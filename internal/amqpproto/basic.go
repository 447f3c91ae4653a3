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

// newBasicMethod returns an empty method of this class, or nil.
func newBasicMethod(id MethodID) Method {
	switch id {
	case MethodBasicQos:
		return new(BasicQos)
	case MethodBasicQosOk:
		return new(BasicQosOk)
	case MethodBasicConsume:
		return new(BasicConsume)
	case MethodBasicConsumeOk:
		return new(BasicConsumeOk)
	case MethodBasicCancel:
		return new(BasicCancel)
	case MethodBasicCancelOk:
		return new(BasicCancelOk)
	case MethodBasicPublish:
		return new(BasicPublish)
	case MethodBasicReturn:
		return new(BasicReturn)
	case MethodBasicDeliver:
		return new(BasicDeliver)
	case MethodBasicGet:
		return new(BasicGet)
	case MethodBasicGetOk:
		return new(BasicGetOk)
	case MethodBasicGetEmpty:
		return new(BasicGetEmpty)
	case MethodBasicAck:
		return new(BasicAck)
	case MethodBasicReject:
		return new(BasicReject)
	case MethodBasicRecoverAsync:
		return new(BasicRecoverAsync)
	case MethodBasicRecover:
		return new(BasicRecover)
	case MethodBasicRecoverOk:
		return new(BasicRecoverOk)
	case MethodBasicNack:
		return new(BasicNack)
	}
	return nil
}

// basicMethodName is the name of a method of this class, or empty.
func basicMethodName(id MethodID) string {
	switch id {
	case MethodBasicQos:
		return "basic.qos"
	case MethodBasicQosOk:
		return "basic.qos-ok"
	case MethodBasicConsume:
		return "basic.consume"
	case MethodBasicConsumeOk:
		return "basic.consume-ok"
	case MethodBasicCancel:
		return "basic.cancel"
	case MethodBasicCancelOk:
		return "basic.cancel-ok"
	case MethodBasicPublish:
		return "basic.publish"
	case MethodBasicReturn:
		return "basic.return"
	case MethodBasicDeliver:
		return "basic.deliver"
	case MethodBasicGet:
		return "basic.get"
	case MethodBasicGetOk:
		return "basic.get-ok"
	case MethodBasicGetEmpty:
		return "basic.get-empty"
	case MethodBasicAck:
		return "basic.ack"
	case MethodBasicReject:
		return "basic.reject"
	case MethodBasicRecoverAsync:
		return "basic.recover-async"
	case MethodBasicRecover:
		return "basic.recover"
	case MethodBasicRecoverOk:
		return "basic.recover-ok"
	case MethodBasicNack:
		return "basic.nack"
	}
	return ""
}

// BasicQos limits how many deliveries may wait for an ack. Without Global, for
// each consumer started afterwards on the channel. RabbitMQ refuses a
// PrefetchSize other than 0, and newer ones take Global as if it were not set.
type BasicQos struct {
	PrefetchSize  uint32 // bytes
	PrefetchCount uint16 // messages; 0 is no limit
	Global        bool
}

// ID is basic.qos's.
func (*BasicQos) ID() MethodID { return MethodBasicQos }

func (m *BasicQos) arguments(c codec) {
	c.long(&m.PrefetchSize)
	c.short(&m.PrefetchCount)
	c.bits(&m.Global)
}

// BasicQosOk answers basic.qos.
type BasicQosOk struct{}

// ID is basic.qos-ok's.
func (*BasicQosOk) ID() MethodID { return MethodBasicQosOk }

func (*BasicQosOk) arguments(codec) {}

// BasicConsume starts a consumer. The server picks the tag when ConsumerTag is
// empty.
type BasicConsume struct {
	reserved1   uint16
	Queue       string
	ConsumerTag string
	NoLocal     bool // RabbitMQ ignores it
	NoAck       bool // deliveries count as settled once sent
	Exclusive   bool
	NoWait      bool
	Arguments   Table
}

// ID is basic.consume's.
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

// ID is basic.consume-ok's.
func (*BasicConsumeOk) ID() MethodID { return MethodBasicConsumeOk }

func (m *BasicConsumeOk) arguments(c codec) {
	c.shortString("consumer-tag", &m.ConsumerTag)
}

// BasicCancel ends a consumer. RabbitMQ sends it too, when a queue goes away,
// to a client with the capability consumer_cancel_notify.
type BasicCancel struct {
	ConsumerTag string
	NoWait      bool
}

// ID is basic.cancel's.
func (*BasicCancel) ID() MethodID { return MethodBasicCancel }

func (m *BasicCancel) arguments(c codec) {
	c.shortString("consumer-tag", &m.ConsumerTag)
	c.bits(&m.NoWait)
}

// BasicCancelOk answers basic.cancel.
type BasicCancelOk struct {
	ConsumerTag string
}

// ID is basic.cancel-ok's.
func (*BasicCancelOk) ID() MethodID { return MethodBasicCancelOk }

func (m *BasicCancelOk) arguments(c codec) {
	c.shortString("consumer-tag", &m.ConsumerTag)
}

// BasicPublish sends a message; its header and body follow. AppendPublish
// writes it.
type BasicPublish struct {
	reserved1  uint16
	Exchange   string // empty: the default exchange, which routes by queue name
	RoutingKey string
	Mandatory  bool // return the message if no queue takes it
	Immediate  bool // RabbitMQ refuses it (540)
}

// ID is basic.publish's.
func (*BasicPublish) ID() MethodID { return MethodBasicPublish }

func (m *BasicPublish) arguments(c codec) {
	c.short(&m.reserved1)
	c.shortString("exchange", &m.Exchange)
	c.shortString("routing-key", &m.RoutingKey)
	c.bits(&m.Mandatory, &m.Immediate)
}

// BasicReturn gives back a message that was published as mandatory and could
// not be routed; its header and body follow. It comes before the confirm of
// that message.
type BasicReturn struct {
	ReplyCode  uint16
	ReplyText  string
	Exchange   string
	RoutingKey string
}

// ID is basic.return's.
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

// ID is basic.deliver's.
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
	NoAck     bool // the message counts as settled once sent
}

// ID is basic.get's.
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
	MessageCount uint32 // left in the queue
}

// ID is basic.get-ok's.
func (*BasicGetOk) ID() MethodID { return MethodBasicGetOk }

func (m *BasicGetOk) arguments(c codec) {
	c.longlong(&m.DeliveryTag)
	c.bits(&m.Redelivered)
	c.shortString("exchange", &m.Exchange)
	c.shortString("routing-key", &m.RoutingKey)
	c.long(&m.MessageCount)
}

// BasicGetEmpty answers basic.get on an empty queue.
type BasicGetEmpty struct {
	reserved1 string
}

// ID is basic.get-empty's.
func (*BasicGetEmpty) ID() MethodID { return MethodBasicGetEmpty }

func (m *BasicGetEmpty) arguments(c codec) {
	c.shortString("reserved-1", &m.reserved1)
}

// BasicAck settles deliveries, or, from the server, confirms publishes. With
// Multiple, all up to and including the tag; then tag 0 means all there are.
// AppendAck and ParseAck are the fast ways.
type BasicAck struct {
	DeliveryTag uint64 // the publish's number, when it is a confirm
	Multiple    bool
}

// ID is basic.ack's.
func (*BasicAck) ID() MethodID { return MethodBasicAck }

func (m *BasicAck) arguments(c codec) {
	c.longlong(&m.DeliveryTag)
	c.bits(&m.Multiple)
}

// BasicReject refuses one delivery.
type BasicReject struct {
	DeliveryTag uint64
	Requeue     bool // give back to the queue, else drop or dead-letter
}

// ID is basic.reject's.
func (*BasicReject) ID() MethodID { return MethodBasicReject }

func (m *BasicReject) arguments(c codec) {
	c.longlong(&m.DeliveryTag)
	c.bits(&m.Requeue)
}

// BasicRecoverAsync is basic.recover without an answer. Deprecated.
type BasicRecoverAsync struct {
	Requeue bool
}

// ID is basic.recover-async's.
func (*BasicRecoverAsync) ID() MethodID { return MethodBasicRecoverAsync }

func (m *BasicRecoverAsync) arguments(c codec) {
	c.bits(&m.Requeue)
}

// BasicRecover asks the server to deliver again what this channel has not
// settled.
type BasicRecover struct {
	Requeue bool
}

// ID is basic.recover's.
func (*BasicRecover) ID() MethodID { return MethodBasicRecover }

func (m *BasicRecover) arguments(c codec) {
	c.bits(&m.Requeue)
}

// BasicRecoverOk answers basic.recover.
type BasicRecoverOk struct{}

// ID is basic.recover-ok's.
func (*BasicRecoverOk) ID() MethodID { return MethodBasicRecoverOk }

func (*BasicRecoverOk) arguments(codec) {}

// BasicNack refuses deliveries, or, from the server, publishes. RabbitMQ's
// extension. AppendNack and ParseNack are the fast ways.
type BasicNack struct {
	DeliveryTag uint64
	Multiple    bool
	Requeue     bool // give back to the queue, else drop or dead-letter
}

// ID is basic.nack's.
func (*BasicNack) ID() MethodID { return MethodBasicNack }

func (m *BasicNack) arguments(c codec) {
	c.longlong(&m.DeliveryTag)
	c.bits(&m.Multiple, &m.Requeue)
}
