// Package filter says which messages somebody wants: an expression over what a delivery
// has, such as
//
//	routing_key startsWith "eu." and headers.attempt > 3
//
// docs/filter.md describes the language. Its grammar, its parser and its checks are those
// of github.com/expr-lang/expr. Evaluation is this package's own, because what a message
// holds is a stranger's: a filter never fails because of what is in a message, and what
// it may take of time and memory is bounded, which that library's machine does not promise.
package filter

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"

	"github.com/thumpmq/thump"
)

// textMax is how many bytes an expression may have. The parser calls itself for each
// bracket.
const textMax = 16 << 10

// Filter is a parsed expression. It does not change, and may be used by any number of
// goroutines, each with deliveries of its own.
type Filter struct {
	text      string
	root      node
	needsBody bool
}

// Error says what is wrong with an expression, and where.
type Error struct {
	Text   string // the expression
	Column int    // the character of Text where it is wrong, from 1
	Reason string
}

// Error is the reason and the place, in one line.
func (e *Error) Error() string {
	rest := e.Text
	for range e.Column - 1 {
		_, n := utf8.DecodeRuneInString(rest)
		rest = rest[n:]
	}
	if rest == "" {
		return fmt.Sprintf("%s, at the end of %q", e.Reason, shortened(e.Text, len(e.Text)-40))
	}
	return fmt.Sprintf("%s, at column %d: %q", e.Reason, e.Column, shortened(rest, 0))
}

// shortened is some of a text from a byte on.
func shortened(text string, from int) string {
	const most = 40
	text = strings.ToValidUTF8(text[max(from, 0):], "")
	for i := range text {
		if i > most {
			return text[:i] + "..."
		}
	}
	return text
}

// Parse parses an expression. The error is an *Error.
func Parse(text string) (f *Filter, err error) {
	if len(text) > textMax {
		return nil, &Error{Text: text, Column: 1, Reason: fmt.Sprintf("a filter has at most %d bytes, and this one %d", textMax, len(text))}
	}
	if strings.TrimSpace(text) == "" {
		return nil, &Error{Text: text, Column: 1, Reason: "the filter is empty"}
	}
	defer func() { // the parser is another's, and an expression may come from a file
		if r := recover(); r != nil {
			f, err = nil, &Error{Text: text, Column: 1, Reason: fmt.Sprintf("can't be parsed: %v", r)}
		}
	}()
	config := conf.New(names{})
	for _, f := range builtin.Builtins {
		config.Disabled[f.Name] = !offered(f.Name)
	}
	tree, err := checker.ParseCheck(text, config)
	if err != nil {
		return nil, refused(text, err)
	}
	c := compiler{text: text}
	root := c.compile(tree.Node)
	if c.err != nil {
		return nil, c.err
	}
	if k := kindOf(tree.Node); k != "" {
		return nil, &Error{Text: text, Column: 1, Reason: "a filter must be true or false, and this is " + k}
	}
	return &Filter{text: text, root: root, needsBody: c.needsBody}, nil
}

// refused is the parser's or the checker's error as one of ours.
func refused(text string, err error) *Error {
	e := &Error{Text: text, Column: 1, Reason: err.Error()}
	at, ok := errors.AsType[*file.Error](err)
	if !ok {
		return e
	}
	e.Column, e.Reason = at.From+1, token.ReplaceAllString(at.Message, "$1")
	switch {
	case e.Reason == "unexpected token EOF":
		e.Column, e.Reason = utf8.RuneCountInString(text)+1, "something is missing"
	case strings.HasPrefix(e.Reason, "unknown name"):
		e.Reason += " (known are " + knownNames() + ")"
	}
	return e
}

// token is how the parser names a piece of the expression: Operator(">").
var token = regexp.MustCompile(`\w+\((".*")\)$`)

// String is the expression.
func (f *Filter) String() string { return f.text }

// NeedsBody reports whether the expression asks for anything of the body but its size.
func (f *Filter) NeedsBody() bool { return f.needsBody }

// Match reports whether the expression is true of d. What d does not have is nil, which
// is no error. An error means that the expression can't be evaluated within its limits:
// the body is too large to be read as JSON, or comparing one part of the message with
// another takes too many steps. Match keeps nothing of d. It parses the properties if it
// needs them, so it counts as a use of them (see thump.Delivery).
func (f *Filter) Match(d *thump.Delivery) (bool, error) {
	m := message{delivery: d, left: stepsMax}
	matches := isTrue(f.root(&m))
	if m.err != nil {
		return false, fmt.Errorf("filter %q: %w", shortened(f.text, 0), m.err)
	}
	return matches, nil
}

// Flag is a filter as the value of a flag (pflag.Value). Filter is nil until it is set.
type Flag struct{ Filter *Filter }

// String is the expression; empty where there is none.
func (f *Flag) String() string {
	if f.Filter == nil {
		return ""
	}
	return f.Filter.String()
}

// Set parses the expression.
func (f *Flag) Set(text string) (err error) {
	f.Filter, err = Parse(text)
	return err
}

// Type is what help calls the value.
func (f *Flag) Type() string { return "EXPR" }
