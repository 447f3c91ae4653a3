package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/printable"
)

// Row is a setting in words.
type Row struct{ Name, Text string }

// Settings returns the effective settings of a command, for the start of its output.
// It needs only the record's Command, Settings and Broker.
func Settings(r *result.Run) string {
	var b strings.Builder
	fmt.Fprintf(&b, "thump %s\n", printable.Text(r.Command))
	for _, row := range SettingRows(r) {
		fmt.Fprintf(&b, "  %-11s %s\n", row.Name, row.Text)
	}
	return b.String()
}

// SettingRows are the lines of Settings.
func SettingRows(r *result.Run) []Row {
	r = shown(r)
	s, p := &r.Settings, placeOf(r)
	var rows []Row
	row := func(name string, words ...string) {
		rows = append(rows, Row{name, strings.Join(words, ", ")})
	}
	broker := strings.TrimSpace(r.Broker.Product + " " + r.Broker.Version)
	if r.Broker.Private {
		broker += ", private,"
	}
	row("broker", broker+" at "+s.URL)
	row(p.row, append([]string{s.Queue}, p.kind...)...)
	switch {
	case r.Command != "receive" && s.BodyBytes == 0: // they are not made up
		row("messages", s.Body)
	case r.Command != "receive":
		bodies, count := fmt.Sprintf(`"Message 1" to "Message %d"`, s.Count), whole(float64(s.Count))
		if s.Count == 0 {
			bodies, count = `"Message 1" and so on`, "as many as there is time for"
		}
		switch {
		case strings.HasSuffix(s.Body, " bytes"):
			bodies = s.Body + " each"
		case s.Body != "tutorial":
			bodies = s.Body
		}
		row("messages", append([]string{count, bodies}, made(s)...)...)
	case s.Count > 0:
		row("messages", whole(float64(s.Count))+" at most")
	}
	if text := pacing(s); text != "" {
		row("load", text)
	}
	if r.Command != "receive" {
		row("publishers", append([]string{fmt.Sprint(s.Publishers)}, p.publishing...)...)
	}
	if r.Command != "send" {
		row("consumers", append([]string{fmt.Sprint(s.Consumers)}, p.consuming...)...)
		if words := work(s); words != nil {
			row("work", words...)
		}
	}
	if s.Output != "" {
		row("output", s.Output)
	}
	if r.Command == "run" {
		order := "sending and receiving at once"
		if s.Sequential {
			order = "all sent before the first is received"
		}
		row("order", order)
	}
	row("outages", outages(s))
	if s.DiskBytes != nil {
		row("disk", spaces(disk(s)))
	}
	return rows
}

// made says what else made-up messages have.
func made(s *result.Settings) []string {
	var words []string
	if s.Incompressible {
		words = append(words, "each different throughout")
	}
	if s.Priorities != "" {
		words = append(words, "priorities "+s.Priorities)
	}
	if s.TTLSeconds > 0 {
		words = append(words, fmt.Sprintf("which expire after %v", time.Duration(s.TTLSeconds*float64(time.Second))))
	}
	return words
}

// outages says what becomes of the command in one.
func outages(s *result.Settings) string {
	switch {
	case !s.Recovery:
		return "ends with its connection"
	case s.GiveUpSeconds == 0:
		return "waits for the broker"
	default:
		return fmt.Sprintf("waits up to %g s for the broker", s.GiveUpSeconds)
	}
}

// disk says how much the stream will take on the broker's disk, and how much is free.
func disk(s *result.Settings) string {
	text := "about " + size(*s.DiskBytes)
	if s.Compression != "none" {
		text = "at most " + size(*s.DiskBytes)
	}
	if s.DiskFreeBytes != nil {
		return text + " on the broker's disk, where " + size(*s.DiskFreeBytes) + " are free"
	}
	return text + " on the broker's disk; how much is free there is not known"
}

// spaces replaces the no-break spaces before units by ordinary ones.
func spaces(text string) string { return strings.ReplaceAll(text, unit, " ") }
