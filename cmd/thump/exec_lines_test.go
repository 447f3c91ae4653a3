package main

import (
	"bytes"
	"testing"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/record"
)

// TestHandlerGivesPieces: a command has no more at a time than some bytes, and at least one
// message; one that is no line stops it once those before it are handled.
func TestHandlerGivesPieces(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("x"), pieceMost/4)
	h := &handler{format: record.Format{Layout: record.Lines}}
	for name, test := range map[string]struct {
		bodies [][]byte
		want   int
	}{
		"small": {[][]byte{{'a'}, {'b'}, {'c'}}, 3},
		"large": {[][]byte{body, body, body, body, body, body}, 4},
		"huge":  {[][]byte{bytes.Repeat(body, 9), {'a'}}, 1},
		"lines": {[][]byte{{'a'}, {'b'}, []byte("c\nd")}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var deliveries []thump.Delivery
			for _, body := range test.bodies {
				deliveries = append(deliveries, thump.Delivery{Body: body})
			}
			h.lines = h.lines[:0]
			if n, err := h.encode(&thump.Batch{}, deliveries); n != test.want || err != nil {
				t.Errorf("a piece has %d messages, %v; want %d", n, err, test.want)
			}
		})
	}
	if _, err := h.encode(&thump.Batch{}, []thump.Delivery{{Body: []byte("c\nd")}}); err == nil {
		t.Error("two lines are one message")
	}
}
