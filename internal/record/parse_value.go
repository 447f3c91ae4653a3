package record

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"github.com/thumpmq/thump"
)

// depthMost is how deep values may be inside of each other: more than a message may have.
const depthMost = 64

// valuesMost is how many values a record's headers may have, lists and tables counted with all
// that is in them: each takes many times its two bytes of a line. It is more than a message of
// RabbitMQ has, whose headers come in one frame.
const valuesMost = 1 << 20

// table reads an object into t, which is empty.
func (p *Parser) table(t thump.Table, depth int) thump.Table {
	p.s.list('{', '}', func() {
		key := p.texts.get(p.s.text())
		p.s.expect(':', " after a key")
		t = append(t, thump.Field{Key: key, Value: p.value(depth + 1)})
	})
	return t
}

// value reads a header's value.
func (p *Parser) value(depth int) any {
	if depth > depthMost {
		p.s.fail(p.s.at, "more than %d values are inside of each other", depthMost)
		return nil
	}
	if p.values++; p.values > valuesMost {
		p.s.fail(p.s.at, "the headers have more than %d values", valuesMost)
		return nil
	}
	switch c := p.s.peek(); {
	case p.s.at >= len(p.s.line):
		p.s.unexpected("a value")
		return nil
	case c == '"':
		return string(p.s.text())
	case c == '{':
		return p.object(depth)
	case c == '[':
		list := []any{}
		p.s.list('[', ']', func() { list = append(list, p.value(depth+1)) })
		return list
	case p.s.word("true"):
		return true
	case p.s.word("false"):
		return false
	case p.s.word("null"):
		return nil
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	default:
		p.s.unexpected("a value")
		return nil
	}
}

// number reads an int64, or a float64 where there is a point or an exponent.
func (p *Parser) number() any {
	start := p.s.at
	digits, whole := p.s.number()
	if p.s.err != nil {
		return nil
	}
	if whole {
		n, err := strconv.ParseInt(string(digits), 10, 64)
		if err != nil {
			p.s.fail(start, "the number has no room in 64 bits")
		}
		return n
	}
	return p.float(start, digits, 64)
}

func (p *Parser) float(start int, digits []byte, bits int) float64 {
	f, err := strconv.ParseFloat(string(digits), bits)
	if err != nil {
		p.s.fail(start, "the number has no room in a float of %d bits", bits)
	}
	return f
}

// object reads a value with its type, or a table.
func (p *Parser) object(depth int) any {
	start := p.s.at
	if word, ok := p.typeWord(); ok {
		v := p.typed(word, depth)
		p.s.expect('}', " after the value of "+word)
		return v
	}
	if p.s.err != nil {
		return nil
	}
	p.s.at = start
	return p.table(thump.Table{}, depth)
}

// typeWord reads the beginning of an object up to its first value, and reports whether the
// object is a value with its type: it has one key, which is a word for a type.
func (p *Parser) typeWord() (word string, ok bool) {
	p.s.take('{')
	if p.s.peek() != '"' {
		return "", false
	}
	key := p.s.text()
	if !isType(key) {
		return "", false
	}
	word = string(key)
	p.s.expect(':', " after a key")
	value := p.s.at
	p.skip()
	if p.s.err != nil || p.s.peek() != '}' {
		return "", false
	}
	p.s.at = value
	return word, true
}

// skip goes over a value without reading it. Whoever reads it says what is wrong in it.
func (p *Parser) skip() {
	depth := 0
	for {
		switch p.s.peek() {
		case '"':
			p.skipText()
		case '{', '[':
			depth++
			p.s.at++
		case '}', ']':
			depth--
			p.s.at++
		case ',':
			p.s.at++
			continue
		default:
			if p.s.at >= len(p.s.line) {
				return
			}
			p.s.at++
			for p.s.at < len(p.s.line) && !bytes.ContainsRune([]byte(" \t\r\n\"{}[],:"), rune(p.s.line[p.s.at])) {
				p.s.at++
			}
		}
		if depth <= 0 {
			return
		}
	}
}

func (p *Parser) skipText() {
	for p.s.at++; p.s.at < len(p.s.line); p.s.at++ {
		switch p.s.line[p.s.at] {
		case '\\':
			p.s.at++
		case '"':
			p.s.at++
			return
		}
	}
	p.s.at = min(p.s.at, len(p.s.line))
}

// typed reads the value of a type.
func (p *Parser) typed(word string, depth int) any {
	switch word {
	case typeInt8:
		return int8(p.integer(math.MinInt8, math.MaxInt8))
	case typeInt16:
		return int16(p.integer(math.MinInt16, math.MaxInt16))
	case typeInt32:
		return int32(p.integer(math.MinInt32, math.MaxInt32))
	case typeUint8:
		return uint8(p.natural(math.MaxUint8))
	case typeUint16:
		return uint16(p.natural(math.MaxUint16))
	case typeUint32:
		return uint32(p.natural(math.MaxUint32))
	case typeFloat:
		return p.single()
	case typeDouble:
		return p.double()
	case typeDecimal:
		return p.decimal()
	case typeTimestamp:
		return p.time()
	case typeBytes:
		return bytes.Clone(p.base64())
	default:
		return p.table(thump.Table{}, depth)
	}
}

// single reads a float of 32 bits.
func (p *Parser) single() float32 {
	start := p.s.at
	if p.s.peek() != '"' {
		digits, _ := p.s.number()
		if p.s.err != nil {
			return 0
		}
		return float32(p.float(start, digits, 32))
	}
	if bits, ok := p.bits(32); ok {
		return math.Float32frombits(uint32(bits))
	}
	return 0
}

// double reads a float of 64 bits.
func (p *Parser) double() float64 {
	start := p.s.at
	if p.s.peek() != '"' {
		digits, _ := p.s.number()
		if p.s.err != nil {
			return 0
		}
		return p.float(start, digits, 64)
	}
	if bits, ok := p.bits(64); ok {
		return math.Float64frombits(bits)
	}
	return 0
}

// bits reads what is no number, as the bits of a float.
func (p *Parser) bits(size int) (bits uint64, ok bool) {
	start := p.s.at
	word := string(p.s.text())
	if p.s.err != nil {
		return 0, false
	}
	var v float64
	switch word {
	case "NaN":
		v = math.NaN()
	case "Infinity":
		v = math.Inf(1)
	case "-Infinity":
		v = math.Inf(-1)
	default:
		digits, found := strings.CutPrefix(word, "0x")
		bits, err := strconv.ParseUint(digits, 16, size)
		if !found || err != nil {
			p.s.fail(start, `a float is a number, "NaN", "Infinity", "-Infinity" or its bits, "0x" and hexadecimal digits`)
			return 0, false
		}
		return bits, true
	}
	if size == 32 {
		return uint64(math.Float32bits(float32(v))), true
	}
	return math.Float64bits(v), true
}

// decimal reads the digits of a decimal.
func (p *Parser) decimal() thump.Decimal {
	p.s.peek()
	start := p.s.at
	text := string(p.s.text())
	if p.s.err != nil {
		return thump.Decimal{}
	}
	whole, fraction, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(whole+fraction, 10, 32)
	if err != nil || len(fraction) > math.MaxUint8 || whole == "" || strings.ContainsAny(fraction, "+-") || strings.HasPrefix(whole, "+") {
		p.s.fail(start, `a decimal is a string of digits like "-12.50", at most %d of them after the point, and without it a number of 32 bits`, math.MaxUint8)
		return thump.Decimal{}
	}
	return thump.Decimal{Scale: uint8(len(fraction)), Value: int32(n)}
}
