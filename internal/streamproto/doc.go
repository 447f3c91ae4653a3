// Package streamproto is the codec of the RabbitMQ stream protocol: bytes in, values
// out, and back. It opens no socket, starts no goroutine and looks at no clock. Its
// functions may be called from several goroutines at once, as long as they do not
// share what they are given. The protocol is PROTOCOL.adoc in the server's
// deps/rabbitmq_stream/docs; if RabbitMQ 3.10 to 4.3 differ from it, this package
// does as the brokers do (rabbit_stream_core.erl), and says so.
//
// There are two ways through it.
//
// One is for what happens a few times in a connection's life. Every command that has
// an answer is a struct, a Request, and so is every answer, a Response;
// AppendRequest, ParseRequest, AppendResponse and ParseResponse write and read them.
// The commands without an answer have functions of their own (AppendCredit,
// ParseMetadataUpdate, ...). All of these return copies, which belong to the caller.
//
// The other is for what happens once a message, and allocates nothing: BeginPublish,
// AppendDataEntry, AppendBatchedData and the like write; ParseFrame,
// ParsePublishConfirm, ParseDeliver, EntryReader and NextBatched read. What they
// return aliases the bytes they were given, and is valid as long as those are.
//
// The Append functions append to dst and return the longer slice, as the built-in
// append does. On an error they return dst unchanged. No input makes a Parse
// function panic, or allocate more than a small multiple of its size.
//
// # Messages
//
// Messages in a stream are encoded as in AMQP 1.0, which package amqp10 reads and
// writes. Nearly all are one data section around the body, so AppendDataEntry and
// AppendBatchedData write that section themselves. A broker also accepts and
// confirms an entry that is not such a message, but can't give it to an AMQP
// consumer; thump never publishes one.
//
// # The same bytes back
//
// A parse followed by the matching append gives the same bytes for every frame that
// RabbitMQ 4.3 sends; a test does it with recorded ones. The bytes differ for some
// that are valid, but that no broker sends or only old ones do:
//
//   - a null string comes back as an empty one;
//   - an empty list of properties that may be left out is left out;
//   - an answer that ends after the code of an error gets its other fields, all zero;
//   - the reserved bytes of a chunk's header come back zero;
//   - the answers to Route and Partitions get the response bit, which RabbitMQ 3.10
//     does not set.
//
// After one such pass the bytes no longer change.
package streamproto
