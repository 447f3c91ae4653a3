package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/printable"
	"github.com/thumpmq/thump/internal/record"
)

// bodyShown is how many bytes of a body, and of all headers, are shown unless all is asked for.
const bodyShown = 500

// messageText is a message for people: a title, and a line for each thing that it has. Bodies
// and headers are shown as far as bodyShown, or with full whole.
func messageText(title string, r *record.Record, full bool) string {
	var b strings.Builder
	b.WriteString(title + "\n")
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %-16s  %s\n", name, printable.Text(text))
		}
	}
	when := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339Nano)
	}
	p := &r.Properties
	line("stored", when(r.StoredAt))
	line("exchange", r.Exchange)
	line("routing key", r.RoutingKey)
	if r.Redelivered {
		line("redelivered", "yes")
	}
	line("content type", p.ContentType)
	line("content encoding", p.ContentEncoding)
	switch p.DeliveryMode {
	case 0:
	case thump.Transient:
		line("delivery mode", "transient")
	case thump.Persistent:
		line("delivery mode", "persistent")
	default:
		line("delivery mode", fmt.Sprint(p.DeliveryMode))
	}
	if p.Priority > 0 || p.ZeroPriority {
		line("priority", fmt.Sprint(p.Priority))
	}
	line("message id", p.MessageID)
	line("correlation id", p.CorrelationID)
	line("reply to", p.ReplyTo)
	switch {
	case p.Expiration == thump.ExpireAtOnce:
		line("expiration", "at once")
	case p.Expiration > 0:
		line("expiration", p.Expiration.String())
	}
	line("timestamp", when(p.Timestamp))
	line("type", p.Type)
	line("user id", p.UserID)
	line("app id", p.AppID)
	line("unreadable", r.Unreadable)
	for i := range p.Headers {
		line("header", cut(headerText(p.Headers[i:i+1]), full))
	}
	size := fmt.Sprintf("%d bytes", len(r.Body))
	if p.Format != thump.FormatData {
		size += ", " + p.Format.String()
	}
	line("body", size)
	b.WriteString(bodyText(r.Body, full))
	return b.String()
}

// headerText is a header as a record has it, without braces.
func headerText(header thump.Table) string {
	line := record.Append(nil, &record.Record{Properties: thump.Properties{Headers: header}})
	line = bytes.TrimPrefix(line, []byte(`{"headers":{`))
	return string(bytes.TrimSuffix(line, []byte(`},"body":""}`+"\n")))
}

// cut shortens a text, unless all is to be shown.
func cut(text string, full bool) string {
	if full || len(text) <= bodyShown {
		return text
	}
	return fmt.Sprintf("%s … (%d more bytes)", text[:whole(text)], len(text)-whole(text))
}

// whole is about bodyShown bytes, and ends no character in the middle.
func whole(text string) int {
	end := bodyShown
	for end > bodyShown-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return end
}

// bodyText is a body with its own lines, indented.
func bodyText(body []byte, full bool) string {
	if len(body) == 0 {
		return ""
	}
	text := string(body)
	if utf8.Valid(body) {
		text = strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ")
	}
	if full || len(text) <= bodyShown {
		return "    " + printable.Lines(text) + "\n"
	}
	end := whole(text)
	return fmt.Sprintf("    %s …\n    (%d more bytes: --full shows them)\n", printable.Lines(text[:end]), len(text)-end)
}
