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

// newExchangeMethod returns an empty method of this class, or nil.
func newExchangeMethod(id MethodID) Method {
	switch id {
	case MethodExchangeDeclare:
		return new(ExchangeDeclare)
	case MethodExchangeDeclareOk:
		return new(ExchangeDeclareOk)
	case MethodExchangeDelete:
		return new(ExchangeDelete)
	case MethodExchangeDeleteOk:
		return new(ExchangeDeleteOk)
	case MethodExchangeBind:
		return new(ExchangeBind)
	case MethodExchangeBindOk:
		return new(ExchangeBindOk)
	case MethodExchangeUnbind:
		return new(ExchangeUnbind)
	case MethodExchangeUnbindOk:
		return new(ExchangeUnbindOk)
	}
	return nil
}

// exchangeMethodName is the name of a method of this class, or empty.
func exchangeMethodName(id MethodID) string {
	switch id {
	case MethodExchangeDeclare:
		return "exchange.declare"
	case MethodExchangeDeclareOk:
		return "exchange.declare-ok"
	case MethodExchangeDelete:
		return "exchange.delete"
	case MethodExchangeDeleteOk:
		return "exchange.delete-ok"
	case MethodExchangeBind:
		return "exchange.bind"
	case MethodExchangeBindOk:
		return "exchange.bind-ok"
	case MethodExchangeUnbind:
		return "exchange.unbind"
	case MethodExchangeUnbindOk:
		return "exchange.unbind-ok"
	}
	return ""
}

// ExchangeDeclare makes an exchange, or, with Passive, checks that there is
// one.
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

// ID is exchange.declare's.
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

// ID is exchange.declare-ok's.
func (*ExchangeDeclareOk) ID() MethodID { return MethodExchangeDeclareOk }

func (*ExchangeDeclareOk) arguments(codec) {}

// ExchangeDelete deletes an exchange.
type ExchangeDelete struct {
	reserved1 uint16
	Exchange  string
	IfUnused  bool // only where nothing is bound to it
	NoWait    bool
}

// ID is exchange.delete's.
func (*ExchangeDelete) ID() MethodID { return MethodExchangeDelete }

func (m *ExchangeDelete) arguments(c codec) {
	c.short(&m.reserved1)
	c.shortString("exchange", &m.Exchange)
	c.bits(&m.IfUnused, &m.NoWait)
}

// ExchangeDeleteOk answers exchange.delete.
type ExchangeDeleteOk struct{}

// ID is exchange.delete-ok's.
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

// ID is exchange.bind's.
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

// ID is exchange.bind-ok's.
func (*ExchangeBindOk) ID() MethodID { return MethodExchangeBindOk }

func (*ExchangeBindOk) arguments(codec) {}

// ExchangeUnbind takes back an exchange.bind. RabbitMQ's extension.
type ExchangeUnbind struct {
	reserved1   uint16
	Destination string
	Source      string
	RoutingKey  string
	NoWait      bool
	Arguments   Table
}

// ID is exchange.unbind's.
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

// ID is exchange.unbind-ok's.
func (*ExchangeUnbindOk) ID() MethodID { return MethodExchangeUnbindOk }

func (*ExchangeUnbindOk) arguments(codec) {}
