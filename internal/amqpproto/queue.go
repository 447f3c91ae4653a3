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

// newQueueMethod returns an empty method of this class, or nil.
func newQueueMethod(id MethodID) Method {
	switch id {
	case MethodQueueDeclare:
		return new(QueueDeclare)
	case MethodQueueDeclareOk:
		return new(QueueDeclareOk)
	case MethodQueueBind:
		return new(QueueBind)
	case MethodQueueBindOk:
		return new(QueueBindOk)
	case MethodQueuePurge:
		return new(QueuePurge)
	case MethodQueuePurgeOk:
		return new(QueuePurgeOk)
	case MethodQueueDelete:
		return new(QueueDelete)
	case MethodQueueDeleteOk:
		return new(QueueDeleteOk)
	case MethodQueueUnbind:
		return new(QueueUnbind)
	case MethodQueueUnbindOk:
		return new(QueueUnbindOk)
	}
	return nil
}

// queueMethodName is the name of a method of this class, or empty.
func queueMethodName(id MethodID) string {
	switch id {
	case MethodQueueDeclare:
		return "queue.declare"
	case MethodQueueDeclareOk:
		return "queue.declare-ok"
	case MethodQueueBind:
		return "queue.bind"
	case MethodQueueBindOk:
		return "queue.bind-ok"
	case MethodQueuePurge:
		return "queue.purge"
	case MethodQueuePurgeOk:
		return "queue.purge-ok"
	case MethodQueueDelete:
		return "queue.delete"
	case MethodQueueDeleteOk:
		return "queue.delete-ok"
	case MethodQueueUnbind:
		return "queue.unbind"
	case MethodQueueUnbindOk:
		return "queue.unbind-ok"
	}
	return ""
}

// QueueDeclare makes a queue, or, with Passive, checks that there is one.
type QueueDeclare struct {
	reserved1  uint16
	Queue      string // empty: the server makes a name up
	Passive    bool
	Durable    bool
	Exclusive  bool // this connection's, and deleted with it
	AutoDelete bool // deleted after its last consumer
	NoWait     bool
	Arguments  Table
}

// ID is queue.declare's.
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
	MessageCount  uint32 // ready; not those that wait for an ack
	ConsumerCount uint32
}

// ID is queue.declare-ok's.
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

// ID is queue.bind's.
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

// ID is queue.bind-ok's.
func (*QueueBindOk) ID() MethodID { return MethodQueueBindOk }

func (*QueueBindOk) arguments(codec) {}

// QueuePurge drops the queue's messages, except those that wait for an ack.
type QueuePurge struct {
	reserved1 uint16
	Queue     string
	NoWait    bool
}

// ID is queue.purge's.
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

// ID is queue.purge-ok's.
func (*QueuePurgeOk) ID() MethodID { return MethodQueuePurgeOk }

func (m *QueuePurgeOk) arguments(c codec) {
	c.long(&m.MessageCount)
}

// QueueDelete deletes a queue.
type QueueDelete struct {
	reserved1 uint16
	Queue     string
	IfUnused  bool // only where it has no consumers
	IfEmpty   bool // only where it has no messages
	NoWait    bool
}

// ID is queue.delete's.
func (*QueueDelete) ID() MethodID { return MethodQueueDelete }

func (m *QueueDelete) arguments(c codec) {
	c.short(&m.reserved1)
	c.shortString("queue", &m.Queue)
	c.bits(&m.IfUnused, &m.IfEmpty, &m.NoWait)
}

// QueueDeleteOk answers queue.delete.
type QueueDeleteOk struct {
	MessageCount uint32 // messages deleted with it
}

// ID is queue.delete-ok's.
func (*QueueDeleteOk) ID() MethodID { return MethodQueueDeleteOk }

func (m *QueueDeleteOk) arguments(c codec) {
	c.long(&m.MessageCount)
}

// QueueUnbind takes back a queue.bind. It is the one of its kind without a
// NoWait.
type QueueUnbind struct {
	reserved1  uint16
	Queue      string
	Exchange   string
	RoutingKey string
	Arguments  Table
}

// ID is queue.unbind's.
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

// ID is queue.unbind-ok's.
func (*QueueUnbindOk) ID() MethodID { return MethodQueueUnbindOk }

func (*QueueUnbindOk) arguments(codec) {}
