package streamproto

import "strconv"

// Code is a response code (PROTOCOL.adoc, Response Codes; rabbit_stream.hrl).
type Code uint16

// The response codes. The comments say what RabbitMQ uses a code for where its
// name does not.
const (
	CodeOK                            Code = 1
	CodeStreamDoesNotExist            Code = 2
	CodeSubscriptionIDExists          Code = 3
	CodeSubscriptionIDDoesNotExist    Code = 4
	CodeStreamExists                  Code = 5 // with the arguments asked for; with others it is CodePreconditionFailed
	CodeStreamNotAvailable            Code = 6 // no member of it runs here; of a MetadataUpdate: gone, or moving
	CodeSASLMechanismNotSupported     Code = 7
	CodeAuthenticationFailure         Code = 8
	CodeSASLError                     Code = 9
	CodeSASLChallenge                 Code = 10 // not an error: answer the challenge
	CodeAuthenticationFailureLoopback Code = 11 // guest from another machine
	CodeVirtualHostAccessFailure      Code = 12
	CodeUnknownFrame                  Code = 13 // in a Close: a command or version this server does not have
	CodeFrameTooLarge                 Code = 14
	CodeInternalError                 Code = 15
	CodeAccessRefused                 Code = 16
	CodePreconditionFailed            Code = 17 // wrong arguments, a disk alarm, a bad sub-entry batch
	CodePublisherDoesNotExist         Code = 18
	CodeNoOffset                      Code = 19 // nothing was stored under that reference
	CodeSASLCannotChangeMechanism     Code = 20
	CodeSASLCannotChangeUsername      Code = 21
)

// String says what the code means: "stream does not exist".
func (c Code) String() string {
	switch c {
	case CodeOK:
		return "ok"
	case CodeStreamDoesNotExist:
		return "stream does not exist"
	case CodeSubscriptionIDExists:
		return "subscription id already exists"
	case CodeSubscriptionIDDoesNotExist:
		return "subscription id does not exist"
	case CodeStreamExists:
		return "stream already exists"
	case CodeStreamNotAvailable:
		return "stream not available"
	case CodeSASLMechanismNotSupported:
		return "SASL mechanism not supported"
	case CodeAuthenticationFailure:
		return "authentication failure"
	case CodeSASLError:
		return "SASL error"
	case CodeSASLChallenge:
		return "SASL challenge"
	case CodeAuthenticationFailureLoopback:
		return "authentication failure: this user may connect from the broker's own machine only"
	case CodeVirtualHostAccessFailure:
		return "virtual host access failure"
	case CodeUnknownFrame:
		return "unknown frame"
	case CodeFrameTooLarge:
		return "frame too large"
	case CodeInternalError:
		return "internal error"
	case CodeAccessRefused:
		return "access refused"
	case CodePreconditionFailed:
		return "precondition failed"
	case CodePublisherDoesNotExist:
		return "publisher does not exist"
	case CodeNoOffset:
		return "no offset"
	case CodeSASLCannotChangeMechanism:
		return "SASL mechanism can't be changed"
	case CodeSASLCannotChangeUsername:
		return "SASL user name can't be changed"
	}
	return "response code " + strconv.Itoa(int(c))
}
