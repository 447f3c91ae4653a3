package filter

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"

	"github.com/thumpmq/thump"
)

// functions take one value and make another of it: nil where they can't.
//
//nolint:gochecknoglobals // a table
var functions = map[string]func(m *message, v any) any{
	"len":      length,
	"lower":    func(m *message, v any) any { return textFunction(m, v, strings.ToLower) },
	"upper":    func(m *message, v any) any { return textFunction(m, v, strings.ToUpper) },
	"trim":     func(m *message, v any) any { return textFunction(m, v, strings.TrimSpace) },
	"int":      whole,
	"float":    fraction,
	"date":     date,
	"duration": duration,
}

// predicates ask about the items of a list.
//
//nolint:gochecknoglobals // a table
var predicates = map[string]struct {
	// answer is what follows from the condition being true of hits of the items.
	answer func(hits, items int) any
	// done reports whether the rest of the list makes no difference.
	done func(hits, items int) bool
}{
	"any":   {func(hits, _ int) any { return hits > 0 }, func(hits, _ int) bool { return hits > 0 }},
	"all":   {func(hits, items int) any { return hits == items }, func(hits, items int) bool { return hits < items }},
	"none":  {func(hits, _ int) any { return hits == 0 }, func(hits, _ int) bool { return hits > 0 }},
	"one":   {func(hits, _ int) any { return hits == 1 }, func(hits, _ int) bool { return hits > 1 }},
	"count": {func(hits, _ int) any { return int64(hits) }, func(int, int) bool { return false }},
}

// offered reports whether a filter has the language's function of that name.
func offered(name string) bool {
	_, isFunction := functions[name]
	_, isPredicate := predicates[name]
	return isFunction || isPredicate || name == "now"
}

func (c *compiler) call(n *ast.BuiltinNode) node {
	if n.Name == "now" {
		return func(*message) any { return time.Now() }
	}
	if _, ok := predicates[n.Name]; ok && len(n.Arguments) == 2 {
		return c.predicate(n)
	}
	function, ok := functions[n.Name]
	if !ok || len(n.Arguments) != 1 {
		return c.fail(n, "a filter has no %s with %d arguments", n.Name, len(n.Arguments))
	}
	argument := c.compile(n.Arguments[0])
	if isLiteral(n.Arguments[0]) {
		return c.folded(n, function(&message{left: stepsMax}, argument(nil)))
	}
	return func(m *message) any { return function(m, argument(m)) }
}

// folded is a function of what the expression itself says. There a mistake is the user's.
func (c *compiler) folded(n *ast.BuiltinNode, v any) node {
	if v != nil {
		return constant(v)
	}
	expects := map[string]string{
		"date":     `a time like "2026-11-23" or "2026-11-23T10:00:00Z"`,
		"duration": `a time like "90s" or "1h30m"`,
	}[n.Name]
	if expects == "" {
		expects = "another value"
	}
	return c.fail(n.Arguments[0], "%s needs %s", n.Name, expects)
}

func (c *compiler) predicate(n *ast.BuiltinNode) node {
	body, ok := n.Arguments[1].(*ast.PredicateNode)
	if !ok {
		return c.fail(n, "%s needs a condition", n.Name)
	}
	kind := predicates[n.Name]
	list, holds := c.compile(n.Arguments[0]), c.compile(body.Node)
	return func(m *message) any {
		items, _ := list(m).([]any)
		hits := 0
		for i, item := range items {
			if !m.spend(1) {
				return nil
			}
			m.items = append(m.items, plain(item))
			if isTrue(holds(m)) {
				hits++
			}
			m.items = m.items[:len(m.items)-1]
			if kind.done(hits, i+1) {
				return kind.answer(hits, i+1)
			}
		}
		return kind.answer(hits, len(items))
	}
}

// length counts characters of a text, items of a list, fields of a table.
func length(m *message, v any) any {
	switch v := v.(type) {
	case string:
		m.look(v)
		return int64(utf8.RuneCountInString(v))
	case []any:
		return int64(len(v))
	case map[string]any:
		return int64(len(v))
	case thump.Table:
		return int64(len(v))
	}
	return nil
}

func textFunction(m *message, v any, function func(string) string) any {
	text, ok := v.(string)
	if !ok || !m.look(text) {
		return nil
	}
	return function(text)
}

func whole(_ *message, v any) any {
	switch v := v.(type) {
	case int64:
		return v
	case float64:
		return int64(v)
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return n
		}
	}
	return nil
}

func fraction(_ *message, v any) any {
	if f, ok := number(v); ok {
		return f
	}
	if text, ok := v.(string); ok {
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return f
		}
	}
	return nil
}

// date takes a text of RFC 3339 or a day, which begins in UTC, or seconds since 1970.
func date(_ *message, v any) any {
	switch v := v.(type) {
	case time.Time:
		return v
	case int64:
		return time.Unix(v, 0)
	case string:
		for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
			if t, err := time.Parse(layout, v); err == nil {
				return t
			}
		}
	}
	return nil
}

func duration(_ *message, v any) any {
	if text, ok := v.(string); ok {
		if d, err := time.ParseDuration(text); err == nil {
			return d
		}
	}
	return nil
}
