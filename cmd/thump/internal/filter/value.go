package filter

import (
	"cmp"
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/thumpmq/thump"
)

// A value is nil, or a bool, int64, float64, string, time.Time, time.Duration, []any,
// map[string]any or thump.Table. The items of the last three may be of any type that
// JSON or a Table has; plain makes values of them.

// plain is what a message holds as a value.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			return nil // 1e999
		}
		return f
	case []byte:
		return string(v)
	case thump.Decimal:
		return float64(v.Value) / math.Pow10(int(v.Scale))
	case float32:
		return float64(v)
	case int8:
		return int64(v)
	case int16:
		return int64(v)
	case int32:
		return int64(v)
	case uint8:
		return int64(v)
	case uint16:
		return int64(v)
	case uint32:
		return int64(v)
	}
	return v
}

func isTrue(v any) bool { return v == true }

// member is the field or the item of v that property names; nil if there is none.
func member(v, property any) any {
	switch v := v.(type) {
	case map[string]any:
		if key, ok := property.(string); ok {
			return plain(v[key])
		}
	case thump.Table:
		if key, ok := property.(string); ok {
			found, _ := v.Get(key)
			return plain(found)
		}
	case []any:
		if i, ok := property.(int64); ok {
			if i < 0 { // from the end
				i += int64(len(v))
			}
			if i >= 0 && i < int64(len(v)) {
				return plain(v[i])
			}
		}
	}
	return nil
}

// order compares two values that have an order: numbers, texts, times, durations. ok is
// false for others, and for values of two kinds.
func order(m *message, a, b any) (result int, ok bool) {
	switch a := a.(type) {
	case string:
		if b, is := b.(string); is && m.look(a[:min(len(a), len(b))]) {
			return strings.Compare(a, b), true
		}
	case time.Time:
		if b, is := b.(time.Time); is {
			return a.Compare(b), true
		}
	case time.Duration:
		if b, is := b.(time.Duration); is {
			return cmp.Compare(a, b), true
		}
	case int64:
		if b, is := b.(int64); is {
			return cmp.Compare(a, b), true
		}
	}
	x, isNumber := number(a)
	y, areNumbers := number(b)
	if math.IsNaN(x) || math.IsNaN(y) {
		return 0, false
	}
	return cmp.Compare(x, y), isNumber && areNumbers
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// equal compares two values. A list or a table equals nothing.
func equal(m *message, a, b any) bool {
	switch a := a.(type) {
	case nil:
		return b == nil
	case bool:
		b, ok := b.(bool)
		return ok && a == b
	case string:
		b, ok := b.(string)
		return ok && len(a) == len(b) && m.look(a) && a == b
	}
	result, ok := order(m, a, b)
	return ok && result == 0
}

// in reports whether a list has an item, or a table a key.
func in(m *message, item, of any) bool {
	switch of := of.(type) {
	case []any:
		for i := range of {
			if !m.spend(1) {
				return false
			}
			if equal(m, item, plain(of[i])) {
				return true
			}
		}
	case map[string]any:
		key, ok := item.(string)
		_, found := of[key]
		return ok && found
	case thump.Table:
		key, ok := item.(string)
		_, found := of.Get(key)
		return ok && m.spend(len(of)) && found
	}
	return false
}

// calculate is a operator b; nil where the two do not fit, or there is no result.
func calculate(m *message, operator string, a, b any) any {
	switch a := a.(type) {
	case int64:
		if b, ok := b.(int64); ok {
			return calculateWhole(operator, a, b)
		}
	case string:
		if b, ok := b.(string); ok && operator == "+" && m.look(a) && m.look(b) {
			return a + b
		}
		return nil
	case time.Time:
		return calculateTime(operator, a, b)
	case time.Duration:
		return calculateDuration(operator, a, b)
	}
	x, isNumber := number(a)
	y, areNumbers := number(b)
	if !isNumber || !areNumbers {
		return nil
	}
	switch operator {
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return x * y
	case "/":
		return x / y
	}
	return nil
}

func calculateWhole(operator string, a, b int64) any {
	switch operator {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "/":
		return float64(a) / float64(b)
	case "%":
		if b != 0 {
			return a % b
		}
	}
	return nil
}

func calculateTime(operator string, a time.Time, b any) any {
	switch b := b.(type) {
	case time.Time:
		if operator == "-" {
			return a.Sub(b)
		}
	case time.Duration:
		switch operator {
		case "+":
			return a.Add(b)
		case "-":
			return a.Add(-b)
		}
	}
	return nil
}

func calculateDuration(operator string, a time.Duration, b any) any {
	switch b := b.(type) {
	case time.Time:
		if operator == "+" {
			return b.Add(a)
		}
	case time.Duration:
		switch operator {
		case "+":
			return a + b
		case "-":
			return a - b
		}
	}
	return nil
}
