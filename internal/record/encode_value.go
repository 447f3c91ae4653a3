package record

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/thumpmq/thump"
)

// appendText appends a string of JSON. A terminal obeys nothing in it: what is not to be
// seen is escaped. A byte that is not UTF-8 becomes the code \udc80 to \udcff, which no text
// has: Python calls that surrogateescape.
func appendText[T string | []byte](b []byte, text T) []byte {
	b = append(b, '"')
	start := 0 // of what is appended as it is
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
				i++
				continue
			}
			b = appendASCII(append(b, text[start:i]...), c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(string(text[i:min(i+utf8.UTFMax, len(text))]))
		if unicode.IsPrint(r) && (r != utf8.RuneError || size > 1) {
			i += size
			continue
		}
		b = append(b, text[start:i]...)
		if r == utf8.RuneError && size == 1 {
			r = escapedByte + rune(c)
		}
		b = appendRune(b, r)
		i += size
		start = i
	}
	return append(append(b, text[start:]...), '"')
}

// escapedByte and a byte make the code for a byte that is not UTF-8.
const escapedByte = 0xdc00

// appendASCII appends a character that has to be escaped.
func appendASCII(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, `\n`...)
	case '\r':
		return append(b, `\r`...)
	case '\t':
		return append(b, `\t`...)
	default:
		return appendUnit(b, uint16(c))
	}
}

// appendRune appends a character as one or two escapes.
func appendRune(b []byte, r rune) []byte {
	if r > 0xffff {
		high, low := utf16.EncodeRune(r)
		return appendUnit(appendUnit(b, uint16(high)), uint16(low))
	}
	return appendUnit(b, uint16(r))
}

func appendUnit(b []byte, unit uint16) []byte {
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[unit>>12], digits[unit>>8&15], digits[unit>>4&15], digits[unit&15])
}

// appendTime appends a time: as RFC 3339 has it, or, of a year that it has no room for, the
// whole seconds since 1970.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	if year := t.Year(); year < 0 || year > 9999 {
		return strconv.AppendInt(b, t.Unix(), 10)
	}
	b = append(b, '"')
	return append(t.AppendFormat(b, time.RFC3339Nano), '"')
}

// appendTable appends an object; repeated keys stay what they are.
func appendTable(b []byte, t thump.Table) []byte {
	b = append(b, '{')
	for i := range t {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, t[i].Key)
		b = append(b, ':')
		b = appendValue(b, t[i].Value)
	}
	return append(b, '}')
}

// appendValue appends a value of one of the types that thump.Table lists.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case string:
		return appendText(b, v)
	case float64:
		return appendDouble(b, v)
	case thump.Table:
		if len(v) == 1 && isType(v[0].Key) {
			return append(appendTable(typed(b, typeTable), v), '}')
		}
		return appendTable(b, v)
	case []any:
		b = append(b, '[')
		for i := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, v[i])
		}
		return append(b, ']')
	default:
		return appendTyped(b, v)
	}
}

// appendTyped appends a value that JSON has no type for.
func appendTyped(b []byte, v any) []byte {
	switch v := v.(type) {
	case int8:
		b = strconv.AppendInt(typed(b, typeInt8), int64(v), 10)
	case int16:
		b = strconv.AppendInt(typed(b, typeInt16), int64(v), 10)
	case int32:
		b = strconv.AppendInt(typed(b, typeInt32), int64(v), 10)
	case uint8:
		b = strconv.AppendUint(typed(b, typeUint8), uint64(v), 10)
	case uint16:
		b = strconv.AppendUint(typed(b, typeUint16), uint64(v), 10)
	case uint32:
		b = strconv.AppendUint(typed(b, typeUint32), uint64(v), 10)
	case float32:
		b = appendFloat(typed(b, typeFloat), v)
	case thump.Decimal:
		b = appendDecimal(typed(b, typeDecimal), v)
	case time.Time:
		b = appendTime(typed(b, typeTimestamp), v)
	case []byte:
		b = append(typed(b, typeBytes), '"')
		b = append(base64.StdEncoding.AppendEncode(b, v), '"')
	case thump.QueueKind, thump.Overflow, thump.DeadLetterStrategy, thump.RetryType:
		return appendText(b, fmt.Sprint(v))
	default:
		return append(b, "null"...)
	}
	return append(b, '}')
}

// typed begins a value with its type.
func typed(b []byte, word string) []byte {
	b = append(b, '{', '"')
	b = append(b, word...)
	return append(b, '"', ':')
}

// appendDouble appends a number that nobody takes for a whole one.
func appendDouble(b []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(appendBits(typed(b, typeDouble), v, math.Float64bits(v), math.Float64bits(math.NaN())), '}')
	}
	start := len(b)
	b = strconv.AppendFloat(b, v, 'g', -1, 64)
	for _, c := range b[start:] {
		if c == '.' || c == 'e' {
			return b
		}
	}
	return append(b, ".0"...)
}

func appendFloat(b []byte, v float32) []byte {
	wide := float64(v)
	if math.IsNaN(wide) || math.IsInf(wide, 0) {
		return appendBits(b, wide, uint64(math.Float32bits(v)), uint64(math.Float32bits(float32(math.NaN()))))
	}
	return strconv.AppendFloat(b, wide, 'g', -1, 32)
}

// appendBits appends what is no number: its word or, of a NaN that is not the usual one,
// its bits.
func appendBits(b []byte, v float64, bits, usual uint64) []byte {
	b = append(b, '"')
	switch {
	case math.IsInf(v, 1):
		b = append(b, "Infinity"...)
	case math.IsInf(v, -1):
		b = append(b, "-Infinity"...)
	case bits == usual:
		b = append(b, "NaN"...)
	default:
		b = strconv.AppendUint(append(b, "0x"...), bits, 16)
	}
	return append(b, '"')
}

// appendDecimal appends the digits of a decimal; as many as its scale are after the point.
func appendDecimal(b []byte, d thump.Decimal) []byte {
	b = append(b, '"')
	n := int64(d.Value)
	if n < 0 {
		b, n = append(b, '-'), -n
	}
	var room [20]byte
	digits := strconv.AppendInt(room[:0], n, 10)
	scale := int(d.Scale)
	for zeros := scale + 1 - len(digits); zeros > 0; zeros-- {
		if b = append(b, '0'); zeros == scale+1-len(digits) && scale > 0 {
			b = append(b, '.')
		}
	}
	if whole := len(digits) - scale; whole > 0 {
		b = append(b, digits[:whole]...)
		if scale > 0 {
			b = append(b, '.')
		}
		digits = digits[whole:]
	}
	return append(append(b, digits...), '"')
}
