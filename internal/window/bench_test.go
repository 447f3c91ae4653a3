package window

import (
	"testing"

	"github.com/thumpmq/thump/internal/outcome"
)

// BenchmarkWindow adds messages a batch at a time and resolves them in runs, as
// it goes at full speed. An operation is a message.
func BenchmarkWindow(b *testing.B) {
	for _, bm := range []struct {
		name          string
		cfg           Config
		batch, run    uint64
		carriers      int
		encoded       int
		outOfOrder    bool
		takesOutcomes bool
	}{
		{name: "runs", cfg: Config{Messages: 10_000}, batch: 256, run: 64, carriers: 1},
		{name: "runs-collected", cfg: Config{Messages: 10_000, Collect: true}, batch: 256, run: 64, carriers: 1, takesOutcomes: true},
		{name: "single", cfg: Config{Messages: 10_000}, batch: 256, run: 1, carriers: 1},
		{name: "out-of-order", cfg: Config{Messages: 10_000}, batch: 256, run: 1, carriers: 1, outOfOrder: true},
		{name: "three-carriers", cfg: Config{Messages: 10_000}, batch: 256, run: 64, carriers: 3},
		{name: "kept-100B", cfg: Config{Messages: 10_000, Bytes: 8 << 20, Keep: true}, batch: 256, run: 64, carriers: 1, encoded: 100},
	} {
		b.Run(bm.name, func(b *testing.B) {
			w := New(bm.cfg)
			carriers := make([]*Carrier, bm.carriers)
			for i := range carriers {
				carriers[i] = w.Carry()
			}
			encoded := make([]byte, bm.encoded)
			resolved := make([]uint64, len(carriers))
			b.ReportAllocs()
			for left := b.N; left > 0; {
				n := min(uint64(left), bm.batch)
				left -= int(n)
				w.Lock()
				for i := range n {
					c := carriers[int(i)%len(carriers)]
					if bm.encoded > 0 {
						c.AddEncoded(Tag{Ref: i}, encoded)
					} else {
						c.Add(Tag{Ref: i})
					}
				}
				w.Unlock()
				for i, c := range carriers {
					for first := resolved[i]; first < c.Next(); first += bm.run {
						n := min(bm.run, c.Next()-first)
						at := first
						if bm.outOfOrder && first^1 < c.Next() {
							at = first ^ 1
						}
						w.Lock()
						c.Resolve(at, n, outcome.Confirmed, 0, "")
						w.Wake()
						w.Unlock()
					}
					resolved[i] = c.Next()
				}
				if bm.takesOutcomes {
					_, _ = w.Outcomes()
				}
			}
		})
	}
}
