package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/printable"
)

// Search returns what --find-max has found. at is a run at that rate, or nil. The last line is
// the answer.
func Search(rec *result.Record, at *result.Run) string {
	var b strings.Builder
	if at != nil && rec.Search.Rate != nil {
		for _, text := range append(confirmed(at), received(at)...) {
			b.WriteString(wrap(text, ""))
		}
	}
	for _, text := range Found(rec.Search) {
		b.WriteString(wrap(text, ""))
	}
	return b.String()
}

// Found says in sentences what --find-max has found. The last one is the answer.
func Found(s *result.Search) []string {
	limits, why := printable.Text(strings.Join(s.Limits, " and ")), printable.Text(s.Why)
	if s.Rate == nil {
		texts := []string{fmt.Sprintf("No rate was found at which, again and again, %s, nothing is lost and the queue does not grow.", limits)}
		if s.NextRate != nil {
			texts = append(texts, fmt.Sprintf("At %s a second: %s.", Rate(*s.NextRate), why))
		}
		return texts
	}
	texts := []string{fmt.Sprintf("As fast as possible, %s messages a second came through.", Rate(result.Value(s.FullRate)))}
	if s.NextRate != nil {
		texts = append(texts, fmt.Sprintf("At %s a second it does not hold: %s.", Rate(*s.NextRate), why))
	} else {
		texts = append(texts, "No rate was found at which it does not hold.")
	}
	return append(texts, fmt.Sprintf("%s, nothing is lost and the queue does not grow up to %s messages a second, which %d more runs confirm.",
		limits, Rate(*s.Rate), s.Confirmations))
}

// Rate writes messages a second with no more than three digits behind the point of small ones.
func Rate(rate float64) string {
	if rate >= 100 {
		return whole(math.Round(rate))
	}
	return fmt.Sprintf("%.3g", rate)
}
