package amqpproto

// Reply codes of connection.close, channel.close and basic.return (AMQP 0-9-1 1.1,
// constants). The comments say when RabbitMQ sends a code.
const (
	ReplySuccess       = 200 // an orderly close
	ContentTooLarge    = 311 // never: for a message that is too large it sends PreconditionFailed
	NoRoute            = 312 // in basic.return: no queue for a mandatory message
	NoConsumers        = 313 // never: it does not support immediate
	ConnectionForced   = 320 // an operator closes the connection, or the node shuts down
	InvalidPath        = 402 // never: for an unknown vhost it sends NotAllowed
	AccessRefused      = 403 // a wrong login, or no permission
	NotFound           = 404 // no such queue or exchange
	ResourceLocked     = 405 // an exclusive queue of another connection
	PreconditionFailed = 406 // a queue declared with other arguments, an unknown delivery tag, a message too large
	FrameError         = 501 // a frame that can't be read
	SyntaxError        = 502 // a field that can't be read
	CommandInvalid     = 503 // a method out of turn, or an unknown login mechanism
	ChannelError       = 504 // a channel that is not open, or is open already
	UnexpectedFrame    = 505 // a body frame without a header, for example
	ResourceError      = 506 // a lack of resources
	NotAllowed         = 530 // an unknown vhost, a limit above the server's, a consumer tag in use
	NotImplemented     = 540 // immediate, prefetch-size
	InternalError      = 541 // a fault of the broker, or a feature that is turned off
)
