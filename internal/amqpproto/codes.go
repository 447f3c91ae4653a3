package amqpproto

// Reply codes of connection.close, channel.close and basic.return (AMQP 0-9-1
// 1.1, constants). The comments say what RabbitMQ uses a code for.
const (
	ReplySuccess       = 200 // an orderly close
	ContentTooLarge    = 311 // not RabbitMQ's: too large a message is PreconditionFailed
	NoRoute            = 312 // of a basic.return: no queue took a mandatory message
	NoConsumers        = 313 // not RabbitMQ's: it has no immediate
	ConnectionForced   = 320 // an operator closed the connection, or the node shuts down
	InvalidPath        = 402 // the specification's for an unknown vhost; RabbitMQ says NotAllowed
	AccessRefused      = 403 // wrong login, or no permission
	NotFound           = 404 // no such queue or exchange
	ResourceLocked     = 405 // another connection's exclusive queue
	PreconditionFailed = 406 // declared with other arguments, unknown delivery tag, message too large
	FrameError         = 501 // a frame that can't be read
	SyntaxError        = 502 // a field that can't be read
	CommandInvalid     = 503 // a method out of turn, or an unknown login mechanism
	ChannelError       = 504 // a channel that is not open, or already is
	UnexpectedFrame    = 505 // such as a body frame without a header
	ResourceError      = 506 // a lack of resources
	NotAllowed         = 530 // unknown vhost, a limit above the server's, a consumer tag in use
	NotImplemented     = 540 // immediate, prefetch-size
	InternalError      = 541 // the broker's fault, or a feature that is turned off
)

// ReplyName is the name of a reply code as RabbitMQ writes it, in front of the
// reply text: "NOT_FOUND". It is empty for a code the protocol does not have.
func ReplyName(code uint16) string {
	switch code {
	case ReplySuccess:
		return "REPLY_SUCCESS"
	case ContentTooLarge:
		return "CONTENT_TOO_LARGE"
	case NoRoute:
		return "NO_ROUTE"
	case NoConsumers:
		return "NO_CONSUMERS"
	case ConnectionForced:
		return "CONNECTION_FORCED"
	case InvalidPath:
		return "INVALID_PATH"
	case AccessRefused:
		return "ACCESS_REFUSED"
	case NotFound:
		return "NOT_FOUND"
	case ResourceLocked:
		return "RESOURCE_LOCKED"
	case PreconditionFailed:
		return "PRECONDITION_FAILED"
	case FrameError:
		return "FRAME_ERROR"
	case SyntaxError:
		return "SYNTAX_ERROR"
	case CommandInvalid:
		return "COMMAND_INVALID"
	case ChannelError:
		return "CHANNEL_ERROR"
	case UnexpectedFrame:
		return "UNEXPECTED_FRAME"
	case ResourceError:
		return "RESOURCE_ERROR"
	case NotAllowed:
		return "NOT_ALLOWED"
	case NotImplemented:
		return "NOT_IMPLEMENTED"
	case InternalError:
		return "INTERNAL_ERROR"
	}
	return ""
}

// IsHard says whether an error of this code closes the connection rather than
// one channel (AMQP 0-9-1 1.1). On channel 0 every error does.
func IsHard(code uint16) bool {
	switch code {
	case ConnectionForced, InvalidPath, FrameError, SyntaxError, CommandInvalid, ChannelError,
		UnexpectedFrame, ResourceError, NotAllowed, NotImplemented, InternalError:
		return true
	}
	return false
}
