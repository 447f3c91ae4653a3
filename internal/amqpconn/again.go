package amqpconn

import (
	"context"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/window"
)

// SendAgain sends what is in a window that keeps messages, and has no outcome, in order:
// what was on other connections, and what was on none. When nothing is left, it calls
// current, with the locks of connection and window held; until then nothing else may be
// published on the channel. It returns how many messages were on another connection.
// The error says why the channel ended, or is that of ctx.
//
// A message that does not fit the frames of this connection becomes Unknown.
func (ch *Channel) SendAgain(ctx context.Context, current func()) (resent int, err error) {
	c, p := ch.conn, ch.publishing.Load()
	c.Lock()
	defer c.Unlock()
	before := p.window.Totals().Resent
	for from, left := uint64(0), true; left; {
		if ch.err != nil {
			return 0, ch.err
		}
		if from, left = ch.sendSome(from, current); left {
			if err := ch.waitToWrite(ctx); err != nil {
				return 0, err
			}
		}
	}
	return int(p.window.Totals().Resent - before), nil
}

// sendSome sends messages from that number on, as many as there is room for. It returns the
// number to go on with, and whether there is one. The connection's lock is held.
func (ch *Channel) sendSome(from uint64, current func()) (next uint64, left bool) {
	c, p := ch.conn, ch.publishing.Load()
	p.window.Lock()
	defer p.window.Unlock()
	defer func() {
		if len(c.Out) > 0 {
			c.WakeWriter()
		}
	}()
	if p.window.Keeps() && !p.window.Unconfirmed() {
		for number, encoded := range p.window.Unresolved(from) {
			if !c.canWrite() {
				return number, true
			}
			if err := ch.sendOne(number, encoded); err != nil {
				p.window.Resolve(number, 1, window.Result{Status: outcome.Unknown, Text: "sending it again: " + err.Error()})
				p.window.Wake()
			}
		}
	}
	current()
	return 0, false
}

// sendOne encodes a message for this connection.
func (ch *Channel) sendOne(number uint64, encoded []byte) error {
	c, p := ch.conn, ch.publishing.Load()
	again, err := amqpproto.ParsePublish(encoded)
	if err != nil {
		return err
	}
	m := Message{BasicPublish: again.BasicPublish, Properties: again.Properties, Body: again.Body}
	frames, err := amqpproto.AppendPublish(c.Out, ch.id, c.server.FrameMax, &m.BasicPublish, &m.Properties, m.Body)
	if err != nil {
		return err
	}
	c.Out = frames
	p.note(p.carrier.AddAgain(number), &m)
	return nil
}

// Append appends a message as Publish encodes it, for a window that keeps it until there is
// a connection, most likely with that frame limit. The errors are those of
// amqpproto.AppendPublish.
func Append(dst []byte, frameMax uint32, m *Message) ([]byte, error) {
	return amqpproto.AppendPublish(dst, 1, frameMax, &m.BasicPublish, &m.Properties, m.Body)
}
