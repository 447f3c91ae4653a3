package amqpproto

// Methods of class exchange (AMQP 0-9-1 1.6.2).
const (
	MethodExchangeDeclare   MethodID = ClassExchange<<16 | 10
	MethodExchangeDeclareOk MethodID = ClassExchange<<16 | 11
	MethodExchangeDelete    MethodID = ClassExchange<<16 | 20
	MethodExchangeDeleteOk  MethodID = ClassExchange<<16 | 21
	MethodExchangeBind      MethodID = ClassExchange<<16 | 30
	MethodExchangeBindOk    MethodID = ClassExchange<<16 | 31
	MethodExchangeUnbind    MethodID = ClassExchange<<16 | 40
	MethodExchangeUnbindOk  MethodID = ClassExchange<<16 | 51
)

// ExchangeDeclare makes an exchange, or, with Passive, checks that it exists.
type ExchangeDeclare struct {
	reserved1  uint16
	Exchange   string
	Type       string // "direct", "fanout", "topic", "headers"
	Passive    bool
	Durable    bool
	AutoDelete bool
	Internal   bool // only other exchanges may publish to it
	NoWait     bool
	Arguments  Table
}

func (*ExchangeDeclare) ID() MethodID { return MethodExchangeDeclare }

func (m *ExchangeDeclare) arguments(c codec) {
	c.short(&m.reserved1)
	c.shortString("exchange", &m.Exchange)
	c.shortString("type", &m.Type)
	c.bits(&m.Passive, &m.Durable, &m.AutoDelete, &m.Internal, &m.NoWait)
	c.table("arguments", &m.Arguments)
}

// ExchangeDeclareOk answers exchange.declare.
type ExchangeDeclareOk struct{}

func (*ExchangeDeclareOk) ID() MethodID { return MethodExchangeDeclareOk }

func (*ExchangeDeclareOk) arguments(codec) {}

// ExchangeDelete deletes an exchange.
type ExchangeDelete struct {
	reserved1 uint16
	Exchange  string
	IfUnused  bool // only if nothing is bound to it
	NoWait    bool
}

func (*ExchangeDelete) ID() MethodID { return MethodExchangeDelete }

func (m *ExchangeDelete) arguments(c codec) {
	c.short(&m.reserved1)
	c.shortString("exchange", &m.Exchange)
	c.bits(&m.IfUnused, &m.NoWait)
}

// ExchangeDeleteOk answers exchange.delete.
type ExchangeDeleteOk struct{}

func (*ExchangeDeleteOk) ID() MethodID { return MethodExchangeDeleteOk }

func (*ExchangeDeleteOk) arguments(codec) {}

// ExchangeBind routes messages from one exchange to another. RabbitMQ's
// extension.
type ExchangeBind struct {
	reserved1   uint16
	Destination string
	Source      string
	RoutingKey  string
	NoWait      bool
	Arguments   Table
}

func (*ExchangeBind) ID() MethodID { return MethodExchangeBind }

func (m *ExchangeBind) arguments(c codec) {
	c.short(&m.reserved1)
	c.shortString("destination", &m.Destination)
	c.shortString("source", &m.Source)
	c.shortString("routing-key", &m.RoutingKey)
	c.bits(&m.NoWait)
	c.table("arguments", &m.Arguments)
}

// ExchangeBindOk answers exchange.bind.
type ExchangeBindOk struct{}

func (*ExchangeBindOk) ID() MethodID { return MethodExchangeBindOk }

func (*ExchangeBindOk) arguments(codec) {}

// ExchangeUnbind undoes an exchange.bind. RabbitMQ's extension.
type ExchangeUnbind struct {
	reserved1   uint16
	Destination string
	Source      string
	RoutingKey  string
	NoWait      bool
	Arguments   Table
}

func (*ExchangeUnbind) ID() MethodID { return MethodExchangeUnbind }

func (m *ExchangeUnbind) arguments(c codec) {
	c.short(&m.reserved1)
	c.shortString("destination", &m.Destination)
	c.shortString("source", &m.Source)
	c.shortString("routing-key", &m.RoutingKey)
	c.bits(&m.NoWait)
	c.table("arguments", &m.Arguments)
}

// ExchangeUnbindOk answers exchange.unbind. Its number is 51, not 41.
type ExchangeUnbindOk struct{}

func (*ExchangeUnbindOk) ID() MethodID { return MethodExchangeUnbindOk }

func (*ExchangeUnbindOk) arguments(codec) {}
