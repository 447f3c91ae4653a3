// Package dump looks into queues and streams and takes nothing away: Browse reads a queue
// and gives everything back, ReadStream reads a part of a stream, Describe finds out what a
// queue was declared with. On them it builds dump files, which hold the messages of a queue,
// a stream or a super stream (Save, NewReader), and puts those back (Restore).
package dump
