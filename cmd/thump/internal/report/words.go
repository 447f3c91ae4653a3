package report

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// lineWidth is the width in characters that text is wrapped to.
const lineWidth = 80

// unit is a no-break space. It stands between a number and its unit, so that wrap
// does not break a line there. wrap and spaces replace it by a space.
const unit = "\u00a0"

// wrap breaks text into lines that begin with indent.
func wrap(text, indent string) string {
	var b strings.Builder
	width := 0
	for word := range strings.SplitSeq(text, " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case width == 0:
			b.WriteString(indent)
			width = len(indent)
		case width+1+n > lineWidth:
			b.WriteString("\n" + indent)
			width = len(indent)
		default:
			b.WriteByte(' ')
			width++
		}
		b.WriteString(strings.ReplaceAll(word, unit, " "))
		width += n
	}
	b.WriteByte('\n')
	return b.String()
}

// whole writes x, rounded, with commas: 1,000,000.
func whole(x float64) string {
	if math.IsNaN(x) || math.IsInf(x, 0) || math.Abs(x) >= 1<<63 {
		return fmt.Sprint(x)
	}
	digits := fmt.Sprint(uint64(math.Round(math.Abs(x))))
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// known writes a count, or "?" if it is not known.
func known(count *uint64) string {
	if count == nil {
		return "?"
	}
	return whole(float64(*count))
}

// messages writes a number of messages: "1 message".
func messages(n uint64) string { return plural(n, "message") }

// were writes a number of messages with its verb: "1 message was".
func were(n uint64) string {
	if n == 1 {
		return messages(n) + " was"
	}
	return messages(n) + " were"
}

func plural(n uint64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return whole(float64(n)) + " " + noun
}

// duration writes seconds: "0.085 s", "27.96 s".
func duration(seconds float64) string {
	if seconds < 1 {
		return fmt.Sprintf("%.3f"+unit+"s", seconds)
	}
	return fmt.Sprintf("%.2f"+unit+"s", seconds)
}

// brief writes seconds below a thousandth: "3.1 µs", "140 ns".
func brief(seconds float64) string {
	if seconds < 1e-6 {
		return fmt.Sprintf("%.0f"+unit+"ns", seconds*1e9)
	}
	return fmt.Sprintf("%.1f"+unit+"µs", seconds*1e6)
}

// size writes a number of bytes: "640 bytes", "23.1 MB", "2.3 GB".
func size(bytes uint64) string {
	switch {
	case bytes < 1e3:
		return fmt.Sprintf("%d"+unit+"bytes", bytes)
	case bytes < 1e6:
		return fmt.Sprintf("%.1f"+unit+"kB", float64(bytes)/1e3)
	case bytes < 1e9:
		return fmt.Sprintf("%.1f"+unit+"MB", float64(bytes)/1e6)
	default:
		return fmt.Sprintf("%.1f"+unit+"GB", float64(bytes)/1e9)
	}
}

// times writes a ratio with about two digits: 0.43, 5.1, 47.
func times(ratio float64) string {
	switch {
	case ratio < 1:
		return fmt.Sprintf("%.2f", ratio)
	case ratio < 10:
		return fmt.Sprintf("%.1f", ratio)
	default:
		return whole(ratio)
	}
}

func percent(part, of uint64) string {
	if of == 0 {
		return "0" + unit + "%"
	}
	return fmt.Sprintf("%.1f"+unit+"%%", 100*float64(part)/float64(of))
}
