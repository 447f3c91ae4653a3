package transport

import (
	"fmt"
	"time"
)

// writeLoop is the only writer of the socket. It takes everything that waits in
// Out at once and writes it with one call; while that call is under way more
// gathers, so the busier the connection, the larger the writes, and nothing
// ever waits for company. Idle, it sends the heartbeats.
func (c *Conn) writeLoop() {
	beat := time.NewTicker(c.heartbeat / 2)
	defer beat.Stop()
	var spare []byte
	for {
		c.Lock()
		for len(c.Out) == 0 {
			if c.err != nil {
				c.Unlock()
				return
			}
			c.writerIdle = true
			c.Unlock()
			beating := c.idle(beat.C)
			c.Lock()
			c.writerIdle = false
			if beating && len(c.Out) == 0 {
				c.Out = append(c.Out, c.settings.Heartbeat...)
			}
		}
		c.protocol.Seal()
		frames := c.Out
		c.Out, c.answers = spare, 0
		c.RoomChanged()
		c.Unlock()

		if len(frames) == 0 { // what was being filled came to nothing
			spare = frames
			continue
		}
		if _, err := c.net.Write(frames); err != nil {
			c.Fail(fmt.Errorf("writing to the broker: %w", err))
			return
		}
		spare = frames[:0]
		if cap(spare) > 4*OutRoom { // one very large message must not stay for ever
			spare = nil
		}
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

// WakeWriter tells an idle writer that Out has grown. The lock is held.
func (c *Conn) WakeWriter() {
	if c.writerIdle {
		c.writerIdle = false
		select {
		case c.kick <- struct{}{}:
		default:
		}
	}
}
