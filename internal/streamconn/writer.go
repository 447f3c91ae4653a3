package streamconn

import (
	"fmt"
	"time"

	"github.com/thumpmq/thump/internal/streamproto"
)

// writeLoop is the only writer of the socket. It takes everything that waits in
// out at once and writes it with one call; while that call is under way more
// gathers, and an incomplete Publish frame and sub-entry batch go on filling: so
// the busier the connection, the larger the batches and the writes, and nothing
// ever waits for company. Idle, it sends the heartbeats.
func (c *Conn) writeLoop() {
	beat := time.NewTicker(c.server.Heartbeat / 2)
	defer beat.Stop()
	var spare []byte
	for {
		c.mu.Lock()
		for !c.hasWork() {
			if c.err != nil {
				c.mu.Unlock()
				return
			}
			c.writerIdle = true
			c.mu.Unlock()
			beating := c.idle(beat.C)
			c.mu.Lock()
			c.writerIdle = false
			if beating && !c.hasWork() {
				c.out = streamproto.AppendHeartbeat(c.out)
			}
		}
		c.seal()
		frames := c.out
		c.out, c.answers = spare, 0
		if c.waiting > 0 {
			c.room.Broadcast()
		}
		c.mu.Unlock()

		if len(frames) == 0 { // the frame that was being filled came to nothing
			spare = frames
			continue
		}
		if _, err := c.net.Write(frames); err != nil {
			c.fail(fmt.Errorf("writing to the broker: %w", err))
			return
		}
		spare = frames[:0]
		if cap(spare) > 4*outRoom { // one very large message must not stay for ever
			spare = nil
		}
	}
}

// hasWork reports whether there is something to write. c.mu is held.
func (c *Conn) hasWork() bool { return len(c.out) > 0 || c.open != nil }

// seal completes the Publish frame that is being filled, if there is one:
// something else is to follow it. c.mu is held.
func (c *Conn) seal() {
	if c.open != nil {
		c.open.endFrame()
	}
}

// idle waits until there is something to write, and reports whether that is a
// heartbeat.
func (c *Conn) idle(beat <-chan time.Time) bool {
	select {
	case <-c.kick:
		return false
	case <-c.done:
		return false
	case <-beat:
		return true
	}
}

// wakeWriter tells an idle writer that there is work. c.mu is held.
func (c *Conn) wakeWriter() {
	if c.writerIdle {
		c.writerIdle = false
		select {
		case c.kick <- struct{}{}:
		default:
		}
	}
}
