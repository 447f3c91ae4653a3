package ledger

// This file makes and reads the tutorial's bodies eight bytes at a time. Measured
// beside the plain forms, which format and parse every number (BenchmarkPlain): to
// make a body takes 3 ns instead of 11, to recognise the expected one 4 ns instead of
// 43, to parse any other 6 ns instead of 43. FuzzPlain and FuzzExpectedBody hold it
// to the plain forms.

import (
	"encoding/binary"
	"strconv"
)

// textMaxBytes is the size of the longest body that a text can hold: three words.
const textMaxBytes = 24

// prefixWord is tutorialPrefix as a word.
const prefixWord = 'M'<<56 | 'e'<<48 | 's'<<40 | 's'<<32 | 'a'<<24 | 'g'<<16 | 'e'<<8 | ' '

// maxDigits is the number of digits of the greatest number, 1<<64-1.
const maxDigits = 20

// parseNumbered returns N if body is exactly "Message N": N is 1 or more, in
// decimal, without sign or leading zeros.
func parseNumbered(body []byte) (n uint64, ok bool) {
	digits := len(body) - len(tutorialPrefix)
	if digits < 1 || digits > maxDigits || binary.BigEndian.Uint64(body) != prefixWord || body[len(tutorialPrefix)] == '0' {
		return 0, false
	}
	for end, unit := len(body), uint64(1); end > len(tutorialPrefix); end, unit = end-8, unit*1e8 {
		part, ok := parseWord(binary.LittleEndian.Uint64(body[end-8:]), min(end-len(tutorialPrefix), 8))
		if !ok {
			return 0, false
		}
		n += part * unit
	}
	// Of the numbers of twenty digits, those below 1<<64 begin with 1. One that
	// begins with 1 and is larger has overflowed, to less than 1e19.
	if digits == maxDigits && (body[len(tutorialPrefix)] != '1' || n < 1e19) {
		return 0, false
	}
	return n, true
}

// parseWord returns the number that the last digits of eight bytes spell; word is
// the bytes, little endian. It works on all of them at once: first they become
// numbers up to 9, then pairs of them up to 99, and so on.
func parseWord(word uint64, digits int) (n uint64, ok bool) {
	const each = 0x0101010101010101
	others := uint(8*(8-digits)) % 64
	word = (word ^ '0'*each) >> others << others
	if (word|(word+(0x80-10)*each))&(0x80*each) != 0 {
		return 0, false
	}
	word = word*10 + word>>8
	const pairs = 0x000000ff000000ff
	return (word&pairs*(100+1000000<<32) + word>>16&pairs*(1+10000<<32)) >> 32, true
}

// text is a tutorial body of up to 16 digits. It counts up its own digits, which
// costs less than to format the next number. It is three big-endian words, which
// overlap, because to compare or write three words costs less than a call that
// takes any length:
//
//	Message 1234567890
//	|------|            tutorialPrefix, the same in all
//	        |------|    middle; of a body of up to 16 bytes, the prefix again
//	          |------|  tail
//
// The zero value is no body.
type text struct {
	size         int // in bytes; 0 for no body
	middleAt     int // the offset of middle in the body
	middle, tail uint64
}

// set makes t the given body, which parseNumbered must have accepted. t becomes
// no body if that is too long.
func (t *text) set(body []byte) {
	if len(body) > textMaxBytes {
		*t = text{}
		return
	}
	t.size, t.middleAt, t.middle = len(body), 0, prefixWord
	if len(body) > 16 {
		t.middleAt, t.middle = 8, binary.BigEndian.Uint64(body[8:])
	}
	t.tail = binary.BigEndian.Uint64(body[len(body)-8:])
}

// setNumber makes t the body of number n, or no body if that is too long.
func (t *text) setNumber(n uint64) {
	var body [len(tutorialPrefix) + maxDigits]byte
	t.set(strconv.AppendUint(append(body[:0], tutorialPrefix...), n, 10))
}

// matches reports whether body is t, in every byte.
func (t *text) matches(body []byte) bool {
	return len(body) == t.size && len(body) > 8 &&
		binary.BigEndian.Uint64(body[len(body)-8:]) == t.tail &&
		binary.BigEndian.Uint64(body) == prefixWord &&
		binary.BigEndian.Uint64(body[t.middleAt:]) == t.middle
}

// put writes t to body, which must have t's size.
func (t *text) put(body []byte) {
	binary.BigEndian.PutUint64(body, prefixWord)
	binary.BigEndian.PutUint64(body[t.middleAt:], t.middle)
	binary.BigEndian.PutUint64(body[len(body)-8:], t.tail)
}

// advance makes t the body of number next, which must be one more than its own.
func (t *text) advance(next uint64) {
	// Nine times out of ten only the last digit changes, and middle has no part of
	// it.
	if byte(t.tail) != '9' {
		t.tail++
		return
	}
	t.carry(next)
}

func (t *text) carry(next uint64) {
	tail := t.tail
	for i := range min(t.size-len(tutorialPrefix), 8) {
		if byte(tail>>(8*i)) != '9' {
			t.tail = tail + 1<<(8*i)
			if t.middleAt > 0 {
				// Copy the bytes that middle shares with the tail.
				own := 8 * (t.size - 16)
				t.middle = t.middle>>(64-own)<<(64-own) | t.tail>>own
			}
			return
		}
		tail -= 9 << (8 * i) // from '9' to '0'
	}
	t.setNumber(next)
}
