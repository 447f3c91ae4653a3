package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/thumpmq/thump/internal/streamproto"
)

// appendBody appends the tutorial's body number i: "Message 1" is the first.
func appendBody(dst []byte, i int) []byte {
	return strconv.AppendInt(append(dst, "Message "...), int64(i), 10)
}

// bodyCheck expects the tutorial's bodies in order: "Message 1", "Message 2"
// and so on. A stream delivers tens of millions a second, so a body of 9 to 16
// bytes is taken as two overlapping words, and counted up in the text of the
// second: a few nanoseconds, so that checking does not hide what the clients cost.
type bodyCheck struct {
	count int // bodies that were as expected

	size        int    // of the next one; 0 where it is longer than two words
	first, last uint64 // its first and its last 8 bytes
	text        []byte // room for it
}

const wordBytes = 8

func newBodyCheck() *bodyCheck { return newBodyCheckAfter(0) }

// newBodyCheckAfter expects the body after number count.
func newBodyCheckAfter(count int) *bodyCheck {
	c := &bodyCheck{count: count}
	c.spell()
	return c
}

// take compares body with the next one expected. A message that is lost,
// repeated, out of order or damaged is an error.
func (c *bodyCheck) take(body []byte) error {
	if !isBody(body, c.size, c.first, c.last) {
		return c.takeText(body)
	}
	c.count++
	last, ok := increment(c.last, c.size-wordBytes)
	c.last = last
	if !ok {
		c.spell()
	}
	return nil
}

func isBody(body []byte, size int, first, last uint64) bool {
	return len(body) == size && len(body) >= wordBytes &&
		binary.BigEndian.Uint64(body[len(body)-wordBytes:]) == last && binary.BigEndian.Uint64(body) == first
}

// increment adds one to the number of so many decimal digits that word ends with.
// ok is false where the result has one digit more.
func increment(word uint64, digits int) (_ uint64, ok bool) {
	word++
	for shift := 0; byte(word>>shift) > '9'; shift += 8 {
		digits--
		if digits == 0 {
			return 0, false
		}
		word += 1<<(shift+8) - 10<<shift
	}
	return word, true
}

// takeText is take for a body that is longer than two words, or wrong.
func (c *bodyCheck) takeText(body []byte) error {
	c.text = appendBody(c.text[:0], c.count+1)
	if !bytes.Equal(body, c.text) {
		return fmt.Errorf("delivery %d is %.60q, expected %q", c.count+1, body, c.text)
	}
	c.count++
	c.spell()
	return nil
}

// spell writes the next body into the words.
func (c *bodyCheck) spell() {
	c.text = appendBody(c.text[:0], c.count+1)
	c.size = 0
	if n := len(c.text); n <= 2*wordBytes {
		c.size = n
		c.first = binary.BigEndian.Uint64(c.text)
		c.last = binary.BigEndian.Uint64(c.text[n-wordBytes:])
	}
}

// takeData compares the body of a stream's message, which is a data section.
func (c *bodyCheck) takeData(message []byte) error {
	body, ok := streamproto.Data(message)
	if !ok {
		return fmt.Errorf("delivery %d is not a data section: %.60q", c.count+1, message)
	}
	return c.take(body)
}
