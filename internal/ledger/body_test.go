package ledger

import (
	"bytes"
	"math"
	"testing"

	"github.com/thumpmq/thump/internal/mutate"
)

func mustSized(t testing.TB, plan Plan, size int) Format {
	t.Helper()
	f, err := Sized(plan, size, 0xfeedface)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFormatRoundTrip(t *testing.T) {
	plan := Plan{Count: 1000, Publishers: 3}
	formats := map[string]Format{
		"tutorial": Tutorial(plan),
		"16":       mustSized(t, plan, 16),
		"17":       mustSized(t, plan, 17),
		"10240":    mustSized(t, plan, 10240),
	}
	for name, f := range formats {
		t.Run(name, func(t *testing.T) {
			var body []byte
			for n := uint64(1); n <= plan.Count; n++ {
				body = f.Append(body[:0], n)
				if len(body) > f.MaxSize() {
					t.Fatalf("%d bytes, MaxSize says %d", len(body), f.MaxSize())
				}
				if got, class := f.Parse(body); got != n || class != Ours {
					t.Fatalf("body of %d parses as %d, class %d", n, got, class)
				}
			}
		})
	}
}

func TestTutorialBodyIsTheTutorials(t *testing.T) {
	f := Tutorial(Plan{Count: 1000000, Publishers: 1})
	for n, want := range map[uint64]string{1: "Message 1", 1000000: "Message 1000000"} {
		if got := string(f.Append(nil, n)); got != want {
			t.Errorf("body of %d is %q, want %q", n, got, want)
		}
	}
}

func TestSizedEveryFlippedBitIsSeen(t *testing.T) {
	f := mustSized(t, Plan{Count: 10, Publishers: 2}, 24)
	for bit := range 24 * 8 {
		body := f.Append(nil, 7)
		body[bit/8] ^= 1 << (bit % 8)
		if n, class := f.Parse(body); class != Corrupted {
			t.Errorf("bit %d flipped: %d, class %d", bit, n, class)
		}
	}
}

func TestSizedForeignBodies(t *testing.T) {
	plan := Plan{Count: 10, Publishers: 2}
	f := mustSized(t, plan, 24)
	other, err := Sized(plan, 24, 1)
	if err != nil {
		t.Fatal(err)
	}
	more := mustSized(t, Plan{Count: 10000, Publishers: 3}, 24)
	ours := f.Append(nil, 3)
	tests := []struct {
		name string
		body []byte
		want Class
	}{
		{"cut", ours[:20], Corrupted},
		{"grown", append(bytes.Clone(ours), 0), Corrupted},
		{"cut to less than a header", ours[:15], Unexpected},
		{"another run", other.Append(nil, 3), Unexpected},
		{"another size", []byte("0123456789abcdef0"), Unexpected},
		{"a publisher that is not in the plan", more.Append(nil, 9999), Unexpected},
		{"a sequence past the publisher's range", more.Append(nil, 100), Unexpected},
		{"empty", nil, Unexpected},
	}
	for _, tt := range tests {
		if n, class := f.Parse(tt.body); class != tt.want {
			t.Errorf("%s: parsed as %d, class %d, want %d", tt.name, n, class, tt.want)
		}
	}
}

func TestSizedRefusesSmallBodies(t *testing.T) {
	for _, size := range []int{-1, 0, 15} {
		if _, err := Sized(Plan{1, 1}, size, 0); err == nil {
			t.Errorf("size %d is accepted", size)
		}
	}
}

func FuzzTutorialBody(f *testing.F) {
	for _, s := range []string{"Message 1", "Message 0", "Message 18446744073709551615", "Message 18446744073709551616", "Message +1", "M", ""} {
		f.Add([]byte(s))
	}
	format := Tutorial(Plan{Count: MaxCount, Publishers: 7})
	mutate.Fuzz(f, func(t *testing.T, body []byte) {
		n, class := format.Parse(body)
		if class == Ours && (n < 1 || n > MaxCount || !bytes.Equal(format.Append(nil, n), body)) {
			t.Errorf("%q parses as %d", body, n)
		}
		if n, ok := parseNumbered(body); ok && (n == math.MaxUint64) != (string(body) == "Message 18446744073709551615") {
			t.Errorf("%q parses as %d", body, n)
		}
	})
}

func FuzzSizedBody(f *testing.F) {
	format := mustSized(f, Plan{Count: 1000, Publishers: 7}, 32)
	f.Add(format.Append(nil, 1))
	f.Add(format.Append(nil, 1000))
	f.Add(format.Append(nil, 1)[:20])
	f.Add([]byte{})
	mutate.Fuzz(f, func(t *testing.T, body []byte) {
		n, class := format.Parse(body)
		if class != Ours {
			return
		}
		// The filler may be forged together with its checksum; what comes
		// before the checksum may not.
		if n < 1 || n > 1000 || !bytes.Equal(format.Append(nil, n)[:12], body[:12]) {
			t.Errorf("%x parses as %d", body, n)
		}
	})
}
