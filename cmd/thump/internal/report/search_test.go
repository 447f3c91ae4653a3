package report

import (
	"strings"
	"testing"
	"unicode"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// TestFound: what a record says of a search is text, and the answer is its last line.
func TestFound(t *testing.T) {
	s := &result.Search{Limits: []string{"p99<20ms", "\x1b[31m"}, Why: "p99 is 30 ms\u009b", NextRate: new(120.0), FullRate: new(1000.0)}
	none := Search(&result.Record{Search: s}, nil)
	s.Rate, s.Confirmations = new(100.0), 2
	text := Search(&result.Record{Search: s}, nil)
	if strings.ContainsFunc(none+text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
		t.Errorf("it has what nobody sees: %q", none+text)
	}
	lines := strings.ReplaceAll(text, "\n", " ")
	if !strings.HasPrefix(none, "No rate was found at which") || !strings.Contains(text, "p99 is 30 ms") || !strings.HasSuffix(lines, "up to 100 messages a second, which 2 more runs confirm. ") {
		t.Errorf("got %s and %s", none, text)
	}
}
