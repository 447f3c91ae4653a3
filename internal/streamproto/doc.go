// Package streamproto is the codec of the RabbitMQ stream protocol: bytes in,
// values out, and back. It opens no socket, starts no goroutine and looks at no
// clock. The protocol is PROTOCOL.adoc in the server's deps/rabbitmq_stream/docs;
// where that differs from what RabbitMQ 3.10 to 4.3 send, this follows the
// brokers (rabbit_stream_core.erl) and says so.
//
// There are two ways through it.
//
// The cold one is for all that happens a few times in a connection's life. Every
// command that has an answer is a struct, a Request, and so is every answer, a
// Response; AppendRequest, ParseRequest, AppendResponse and ParseResponse write
// and read them. The commands without an answer have functions of their own
// (AppendCredit, ParseMetadataUpdate, ...). What these return is a copy and
// belongs to the caller.
//
// The hot one is for what happens once a message, and allocates nothing:
// BeginPublish, AppendDataEntry, AppendBatchedData and the like outwards;
// ParseFrame, ParsePublishConfirm, ParseDeliver, EntryReader, NextBatched and
// Data inwards. What these return aliases the bytes they were given, and is
// valid as long as those are.
//
// Functions named Append write behind what dst holds and return the longer
// slice, as the built-in append does; where they can fail, they then return dst
// as it was. No input makes a Parse function panic, or allocate more than a
// small multiple of the bytes it was given.
//
// # Messages
//
// What a stream holds are messages in the encoding of AMQP 1.0: sections, each a
// described value. Nearly all are one data section around the body, which Data
// and AppendData read and write; AppendMessage and ParseMessage are for those
// that have properties too. A broker takes an entry that is no such message, and
// confirms it, but can't give it to an AMQP consumer, so everything published
// here is wrapped.
//
// # The same bytes back
//
// A parse followed by the matching append gives the same bytes for every frame
// that RabbitMQ 4.3 sends; a test does it with recorded ones. It does not for
// what is valid and never seen, or from older ones alone: a null string comes
// back as an empty one, an empty list of properties that could be left out comes
// back left out, an answer that ends behind the code of an error comes back with
// the rest of it zero, the reserved bytes of a chunk's header come back zero, and
// the answers to Route and Partitions that lacked the response bit get it. A
// message comes back in its shortest encoding, without what Message has no field
// for. After one such pass the bytes no longer change.
package streamproto
