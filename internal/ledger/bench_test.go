package ledger

import (
	"fmt"
	"testing"
)

func benchmarkFormats(b *testing.B) map[string]Format {
	plan := Plan{Count: MaxCount, Publishers: 1}
	return map[string]Format{
		"tutorial": Tutorial(plan),
		"100":      mustSized(b, plan, 100),
		"1024":     mustSized(b, plan, 1024),
	}
}

func BenchmarkAppend(b *testing.B) {
	for name, f := range benchmarkFormats(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(f.Append(nil, 1000000))))
			var body []byte
			for n := uint64(1); b.Loop(); n++ {
				body = f.Append(body[:0], n)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for name, f := range benchmarkFormats(b) {
		b.Run(name, func(b *testing.B) {
			body := f.Append(nil, 1000000)
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, class := f.Parse(body); class != Ours {
					b.Fatal("not ours")
				}
			}
		})
	}
}

func BenchmarkSetInOrder(b *testing.B) {
	var s set
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		s.add(i)
	}
}

// BenchmarkConsumer is the whole of what a delivery costs: parse, place, count.
// A batch is 500 deliveries; figures are for one of them.
func BenchmarkConsumer(b *testing.B) {
	for _, publishers := range []int{1, 8} {
		b.Run(fmt.Sprintf("publishers=%d", publishers), func(b *testing.B) {
			l := New(Tutorial(Plan{Count: MaxCount, Publishers: publishers}))
			c := l.Consumer()
			next := make([]uint64, publishers)
			for i := range next {
				next[i] = l.format.plan.Range(i).First
			}
			var body []byte
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				// Publishers take turns of 50, as batches of several do.
				p := i / 50 % publishers
				body = l.format.Append(body[:0], next[p])
				next[p]++
				c.Add(body, false)
				if i++; i%500 == 0 {
					c.Commit()
				}
			}
		})
	}
}
