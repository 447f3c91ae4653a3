package main

import (
	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/filter"
)

// filterFlag is an expression that says which messages are wanted; none where it is nil.
type filterFlag struct{ filter *filter.Filter }

func (f *filterFlag) Type() string { return "expression" }

func (f *filterFlag) String() string {
	if f.filter == nil {
		return ""
	}
	return f.filter.String()
}

func (f *filterFlag) Set(text string) (err error) {
	f.filter, err = filter.Parse(text)
	return err
}

// skip is for move.Job and dump.Saving: it says which messages are not wanted; nil where all
// are.
func (f *filterFlag) skip() func(*thump.Delivery) (bool, error) {
	if f.filter == nil {
		return nil
	}
	return func(d *thump.Delivery) (bool, error) {
		wanted, err := f.filter.Match(d)
		return !wanted, err
	}
}
