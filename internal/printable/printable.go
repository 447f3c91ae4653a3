// Package printable shows text that others wrote, a broker, a message or a file, to
// people: a terminal does not obey it, and it is never taken for a line of our own.
package printable

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns text as one line: line breaks, control characters and escape sequences,
// marks that turn the direction of writing, and whatever else is not to be seen, such as
// bytes that are not UTF-8, are escaped as in Go. Text that needs nothing is returned as
// it is.
func Text(text string) string { return escape(text, plain) }

// Lines is Text for what has lines of its own: line breaks and tabs stay.
func Lines(text string) string {
	return escape(text, func(r rune) bool { return r == '\n' || r == '\t' || plain(r) })
}

// plain reports whether a character can be seen, and is that character.
func plain(r rune) bool { return unicode.IsPrint(r) && r != utf8.RuneError }

// escape escapes all but what stays.
func escape(text string, stays func(rune) bool) string {
	if strings.IndexFunc(text, func(r rune) bool { return !stays(r) }) < 0 {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if stays(r) {
			b.WriteString(text[:size])
		} else {
			quoted := strconv.Quote(text[:size])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		text = text[size:]
	}
	return b.String()
}
