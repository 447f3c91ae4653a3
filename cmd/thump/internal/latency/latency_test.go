package latency

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// TestPercentilesAreThoseOfAllMessages compares with the sorted values themselves.
func TestPercentilesAreThoseOfAllMessages(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	h, halves := New(), [2]*Histogram{New(), New()}
	var all []float64
	var sum float64
	for range 20_000 {
		d := time.Duration(math.Exp(r.Float64()*18)) * time.Microsecond // to a minute
		n := 1 + r.Uint64N(4)
		h.Record(d, n)
		halves[r.IntN(2)].Record(d, n)
		for range n {
			all, sum = append(all, d.Seconds()), sum+d.Seconds()
		}
	}
	slices.Sort(all)
	got := h.Latency()
	// within checks a figure against the values of two neighbours, to three digits: a rank that is
	// no whole number may be rounded either way.
	within := func(name string, got, least, most float64) {
		if got < least*0.999-1e-6 || got > most*1.001+1e-6 {
			t.Errorf("%s is %v, want %v to %v within three digits", name, got, least, most)
		}
	}
	for percent, got := range map[float64]float64{50: got.P50, 95: got.P95, 99: got.P99, 99.9: got.P999, 99.99: got.P9999} {
		rank := percent / 100 * float64(len(all))
		within(fmt.Sprint("p", percent), got, all[max(0, int(rank)-2)], all[min(len(all)-1, int(rank)+1)])
	}
	within("max", got.Max, all[len(all)-1], all[len(all)-1])
	within("min", got.Min, all[0], all[0])
	within("mean", got.Mean, sum/float64(len(all)), sum/float64(len(all)))
	if got.Count != uint64(len(all)) {
		t.Errorf("%d messages, want %d", got.Count, len(all))
	}

	sum2, err := Sum(halves[0].Encode(), halves[1].Encode())
	if err != nil {
		t.Fatal(err)
	}
	if again := sum2.Latency(); *again != *got {
		t.Errorf("two halves added up are\n%+v, and the whole is\n%+v", again, got)
	}
}

func TestNothingIsDropped(t *testing.T) {
	h := New()
	h.Record(-time.Second, 1)
	h.Record(48*time.Hour, 2)
	if l := h.Latency(); l.Count != 3 || l.Min != 0 || l.Max < longest.Seconds() {
		t.Errorf("got %+v, want 3 messages from nothing to a day", l)
	}
	h.Reset()
	if h.Percentiles() != nil || h.Latency() != nil || h.Curve() != nil {
		t.Error("percentiles of no message")
	}
}

func TestCurveGoesFromTheFastestToTheSlowest(t *testing.T) {
	h := New()
	for i := range 10_000 {
		h.Record(time.Duration(i+1)*time.Millisecond, 1)
	}
	curve := h.Curve()
	if len(curve) < 20 || curve[len(curve)-1].Percent != 100 || curve[len(curve)-1].Count != 10_000 {
		t.Fatalf("got %v", curve)
	}
	for i, p := range curve[1:] {
		if p.Percent < curve[i].Percent || p.Seconds < curve[i].Seconds {
			t.Errorf("%v comes after %v", p, curve[i])
		}
		if p.Percent < 100 && math.Abs(p.Seconds-p.Percent/10) > 0.02*p.Seconds+0.001 {
			t.Errorf("%v %% at %v s, want %v", p.Percent, p.Seconds, p.Percent/10)
		}
	}
}

func TestDecodeRefusesForeignHistograms(t *testing.T) {
	encode := func(h *hdrhistogram.Histogram) string {
		text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, text := range map[string]string{
		"nothing":           "",
		"no base64":         "%",
		"a few bytes":       base64.StdEncoding.EncodeToString([]byte("12345678901")),
		"too long":          strings.Repeat("A", encodedMost+4),
		"five digits":       encode(hdrhistogram.New(1, int64(longest/unit), 5)),
		"the largest there": encode(hdrhistogram.New(1, math.MaxInt64, 5)),
		"cut off":           New().Encode()[:40],
	} {
		if _, err := Decode(text); err == nil {
			t.Errorf("%s: it was read", name)
		}
	}
	if h, err := Decode(New().Encode()); err != nil || h.Count() != 0 {
		t.Errorf("an empty one: %v", err)
	}
}

// TestNoCurveIsEndless: with more messages than a float64 parts, the curve never came to its end.
func TestNoCurveIsEndless(t *testing.T) {
	h := New()
	h.Record(time.Millisecond, 1)
	h.Record(time.Second, countMost-2)
	h.Record(time.Hour, 1)
	most, err := Decode(h.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if curve := most.Curve(); curve[len(curve)-1].Count != countMost {
		t.Errorf("the curve ends at %v", curve[len(curve)-1])
	}
	one := New()
	one.Record(time.Minute, 1)
	if _, err := Sum(h.Encode(), one.Encode()); !errors.Is(err, errTooMany) {
		t.Errorf("a sum with more: %v", err)
	}
	h.Add(one)
	if _, err := Decode(h.Encode()); !errors.Is(err, errTooMany) {
		t.Errorf("one with more: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	h := New()
	h.Record(time.Second, 3)
	f.Add(h.Encode())
	f.Add("")
	f.Fuzz(func(_ *testing.T, text string) {
		if h, err := Decode(text); err == nil {
			h.Latency()
			h.Curve()
		}
	})
}

// BenchmarkRecord is what a batch of messages costs that have one time.
func BenchmarkRecord(b *testing.B) {
	h := New()
	for i := range b.N {
		h.Record(time.Duration(i%5000)*time.Microsecond, 256)
	}
}
