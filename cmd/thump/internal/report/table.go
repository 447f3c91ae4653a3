package report

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// Table returns the runs of a record side by side, with the tutorial's figures and
// what a confirm of each is worth. The last lines are the verdicts.
func Table(rec *result.Record) string {
	var b strings.Builder
	var count uint64
	var runs []*result.Run
	for _, r := range rec.Runs {
		runs, count = append(runs, shown(r)), r.Settings.Count
	}
	fmt.Fprintf(&b, "The same %s through each, one after another\n\n", messages(count))
	writeTable(&b, runs)
	b.WriteByte('\n')
	b.WriteString(wrap(fmt.Sprintf("The tutorial, on its own machine, sent %s messages without confirms, and then received them with automatic acks.", whole(tutorialMessages)), ""))
	b.WriteString("\nWhat a confirm is worth\n\n")
	for _, r := range runs {
		for _, line := range Guarantee(r) {
			b.WriteString(wrap(line, "   "))
		}
	}
	b.WriteByte('\n')
	for _, r := range runs {
		name := placeOf(r).name
		if r.Verdict == result.Failed && r.Reason != nil {
			b.WriteString(wrap("The run through the "+name+" failed: "+*r.Reason+".", ""))
		}
		b.WriteString(name + ": " + Verdict(r) + "\n")
	}
	return b.String()
}

// writeTable writes a column for each run, and one for the tutorial.
func writeTable(b *strings.Builder, runs []*result.Run) {
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
	cost := func(s *float64, r *result.Run) string {
		n := max(result.Value(r.Sent), result.Value(r.Received))
		if s == nil || n == 0 {
			return unknown
		}
		return brief(*s / float64(n))
	}
	rows := []struct {
		title    string
		cell     func(*result.Run) string
		tutorial string
	}{
		{"", func(r *result.Run) string { return placeOf(r).name }, "the tutorial"},
		{"sent in", func(r *result.Run) string { return seconds(r.SendSeconds) }, duration(tutorialSendSeconds)},
		{"received in", func(r *result.Run) string { return seconds(r.ReceiveSeconds) }, duration(tutorialReceiveSeconds)},
		{"from end to end", func(r *result.Run) string { return seconds(r.TotalSeconds) }, duration(tutorialSendSeconds + tutorialReceiveSeconds)},
		{"sent per second", func(r *result.Run) string { return rate(r.SendRatePerSecond) }, whole(tutorialMessages / tutorialSendSeconds)},
		{"received per second", func(r *result.Run) string { return rate(r.ReceiveRatePerSecond) }, whole(tutorialMessages / tutorialReceiveSeconds)},
		{"what is confirmed survives", func(r *result.Run) string { return placeOf(r).survives }, "nothing"},
		{"lost", func(r *result.Run) string { return known(r.Lost) }, none},
		{"duplicated", func(r *result.Run) string { return known(r.Duplicated) }, none},
		{"thump's CPU per message", func(r *result.Run) string { return cost(r.ClientCPUSeconds, r) }, none},
		{"RabbitMQ's CPU per message", func(r *result.Run) string { return cost(r.BrokerCPUSeconds, r) }, none},
	}
	for _, row := range rows {
		fmt.Fprintf(b, "%-27s", row.title)
		for _, r := range runs {
			b.WriteString(right(row.cell(r)))
		}
		b.WriteString(right(row.tutorial) + "\n")
	}
}

// right writes a cell, aligned to the right.
func right(text string) string {
	const width = 15
	text = spaces(text)
	return strings.Repeat(" ", max(1, width-utf8.RuneCountInString(text))) + text
}
