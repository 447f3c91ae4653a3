package filter

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
)

// node is a part of an expression: what it is worth for a message.
type node func(*message) any

// compiler turns a checked tree into nodes. What the language has and a filter has not is
// an error.
type compiler struct {
	text      string
	err       *Error // the first
	needsBody bool
}

func (c *compiler) fail(at ast.Node, format string, args ...any) node {
	if c.err == nil {
		c.err = &Error{Text: c.text, Column: at.Location().From + 1, Reason: fmt.Sprintf(format, args...)}
	}
	return constant(nil)
}

func constant(v any) node { return func(*message) any { return v } }

func (c *compiler) compile(n ast.Node) node {
	switch n := n.(type) {
	case *ast.NilNode:
		return constant(nil)
	case *ast.BoolNode:
		return constant(n.Value)
	case *ast.IntegerNode:
		return constant(int64(n.Value))
	case *ast.FloatNode:
		return constant(n.Value)
	case *ast.StringNode:
		return constant(n.Value)
	case *ast.ArrayNode:
		return c.list(n)
	case *ast.IdentifierNode:
		return c.name(n)
	case *ast.PointerNode:
		return c.pointer(n)
	case *ast.ChainNode: // what "?." makes: here every "." is one
		return c.compile(n.Node)
	case *ast.MemberNode:
		return c.member(n)
	case *ast.UnaryNode:
		return c.unary(n)
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.ConditionalNode:
		return c.conditional(n)
	case *ast.BuiltinNode:
		return c.call(n)
	}
	return c.fail(n, "a filter has no %s", construct(n))
}

// construct is what the language has and a filter has not, in words.
func construct(n ast.Node) string {
	switch n := n.(type) {
	case *ast.CallNode:
		if name, ok := n.Callee.(*ast.IdentifierNode); ok {
			return "function " + name.Value
		}
		return "methods"
	case *ast.VariableDeclaratorNode:
		return "variables"
	case *ast.SequenceNode:
		return "sequences"
	case *ast.MapNode:
		return "tables of its own"
	case *ast.SliceNode:
		return "slices"
	}
	return strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%T", n), "*ast."), "Node"))
}

func (c *compiler) list(n *ast.ArrayNode) node {
	items := make([]node, len(n.Nodes))
	fixed := true
	for i, item := range n.Nodes {
		items[i] = c.compile(item)
		fixed = fixed && isLiteral(item)
	}
	values := func(m *message) any {
		made := make([]any, len(items))
		for i, item := range items {
			made[i] = item(m)
		}
		return made
	}
	if fixed {
		return constant(values(nil)) // once, not for each message
	}
	return values
}

// isLiteral reports whether n asks no message.
func isLiteral(n ast.Node) bool {
	switch n.(type) {
	case *ast.NilNode, *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.StringNode:
		return true
	}
	return false
}

func (c *compiler) name(n *ast.IdentifierNode) node {
	name := n.Value
	if name == "body" || name == "json" {
		c.needsBody = true
	}
	if strings.HasPrefix(name, "$") {
		return c.fail(n, "a filter has no %s", name)
	}
	return func(m *message) any { return m.get(name) }
}

// pointer is the item that the predicate around is asked about.
func (c *compiler) pointer(n *ast.PointerNode) node {
	if n.Name != "" {
		return c.fail(n, "a filter has no #%s", n.Name)
	}
	return func(m *message) any { return m.items[len(m.items)-1] }
}

func (c *compiler) member(n *ast.MemberNode) node {
	key, isText := n.Property.(*ast.StringNode)
	if of, ok := n.Node.(*ast.IdentifierNode); ok && of.Value == "headers" && isText {
		return func(m *message) any { return plain(m.delivery.Header(key.Value)) }
	}
	value, property := c.compile(n.Node), c.compile(n.Property)
	return func(m *message) any {
		of := value(m)
		return member(of, property(m))
	}
}

