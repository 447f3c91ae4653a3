// Package printable shows text that others wrote, a broker, a message or a file, to
// people: a terminal does not obey it, and it is never taken for a line of our own.
package printable

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
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

// JSON returns JSON with escapes for what encoding/json leaves alone and nobody sees: DEL, the
// control characters above it, marks that turn the direction of writing. Outside of strings
// JSON has none of them. Line breaks stay.
func JSON(text []byte) []byte {
	shown := make([]byte, 0, len(text))
	for _, r := range string(text) {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			shown = utf8.AppendRune(shown, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			shown = fmt.Appendf(shown, `\u%04x\u%04x`, high, low)
		default:
			shown = fmt.Appendf(shown, `\u%04x`, r)
		}
	}
	return shown
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
