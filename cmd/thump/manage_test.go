package main

import (
	"strings"
	"testing"
)

// TestTable: what a broker calls a queue is one cell, and nothing that a terminal obeys.
func TestTable(t *testing.T) {
	got := table([]column{{heading: "NAME"}, {heading: "READY", right: true}, {heading: "KIND"}}, [][]string{
		{"größe", "1", "classic"},
		{"a\tb\n\x1b[31m", "12345678", "quorum"},
		{hostile, "?", ""},
	})
	if strings.ContainsAny(got, "\x1b\t\r\u009b\u202e") || strings.Count(got, "\n") != 4 {
		t.Errorf("%q", got)
	}
	const want = `größe`
	if line := strings.Split(got, "\n")[1]; !strings.HasPrefix(line, want) || !strings.HasSuffix(line, "       1  classic") {
		t.Errorf("%q", line)
	}
}

func TestPatterns(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		fits          bool
		literal       string
	}{
		{"orders.*", "orders.eu", true, "orders."},
		{"orders.*", "ordersXeu", false, "orders."},
		{"*", "a\nb", true, ""},
		{"a*b*ccc", "axbyccc", true, "ccc"},
		{"[a]+", "[a]+", true, "[a]+"},
		{"[a]+", "a", false, "[a]+"},
		{"orders", "orders2", false, "orders"},
	} {
		if got := anyOf([]string{test.pattern})(test.name); got != test.fits {
			t.Errorf("%q fits %q: %v", test.name, test.pattern, got)
		}
		if got := literal([]string{test.pattern}); got != test.literal {
			t.Errorf("%q has %q", test.pattern, got)
		}
	}
	if !anyOf(nil)("x") || literal(nil) != "" || literal([]string{"a", "b"}) != "" {
		t.Error("no pattern, or two, leave nothing out")
	}
}
