package thump

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/thumpmq/thump/internal/amqpconn"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
)

// Temporary reports whether the same may succeed later, although nobody changes a program,
// a setting or a permission: after an error of the network, of TLS (certificates are
// renewed), of Config.Credentials, after a time-out, and after what a broker answers while
// it starts, stops, moves a queue or lacks something.
//
// It is false for nil, for a login, vhost or permission that is refused, for what does not
// exist or exists with other settings, for a broken protocol or a damaged chunk of a stream, a
// broker that is too old, a mistake in what was asked for, a context that was cancelled, and
// after Close. Where several places were tried, it is true if it is of any of them; where an
// error also says why a connection was lost before, that does not count. Of an OutcomeError
// without an Err it is true if a message was Rejected.
//
// It goes by the broker's code, and for some codes by its words: docs/errors.md has the
// table.
func Temporary(err error) bool {
	return err != nil && !slices.ContainsFunc(finals(), func(final error) bool { return errors.Is(err, final) }) && mayPass(err)
}

// finals returns what never passes, whatever it comes with.
func finals() []error {
	return []error{
		ErrClosed, ErrEnd, ErrDeclaredAgain, ErrStale, ErrSettled, ErrAutoAck,
		errStreamKeeps, errNoConsumer, errNoConfirms, errNotStream, transport.ErrClosed,
	}
}

// mayPass is Temporary for each error of a tree.
func mayPass(err error) bool {
	switch e := err.(type) { //nolint:errorlint // it walks the tree itself
	case *mistakeError, *streamconn.VersionError, *transport.MechanismError, *amqpconn.UnsendableError, *streamconn.UnsendableError,
		*amqpconn.ProtocolError, *streamconn.ProtocolError, *streamproto.CRCError, *streamproto.ChunkError:
		return false
	case *credentialsError, later:
		return true
	case reason:
		return mayPass(e.err)
	case aside:
		return false
	case *publicError:
		_, waits := errors.AsType[later](e.text)
		return waits || noRoom(e.text) || e.broker.temporary()
	case *BrokerError:
		return e.temporary()
	case *amqpconn.ServerError, *streamconn.ServerError:
		return mayPass(toPublic(err))
	case *OutcomeError:
		if e.Err == nil {
			return e.Rejected > 0
		}
		return mayPass(e.Err)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), func(err error) bool { return err != ErrNotSent && mayPass(err) }) //nolint:errorlint // that alone says nothing
	case interface{ Unwrap() error }:
		if cause := e.Unwrap(); cause != nil {
			return mayPass(cause)
		}
	}
	return err != errLeaves && err != context.Canceled //nolint:errorlint // it walks the tree itself
}

// temporary is Temporary of what the broker said.
func (e *BrokerError) temporary() bool {
	if e.Protocol == Streams {
		return e.temporaryStream()
	}
	switch e.Code {
	case amqpproto.AccessRefused:
		return strings.HasSuffix(e.Text, " in exclusive use")
	case amqpproto.NotFound:
		// The queue is there, and its node is not, or is about to be (rabbit_amqqueue.erl).
		return endsWith(e.Text, " is down or inaccessible", " due to timeout", " is stopped by supervisor", " has crashed and failed to restart")
	case amqpproto.ResourceLocked:
		// A quorum queue gives out no single messages then, and that stays so.
		return !strings.HasSuffix(e.Text, " queues with single active consumer")
	case amqpproto.PreconditionFailed:
		// Before RabbitMQ 4.3 a consumer ends so that did not ack for too long.
		return strings.Contains(e.Text, "delivery acknowledgement on channel ") && strings.Contains(e.Text, " timed out")
	case amqpproto.NotAllowed:
		// The end is the broker's own words, and what comes before it may be a name.
		return endsWith(e.Text, " is down", ") is reached", " cannot be queried, timeout") || strings.Contains(e.Text, " has reached the maximum allowed ")
	case amqpproto.InvalidPath, amqpproto.FrameError, amqpproto.SyntaxError, amqpproto.CommandInvalid,
		amqpproto.ChannelError, amqpproto.UnexpectedFrame, amqpproto.NotImplemented:
		return false
	default:
		return true
	}
}

func endsWith(text string, ends ...string) bool {
	return slices.ContainsFunc(ends, func(end string) bool { return strings.HasSuffix(text, end) })
}

func (e *BrokerError) temporaryStream() bool {
	switch streamproto.Code(e.Code) {
	case streamproto.CodeStreamDoesNotExist, streamproto.CodeStreamExists, streamproto.CodeSubscriptionIDExists,
		streamproto.CodeSASLMechanismNotSupported, streamproto.CodeAuthenticationFailure, streamproto.CodeSASLError,
		streamproto.CodeSASLChallenge, streamproto.CodeAuthenticationFailureLoopback, streamproto.CodeVirtualHostAccessFailure,
		streamproto.CodeUnknownFrame, streamproto.CodeFrameTooLarge, streamproto.CodeAccessRefused, streamproto.CodePreconditionFailed,
		streamproto.CodeSASLCannotChangeMechanism, streamproto.CodeSASLCannotChangeUsername:
		return false
	default:
		return true
	}
}

// noRoom reports whether a broker took no publisher of a stream because a disk is full.
// The same code says of other commands that their arguments are wrong.
func noRoom(err error) bool {
	server, ok := errors.AsType[*streamconn.ServerError](err)
	return ok && server.Code == streamproto.CodePreconditionFailed && server.Request == streamproto.KeyDeclarePublisher
}

// mistakeError is the error of something that is not asked of the broker at all, because it
// can't be right.
type mistakeError struct{ err error }

func (e *mistakeError) Error() string { return e.err.Error() }
func (e *mistakeError) Unwrap() error { return e.err }

// mistake makes a mistakeError, and nil of nil.
func mistake(err error) error {
	if err == nil {
		return nil
	}
	return &mistakeError{err}
}

// later is an error that is Temporary, whatever it wraps.
type later struct{ error }

func (l later) Unwrap() error { return l.error }

// reason is an error that explains another one. The end of a context, or of what was
// closed, in a reason is not the caller's.
type reason struct{ err error }

func (r reason) Error() string { return r.err.Error() }

// Is is for errors.Is.
func (r reason) Is(target error) bool {
	return target != context.Canceled && target != context.DeadlineExceeded && target != ErrClosed && errors.Is(r.err, target)
}

// As is for errors.As.
func (r reason) As(target any) bool { return errors.As(r.err, target) }

// aside is a reason that does not decide whether the error that it explains is Temporary: the
// connection was lost, which passes, and then the broker refused, or ctx was cancelled.
type aside struct{ reason }
