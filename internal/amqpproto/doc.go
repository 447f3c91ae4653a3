// Package amqpproto is the AMQP 0-9-1 codec: bytes in, values out, and back. It
// opens no socket, starts no goroutine and looks at no clock. Its functions may be
// called from several goroutines at once, as long as they do not share what they
// are given.
//
// There are two ways through it.
//
// One is for what happens a few times in a connection's life. Every method of the
// protocol is a struct (ConnectionTune, QueueDeclare, ...); AppendMethodFrame writes
// one and ParseMethod reads one. ParseMethod returns a copy, which belongs to the
// caller.
//
// The other is for what happens once a message, and allocates nothing:
// AppendPublish, AppendAck and AppendNack write; ParseFrame, ParseMethodID,
// ParseDeliver, ParseAck, ParseNack and ParseContentHeader read. What they return
// aliases the bytes they were given, and is valid as long as those are.
//
// The Append functions append to dst and return the longer slice, as the built-in
// append does. On an error they return dst unchanged. No input makes a Parse
// function panic, or allocate more than a small multiple of its size.
//
// # The same bytes back
//
// ParseMethod followed by AppendMethodFrame gives the same bytes for every method
// that ParseMethod accepts, and so does ParseProperties followed by
// AppendProperties, with two exceptions. Both are things that RabbitMQ reads but
// does not write, and passes on from a publisher that wrote them:
//
//   - a field of type L comes back as l, and a true that was not 1 as 1;
//   - a property that is present but empty or zero comes back absent, because
//     Properties uses the zero value for "absent"; so do the deprecated cluster
//     id and flags without a meaning.
//
// After one such pass the bytes no longer change. Reserved arguments are kept, in
// unexported fields, so they are zero in whatever we build ourselves. RabbitMQ
// always sends them as zero or empty; older brokers filled some, which is no reason
// to refuse them. A bit that the specification does not define is refused: it would
// change the meaning of a method in a way that this package can't know, and no
// RabbitMQ sets one.
package amqpproto
