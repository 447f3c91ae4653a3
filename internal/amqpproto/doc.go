// Package amqpproto is the AMQP 0-9-1 codec: bytes in, values out, and back.
// It opens no socket, starts no goroutine and looks at no clock.
//
// There are two ways through it.
//
// The cold one is for all that happens a few times in a connection's life.
// Every method of the protocol is a struct (ConnectionTune, QueueDeclare, ...);
// AppendMethodFrame writes one and ParseMethod reads one. What ParseMethod
// returns is a copy and belongs to the caller.
//
// The hot one is for what happens once a message, and allocates nothing:
// AppendPublish, AppendAck and AppendNack outwards; ParseFrame, ParseMethodID,
// ParseDeliver, ParseAck, ParseNack and ParseContentHeader inwards. What these
// return aliases the bytes they were given, and is valid as long as those are.
//
// Functions named Append write behind what dst holds and return the longer
// slice, as the built-in append does; where they can fail, they then return dst
// as it was. No input makes a Parse function panic, or allocate more than a
// small multiple of the bytes it was given.
//
// # The same bytes back
//
// ParseMethod followed by AppendMethodFrame gives the same bytes for every
// method it accepts, and so does ParseProperties followed by AppendProperties,
// but for what RabbitMQ reads without writing it itself, and hands on when a
// publisher did:
//
//   - a field of type L comes back as l, and a true that was not 1 as 1;
//   - a property that is present but empty or zero comes back absent, because
//     Properties uses the zero value for "absent"; so do the deprecated cluster
//     id and flags without a meaning.
//
// After one such pass the bytes no longer change. Reserved arguments are kept
// (in unexported fields, so they are zero in whatever we build ourselves):
// RabbitMQ always sends them as zero or empty, but older brokers filled some,
// and that is no reason to refuse them. A bit that the specification does not
// define is refused: it would change the meaning of a method in a way this
// package can't know, and no RabbitMQ sets one.
package amqpproto
