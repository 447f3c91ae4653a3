package load

import (
	"math/rand/v2"
	"slices"
)

// draw is which of several values each message has, by their shares.
type draw struct {
	upTo []float64 // the sums of the shares, up to 1
}

func newDraw(shares []float64) draw {
	var total, sum float64
	for _, s := range shares {
		total += s
	}
	d := draw{upTo: make([]float64, len(shares))}
	for i, s := range shares {
		sum += s
		d.upTo[i] = sum / total
	}
	return d
}

// next is the place of the value that the next message has.
func (d *draw) next() int {
	i, _ := slices.BinarySearch(d.upTo, rand.Float64())
	return min(i, len(d.upTo)-1)
}

// Keys are the routing keys of messages.
type Keys struct {
	Text string // what the user wrote; "" for nothing
	Keys []string
	// Shares says how many messages have each key, which is drawn at random; nil for in turn.
	Shares []float64
}

// keyring gives messages their keys.
type keyring struct {
	keys []string // none for no key
	at   int      // of those in turn, the next
	draw draw     // of the others
}

// newKeyring begins with the key of the message with that number.
func newKeyring(k Keys, number uint64) keyring {
	ring := keyring{keys: k.Keys}
	switch {
	case k.Shares != nil:
		ring.draw = newDraw(k.Shares)
	case k.Keys != nil:
		ring.at = int(number % uint64(len(k.Keys)))
	}
	return ring
}

// next is the key of the next message.
func (k *keyring) next() string {
	if k.draw.upTo != nil {
		return k.keys[k.draw.next()]
	}
	key := k.keys[k.at]
	if k.at++; k.at == len(k.keys) {
		k.at = 0
	}
	return key
}
