package transport

import "time"

const (
	paceInterval   = time.Millisecond
	paceDeliveries = 30       // in an interval, from which it is worth pausing
	paceBytes      = 64 << 10 // in an interval, from which reads are large anyway
	paceShare      = 4        // a pause may cost at most this part of the prefetch
)

// pace says when the reader should let deliveries gather before it reads on.
//
// RabbitMQ sends small messages about 14 at a time (it flushes at 1414 bytes,
// rabbit_writer.erl), and a client that waits for them is woken for each such
// packet, twice: its reader by the socket, its consumer by the reader. On the
// two cores of a small machine that costs more than all else the client does,
// and the broker pays too. So when small deliveries come faster than 30 in a
// millisecond, the reader reads once a millisecond, as network cards do. A
// slower stream, a single message, or a consumer whose prefetch would run out
// meanwhile is never held up.
type pace struct {
	since      time.Time
	deliveries int
	bytes      int // read
	most       int // deliveries in an interval that the consumers' prefetch allows
}

// count notes deliveries for a consumer that may have prefetch of them
// unsettled, 0 meaning any number.
func (p *pace) count(deliveries, prefetch int) {
	p.deliveries += deliveries
	if prefetch > 0 && (p.most == 0 || prefetch/paceShare < p.most) {
		p.most = prefetch / paceShare
	}
}

// pause reports whether to wait for paceInterval before the next read.
func (p *pace) pause(now time.Time) bool {
	elapsed := now.Sub(p.since)
	if elapsed < paceInterval {
		return false
	}
	per := func(n int) int { return int(int64(n) * int64(paceInterval) / int64(elapsed)) }
	deliveries, bytes := per(p.deliveries), per(p.bytes)
	paused := deliveries >= paceDeliveries && bytes < paceBytes && (p.most == 0 || deliveries <= p.most)
	*p = pace{since: now}
	return paused
}
