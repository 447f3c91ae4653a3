package amqpconn

import "github.com/thumpmq/thump/internal/amqpproto"

// A consumer that polls has an inbox like any other. The difference is what makes the broker send
// a message: an Ask (basic.get) instead of a subscription (basic.consume). The answer goes to
// the inbox whether somebody still waits for it or not, so no message is lost to a context that
// ended.

// Poll makes the inbox of a consumer that polls. The channel has no other consumer, and no
// Get.
func (ch *Channel) Poll(queue string, noAck bool) (*Inbox, error) {
	in := newInbox("")
	in.get = &amqpproto.BasicGet{Queue: queue, NoAck: noAck}
	in.prefetch = 1
	ch.conn.Lock()
	defer ch.conn.Unlock()
	if ch.err != nil {
		return nil, ch.err
	}
	ch.polls = in
	return in, nil
}

// Ask asks the broker for a message, which Take then takes, unless one waits there, or the answer
// to an earlier Ask is on its way. It reports whether it asked. Where the inbox has ended, Take
// says why.
func (ch *Channel) Ask(in *Inbox) bool {
	ch.conn.Lock()
	defer ch.conn.Unlock()
	if ch.err != nil || !in.ask() {
		return false
	}
	_ = ch.queue(in.get) // it always fits a frame: names of queues are short
	return true
}

// ask notes that a message is asked for, and reports whether it is to be.
func (in *Inbox) ask() bool {
	in.Lock()
	defer in.Unlock()
	if in.asked || in.closed || in.waiting() > 0 {
		return false
	}
	in.asked, in.empty = true, false
	return true
}

// noMessage notes that the broker has none.
func (in *Inbox) noMessage() {
	in.Lock()
	defer in.Unlock()
	in.asked, in.empty = false, true
	in.Changed()
}

// close lets Ask ask for nothing more.
func (in *Inbox) close() {
	in.Lock()
	defer in.Unlock()
	in.closed = true
}

// asked is the inbox that the next answer to a basic.get is for; nil where none is due for one.
func (ch *Channel) asked() *Inbox {
	ch.conn.Lock()
	in := ch.polls
	ch.conn.Unlock()
	if in == nil {
		return nil
	}
	in.Lock()
	defer in.Unlock()
	if !in.asked {
		return nil
	}
	return in
}
