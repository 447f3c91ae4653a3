package record

import (
	"bytes"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// SyntaxError says what is wrong in a line, and where.
type SyntaxError struct {
	Column int // in bytes, counted from 1
	What   string
}

// Error is the column and what is wrong there.
func (e *SyntaxError) Error() string { return fmt.Sprintf("column %d: %s", e.Column, e.What) }

// scanner reads the JSON of one line. Its first error sticks: what it reads after that is
// empty, and it stands at the end of the line.
type scanner struct {
	line []byte
	at   int
	err  *SyntaxError
	// decoded has the strings of the line that had escapes. It may move while it grows: who
	// has one of its strings keeps the older memory.
	decoded []byte
}

// fail notes what is wrong at a place.
func (s *scanner) fail(at int, format string, args ...any) {
	if s.err == nil {
		s.err = &SyntaxError{Column: at + 1, What: fmt.Sprintf(format, args...)}
	}
	s.at = len(s.line)
}

// peek returns the next character that is no space, and stays before it; 0 at the end.
func (s *scanner) peek() byte {
	for ; s.at < len(s.line); s.at++ {
		switch c := s.line[s.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// take takes a character if it is the next, and reports whether it is.
func (s *scanner) take(c byte) bool {
	if s.peek() != c || s.at == len(s.line) {
		return false
	}
	s.at++
	return true
}

// expect takes a character that must be next.
func (s *scanner) expect(c byte, where string) {
	if !s.take(c) {
		s.unexpected(fmt.Sprintf("%q%s", c, where))
	}
}

// unexpected says what is next instead of what is wanted.
func (s *scanner) unexpected(wanted string) {
	switch c := s.peek(); {
	case s.at >= len(s.line):
		s.fail(s.at, "the line ends where %s has to be", wanted)
	case c < ' ' || c > '~':
		s.fail(s.at, "the byte %#02x is where %s has to be", c, wanted)
	default:
		s.fail(s.at, "%q is where %s has to be", c, wanted)
	}
}

// end checks that nothing follows.
func (s *scanner) end() {
	if s.peek(); s.at < len(s.line) {
		s.unexpected("the end of the line")
	}
}

// list reads what is between brackets, and calls element for each, at its beginning.
func (s *scanner) list(opening, closing byte, element func()) {
	s.expect(opening, "")
	if s.take(closing) {
		return
	}
	for s.err == nil {
		element()
		if s.take(closing) {
			return
		}
		if !s.take(',') {
			s.unexpected(fmt.Sprintf("',' or %q", closing))
		}
	}
}

// text reads a string. It is a slice of the line or of decoded.
func (s *scanner) text() []byte {
	if s.peek() != '"' {
		s.unexpected("a string")
		return nil
	}
	start := s.at + 1
	var all byte // the bits of all characters: of most texts these say that it is ASCII, and so UTF-8
	for i := start; i < len(s.line); i++ {
		c := s.line[i]
		switch {
		case c == '"':
			s.at = i + 1
			if all < utf8.RuneSelf {
				return s.line[start:i]
			}
			return s.utf8(s.line[start:i], start)
		case c == '\\':
			return s.escaped(start, i)
		case c < ' ':
			s.fail(i, "a string has the control character %#02x in it, which JSON writes as an escape", c)
			return nil
		}
		all |= c
	}
	s.fail(start-1, "the string that begins here has no end")
	return nil
}

// utf8 checks a part of a string.
func (s *scanner) utf8(text []byte, start int) []byte {
	if utf8.Valid(text) {
		return text
	}
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			s.fail(start+i, "the byte %#02x is not UTF-8", text[i])
			break
		}
		i += size
	}
	return nil
}

// escaped reads the rest of a string, whose first escape is at i.
func (s *scanner) escaped(start, i int) []byte {
	begin, begun := len(s.decoded), start-1
	for s.err == nil {
		plain := bytes.IndexAny(s.line[i:], "\"\\")
		if plain < 0 {
			break
		}
		part := s.utf8(s.line[start:i+plain], start)
		if at := bytes.IndexFunc(part, func(r rune) bool { return r < ' ' }); at >= 0 {
			s.fail(start+at, "a string has the control character %#02x in it, which JSON writes as an escape", part[at])
		}
		s.decoded = append(s.decoded, part...)
		if i += plain; s.line[i] == '"' {
			s.at = i + 1
			return s.decoded[begin:len(s.decoded):len(s.decoded)]
		}
		i = s.escape(i)
		start = i
	}
	s.fail(begun, "the string that begins here has no end")
	return nil
}

// escape appends what the escape at i stands for, and returns the place after it.
func (s *scanner) escape(i int) int {
	if i+1 >= len(s.line) {
		s.fail(i, "the line ends in an escape")
		return i
	}
	switch c := s.line[i+1]; c {
	case '"', '\\', '/':
		s.decoded = append(s.decoded, c)
	case 'b':
		s.decoded = append(s.decoded, '\b')
	case 'f':
		s.decoded = append(s.decoded, '\f')
	case 'n':
		s.decoded = append(s.decoded, '\n')
	case 'r':
		s.decoded = append(s.decoded, '\r')
	case 't':
		s.decoded = append(s.decoded, '\t')
	case 'u':
		return s.unicode(i)
	default:
		s.fail(i, "JSON has no such escape")
	}
	return i + 2
}

// unicode appends what an escape \u, or a pair of them, stands for: a character, or a byte.
func (s *scanner) unicode(i int) int {
	unit, ok := hexadecimal(s.line[i:])
	if !ok {
		s.fail(i, `\u has no four hexadecimal digits`)
		return i
	}
	next := i + 6
	switch {
	case !utf16.IsSurrogate(unit):
		s.decoded = utf8.AppendRune(s.decoded, unit)
	case unit >= escapedByte+0x80 && unit <= escapedByte+0xff:
		s.decoded = append(s.decoded, byte(unit))
	default:
		low, _ := hexadecimal(s.line[next:])
		r := utf16.DecodeRune(unit, low)
		if r == utf8.RuneError {
			s.fail(i, "half of a pair of escapes, and not the other")
			return i
		}
		s.decoded = utf8.AppendRune(s.decoded, r)
		next += 6
	}
	return next
}

// hexadecimal reads an escape \u.
func hexadecimal(b []byte) (unit rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		unit = unit<<4 | rune(c)
	}
	return unit, true
}

// word takes one of JSON's words if it is next.
func (s *scanner) word(word string) bool {
	if s.peek(); !bytes.HasPrefix(s.line[s.at:], []byte(word)) {
		return false
	}
	s.at += len(word)
	return true
}

// number reads a number. whole says that it has neither a point nor an exponent.
func (s *scanner) number() (digits []byte, whole bool) {
	s.peek()
	start := s.at
	i := start
	run := func() int { // of digits
		first := i
		for i < len(s.line) && s.line[i] >= '0' && s.line[i] <= '9' {
			i++
		}
		return i - first
	}
	next := func(c byte) bool {
		if i < len(s.line) && s.line[i] == c {
			i++
			return true
		}
		return false
	}
	next('-')
	zero := i < len(s.line) && s.line[i] == '0'
	n := run()
	good := n > 0 && (n == 1 || !zero)
	whole = true
	if good && next('.') {
		whole, good = false, run() > 0
	}
	if good && (next('e') || next('E')) {
		_ = next('+') || next('-')
		whole, good = false, run() > 0
	}
	switch {
	case !good && i == start:
		s.unexpected("a number")
		return nil, false
	case !good:
		s.fail(start, "the number that begins here is not one of JSON")
		return nil, false
	}
	s.at = i
	return s.line[start:i], whole
}
