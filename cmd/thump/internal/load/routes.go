package load

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// Routes says how messages come through an exchange to the queues of a run.
//
// The run has to know how often it is to receive each message. So every message must have the same
// number of copies, and the queues fall into as many groups: of each group one queue gets it. Each
// group is then accounted for by itself. Those of a fanout exchange have one queue each; queues
// with different keys of a direct one are one group.
type Routes struct {
	Exchange string
	Kind     ExchangeType
	Keys     Keys // of the messages
	Bindings []Binding

	copyOf []int // the group of each queue
}

// Binding is a binding of one of the queues.
type Binding struct {
	Queue int // its place among them
	Key   string
}

// ExchangeType is a type of exchange.
type ExchangeType string

// The types. Headers stands for bindings with the headers that all messages have.
const (
	Direct  ExchangeType = "direct"
	Topic   ExchangeType = "topic"
	Fanout  ExchangeType = "fanout"
	Headers ExchangeType = "headers"
)

// ExchangeTypes are all of them.
func ExchangeTypes() []ExchangeType { return []ExchangeType{Direct, Topic, Fanout, Headers} }

// leads reports whether a binding with that key takes a message with that routing key.
func (k ExchangeType) leads(binding, routing string) bool {
	switch k {
	case Direct:
		return binding == routing
	case Topic:
		return topicMatches(strings.Split(binding, "."), strings.Split(routing, "."))
	default:
		return true
	}
}

// topicMatches reports whether a topic exchange takes words for a pattern: * is one word, # any
// number.
func topicMatches(pattern, words []string) bool {
	// reached[i] says that the pattern so far takes the first i words.
	reached := make([]bool, len(words)+1)
	reached[0] = true
	for _, p := range pattern {
		next := make([]bool, len(words)+1)
		for i, there := range reached {
			switch {
			case p == "#":
				next[i] = there || i > 0 && next[i-1]
			case i > 0:
				next[i] = reached[i-1] && (p == "*" || p == words[i-1])
			}
		}
		reached = next
	}
	return reached[len(words)]
}

// Copies is how many queues get each message.
func (r *Routes) Copies() int { return slices.Max(r.copyOf) + 1 }

// Check says what is wrong with the routes to so many queues with these names, and finds their groups.
func (r *Routes) Check(names []string) error {
	takes := make([][]bool, len(names)) // which of the keys each queue gets
	for i := range takes {
		takes[i] = make([]bool, len(r.Keys.Keys))
	}
	for _, b := range r.Bindings {
		for k, key := range r.Keys.Keys {
			takes[b.Queue][k] = takes[b.Queue][k] || r.Kind.leads(b.Key, key)
		}
	}
	for i, keys := range takes {
		if !slices.Contains(keys, true) {
			return fmt.Errorf("no message comes to the queue %q: none has a routing key that leads there", names[i])
		}
	}
	if err := r.checkCopies(takes); err != nil {
		return err
	}
	return r.group(takes)
}

// checkCopies says which key leads to no queue, or to fewer than another. takes is which of the keys
// each queue gets.
func (r *Routes) checkCopies(takes [][]bool) error {
	copies := make([]int, len(r.Keys.Keys))
	for _, keys := range takes {
		for k, there := range keys {
			if there {
				copies[k]++
			}
		}
	}
	most := slices.Max(copies)
	for k, key := range r.Keys.Keys {
		switch copies[k] {
		case most:
		case 0:
			return fmt.Errorf("the routing key %q leads to no queue", key)
		default:
			return fmt.Errorf("the routing key %q leads to fewer queues than others: run accounts for messages that all have as many copies", key)
		}
	}
	return nil
}

// group finds the group of each queue: first of those with most keys, so that the others fill up.
func (r *Routes) group(takes [][]bool) error {
	order := make([]int, len(takes))
	for i := range order {
		order[i] = i
	}
	many := func(queue int) (n int) {
		for _, there := range takes[queue] {
			if there {
				n++
			}
		}
		return n
	}
	slices.SortStableFunc(order, func(a, b int) int { return many(b) - many(a) })
	var groups [][]bool // which of the keys the queues of each group get
	r.copyOf = make([]int, len(takes))
	for _, i := range order {
		keys := takes[i]
		at := slices.IndexFunc(groups, func(g []bool) bool { return !overlap(g, keys) })
		if at < 0 {
			at, groups = len(groups), append(groups, make([]bool, len(keys)))
		}
		r.copyOf[i] = at
		for k, there := range keys {
			groups[at][k] = groups[at][k] || there
		}
	}
	for _, g := range groups {
		if slices.Contains(g, false) {
			return errors.New("the queues can't be divided into groups, of which each gets every message once: run accounts for one group by itself")
		}
	}
	return nil
}

func overlap(a, b []bool) bool {
	for i := range a {
		if a[i] && b[i] {
			return true
		}
	}
	return false
}

func (r *Routes) describe(s *result.Settings) {
	s.Exchange, s.ExchangeType, s.RoutingKeys, s.Copies = r.Exchange, string(r.Kind), r.Keys.Text, r.Copies()
}
