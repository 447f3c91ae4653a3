package amqpconn

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestBody puts bodies together from frames of any size, around the sizes at which
// something changes, and keeps at most half of a body beside it.
func TestBody(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for _, size := range []int{0, 1, 100, believed - 1, believed, believed + 1, 2*believed - 1, 2 * believed, 2*believed + 1, 9*believed + 7} {
		for _, most := range []int{1 << 10, 128 << 10, 4 << 20} {
			want := make([]byte, size)
			for i := range want {
				want[i] = byte(random.Uint32())
			}
			b := newBody(size)
			for rest := want; len(rest) > 0; {
				frame := rest[:min(len(rest), 1+random.IntN(most))]
				rest = rest[len(frame):]
				b.add(frame)
				b.add(nil)
				pieces, came := 0, size-b.left()
				for _, piece := range b.pieces {
					pieces += cap(piece)
				}
				if pieces > max(believed/2, 2*came) || pieces > size/2 || b.whole != nil && cap(b.whole) > max(believed, 2*came+1) {
					t.Fatalf("%d of %d bytes have come, and there are %d in pieces and %d in one", came, size, pieces, cap(b.whole))
				}
			}
			if b.left() != 0 || !bytes.Equal(b.whole, want) || cap(b.whole) != size {
				t.Fatalf("size %d in frames of %d: %d bytes in %d, %d left", size, most, len(b.whole), cap(b.whole), b.left())
			}
		}
	}
}

// BenchmarkBody is a body of 64 MiB in frames of 128 KiB. The bytes per operation say how
// much memory it takes for that.
func BenchmarkBody(b *testing.B) {
	const size = 64 << 20
	frame := make([]byte, 128<<10)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		body := newBody(size)
		for body.left() > 0 {
			body.add(frame)
		}
	}
}
