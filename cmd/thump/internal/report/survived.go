package report

import (
	"fmt"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// Survived says, without a full stop, what lost connections have cost: "connection lost at
// 412,331, back after 1.20 s, 4,096 sent again, 211 came twice, each of them one that was
// sent again". It is "" if none was lost.
func Survived(r *result.Run) string {
	outages := result.Value(r.Outages)
	if outages == 0 {
		return ""
	}
	text := "connection lost at " + known(r.FirstOutageAt)
	longest := duration(result.Value(r.LongestOutageSeconds))
	switch {
	case outages == 1 && r.AwayAtEnd:
		text += ", and not back after " + longest
	case outages == 1:
		text += ", back after " + longest
	case r.AwayAtEnd:
		text = fmt.Sprintf("connection lost %s times, first at %s, and at the end not back", known(r.Outages), known(r.FirstOutageAt))
	default:
		text = fmt.Sprintf("connection lost %s times, first at %s, back after at most %s", known(r.Outages), known(r.FirstOutageAt), longest)
	}
	if resent := result.Value(r.Resent); resent > 0 {
		text += fmt.Sprintf(", %s sent again", known(r.Resent))
		if r.Command == "send" && r.Settings.PublisherName == "" {
			text += " (the broker may have these twice)"
		}
	}
	if again := result.Value(r.Redelivered); again > 0 {
		text += fmt.Sprintf(", %s marked by the broker as redelivered", known(r.Redelivered))
	}
	return spaces(text) + cameTwice(r)
}

// cameTwice says what explains the duplicates; "" if there are none.
func cameTwice(r *result.Run) string {
	if result.Value(r.Duplicated) == 0 {
		return ""
	}
	text := fmt.Sprintf(", %s came twice, ", known(r.Duplicated))
	resent, redelivered := result.Value(r.DuplicatedResent), result.Value(r.DuplicatedRedelivered)
	switch unexplained := r.Unexplained(); {
	case result.Value(unexplained) > 0:
		return text + known(unexplained) + " of them for no known reason"
	case redelivered == 0:
		return text + "each of them one that was sent again"
	case resent == 0:
		return text + "each of them one that was delivered again"
	default:
		return text + "each of them one that was sent or delivered again"
	}
}
