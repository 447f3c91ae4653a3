package report

import (
	"fmt"
	"strings"

	"github.com/thumpmq/thump/cmd/thump/internal/compare"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/printable"
)

// Runs returns the text of all runs: of one as it was printed at its end, with its settings;
// of several of the same settings one table; of several groups a comparison.
func Runs(groups []compare.Group) string {
	switch {
	case len(groups) > 1:
		return Comparison(groups)
	case len(groups[0].Runs) > 1:
		return Repeated(groups[0].Runs)
	default:
		r := groups[0].Runs[0]
		return Settings(r) + "\n" + Text(r)
	}
}

// Comparison returns the groups beside the first one: what they are, their figures with the
// ratio, and whether noise explains it. The last lines are the answers.
func Comparison(groups []compare.Group) string {
	var b strings.Builder
	b.WriteString("Beside each other\n\n")
	for _, g := range groups {
		b.WriteString(wrap(GroupLine(g), "   "))
	}
	var answers []string
	for _, g := range groups[1:] {
		c := compare.Compare(groups[0], g)
		fmt.Fprintf(&b, "\n%-29s%12s%12s%7s\n", "", c.A, c.B, c.B+"/"+c.A)
		for _, f := range c.Findings {
			figure := FigureNamed(f.Figure)
			fmt.Fprintf(&b, "%-29s%12s%12s%7s  %s\n", figure.Title, spaces(Number(figure.Unit, f.A)), spaces(Number(figure.Unit, f.B)), Ratio(f), Noise(f))
		}
		answers = append(answers, Answer(c))
	}
	b.WriteByte('\n')
	b.WriteString(wrap(Method(groups), ""))
	b.WriteByte('\n')
	for _, answer := range answers {
		b.WriteString(wrap(answer, ""))
	}
	return b.String()
}

// GroupLine says what a group is.
func GroupLine(g compare.Group) string {
	text := fmt.Sprintf("%s  %s, %s", g.Name, plural(uint64(len(g.Runs)), "run"), placeOf(shown(g.Runs[0])).name)
	if g.Source != "" {
		text += ", from " + printable.Text(g.Source)
	}
	if len(g.Differs) > 0 {
		text += ", with " + printable.Text(strings.Join(g.Differs, ", "))
	}
	return strings.Join(append([]string{text}, verdicts(g.Runs)...), "; ")
}

// verdicts says of how many runs the verdict is not ok.
func verdicts(runs []*result.Run) []string {
	counts := map[result.Verdict]int{}
	for _, r := range runs {
		counts[r.Verdict]++
	}
	var texts []string
	for _, v := range []result.Verdict{result.Violated, result.Failed, result.Interrupted, result.Unfinished} {
		if counts[v] > 0 {
			texts = append(texts, fmt.Sprintf("%d %s", counts[v], v))
		}
	}
	return texts
}

// Answer says in one sentence what a comparison came to.
func Answer(c compare.Comparison) string {
	differences := c.Differences()
	if len(c.Findings) == 0 {
		return fmt.Sprintf("%s and %s have measured nothing that could be compared.", c.A, c.B)
	}
	if len(differences) == 0 {
		return fmt.Sprintf("%s beside %s: no difference beyond noise.", c.B, c.A)
	}
	var texts []string
	for _, f := range differences {
		texts = append(texts, difference(c, f))
	}
	return fmt.Sprintf("%s beside %s: %s; noise does not explain it.", c.B, c.A, strings.Join(texts, ", "))
}

// difference says how much one figure differs: "B receives 8.1 times as fast", "A's p99 ...".
func difference(c compare.Comparison, f compare.Finding) string {
	high, low, apart := c.B, c.A, f.Ratio
	if apart < 1 {
		high, low, apart = c.A, c.B, 1/apart
	}
	faster, lower := fmt.Sprintf("%s times as fast", times(apart)), fmt.Sprintf("%s times lower", times(apart))
	if apart < 2 {
		faster = fmt.Sprintf("%.0f"+unit+"%% faster", (apart-1)*100)
		lower = fmt.Sprintf("%.0f"+unit+"%% lower", (1-1/apart)*100)
	}
	switch f.Figure {
	case "send_rate":
		return high + " sends " + faster
	case "receive_rate":
		return high + " receives " + faster
	default:
		title := FigureNamed(f.Figure).Title
		if what, which, ok := strings.Cut(title, ", "); ok {
			title = "the " + what + " (" + which + ")"
		}
		return fmt.Sprintf("%s is %s in %s", title, lower, low)
	}
}

// Noise says whether noise explains one difference.
func Noise(f compare.Finding) string {
	switch {
	case f.Differs && f.P != nil:
		return fmt.Sprintf("not noise, p %.1g", *f.P)
	case f.Differs:
		return "not noise"
	default:
		return "noise"
	}
}

// Method says how the groups were judged.
func Method(groups []compare.Group) string {
	var few compare.Comparison
	fewest := len(groups[0].Runs)
	for _, g := range groups[1:] {
		c := compare.Compare(groups[0], g)
		fewest = min(fewest, len(g.Runs))
		few.Few, few.Least, few.Unsteady = few.Few || c.Few, max(few.Least, c.Least), max(few.Unsteady, c.Unsteady)
	}
	if !few.Few {
		return "Medians of the runs. Not noise is what the rank test of Mann and Whitney finds less often than once in a hundred times " +
			"where nothing differs, and is 5" + unit + "% or more (latencies 20" + unit + "%)."
	}
	text := fmt.Sprintf("With %s a side, only rates that are %s times apart are told from noise, and latencies that are more.",
		plural(uint64(fewest), "run"), factor(few.Least))
	if few.Unsteady > 0 && few.Unsteady == few.Least {
		text = fmt.Sprintf("With %s a side, noise is what there is of it within a run: the fifths of one are up to %s times apart, "+
			"and only rates that are further apart are told from noise, and latencies that are more.", plural(uint64(fewest), "run"), factor(few.Least))
	}
	return text + " Five of each and more (--repeat 5) tell smaller differences."
}

// factor writes a factor: 1.5, 3.
func factor(x float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", x), "0"), ".")
}

// Ratio writes the ratio of a finding.
func Ratio(f compare.Finding) string {
	if f.Ratio == 0 {
		return "-"
	}
	if f.Ratio < 10 {
		return fmt.Sprintf("%.2f", f.Ratio)
	}
	return whole(f.Ratio)
}

// FigureNamed is the figure of that name.
func FigureNamed(name string) result.Figure {
	for _, figure := range result.Figures() {
		if figure.Name == name {
			return figure
		}
	}
	return result.Figure{Name: name, Title: name}
}

// Value writes a figure of a run; "?" if the run has not measured it.
func Value(figure result.Figure, r *result.Run) string {
	x := figure.Of(r)
	if x == nil {
		return "?"
	}
	return spaces(Number(figure.Unit, *x))
}

// Number writes a number in its unit, from which a no-break space parts it.
func Number(u result.Unit, x float64) string {
	switch u {
	case result.Seconds:
		return took(x)
	case result.Bytes:
		return size(uint64(max(0, x)))
	case result.Ratio:
		return times(x)
	case result.Cores:
		return fmt.Sprintf("%.2f", x)
	default:
		return whole(x)
	}
}

// Took writes seconds with three digits, in the unit that suits.
func Took(seconds float64) string { return took(seconds) }
