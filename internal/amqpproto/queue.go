package amqpproto

// Methods of class queue (AMQP 0-9-1 1.7.2).
const (
	MethodQueueDeclare   MethodID = ClassQueue<<16 | 10
	MethodQueueDeclareOk MethodID = ClassQueue<<16 | 11
	MethodQueueBind      MethodID = ClassQueue<<16 | 20
	MethodQueueBindOk    MethodID = ClassQueue<<16 | 21
	MethodQueuePurge     MethodID = ClassQueue<<16 | 30
	MethodQueuePurgeOk   MethodID = ClassQueue<<16 | 31
	MethodQueueDelete    MethodID = ClassQueue<<16 | 40
	MethodQueueDeleteOk  MethodID = ClassQueue<<16 | 41
	MethodQueueUnbind    MethodID = ClassQueue<<16 | 50
	MethodQueueUnbindOk  MethodID = ClassQueue<<16 | 51
)

// QueueDeclare makes a queue, or, with Passive, checks that it exists.
type QueueDeclare struct {
	reserved1  uint16
	Queue      string // empty: the server makes up a name
	Passive    bool
	Durable    bool
	Exclusive  bool // for this connection only, and deleted when it ends
	AutoDelete bool // deleted after its last consumer
	NoWait     bool
	Arguments  Table
}

func (*QueueDeclare) ID() MethodID { return MethodQueueDeclare }

func (m *QueueDeclare) arguments(c codec) {
	c.short(&m.reserved1)
	c.shortString("queue", &m.Queue)
	c.bits(&m.Passive, &m.Durable, &m.Exclusive, &m.AutoDelete, &m.NoWait)
	c.table("arguments", &m.Arguments)
}

// QueueDeclareOk answers queue.declare.
type QueueDeclareOk struct {
	Queue         string
	MessageCount  uint32 // ready messages, without those that wait for an ack
	ConsumerCount uint32
}

func (*QueueDeclareOk) ID() MethodID { return MethodQueueDeclareOk }

func (m *QueueDeclareOk) arguments(c codec) {
	c.shortString("queue", &m.Queue)
	c.long(&m.MessageCount)
	c.long(&m.ConsumerCount)
}

// QueueBind routes messages from an exchange to a queue.
type QueueBind struct {
	reserved1  uint16
	Queue      string
	Exchange   string
	RoutingKey string
	NoWait     bool
	Arguments  Table
}

func (*QueueBind) ID() MethodID { return MethodQueueBind }

func (m *QueueBind) arguments(c codec) {
	c.short(&m.reserved1)
	c.shortString("queue", &m.Queue)
	c.shortString("exchange", &m.Exchange)
	c.shortString("routing-key", &m.RoutingKey)
	c.bits(&m.NoWait)
	c.table("arguments", &m.Arguments)
}

// QueueBindOk answers queue.bind.
type QueueBindOk struct{}

func (*QueueBindOk) ID() MethodID { return MethodQueueBindOk }

func (*QueueBindOk) arguments(codec) {}

// QueuePurge drops the queue's messages, except those that wait for an ack.
type QueuePurge struct {
	reserved1 uint16
	Queue     string
	NoWait    bool
}

func (*QueuePurge) ID() MethodID { return MethodQueuePurge }

func (m *QueuePurge) arguments(c codec) {
	c.short(&m.reserved1)
	c.shortString("queue", &m.Queue)
	c.bits(&m.NoWait)
}

// QueuePurgeOk answers queue.purge.
type QueuePurgeOk struct {
	MessageCount uint32 // messages dropped
}

func (*QueuePurgeOk) ID() MethodID { return MethodQueuePurgeOk }

func (m *QueuePurgeOk) arguments(c codec) {
	c.long(&m.MessageCount)
}

// QueueDelete deletes a queue.
type QueueDelete struct {
	reserved1 uint16
	Queue     string
	IfUnused  bool // only if it has no consumers
	IfEmpty   bool // only if it has no messages
	NoWait    bool
}

func (*QueueDelete) ID() MethodID { return MethodQueueDelete }

func (m *QueueDelete) arguments(c codec) {
	c.short(&m.reserved1)
	c.shortString("queue", &m.Queue)
	c.bits(&m.IfUnused, &m.IfEmpty, &m.NoWait)
}

// QueueDeleteOk answers queue.delete.
type QueueDeleteOk struct {
	MessageCount uint32 // messages deleted
}

func (*QueueDeleteOk) ID() MethodID { return MethodQueueDeleteOk }

func (m *QueueDeleteOk) arguments(c codec) {
	c.long(&m.MessageCount)
}

// QueueUnbind undoes a queue.bind. Unlike its siblings it has no NoWait.
type QueueUnbind struct {
	reserved1  uint16
	Queue      string
	Exchange   string
	RoutingKey string
	Arguments  Table
}

func (*QueueUnbind) ID() MethodID { return MethodQueueUnbind }

func (m *QueueUnbind) arguments(c codec) {
	c.short(&m.reserved1)
	c.shortString("queue", &m.Queue)
	c.shortString("exchange", &m.Exchange)
	c.shortString("routing-key", &m.RoutingKey)
	c.table("arguments", &m.Arguments)
}

// QueueUnbindOk answers queue.unbind.
type QueueUnbindOk struct{}

func (*QueueUnbindOk) ID() MethodID { return MethodQueueUnbindOk }

func (*QueueUnbindOk) arguments(codec) {}
