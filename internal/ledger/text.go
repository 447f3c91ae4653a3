package ledger

import (
	"encoding/binary"
	"strconv"
)

// textMaxBytes is the longest body that a text can be: three words.
const textMaxBytes = 24

// prefixWord is tutorialPrefix as a word.
const prefixWord = 'M'<<56 | 'e'<<48 | 's'<<40 | 's'<<32 | 'a'<<24 | 'g'<<16 | 'e'<<8 | ' '

// maxDigits is how many digits the greatest number has, 1<<64-1.
const maxDigits = 20

// parseNumbered returns N of a body that is exactly "Message N" with N from 1,
// in decimal without sign or leading zeros.
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
	// 1<<64 begins with 1, and what begins so and is past it has come round to
	// less than any number of twenty digits.
	if digits == maxDigits && (body[len(tutorialPrefix)] != '1' || n < 1e19) {
		return 0, false
	}
	return n, true
}

// parseWord returns the number that is the last digits of eight bytes, which
// are a little-endian word. It works on all of them at once: the digits become
// numbers to 9, then pairs to 99, and so on.
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

// text is a tutorial body of up to 16 digits that is counted up in the text
// itself, which costs less than to make the next from its number. It is kept as
// big-endian words that overlap, because to compare or write three words costs
// less than a call that takes any length:
//
//	Message 1234567890
//	|------|            tutorialPrefix, the same in all
//	        |------|    middle; where there are not so many bytes, the prefix
//	          |------|  tail
//
// The zero value is no body.
type text struct {
	size         int // in bytes; 0 for no body
	middleAt     int // where in the body middle is
	middle, tail uint64
}

// set makes t the given body, which parseNumbered must have accepted, or none
// where that is too long.
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

// setNumber makes t the body of number n, or none where that is too long.
func (t *text) setNumber(n uint64) {
	var body [len(tutorialPrefix) + maxDigits]byte
	t.set(strconv.AppendUint(append(body[:0], tutorialPrefix...), n, 10))
}

// matches reports whether body is t.
func (t *text) matches(body []byte) bool {
	return len(body) == t.size && len(body) > 8 &&
		binary.BigEndian.Uint64(body[len(body)-8:]) == t.tail &&
		binary.BigEndian.Uint64(body) == prefixWord &&
		binary.BigEndian.Uint64(body[t.middleAt:]) == t.middle
}

// put writes t to body, which has its size.
func (t *text) put(body []byte) {
	binary.BigEndian.PutUint64(body, prefixWord)
	binary.BigEndian.PutUint64(body[t.middleAt:], t.middle)
	binary.BigEndian.PutUint64(body[len(body)-8:], t.tail)
}

// advance makes t the body of number next, which must be one more than its own.
func (t *text) advance(next uint64) {
	// Nine times out of ten it is the last digit alone, which middle has not.
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
				// What middle has of the tail's bytes follows the tail.
				own := 8 * (t.size - 16)
				t.middle = t.middle>>(64-own)<<(64-own) | t.tail>>own
			}
			return
		}
		tail -= 9 << (8 * i) // from '9' to '0'
	}
	t.setNumber(next)
}
