package amqpproto

// Methods of class confirm, RabbitMQ's extension for publisher confirms.
const (
	MethodConfirmSelect   MethodID = ClassConfirm<<16 | 10
	MethodConfirmSelectOk MethodID = ClassConfirm<<16 | 11
)

// newConfirmMethod returns an empty method of this class, or nil.
func newConfirmMethod(id MethodID) Method {
	switch id {
	case MethodConfirmSelect:
		return new(ConfirmSelect)
	case MethodConfirmSelectOk:
		return new(ConfirmSelectOk)
	}
	return nil
}

// confirmMethodName is the name of a method of this class, or empty.
func confirmMethodName(id MethodID) string {
	switch id {
	case MethodConfirmSelect:
		return "confirm.select"
	case MethodConfirmSelectOk:
		return "confirm.select-ok"
	}
	return ""
}

// ConfirmSelect turns on confirms: from here on the server acks or nacks every
// publish on the channel, by its number, counted from 1.
type ConfirmSelect struct {
	NoWait bool
}

// ID is confirm.select's.
func (*ConfirmSelect) ID() MethodID { return MethodConfirmSelect }

func (m *ConfirmSelect) arguments(c codec) {
	c.bits(&m.NoWait)
}

// ConfirmSelectOk answers confirm.select.
type ConfirmSelectOk struct{}

// ID is confirm.select-ok's.
func (*ConfirmSelectOk) ID() MethodID { return MethodConfirmSelectOk }

func (*ConfirmSelectOk) arguments(codec) {}
