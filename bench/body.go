package main

import (
	"bytes"
	"fmt"
	"strconv"
)

// appendBody appends the tutorial's body number i: "Message 1" is the first.
func appendBody(dst []byte, i int) []byte {
	return strconv.AppendInt(append(dst, "Message "...), int64(i), 10)
}

// bodyCheck expects the tutorial's bodies in order: "Message 1", "Message 2"
// and so on. It counts up in the text itself, which costs a Go peer a few
// nanoseconds a message, so that checking does not hide what the clients cost.
type bodyCheck struct {
	expected []byte
	digits   int
	count    int // bodies that were as expected
}

func newBodyCheck() *bodyCheck {
	return &bodyCheck{expected: []byte("Message 0"), digits: 1}
}

// take compares body with the next one expected. A message that is lost,
// repeated, out of order or damaged is an error.
func (c *bodyCheck) take(body []byte) error {
	c.increment()
	if !bytes.Equal(body, c.expected) {
		return fmt.Errorf("delivery %d is %.60q, expected %q", c.count+1, body, c.expected)
	}
	c.count++
	return nil
}

// increment adds one to the decimal number at the end of expected.
func (c *bodyCheck) increment() {
	first := len(c.expected) - c.digits
	for i := len(c.expected) - 1; i >= first; i-- {
		if c.expected[i] != '9' {
			c.expected[i]++
			return
		}
		c.expected[i] = '0'
	}
	// All nines: 99 has become 00, and becomes 100.
	c.expected[first] = '1'
	c.expected = append(c.expected, '0')
	c.digits++
}
