package transport

import (
	"context"
	"sync"
)

// Inbox is what every inbox has in common. An inbox stands between the readers of
// connections, which put in what a read of the socket brought, and one consumer,
// which takes it: the one that embeds an Inbox holds the things themselves, and
// the lock guards them. Its own methods are safe for concurrent use, but for
// those that say that the lock is held.
type Inbox struct {
	sync.Mutex

	// Bytes is about how much memory what waits to be taken keeps: read buffers count
	// in full, however little of them is used. While it is more than Limit, a reader
	// waits.
	Bytes, Limit int

	changed  sync.Cond     // what waits, Limit, draining or ended changed
	drops    bool          // what is there at the end is not taken
	putting  int           // readers that wait for room
	draining bool          // readers do not wait: what has no room is dropped
	ended    error         // why nothing more comes
	over     bool          // nothing more comes, and nothing is left to take
	done     chan struct{} // closed then; nil while nobody waits for that
	whenDone func()
}

// Open makes a zero Inbox ready, with a limit in bytes.
func (in *Inbox) Open(limit int) {
	in.Limit = limit
	in.changed.L = in
}

// WaitForRoom waits while more than Limit is there, and with it the reading of the
// socket: TCP slows the broker down. It reports false where there is no room and
// will be none, since the inbox has ended or drains: what a broker sends regardless is
// to be dropped. What waits when the inbox ends came before that, and has room. The
// lock is held.
func (in *Inbox) WaitForRoom() bool {
	inTime := in.ended == nil
	in.putting++
	for in.Bytes > in.Limit && !in.draining && in.ended == nil {
		in.changed.Wait()
	}
	in.putting--
	room := in.Bytes <= in.Limit
	if in.ended == nil {
		return room
	}
	return !in.drops && (inTime || room)
}

// MayTake is asked before anything is taken. Its error is that of ctx, or why the
// inbox ended, where it drops what is there. The lock is held.
func (in *Inbox) MayTake(ctx context.Context) error {
	if in.ended != nil && in.drops {
		return in.ended
	}
	return ctx.Err()
}

// WaitForMore waits for a change, and is called again while nothing is there to
// take. Its error is why nothing more comes, or that ctx has ended; see Watch. The
// lock is held.
func (in *Inbox) WaitForMore(ctx context.Context) error {
	if in.complete() {
		return in.ended
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	in.changed.Wait()
	return nil
}

// Changed wakes those who wait, after something was put, taken or set. The lock is
// held.
func (in *Inbox) Changed() {
	if in.complete() && !in.over && (in.drops || in.Bytes == 0) {
		in.over = true
		if in.done != nil {
			close(in.done)
		}
		if in.whenDone != nil {
			go in.whenDone()
		}
	}
	in.changed.Broadcast()
}

// complete reports whether nothing more is put that could be taken. The lock is held.
func (in *Inbox) complete() bool { return in.ended != nil && (in.drops || in.putting == 0) }

// Watch lets the end of ctx end a taking that waits, until stop is called. It is
// not part of the taking so that a loop pays for it once.
func (in *Inbox) Watch(ctx context.Context) (stop func() bool) { return WakeAt(ctx, &in.changed) }

// Drain says that perhaps nobody takes any more. The reader does not wait from then
// on, so that it gets to the broker's answers: what comes and has no room is dropped.
func (in *Inbox) Drain() {
	in.Lock()
	defer in.Unlock()
	in.draining = true
	in.Changed()
}

// End says that nothing more comes, and why, unless that was said before. What is
// there can still be taken, unless the inbox drops it.
func (in *Inbox) End(why error) {
	in.Lock()
	defer in.Unlock()
	if in.ended == nil {
		in.ended = why
		in.Changed()
	}
}

// DropRest says that what is there when the inbox ends is not to be taken.
func (in *Inbox) DropRest() {
	in.Lock()
	defer in.Unlock()
	in.drops = true
	in.Changed()
}

// Shut is End, and nothing is taken any more: what is there stays, and what comes is
// dropped.
func (in *Inbox) Shut(why error) {
	in.Lock()
	defer in.Unlock()
	if in.ended == nil {
		in.ended = why
	}
	in.drops = true
	in.Changed()
}

// Done is closed when nothing more comes and nothing is left to take.
func (in *Inbox) Done() <-chan struct{} {
	in.Lock()
	defer in.Unlock()
	if in.done == nil {
		in.done = make(chan struct{})
		if in.over {
			close(in.done)
		}
	}
	return in.done
}

// WhenDone calls f, in a goroutine of its own, once Done is closed. It is for whoever has many
// inboxes, and would have a goroutine for each that only waits; there can be one.
func (in *Inbox) WhenDone(f func()) {
	in.Lock()
	defer in.Unlock()
	if in.over {
		go f()
		return
	}
	in.whenDone = f
}

// Err says why nothing more comes; nil while more may come.
func (in *Inbox) Err() error {
	in.Lock()
	defer in.Unlock()
	return in.ended
}
