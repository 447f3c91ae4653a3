package amqpproto

// Methods of class confirm, RabbitMQ's extension for publisher confirms.
const (
	MethodConfirmSelect   MethodID = ClassConfirm<<16 | 10
	MethodConfirmSelectOk MethodID = ClassConfirm<<16 | 11
)

// ConfirmSelect turns on confirms: from now on the server acks or nacks every
// publish on the channel by its number, which counts from 1.
type ConfirmSelect struct {
	NoWait bool
}

func (*ConfirmSelect) ID() MethodID { return MethodConfirmSelect }

func (m *ConfirmSelect) arguments(c codec) {
	c.bits(&m.NoWait)
}

// ConfirmSelectOk answers confirm.select.
type ConfirmSelectOk struct{}

func (*ConfirmSelectOk) ID() MethodID { return MethodConfirmSelectOk }

func (*ConfirmSelectOk) arguments(codec) {}
