package ledger

import (
	"fmt"
	"testing"
)

// benchBatch is the number of deliveries or bodies in one iteration of most
// benchmarks here: a batch of ordinary size.
const benchBatch = 256

// benchPlace is where the benchmarks begin within a publisher's range: at the
// start of a page, with seven digits.
const benchPlace = 19 * pageLen

func deliveryFormats(b *testing.B, publishers int) map[string]Format {
	plan := Plan{Count: 4000000, Publishers: publishers}
	return map[string]Format{
		"tutorial": Tutorial(plan),
		"16":       mustSized(b, plan, 16),
		"100":      mustSized(b, plan, 100),
		"1024":     mustSized(b, plan, 1024),
	}
}

// benchNumbers are the numbers of some batches of messages: every stride-th of
// each publisher's range, with the publishers in turns of the given length.
func benchNumbers(f *Format, turn, stride int) []uint64 {
	batches := min(16, max(1, (256<<10)/f.MaxSize()/benchBatch))
	next := make([]uint64, f.plan.Publishers)
	for i := range next {
		next[i] = f.plan.Range(i).First + benchPlace
	}
	numbers := make([]uint64, batches*benchBatch)
	for i := range numbers {
		p := i / turn % len(next)
		numbers[i] = next[p]
		next[p] += uint64(stride)
	}
	return numbers
}

// forget makes the messages of a benchmark's bodies new again.
func forget(l *Ledger, c *Consumer) {
	for i := range l.publishers {
		s := &l.publishers[i].received
		for key, p := range s.pages {
			delete(s.pages, key)
			*p = page{}
			*s = set{pages: s.pages, spare: p}
		}
	}
	for _, k := range c.cursors {
		if k != nil {
			k.highest = 0
		}
	}
}

func benchmarkDeliveries(b *testing.B, f Format, turn, stride int) {
	var bodies [][]byte
	for _, n := range benchNumbers(&f, turn, stride) {
		bodies = append(bodies, f.Append(nil, n))
	}
	l := New(f)
	c := l.Consumer()
	b.ReportAllocs()
	b.SetBytes(int64(benchBatch * len(bodies[0])))
	for from := 0; b.Loop(); from += benchBatch {
		if from == len(bodies) {
			from = 0
			forget(l, c)
		}
		for _, body := range bodies[from : from+benchBatch] {
			c.Add(body, false)
		}
		c.Commit()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchBatch, "ns/msg")
	if t := l.Totals(); t.Duplicated+t.Reordered+t.Corrupted != 0 {
		b.Fatalf("%+v", t)
	}
}

// BenchmarkDelivery is what a delivery costs: compared, counted, committed.
func BenchmarkDelivery(b *testing.B) {
	for name, f := range deliveryFormats(b, 1) {
		b.Run(name, func(b *testing.B) { benchmarkDeliveries(b, f, 1, 1) })
	}
}

// BenchmarkDeliveryTurns is the deliveries of publishers that take turns, and
// the deliveries to one of several consumers of a queue.
func BenchmarkDeliveryTurns(b *testing.B) {
	for _, name := range []string{"tutorial", "100"} {
		for _, turn := range []int{1, 100} {
			b.Run(fmt.Sprintf("%s/publishers=2/turn=%d", name, turn), func(b *testing.B) {
				benchmarkDeliveries(b, deliveryFormats(b, 2)[name], turn, 1)
			})
		}
		b.Run(name+"/one-of-3-consumers", func(b *testing.B) {
			benchmarkDeliveries(b, deliveryFormats(b, 1)[name], 1, 3)
		})
	}
}

func BenchmarkTally(b *testing.B) {
	f := deliveryFormats(b, 1)["tutorial"]
	var bodies [][]byte
	for _, n := range benchNumbers(&f, 1, 1) {
		bodies = append(bodies, f.Append(nil, n))
	}
	t := NewTally()
	c := t.Consumer()
	b.ReportAllocs()
	for from := 0; b.Loop(); from = (from + benchBatch) % len(bodies) {
		for _, body := range bodies[from : from+benchBatch] {
			c.Add(body)
		}
		c.Commit()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchBatch, "ns/msg")
}

func BenchmarkMake(b *testing.B) {
	for name, f := range deliveryFormats(b, 1) {
		b.Run(name, func(b *testing.B) {
			first := f.plan.Range(0).First + benchPlace
			bodies, ends := make([]byte, 0, benchBatch*f.MaxSize()), make([]int, 0, benchBatch)
			b.ReportAllocs()
			for b.Loop() {
				bodies, ends = bodies[:0], ends[:0]
				bodies, ends = f.AppendRun(bodies, first, benchBatch, ends)
			}
			b.SetBytes(int64(len(bodies)))
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchBatch, "ns/msg")
		})
	}
}

// BenchmarkPlain is what it costs to make bodies, and to know the expected ones,
// without the tricks of text.go and sized.go.
func BenchmarkPlain(b *testing.B) {
	for name, f := range deliveryFormats(b, 1) {
		bodies := make([]byte, 0, benchBatch*f.MaxSize())
		first := f.plan.Range(0).First + benchPlace
		b.Run("make/"+name, func(b *testing.B) {
			for b.Loop() {
				bodies = bodies[:0]
				for n := range uint64(benchBatch) {
					bodies = plainAppend(bodies, &f, first+n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchBatch, "ns/msg")
		})
		body := plainAppend(nil, &f, first)
		b.Run("parse/"+name, func(b *testing.B) {
			for b.Loop() {
				if n, _ := plainParse(&f, body); n != first {
					b.Fatal("not ours")
				}
			}
		})
	}
}

// BenchmarkSettle is what the end of a run asks of a ledger: 100 million
// messages have come but for one at the start and one at the end, and a million
// in the middle were not confirmed.
func BenchmarkSettle(b *testing.B) {
	const count = 100_000_000
	unconfirmed := make([]uint64, 1_000_000)
	for i := range unconfirmed {
		unconfirmed[i] = count/2 + uint64(i)
	}
	l := New(Tutorial(Plan{Count: count, Publishers: 1}))
	for i := uint64(1); i < count-1; i++ {
		l.publishers[0].received.add(i)
	}
	l.Published(0, count)
	b.Run("unconfirmed", func(b *testing.B) {
		for b.Loop() {
			l.Unconfirmed(unconfirmed)
		}
	})
	b.Run("missing", func(b *testing.B) {
		for b.Loop() {
			if n := l.Missing(); n != 2 {
				b.Fatalf("%d missing, want 2", n)
			}
		}
	})
}

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
