// Package thump publishes to and consumes from RabbitMQ, many messages at a
// time, and says of every one what became of it.
//
// Begin with [Dial]. A [Client] makes a [Publisher] for each target and a
// [Consumer] for each source, and declares queues, exchanges and bindings.
// Those three types, and [Message], [Delivery] and [Batch] that go through
// them, are the whole of it.
//
// # Publishing
//
// [Publisher.Publish] takes any number of messages and returns when they are in
// the window of messages in flight; it does not wait for the broker. Every
// message that it accepted gets exactly one outcome:
//
//   - [Confirmed]: the broker took responsibility for it.
//   - [Rejected]: the broker refused it, for instance because the queue is full.
//   - [Returned]: no queue wanted it, and it came back.
//   - [Unknown]: the connection or channel ended before the broker had spoken.
//     It may or may not be in the queue; it is never reported as refused.
//
// [Publisher.Flush] waits for the outcomes and its error counts those that are
// not Confirmed; [PublisherConfig].OnOutcomes hears of each, by the Ref that the
// caller gave it; [Publisher.Counts] has the totals at any time.
//
// What Confirmed is worth depends on the queue. A quorum queue has written the
// message to disk, with fsync, on a majority of its replicas. A classic queue
// has it on one node: a restart or a kill of the broker does not lose a
// persistent message in a durable queue, but since RabbitMQ 3.13 (and with
// version 2 of classic queues before) there is no fsync, so a power failure can.
// Neither promises that the message will be consumed: a queue with a length
// limit or a time to live confirms what it later drops.
//
// A stream's confirm says that a majority of its replicas have the message, in
// the operating system's memory and not with fsync: a broker that is killed does
// not lose it, a power failure of that many machines at once can.
//
// # Consuming
//
// [Consumer.Batches] yields deliveries as they come, a batch at a time. The
// bodies of a batch are slices of the memory that the socket was read into:
// they are valid until the next batch is asked for, and [Delivery.Clone] keeps
// one. [Batch.Ack] settles a whole batch with one frame; a delivery can also be
// settled alone. What is not settled when the consumer ends is delivered again.
//
// Redelivered is a hint. After a restart of the broker a classic queue marks
// everything as redelivered, and a message that was published twice is not
// marked at all. Only an identity inside the message tells a duplicate.
//
// # Streams
//
// A target that is a [Stream] or a [SuperStream] is reached over RabbitMQ's stream
// protocol, which carries a hundred times what AMQP does; [Client.DeclareStream]
// makes one. Publisher and Consumer are the same; what is a stream's own is in
// [StreamPublishing] and [StreamConsuming].
//
// A publisher puts messages that wait for the writer together into sub-entry
// batches, which cost the broker as much as one message each. They are not
// compressed unless asked for: so every consumer can read them, one message at a
// time, an AMQP consumer of the same stream too. With a Name the stream drops
// what it has already, and a program can go on after a restart where it was.
//
// Reading takes nothing out of a stream: a consumer says where to begin, a
// [Start], and every consumer gets everything. Acking a batch says that it was
// handled; under a consumer's Name the stream keeps the offset of that, and the
// next consumer of the name begins behind it. What was handed out and not acked
// comes again.
//
// # Connections and failure
//
// Every publisher and every consumer has a connection of its own, so nothing
// that blocks one holds up another. A connection that fails is not repaired: its
// publisher or consumer ends, its methods return why and what is not known, and
// the program makes another.
//
// Contexts bound the call that they are given to, never the life of an object;
// that ends with its Close. Times are time.Duration and sizes are bytes.
package thump
