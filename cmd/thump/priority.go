package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/thumpmq/thump/cmd/thump/internal/load"
)

// priorityFlag adds the flag for the priorities of messages.
func (cfg *config) priorityFlag(flags *pflag.FlagSet) {
	flags.Var((*prioritiesFlag)(&cfg.send.Priorities), "priority", "the messages' priorities: 5, or 0..9 or 1:80%,9:20% at random; a classic queue that is made gets as many levels; of several, run checks no order")
}

// prioritiesFlag are the priorities of messages.
type prioritiesFlag load.Priorities

func (f *prioritiesFlag) Type() string   { return "priorities" }
func (f *prioritiesFlag) String() string { return f.Text }

func (f *prioritiesFlag) Set(text string) error {
	p := load.Priorities{Text: text}
	var values []string
	switch least, most, two := strings.Cut(text, ".."); {
	case two:
		from, err := parsePriority(least)
		to, err2 := parsePriority(most)
		if errors.Join(err, err2) != nil || from >= to {
			return errors.New("must go from a priority to a higher one, like 0..9")
		}
		for level := int(from); level <= int(to); level++ {
			p.Levels, p.Shares = append(p.Levels, uint8(level)), append(p.Shares, 1)
		}
	case strings.HasSuffix(text, "%"):
		var err error
		if values, p.Shares, err = parseShares(text, load.PrioritiesMost); err != nil {
			return err
		}
	default:
		values, p.Shares = []string{text}, []float64{1}
	}
	for _, value := range values {
		level, err := parsePriority(value)
		if err != nil {
			return err
		}
		p.Levels = append(p.Levels, level)
	}
	*f = prioritiesFlag(p)
	return nil
}

func parsePriority(text string) (uint8, error) {
	level, err := strconv.ParseUint(strings.TrimSpace(text), 10, 8)
	if err != nil {
		return 0, fmt.Errorf("%q is no priority: it must be from 0 to 255, as in 5, 0..9 or 1:80%%,9:20%%", text)
	}
	return uint8(level), nil
}

// checkPriority says what is wrong with the flag.
func (cfg *config) checkPriority() error {
	if cfg.send.Priorities.Levels == nil {
		return nil
	}
	p, err := cfg.input.made()
	switch {
	case err == nil && p != nil && p.Priority != 0:
		return errors.New("--priority can't go with --property priority")
	case cfg.streamName+cfg.superStream != "" || cfg.kind.kind == kindStream || cfg.kind.kind == kindAll:
		return errors.New("--priority is for queues: a stream keeps the order of its messages")
	default:
		return nil
	}
}
