package report

import (
	"fmt"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// work is what consumers do with a message besides acking it, for the settings; nothing where
// that is all.
func work(s *result.Settings) []string {
	var words []string
	if s.Work != "" {
		words = append(words, "each message takes "+s.Work)
	}
	if s.ConsumeRate > 0 {
		words = append(words, fmt.Sprintf("%s messages a second at most", Rate(s.ConsumeRate)))
	}
	if s.RequeueShare > 0 {
		words = append(words, fmt.Sprintf("%g %% requeued", s.RequeueShare*100))
	}
	if s.RejectShare > 0 {
		words = append(words, fmt.Sprintf("%g %% rejected", s.RejectShare*100))
	}
	return words
}

// givenBack says how many messages expired, and how many deliveries consumers gave back or rejected,
// as was asked for.
func givenBack(r *result.Run) []string {
	var lines []string
	if n := result.Value(r.Expired); n > 0 {
		lines = append(lines, fmt.Sprintf("%s expired in the queue before a consumer had them, as --ttl asks, and came to another queue.", messages(n)))
	}
	if n := result.Value(r.Requeued); n > 0 {
		lines = append(lines, were(n)+" given back to the queue before, as --requeue asks, and came again.")
	}
	if n := result.Value(r.Dropped); n > 0 {
		lines = append(lines, were(n)+" rejected after that, as --reject asks.")
	}
	return lines
}
