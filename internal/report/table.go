package report

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/thumpmq/thump/internal/result"
)

// Table returns the runs of a set side by side, with the tutorial's figures,
// what a confirm of each is worth, and the verdicts in the last lines.
func Table(set *result.Set) string {
	var b strings.Builder
	var count uint64
	for _, r := range set.Runs {
		count = r.Settings.Count
	}
	fmt.Fprintf(&b, "The same %s, one way after another\n\n", messages(count))
	writeTable(&b, set.Runs)
	b.WriteByte('\n')
	b.WriteString(wrap(fmt.Sprintf("The tutorial, on its own machine, sent %s messages without confirms, and then received them with automatic acks.", whole(tutorialMessages)), ""))
	b.WriteString("\nWhat a confirm is worth\n\n")
	for _, r := range set.Runs {
		for _, line := range Guarantee(r) {
			b.WriteString(wrap(line, "   "))
		}
	}
	b.WriteByte('\n')
	for _, r := range set.Runs {
		if r.Verdict == result.Failed && r.Reason != nil {
			b.WriteString(wrap("The run through the "+way(r)+" failed: "+*r.Reason+".", ""))
		}
		b.WriteString(way(r) + ": " + Verdict(r) + "\n")
	}
	return b.String()
}

// way names what a run went through.
func way(r *result.Result) string {
	if r.Settings.Streams() {
		return place(&r.Settings)
	}
	return strings.TrimSpace(r.Settings.Kind + " queue")
}

// writeTable writes a column for each run, and one for the tutorial.
func writeTable(b *strings.Builder, runs []*result.Result) {
	const unknown, none = "?", "-"
	seconds := func(s *float64) string {
		if s == nil {
			return unknown
		}
		return duration(*s)
	}
	rate := func(x *float64) string {
		if x == nil {
			return unknown
		}
		return whole(*x)
	}
	cost := func(s *float64, r *result.Result) string {
		n := max(result.Value(r.Sent), result.Value(r.Received))
		if s == nil || n == 0 {
			return unknown
		}
		return brief(*s / float64(n))
	}
	rows := []struct {
		title    string
		cell     func(*result.Result) string
		tutorial string
	}{
		{"", way, "the tutorial"},
		{"sent in", func(r *result.Result) string { return seconds(r.SendSeconds) }, duration(tutorialSendSeconds)},
		{"received in", func(r *result.Result) string { return seconds(r.ReceiveSeconds) }, duration(tutorialReceiveSeconds)},
		{"from end to end", func(r *result.Result) string { return seconds(r.TotalSeconds) }, duration(tutorialSendSeconds + tutorialReceiveSeconds)},
		{"sent a second", func(r *result.Result) string { return rate(r.SendRatePerSecond) }, whole(tutorialMessages / tutorialSendSeconds)},
		{"received a second", func(r *result.Result) string { return rate(r.ReceiveRatePerSecond) }, whole(tutorialMessages / tutorialReceiveSeconds)},
		{"what is confirmed survives", survives, "nothing"},
		{"lost", func(r *result.Result) string { return known(r.Lost) }, none},
		{"duplicated", func(r *result.Result) string { return known(r.Duplicated) }, none},
		{"thump's CPU time a message", func(r *result.Result) string { return cost(r.ClientCPUSeconds, r) }, none},
		{"RabbitMQ's, likewise", func(r *result.Result) string { return cost(r.BrokerCPUSeconds, r) }, none},
	}
	for _, row := range rows {
		fmt.Fprintf(b, "%-27s", row.title)
		for _, r := range runs {
			b.WriteString(right(row.cell(r)))
		}
		b.WriteString(right(row.tutorial) + "\n")
	}
}

// right writes a cell.
func right(text string) string {
	const width = 15
	text = spaces(text)
	return strings.Repeat(" ", max(1, width-utf8.RuneCountInString(text))) + text
}
