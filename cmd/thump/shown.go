package main

import (
	"fmt"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/printable"
)

// shownMost is how many bytes of a body a terminal shows.
const shownMost = 1000

// appendShown appends a delivery as one line for a terminal: its body, and before it where it
// comes from, if that says more than the queue's name.
func appendShown(b []byte, d *thump.Delivery) []byte {
	body, rest := d.Body, ""
	if len(body) > shownMost {
		body, rest = body[:shownMost], fmt.Sprintf("… (%d bytes)", len(d.Body))
	}
	if d.Exchange != "" {
		b = fmt.Appendf(b, "%s %s: ", printable.Text(d.Exchange), printable.Text(d.RoutingKey))
	}
	return append(b, printable.Text(string(body))+rest+"\n"...)
}
