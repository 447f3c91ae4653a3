package transport

import "testing"

// TestBufferPool: a buffer has the size that was asked for, or up to twice that,
// and is one reference's.
func TestBufferPool(t *testing.T) {
	for _, least := range []int{1 << 10, 400} {
		p := bufferPool{size: least}
		for _, test := range []struct{ ask, want int }{
			{1, least},
			{least, least},
			{least + 1, 2 * least},
			{2 * least, 2 * least},
			{2*least + 1, 4 * least},
			{2048 * least, 2048 * least},
			{2048*least + 1, 2048*least + 1},
		} {
			for range 2 { // made, and used again, perhaps
				b := p.get(test.ask)
				if large := test.want > 2048*least; p.oversize(b) != large {
					t.Errorf("%d bytes of %d: oversize is %v", test.want, least, !large)
				}
				if len(b.Bytes) != test.want || b.Refs() != 1 {
					t.Errorf("asked for %d of %d: %d bytes, %d references", test.ask, least, len(b.Bytes), b.Refs())
				}
				b.Retain()
				b.Release()
				b.Release()
			}
		}
	}
}
