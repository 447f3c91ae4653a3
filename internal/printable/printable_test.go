package printable

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
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

// TestJSON: what is escaped in JSON reads back as it was.
func TestJSON(t *testing.T) {
	const text = "a\x00\x1b\x7f\u009b\u202e\U000e0001\n\t\"ö\ufffd😀"
	encoded, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	shown := JSON(encoded)
	if i := strings.IndexFunc(string(shown), func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("%q holds what is not to be seen", shown)
	}
	var back string
	if err := json.Unmarshal(shown, &back); err != nil || back != text {
		t.Errorf("%s reads back as %q, %v", shown, back, err)
	}
}
