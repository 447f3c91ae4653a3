// Package move moves messages from a queue, a stream or a super stream to a queue, an
// exchange, a stream or a super stream, of the same broker or another, and sends dead
// letters back to where they came from.
//
// # What it promises
//
// A message is acked at the source only once the target has confirmed it. So none is lost,
// whenever the move ends and however: what was not acked goes back, or stays in the stream.
// A message may be at the target twice if the move ended, or its connection to the target
// was lost, after it was published and before its confirm came.
//
// Order is kept, but for messages that were rejected by a full target, and come later.
//
// # What the journal promises
//
// With a [Journal] in a file a move that was killed at any instant, and is started again,
// acks what was confirmed and noted, and does not publish it again. Before it publishes
// again what it knows to have been published, it names it, in a file beside the journal:
// what is at the target twice was named there. A confirm that had come and was not written
// down yet counts as one that had not come. To a stream nothing is twice: it knows each
// message by a publishing id, which the journal keeps.
//
// AMQP gives the messages of a queue no number. The journal therefore notes the digests of
// what was taken, in order, each batch before it is published; and what became of them,
// before they are acked. It relies on these facts:
//
//   - A queue delivers again, first and in the same order, what was not acked.
//   - Of what is not acked there are at most as many as the prefetch: no more than that
//     need be remembered, and compaction forgets the rest.
//   - Nothing is acked behind a message without an outcome, and the newest message that
//     was taken is never acked. So what comes again is a tail of what was noted that is not
//     empty, and its beginning tells what was acked.
//
// Messages that are alike have the same digest, and what comes may fit the journal in more
// than one way. Then the way is taken by which the most was acked, because none that is not
// at the target is taken for one that is; what remains in question is published again, and
// named. The same is done where nothing fits, because somebody else consumed from the
// queue, messages expired, or the queue has priorities. Where the journal can't know, there
// are doubles, and no losses.
//
// At the end the message that was held back goes back to the queue; when that delivers
// nothing else of what was acked, the journal notes that this one is about to be acked, and
// then it is. Killed between the two, it is published again and named. A journal in memory
// does the same for a source that loses its connection.
//
// The first record that is damaged ends what is read of a journal. A kill leaves one cut
// short at the end: nothing was done yet of what it was to say.
//
// # Not in its hands
//
// Each time that a move is killed a quorum queue counts a delivery of what it held, and
// drops or dead-letters messages at its delivery limit. A quorum queue may forget the last
// acks of a channel that ends. What it then delivers again first is acked again; what it
// delivers after the message that was held back stays, though it was moved.
package move
