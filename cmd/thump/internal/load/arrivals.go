package load

import (
	"math"
	"math/rand/v2"
	"time"
)

// arrivalsBlock is how many messages of a Poisson schedule are drawn together. Their number is
// given; where each is among the others is as in a Poisson process of which one knows that so
// many came. So anybody can say when a message was to be sent without having drawn all before.
const arrivalsBlock = 1024

// arrivals says when messages are to be sent. It remembers the latest block, so whoever asks
// has one of its own, and asks more or less in order.
type arrivals struct {
	schedule *Schedule

	block  uint64 // one more than the number of the block that is drawn; 0 for none
	places [arrivalsBlock]float64
}

// at is when message n, counted from 0, is to be sent, since the beginning.
func (a *arrivals) at(n uint64) time.Duration {
	if !a.schedule.poisson {
		return a.schedule.at(float64(n))
	}
	block := n / arrivalsBlock
	if a.block != block+1 {
		a.draw(block)
	}
	return a.schedule.at(float64(block*arrivalsBlock) + a.places[n%arrivalsBlock])
}

// draw places the messages of a block between its begin, 0, and its end, arrivalsBlock.
func (a *arrivals) draw(block uint64) {
	a.block = block + 1
	random := rand.New(rand.NewPCG(a.schedule.seed, block))
	var sum float64
	for i := range a.places {
		sum += random.ExpFloat64()
		a.places[i] = sum
	}
	sum += random.ExpFloat64()
	for i := range a.places {
		a.places[i] = min(a.places[i]/sum*arrivalsBlock, math.Nextafter(arrivalsBlock, 0))
	}
}
