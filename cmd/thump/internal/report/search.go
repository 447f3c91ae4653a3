package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// Search returns what --find-max has found. at is a run at that rate, or nil. The last line is
// the answer.
func Search(rec *result.Record, at *result.Run) string {
	s := rec.Search
	var b strings.Builder
	line := func(format string, args ...any) { b.WriteString(wrap(fmt.Sprintf(format, args...), "")) }
	limits := strings.Join(s.Limits, " and ")
	if s.Rate == nil {
		line("No rate was found at which, again and again, %s, nothing is lost and the queue does not grow.", limits)
		if s.NextRate != nil {
			line("At %s a second: %s.", Rate(*s.NextRate), s.Why)
		}
		return b.String()
	}
	if at != nil {
		for _, text := range append(confirmed(at), received(at)...) {
			line("%s", text)
		}
	}
	line("As fast as possible, %s messages a second came through.", Rate(result.Value(s.FullRate)))
	if s.NextRate != nil {
		line("At %s a second it does not hold: %s.", Rate(*s.NextRate), s.Why)
	} else {
		line("No rate was found at which it does not hold.")
	}
	line("%s, nothing is lost and the queue does not grow up to %s messages a second, which %d more runs confirm.",
		limits, Rate(*s.Rate), s.Confirmations)
	return b.String()
}

// Rate writes messages a second with no more than three digits behind the point of small ones.
func Rate(rate float64) string {
	if rate >= 100 {
		return whole(math.Round(rate))
	}
	return fmt.Sprintf("%.3g", rate)
}
