package load

import "math/rand/v2"

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
	x := rand.Float64()
	i := 0
	for i < len(d.upTo)-1 && x >= d.upTo[i] {
		i++
	}
	return i
}

// Keys are the routing keys of messages.
type Keys struct {
	Keys []string
	// Shares says how many messages have each key, which is drawn at random; nil for in turn.
	Shares []float64
}

// keyring gives messages their keys.
type keyring struct {
	keys []string // none for no key
	draw draw     // of those that are not in turn
}

func newKeyring(k Keys) keyring {
	ring := keyring{keys: k.Keys}
	if k.Shares != nil {
		ring.draw = newDraw(k.Shares)
	}
	return ring
}

// of is the key of a message with that number.
func (k *keyring) of(number uint64) string {
	if k.draw.upTo != nil {
		return k.keys[k.draw.next()]
	}
	return k.keys[number%uint64(len(k.keys))]
}
