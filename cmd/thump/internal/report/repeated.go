package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/thumpmq/thump/cmd/thump/internal/compare"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// Repeated returns what several runs of the same settings came to: the median of each figure,
// and how far the runs are apart. The last line is the worst verdict.
func Repeated(runs []*result.Run) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of the same settings\n\n%-37s%13s%13s%13s\n", plural(uint64(len(runs)), "run"), "", "median", "lowest", "highest")
	for _, figure := range result.Figures() {
		low, median, high, ok := Spread(figure, runs)
		if !ok || strings.HasPrefix(figure.Title, "latency, ") {
			continue // which is that of the consumer, or of confirms
		}
		fmt.Fprintf(&b, "%-37s%13s%13s%13s\n", figure.Title,
			spaces(Number(figure.Unit, median)), spaces(Number(figure.Unit, low)), spaces(Number(figure.Unit, high)))
	}
	b.WriteByte('\n')
	verdict := result.New(runs...).Verdict
	worst := runs[slices.IndexFunc(runs, func(r *result.Run) bool { return r.Verdict == verdict })]
	if worst.Verdict == result.OK {
		fmt.Fprintf(&b, "ok: %s, each of them ok\n", plural(uint64(len(runs)), "run"))
		return b.String()
	}
	b.WriteString(wrap(strings.Join(verdicts(runs), ", ")+" of "+plural(uint64(len(runs)), "run")+". The first of the worst:", ""))
	b.WriteString(Verdict(worst) + "\n")
	return b.String()
}

// Spread is how far the runs are apart in a figure. It is not ok if none has measured it.
func Spread(figure result.Figure, runs []*result.Run) (low, median, high float64, ok bool) {
	var values []float64
	for _, r := range runs {
		if v := figure.Of(r); v != nil {
			values = append(values, *v)
		}
	}
	if len(values) == 0 {
		return 0, 0, 0, false
	}
	return slices.Min(values), compare.Median(values), slices.Max(values), true
}