func (c *compiler) unary(n *ast.UnaryNode) node {
	value := c.compile(n.Node)
	switch n.Operator {
	case "not", "!":
		return func(m *message) any { return !isTrue(value(m)) }
	case "-":
		return func(m *message) any {
			v := value(m)
			if d, ok := v.(time.Duration); ok {
				return -d
			}
			return calculate(m, "-", int64(0), v)
		}
	}
	return c.fail(n, "a filter has no operator %s", n.Operator)
}

func (c *compiler) binary(n *ast.BinaryNode) node {
	if n.Operator == "matches" {
		return c.matches(n)
	}
	left, right := c.compile(n.Left), c.compile(n.Right)
	switch n.Operator {
	case "and", "&&":
		return func(m *message) any { return isTrue(left(m)) && isTrue(right(m)) }
	case "or", "||":
		return func(m *message) any { return isTrue(left(m)) || isTrue(right(m)) }
	case "??":
		return func(m *message) any {
			if v := left(m); v != nil {
				return v
			}
			return right(m)
		}
	case "==":
		return func(m *message) any { return equal(m, left(m), right(m)) }
	case "!=":
		return func(m *message) any { return !equal(m, left(m), right(m)) }
	case "<", "<=", ">", ">=":
		return comparison(n.Operator, left, right)
	case "in":
		return func(m *message) any { return in(m, left(m), right(m)) }
	case "contains", "startsWith", "endsWith":
		return search(n.Operator, left, right)
	case "+", "-", "*", "/", "%":
		operator := n.Operator
		return func(m *message) any { return calculate(m, operator, left(m), right(m)) }
	}
	return c.fail(n, "a filter has no operator %s", n.Operator)
}

func comparison(operator string, left, right node) node {
	holds := map[string]func(int) bool{
		"<":  func(order int) bool { return order < 0 },
		"<=": func(order int) bool { return order <= 0 },
		">":  func(order int) bool { return order > 0 },
		">=": func(order int) bool { return order >= 0 },
	}[operator]
	return func(m *message) any {
		order, ok := order(m, left(m), right(m))
		return ok && holds(order)
	}
}

func search(operator string, left, right node) node {
	found := map[string]func(text, part string) bool{
		"contains": strings.Contains, "startsWith": strings.HasPrefix, "endsWith": strings.HasSuffix,
	}[operator]
	return func(m *message) any {
		text, isText := left(m).(string)
		part, areTexts := right(m).(string)
		return isText && areTexts && m.look(text) && found(text, part)
	}
}

// matches takes only a pattern that is written in the expression: a message may hold one
// that is made to be slow.
func (c *compiler) matches(n *ast.BinaryNode) node {
	pattern, ok := n.Right.(*ast.StringNode)
	if !ok {
		return c.fail(n.Right, "the pattern of matches must be a text in quotes")
	}
	expression, err := regexp.Compile(pattern.Value)
	if err != nil {
		return c.fail(n.Right, "%v", err)
	}
	left := c.compile(n.Left)
	return func(m *message) any {
		text, ok := left(m).(string)
		return ok && m.look(text) && expression.MatchString(text)
	}
}

func (c *compiler) conditional(n *ast.ConditionalNode) node {
	condition, then, otherwise := c.compile(n.Cond), c.compile(n.Exp1), c.compile(n.Exp2)
	return func(m *message) any {
		if isTrue(condition(m)) {
			return then(m)
		}
		return otherwise(m)
	}
}

// kindOf is the kind of value that an expression always has, if it is never true or
// false; else "".
func kindOf(n ast.Node) string {
	t := n.Type()
	if t == nil || t == reflect.TypeFor[any]() || t.Kind() == reflect.Bool {
		return ""
	}
	switch {
	case t.Kind() == reflect.String:
		return "a text"
	case t.Kind() == reflect.Slice:
		return "a list"
	case t.Kind() == reflect.Map:
		return "a table"
	case t == reflect.TypeFor[time.Time]():
		return "a time"
	case t == reflect.TypeFor[time.Duration]():
		return "a duration"
	}
	return "a number"
}
