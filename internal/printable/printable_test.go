package printable

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/thumpmq/thump/internal/mutate"
)

func TestText(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{`NOT_FOUND - no queue "größe" in vhost '/'`, `NOT_FOUND - no queue "größe" in vhost '/'`},
		{"two\nlines\r\n", `two\nlines\r\n`},
		{"\x1b[31mred\x07", `\x1b[31mred\a`},
		{"nul\x00, tab\t", `nul\x00, tab\t`},
		{"\u202eesrever", `\u202eesrever`},
		{"\xff\xfe", `\xff\xfe`},
		{"a\u00a0b\u0085", `a\u00a0b\u0085`},
	} {
		if got := Text(c.text); got != c.want {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
	if n := testing.AllocsPerRun(10, func() { Text("NO_ROUTE") }); n != 0 {
		t.Errorf("%v allocations for text that needs nothing", n)
	}
}

func FuzzText(f *testing.F) {
	f.Add("\x1b]0;title\x07\xff")
	mutate.Fuzz(f, func(t *testing.T, text string) {
		got := Text(text)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q: got %q", text, got)
		}
		if Text(got) != got {
			t.Errorf("%q: escaped twice", text)
		}
	})
}

// TestLines: what has lines of its own keeps them, and nothing else.
func TestLines(t *testing.T) {
	const text = "one\r\n\ttwo\x1b[31m\n\u2028three\xff\n"
	if got, want := Lines(text), "one\\r\n\ttwo\\x1b[31m\n\\u2028three\\xff\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
