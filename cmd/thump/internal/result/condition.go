package result

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Condition compares a figure of a run with a limit: "p99>20ms".
type Condition struct {
	text     string
	figure   Figure
	operator string
	limit    float64
}

// operators returns the operators, the longer ones first, so that they are found first.
func operators() []string { return []string{">=", "<=", "==", "!=", ">", "<"} }

// ParseCondition parses a name of Figures, an operator, and a limit in the unit of the
// figure: "receive_rate<50k", "p99.9 > 20ms", "lost>0", "memory>1GB". The error of an unknown
// name lists the names.
func ParseCondition(text string) (Condition, error) {
	at, operator := -1, ""
	for _, op := range operators() {
		if i := strings.Index(text, op); i >= 0 && (at < 0 || i < at) {
			at, operator = i, op
		}
	}
	if at < 0 {
		return Condition{}, fmt.Errorf("%q must be a figure, one of %s, and a limit, like p99>20ms or receive_rate<50k",
			text, strings.Join(operators(), " "))
	}
	name, limit := strings.TrimSpace(text[:at]), strings.TrimSpace(text[at+len(operator):])
	for _, figure := range Figures() {
		if figure.Name != name {
			continue
		}
		value, err := figure.Unit.parse(limit)
		if err != nil {
			return Condition{}, fmt.Errorf("%q: the limit of %s %w", text, name, err)
		}
		return Condition{name + operator + limit, figure, operator, value}, nil
	}
	return Condition{}, fmt.Errorf("%q: there is no figure %q; there are %s", text, name, strings.Join(figureNames(), ", "))
}

func figureNames() []string {
	var names []string
	for _, figure := range Figures() {
		names = append(names, figure.Name)
	}
	return names
}

// String is the condition as it was given, without spaces.
func (c Condition) String() string { return c.text }

// Figure is what the condition is about.
func (c Condition) Figure() Figure { return c.figure }

// ErrNotMeasured is the error of a condition about a figure that a run did not measure.
var ErrNotMeasured = errors.New("was not measured")

// Holds reports whether the condition holds for a run. It is ErrNotMeasured where nobody
// can tell.
func (c Condition) Holds(r *Run) (bool, error) {
	value := c.figure.Of(r)
	if value == nil {
		return false, fmt.Errorf("%s: %s %w", c, c.figure.Name, ErrNotMeasured)
	}
	switch c.operator {
	case ">=":
		return *value >= c.limit, nil
	case "<=":
		return *value <= c.limit, nil
	case "==":
		return *value == c.limit, nil
	case "!=":
		return *value != c.limit, nil
	case ">":
		return *value > c.limit, nil
	default:
		return *value < c.limit, nil
	}
}

// parse parses a number of the unit.
func (u Unit) parse(text string) (float64, error) {
	switch u {
	case Seconds:
		if text == "0" {
			return 0, nil
		}
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return 0, errors.New("must be a time like 20ms or 1.5s")
		}
		return d.Seconds(), nil
	case Bytes:
		n, err := scaled(text, "b", "kb", "mb", "gb")
		if err != nil {
			return 0, errors.New("must be a size like 500MB or 1GB")
		}
		return n, nil
	default:
		n, err := scaled(text, "", "k", "m", "g")
		if err != nil {
			return 0, errors.New("must be a number like 0, 2500, 50k or 1.5m")
		}
		return n, nil
	}
}

// scaled parses a number with one of the suffixes, which stand for 1, a thousand, a million
// and so on.
func scaled(text string, suffixes ...string) (float64, error) {
	number := strings.TrimRight(strings.ToLower(text), "abcdefghijklmnopqrstuvwxyz")
	suffix := strings.ToLower(text)[len(number):]
	scale := 1.0
	for _, s := range suffixes {
		if s == suffix || suffix == "" {
			n, err := strconv.ParseFloat(number, 64)
			if err != nil || n < 0 || strings.ContainsAny(number, "_+") {
				return 0, errors.New("not a number")
			}
			return n * scale, nil
		}
		scale *= 1000
	}
	return 0, errors.New("not a unit")
}
