// Package thump publishes to and consumes from RabbitMQ, many messages at a
// time, and reports the outcome of every message.
//
// Begin with [Dial]. A [Client] declares queues, exchanges, bindings and streams,
// and makes a [Publisher] for each target and a [Consumer] for each source.
// Publishers take a [Message], consumers give a [Batch] of [Delivery]; everything
// else in this package is about one of those.
//
//	client, err := thump.Dial(ctx, thump.Config{URLs: []string{"amqp://guest:guest@localhost:5672"}})
//	...
//	pub, err := client.Publisher(ctx, thump.PublisherConfig{To: thump.Queue("hello")})
//	...
//	err = pub.Send(ctx, thump.Message{Body: []byte("Message 1")}) // nil: the broker has confirmed it
//	...
//	con, err := client.Consumer(ctx, thump.ConsumerConfig{From: thump.Queue("hello")})
//	...
//	for batch, err := range con.Batches(ctx) {
//		if err != nil {
//			return err // the batch is nil
//		}
//		for _, d := range batch.Deliveries {
//			fmt.Printf("%s\n", d.Body)
//		}
//		if err := batch.Ack(); err != nil {
//			return err
//		}
//	}
//
// # Publishing
//
// [Publisher.Send] publishes messages and waits for their outcomes, from any number of
// goroutines. [Publisher.Publish] returns when they are in the window, and does not wait
// for the broker. The window is the messages in flight, whose outcome is not known yet,
// and has room for [PublisherConfig].Window of them. Every message that was accepted gets
// exactly one outcome (with NoConfirms there are none):
//
//   - [Confirmed]: the broker took responsibility for it.
//   - [Rejected]: the broker refused it, for instance because the queue is full.
//   - [Returned]: no queue wanted it, and it came back. Messages are published with the
//     mandatory flag, which asks for that, unless DropUnroutable is set.
//   - [Unknown]: the publisher ended, or its caller stopped waiting, before the broker
//     answered. The message may or may not be in the queue; it is never reported as refused.
//
// The error of Send is about its own messages. After Publish, a Message's Done is called
// with its outcome, and [PublisherConfig].OnOutcomes with many at a time, identified by
// Message.Ref. [Publisher.Flush] waits until all have theirs, and [Publisher.Close] too:
// it refuses new messages first. [Publisher.Counts] has the totals at any time.
//
// What is wrong with a message is found before anything of it leaves, as far as it can be
// seen here, and costs no other message anything. An exchange that does not exist only
// the broker can see: it closes the channel, the publisher ends, and everything in
// flight is Unknown.
//
// What was in flight on a connection that is lost is sent again on the next one: see
// below. It may then be there twice, and its [Outcome] says Resent.
//
// What Confirmed is worth depends on the queue. A quorum queue has written the
// message to disk, with fsync, on a majority of its replicas. A classic queue
// has it on one node: a persistent message in a durable queue survives a restart or a
// kill of the broker. But since RabbitMQ 3.13 (and before, with version 2 of classic
// queues) a classic queue does not call fsync, so a power failure can lose it. Neither
// kind of queue promises that the message will be consumed: a queue with a length
// limit or a time to live confirms what it later drops.
//
// A stream's confirm says that a majority of its replicas have the message, in
// the operating system's memory and not with fsync: a broker that is killed does
// not lose it, a power failure of that many machines at once can.
//
// # Consuming
//
// [Consumer.Batches] yields deliveries as they come, a batch at a time. They and
// their bodies are yours, unless [ConsumerConfig].ReuseBuffers is set: keep them, hand
// them to other goroutines. Bodies are slices of the memory that the socket was read
// into, which is not used again. A kept body keeps its whole read buffer alive;
// [Delivery.Clone] copies it. ReuseBuffers is for those who are done with a batch before
// they ask for the next.
//
// The broker sends ahead, until [ConsumerConfig].Prefetch deliveries are unsettled. To
// settle a delivery is to ack, reject, requeue or release it:
//
//   - Ack: it was handled, and the broker forgets it.
//   - Reject: it is refused. The broker dead-letters it, or drops it.
//   - Requeue: handling failed, and it is to be tried again. It goes back to the queue.
//     A quorum queue counts that as a failed delivery, and with a delivery limit gives
//     the message up when that many have failed (RabbitMQ 4 has a limit of 20 by default).
//   - Release: it is not to be handled here, and goes back to the queue. Since RabbitMQ
//     4.3 that does not count as a failed delivery.
//
// [Batch.Ack] settles a whole batch with one frame; a delivery can also be settled
// alone, from any goroutine. What is not settled when the consumer ends is delivered
// again.
//
// To shut down: end the loop's context, or call [Consumer.Stop], which gives back what
// was not handed out; then [Consumer.Close], with a context that says how long to wait
// for the deliveries that are being handled. The table at [Consumer] says what ends a
// loop, and with which error.
//
// Redelivered is a hint. After a restart of the broker a classic queue marks
// everything as redelivered, and a message that was published twice is not
// marked at all. Only an identity inside the message tells a duplicate.
//
// # Streams
//
// A stream is a log: its messages stay, and each has a number, its offset. A super
// stream is several streams, its partitions, under one name; each message is in one of
// them. A target that is a [Stream] or a [SuperStream] is reached over RabbitMQ's stream
// protocol, which carries ten to a hundred times as many small messages a second as AMQP
// does. [Client.DeclareStream] makes a stream. Publisher and Consumer are the same; what
// is a stream's own is in [StreamPublishing] and [StreamConsuming].
//
// The broker stores and sends messages in chunks: those that it received at about the
// same time. A chunk has entries. Each message is an entry, unless you ask for
// sub-entries: then messages that wait for the writer share an entry, which costs the
// broker as much as one message, and which not every client reads. Sub-entries are
// compressed if you ask for it; RabbitMQ hands the messages of an uncompressed one to
// AMQP consumers one by one. With a Name the stream drops messages that it already has,
// so a program can continue after a restart where it stopped.
//
// Reading removes nothing from a stream: a consumer says where to begin, with a
// [Start], and every consumer gets every message. Acking a batch marks it as
// handled. If the consumer has a Name, the stream stores that offset under it, and
// the next consumer with the same Name continues after it: what was handed out and
// not acked is delivered again, to a consumer with that Name. Consumers with the same
// Name can form a group, and the broker then sends to one of them at a time
// (SingleActive).
//
// # Connections and failure
//
// Every publisher and every consumer has a connection of its own, for a super stream one
// for each partition, so nothing that blocks one holds up another; those of queues share
// beyond [Config].MaxConnections.
//
// A publisher or consumer that loses its connection makes another, and again until that
// succeeds or cannot: [Config].Recovery says how long, [Temporary] what is worth it. The
// publisher sends again what was in flight, in order and before anything new, and accepts
// messages meanwhile as far as its window has room. The consumer waits; what it handed out
// before can no longer be settled ([ErrStale]), and the broker delivers it again. So a
// message may come twice. docs/recovery.md of the manual says what becomes of a message in
// each case, and what to do about it. [Config].OnEvent tells of each loss.
//
// Contexts bound the call that they are given to, never the life of an object;
// that ends with its Close. Close waits for what is still under way: give it a context
// that ends. Times are time.Duration and sizes are bytes.
//
// Configurations, specs and tables are read during the call that they are given to, and
// may be changed after it, except what they point to: Config.TLS, Config.Logger.
package thump
