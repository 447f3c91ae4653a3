package ledger

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/thumpmq/thump/internal/mutate"
)

func TestTextCountsUp(t *testing.T) {
	starts := []uint64{1, 12340, 99_999_999_000}
	for power := uint64(10); power < 1e17; power *= 10 {
		starts = append(starts, power-5, 2*power-5, power*10-power/10-5)
	}
	for _, start := range starts {
		var x text
		x.setNumber(start)
		for n := start; n < start+300; n++ {
			want := fmt.Appendf(nil, "Message %d", n)
			if len(want) > textMaxBytes {
				if x.matches(want) || x.matches(nil) {
					t.Fatalf("%q is said to be a text", want)
				}
			} else {
				got := make([]byte, x.size)
				x.put(got)
				if !bytes.Equal(got, want) || !x.matches(want) {
					t.Fatalf("%q, want %q; matches: %t", got, want, x.matches(want))
				}
			}
			x.advance(n + 1)
		}
	}
}

func TestTextSeesEveryFlippedBit(t *testing.T) {
	for n := uint64(1); n < 1e16; n = n*10 + 7 {
		var x text
		x.setNumber(n)
		want := fmt.Appendf(nil, "Message %d", n)
		for bit := range len(want) * 8 {
			body := bytes.Clone(want)
			body[bit/8] ^= 1 << (bit % 8)
			if x.matches(body) {
				t.Errorf("%q is taken for %q", body, want)
			}
		}
		for _, body := range [][]byte{want[:len(want)-1], want[1:], append(bytes.Clone(want), '0'), {}} {
			if x.matches(body) {
				t.Errorf("%q is taken for %q", body, want)
			}
		}
	}
}

func TestParseNumbered(t *testing.T) {
	bodies := []string{"", "Message", "Message ", "Message 0", "message 1", "Message 19999999999999999999", "Message 99999999999999999999", "Message 100000000000000000000"}
	numbers := []uint64{math.MaxUint64, math.MaxUint64 - 1, 1e19, 1e19 - 1, 12345678901234567890}
	for n := uint64(1); n < 1e19; n = n*10 + 7 {
		numbers = append(numbers, n)
	}
	for _, n := range numbers {
		body := fmt.Sprintf("Message %d", n)
		if got, ok := parseNumbered([]byte(body)); got != n || !ok {
			t.Errorf("%q is %d, %t", body, got, ok)
		}
		bodies = append(bodies, body+" ", body+"0", body[:8]+"0"+body[8:])
		for i := range body {
			for _, c := range "\x00 /0189:M\x7f\x80\xff" {
				bodies = append(bodies, body[:i]+string(byte(c))+body[i+1:])
			}
		}
	}
	for _, body := range bodies {
		n, ok := parseNumbered([]byte(body))
		if want, wantOK := plainNumbered([]byte(body)); ok != wantOK || ok && n != want {
			t.Errorf("%q is %d, %t, want %d, %t", body, n, ok, want, wantOK)
		}
	}
}

// FuzzExpectedBody compares what a consumer that expects message n makes of a body
// with what Parse says, which expects nothing.
func FuzzExpectedBody(f *testing.F) {
	plan := Plan{Count: 100_000_000_000, Publishers: 7}
	formats := []Format{Tutorial(plan), mustSized(f, plan, 16), mustSized(f, plan, 40)}
	for _, n := range []uint64{1, 9, 99_999_999, plan.Range(0).Last, plan.Range(1).Last, plan.Count} {
		for _, format := range formats {
			f.Add(n, format.Append(nil, n))
		}
		f.Add(n, []byte{})
	}
	mutate.Fuzz(f, func(t *testing.T, n uint64, body []byte) {
		if n < 1 || n > plan.Count {
			return
		}
		for _, format := range formats {
			l := New(format)
			c := l.Consumer()
			var want Totals
			first := plan.Range(plan.owner(n)).First
			from := max(first, n-min(n, 2))
			for before := from; before < n; before++ {
				c.Add(format.Append(nil, before), false)
				want.Unique++
			}
			c.Add(body, false)
			switch parsed, class := format.Parse(body); class {
			case Ours:
				if parsed >= from && parsed < n {
					want.Duplicated++
				} else {
					want.Unique++
				}
			case Corrupted:
				want.Corrupted++
			case Unexpected:
				want.Unexpected++
			}
			c.Commit()
			got := l.totals
			got.Received, got.Reordered, got.FarthestReorder = 0, 0, 0
			if got != want {
				t.Errorf("size %d: %x after %d\n got %+v\nwant %+v", format.MaxSize(), body, n-1, got, want)
			}
		}
	})
}
