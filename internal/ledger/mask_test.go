package ledger

import (
	"bytes"
	"compress/flate"
	"testing"
)

// maskedFormats are bodies of one size and of several.
func maskedFormats(t testing.TB, plan Plan) map[string]Format {
	return map[string]Format{
		"16":    mustSized(t, plan, 16).Masked(),
		"17":    mustSized(t, plan, 17).Masked(),
		"1031":  mustSized(t, plan, 1031).Masked(),
		"mixed": mustMix(t, plan).Masked(),
	}
}

// TestMaskedRoundTrip: what is made is recognised, one by one and by runs, and no two are alike.
func TestMaskedRoundTrip(t *testing.T) {
	plan := Plan{Count: 1000, Publishers: 3}
	for name, f := range maskedFormats(t, plan) {
		t.Run(name, func(t *testing.T) {
			l := New(f)
			c := l.Consumer()
			seen := map[string]bool{}
			for p := range plan.Publishers {
				own := plan.Range(p)
				run, ends := f.AppendRun(nil, own.First, int(own.Len()), nil)
				start := 0
				for i, end := range ends {
					body, n := run[start:end], own.First+uint64(i)
					start = end
					if got, class := f.Parse(body); got != n || class != Ours {
						t.Fatalf("body %d parses as %d, class %d", n, got, class)
					}
					if !bytes.Equal(body, f.Append(nil, n)) {
						t.Fatalf("body %d is not the same by itself", n)
					}
					if filler := string(body[MinBodySize:]); len(filler) >= 8 && seen[filler] {
						t.Fatalf("body %d has the filler of another", n)
					} else {
						seen[filler] = true
					}
					c.Add(body, false)
				}
			}
			c.Commit()
			for p := range plan.Publishers {
				l.Published(p, plan.Range(p).Len())
			}
			if got, want := l.Totals(), (Totals{Received: 1000, Unique: 1000}); got != want {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestMaskedEveryFlippedBitIsSeen: also where the body is the one that is expected.
func TestMaskedEveryFlippedBitIsSeen(t *testing.T) {
	plan := Plan{Count: 10, Publishers: 2}
	f := mustSized(t, plan, 37).Masked()
	for bit := range 37 * 8 {
		body := f.Append(nil, 3)
		body[bit/8] ^= 1 << (bit % 8)
		if n, class := f.Parse(body); class != Corrupted {
			t.Errorf("bit %d flipped: %d, class %d", bit, n, class)
		}
		l := New(f)
		l.Published(0, 5)
		c := l.Consumer()
		c.Add(f.Append(nil, 1), false)
		c.Add(f.Append(nil, 2), false)
		c.Add(body, false)
		c.Commit()
		if got := l.Totals(); got.Corrupted != 1 || got.Unique != 2 {
			t.Errorf("bit %d flipped: %+v", bit, got)
		}
	}
}

// TestMaskedBodiesOfOthers: those of another run are no damaged ones of this.
func TestMaskedBodiesOfOthers(t *testing.T) {
	plan := Plan{Count: 10, Publishers: 2}
	f := mustSized(t, plan, 40).Masked()
	other, err := Sized(plan, 40, 4)
	if err != nil {
		t.Fatal(err)
	}
	masked := other.Masked()
	if _, class := f.Parse(masked.Append(nil, 3)); class != Unexpected {
		t.Errorf("a body of another run has class %d", class)
	}
	plain := mustSized(t, plan, 40)
	if _, class := f.Parse(plain.Append(nil, 3)); class != Corrupted {
		t.Errorf("a body without the mask has class %d", class)
	}
}

// TestMaskedDoesNotCompress: many together take as much room as before; without a mask hardly any.
func TestMaskedDoesNotCompress(t *testing.T) {
	plan := Plan{Count: 500, Publishers: 1}
	for masked, f := range map[bool]Format{true: mustSized(t, plan, 1000).Masked(), false: mustSized(t, plan, 1000)} {
		all, _ := f.AppendRun(nil, 1, 500, nil)
		var b bytes.Buffer
		w, err := flate.NewWriter(&b, flate.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(all); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if share := float64(b.Len()) / float64(len(all)); masked != (share > 0.97) {
			t.Errorf("masked %t: they take %.2f of their size", masked, share)
		}
	}
}

// TestMaskedAllocatesNothing once there is room.
func TestMaskedAllocatesNothing(t *testing.T) {
	f := mustSized(t, Plan{Count: 10_000, Publishers: 1}, 1000).Masked()
	dst, ends := f.AppendRun(nil, 1, 100, nil)
	if n := testing.AllocsPerRun(20, func() { dst, ends = f.AppendRun(dst[:0], 101, 100, ends[:0]) }); n > 0 {
		t.Errorf("making bodies allocates %v times", n)
	}
}

func BenchmarkMasked(b *testing.B) {
	f := mustSized(b, Plan{Count: 4_000_000, Publishers: 1}, 1024).Masked()
	b.Run("make", func(b *testing.B) {
		dst, ends := f.AppendRun(nil, 1, benchBatch, nil)
		for b.Loop() {
			dst, ends = f.AppendRun(dst[:0], 1, benchBatch, ends[:0])
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchBatch, "ns/message")
	})
	b.Run("recognise", func(b *testing.B) { benchmarkDeliveries(b, f, benchBatch, 1) })
}
