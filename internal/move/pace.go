package move

import (
	"context"

	"github.com/thumpmq/thump"
)

// labourMost is how much labour a source may still have to do for the acks that it was sent, in
// messages that it goes through: a second's, at most.
const labourMost = 1_000_000

// pace keeps a source's acks no further ahead of it than that. Behind a message that stays each
// ack is a frame of its own, for which RabbitMQ goes through all that it has delivered before and
// that is not settled (collect_acks in rabbit_channel.erl): behind 20,000 that takes milliseconds.
// With thousands of them ahead it would answer nothing on their channel for minutes, and at the
// end that would look like a connection that is lost.
type pace struct {
	con   *thump.Consumer
	held  int  // messages that stay
	ahead int  // labour
	late  bool // it has not answered in time: it is not waited for any more
}

// paceOfAcks is the pace of the acks that follow.
func (m *mover) paceOfAcks() *pace {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pace.con != m.con {
		m.pace = pace{con: m.con}
	}
	if m.job.From.Kind == Queue {
		m.pace.held = int(m.receipt.Left + m.receipt.Skipped)
	}
	return &m.pace
}

// slow reports whether n more acks are to be sent one by one.
func (p *pace) slow(n int) bool { return n*p.held > labourMost }

// acked notes n acks, and waits until the source has read them where they cost it much.
func (p *pace) acked(ctx context.Context, n int) {
	p.ahead += n * p.held
	if p.ahead < labourMost || p.late {
		return
	}
	p.ahead = 0
	flushing, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	p.late = p.con.Flush(flushing) != nil // if it is lost, whoever takes finds out why
}
