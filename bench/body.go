package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"github.com/thumpmq/thump/internal/streamproto"
)

// appendBody appends the tutorial's body number i: "Message 1" is the first.
func appendBody(dst []byte, i int) []byte {
	return strconv.AppendInt(append(dst, "Message "...), int64(i), 10)
}

// bodyWords is the tutorial's bodies one after another. A stream moves tens of
// millions a second, so a body of 9 to 16 bytes is two overlapping words, and
// the text of the second is counted up: neither making nor checking a body hides
// what the clients cost.
type bodyWords struct {
	number int // of this body

	size        int    // of this body; 0 where it is longer than two words
	first, last uint64 // its first and its last 8 bytes
	text        []byte // room for it
}

const wordBytes = 8

// bodiesFrom begins with body number n.
func bodiesFrom(n int) bodyWords {
	w := bodyWords{number: n}
	w.spell()
	return w
}

// spell writes the body into the words.
func (w *bodyWords) spell() {
	w.text = appendBody(w.text[:0], w.number)
	w.size = 0
	if n := len(w.text); n <= 2*wordBytes {
		w.size = n
		w.first = binary.BigEndian.Uint64(w.text)
		w.last = binary.BigEndian.Uint64(w.text[n-wordBytes:])
	}
}

// next goes on to the next body.
func (w *bodyWords) next() {
	w.number++
	last, ok := increment(w.last, w.size-wordBytes)
	w.last = last
	if !ok || w.size == 0 {
		w.spell()
	}
}

// increment adds one to the number of so many decimal digits that word ends with.
// ok is false where the result has one digit more.
func increment(word uint64, digits int) (_ uint64, ok bool) {
	word++
	for shift := 0; byte(word>>shift) > '9'; shift += 8 {
		digits--
		if digits <= 0 {
			return 0, false
		}
		word += 1<<(shift+8) - 10<<shift
	}
	return word, true
}

// append appends the body, and goes on to the next.
func (w *bodyWords) append(dst []byte) []byte {
	if w.size == 0 {
		dst = append(dst, w.text...)
	} else {
		start := len(dst)
		dst = slices.Grow(dst, w.size)[:start+w.size]
		binary.BigEndian.PutUint64(dst[start:], w.first)
		binary.BigEndian.PutUint64(dst[len(dst)-wordBytes:], w.last)
	}
	w.next()
	return dst
}

// is compares.
func (w *bodyWords) is(body []byte) bool {
	if w.size == 0 {
		return bytes.Equal(body, w.text)
	}
	return len(body) == w.size && binary.BigEndian.Uint64(body) == w.first &&
		binary.BigEndian.Uint64(body[w.size-wordBytes:]) == w.last
}

// bodyCheck expects the tutorial's bodies in order: "Message 1", "Message 2"
// and so on.
type bodyCheck struct {
	count    int // bodies that were as expected
	expected bodyWords
}

func newBodyCheck() *bodyCheck { return newBodyCheckAfter(0) }

// newBodyCheckAfter expects the body after number count.
func newBodyCheckAfter(count int) *bodyCheck {
	return &bodyCheck{count: count, expected: bodiesFrom(count + 1)}
}

// take compares body with the next one expected. A message that is lost,
// repeated, out of order or damaged is an error.
func (c *bodyCheck) take(body []byte) error {
	if !c.expected.is(body) {
		return fmt.Errorf("delivery %d is %.60q, expected %q", c.count+1, body, appendBody(nil, c.count+1))
	}
	c.count++
	c.expected.next()
	return nil
}

// takeData compares the body of a stream's message, which is a data section.
func (c *bodyCheck) takeData(message []byte) error {
	body, ok := streamproto.Data(message)
	if !ok {
		return fmt.Errorf("delivery %d is not a data section: %.60q", c.count+1, message)
	}
	return c.take(body)
}
