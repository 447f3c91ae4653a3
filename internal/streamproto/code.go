package streamproto

import "strconv"

// Code is a response code (PROTOCOL.adoc, Response Codes; rabbit_stream.hrl).
type Code uint16

// The response codes. The comments say when RabbitMQ sends a code, if its name does
// not.
const (
	CodeOK                            Code = 1
	CodeStreamDoesNotExist            Code = 2
	CodeSubscriptionIDExists          Code = 3
	CodeSubscriptionIDDoesNotExist    Code = 4
	CodeStreamExists                  Code = 5 // with the same arguments; with others the code is CodePreconditionFailed
	CodeStreamNotAvailable            Code = 6 // this node has no running member of it; in a MetadataUpdate: deleted, or moving
	CodeSASLMechanismNotSupported     Code = 7
	CodeAuthenticationFailure         Code = 8
	CodeSASLError                     Code = 9
	CodeSASLChallenge                 Code = 10 // not an error: the client must answer the challenge
	CodeAuthenticationFailureLoopback Code = 11 // user guest, from another machine
	CodeVirtualHostAccessFailure      Code = 12
	CodeUnknownFrame                  Code = 13 // in a Close: the server does not know the command or its version
	CodeFrameTooLarge                 Code = 14
	CodeInternalError                 Code = 15
	CodeAccessRefused                 Code = 16
	CodePreconditionFailed            Code = 17 // wrong arguments, a disk alarm, a bad sub-entry batch
	CodePublisherDoesNotExist         Code = 18
	CodeNoOffset                      Code = 19 // nothing is stored under that reference
	CodeSASLCannotChangeMechanism     Code = 20
	CodeSASLCannotChangeUsername      Code = 21
)

// codeTexts says what each code means.
//
//nolint:gochecknoglobals // constant in all but syntax
var codeTexts = [...]string{
	CodeOK:                            "ok",
	CodeStreamDoesNotExist:            "stream does not exist",
	CodeSubscriptionIDExists:          "subscription id already exists",
	CodeSubscriptionIDDoesNotExist:    "subscription id does not exist",
	CodeStreamExists:                  "stream already exists",
	CodeStreamNotAvailable:            "stream not available",
	CodeSASLMechanismNotSupported:     "SASL mechanism not supported",
	CodeAuthenticationFailure:         "authentication failure",
	CodeSASLError:                     "SASL error",
	CodeSASLChallenge:                 "SASL challenge",
	CodeAuthenticationFailureLoopback: "authentication failure: this user may connect from the broker's own machine only",
	CodeVirtualHostAccessFailure:      "virtual host access failure",
	CodeUnknownFrame:                  "unknown frame",
	CodeFrameTooLarge:                 "frame too large",
	CodeInternalError:                 "internal error",
	CodeAccessRefused:                 "access refused",
	CodePreconditionFailed:            "precondition failed",
	CodePublisherDoesNotExist:         "publisher does not exist",
	CodeNoOffset:                      "no offset",
	CodeSASLCannotChangeMechanism:     "SASL mechanism can't be changed",
	CodeSASLCannotChangeUsername:      "SASL user name can't be changed",
}

// String says what the code means: "stream does not exist".
func (c Code) String() string {
	if int(c) < len(codeTexts) && codeTexts[c] != "" {
		return codeTexts[c]
	}
	return "response code " + strconv.Itoa(int(c))
}
