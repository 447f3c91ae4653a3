package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// scenarioMost is how large the file of a scenario may be.
const scenarioMost = 1 << 20

// readScenario sets the flags of the load that the file of --scenario has, by the same names. What
// the command line says is not changed.
func (cfg *config) readScenario() error {
	if cfg.scenario == "" {
		return nil
	}
	entries, err := scenarioEntries(cfg.scenario)
	if err != nil {
		return fmt.Errorf("--scenario %s: %w", cfg.scenario, err)
	}
	known := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(config).loadFlags(known)
	given := make(map[string]bool)
	cfg.flags.Visit(func(f *pflag.Flag) { given[f.Name] = true })
	for _, e := range entries {
		if e.name == "phases" {
			e.name = "rate"
		} else if known.Lookup(e.name) == nil {
			return fmt.Errorf("--scenario %s: line %d: %q is no flag that says what run sends and receives", cfg.scenario, e.line, e.name)
		}
		if _, list := cfg.flags.Lookup(e.name).Value.(pflag.SliceValue); len(e.values) > 1 && !list {
			return fmt.Errorf("--scenario %s: line %d: %s must be one value, not a list: one with commas where it may have parts, like a,b", cfg.scenario, e.line, e.name)
		}
		for _, value := range e.values {
			if given[e.name] {
				break
			}
			if err := cfg.flags.Set(e.name, value); err != nil {
				return fmt.Errorf("--scenario %s: line %d: %w", cfg.scenario, e.line, err)
			}
		}
	}
	return nil
}

// scenarioEntry is a flag and what it is set to: several times where it may be given so.
type scenarioEntry struct {
	name   string
	values []string
	line   int
}

func scenarioEntries(name string) ([]scenarioEntry, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, cause(err)
	}
	defer func() { _ = file.Close() }() // of what was read
	text, err := io.ReadAll(io.LimitReader(file, scenarioMost+1))
	if err != nil {
		return nil, cause(err)
	}
	if len(text) > scenarioMost {
		return nil, fmt.Errorf("it has more than %d bytes", scenarioMost)
	}
	return parseScenario(text)
}

// parseScenario reads a mapping of names to values. It takes nodes as they are: nothing that
// they refer to is expanded.
func parseScenario(text []byte) ([]scenarioEntry, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("it must have names of flags and their values, like publishers: 4")
	}
	var entries []scenarioEntry
	seen := make(map[string]bool)
	for pairs := doc.Content[0].Content; len(pairs) > 1; pairs = pairs[2:] {
		key, value := pairs[0], pairs[1]
		e := scenarioEntry{name: key.Value, line: key.Line}
		if key.Kind != yaml.ScalarNode || seen[e.name] || seen["rate"] && e.name == "phases" || seen["phases"] && e.name == "rate" {
			return nil, fmt.Errorf("line %d: %q is there twice, or no name", e.line, e.name)
		}
		seen[e.name] = true
		var err error
		if e.name == "phases" {
			e.values, err = phases(value)
		} else {
			e.values, err = scalars(value)
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// scalars are a value, or a list of them.
func scalars(node *yaml.Node) ([]string, error) {
	nodes := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode {
		nodes = node.Content
	}
	var values []string
	for _, n := range nodes {
		if n.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("line %d: it must be a value, or a list of values", n.Line)
		}
		values = append(values, n.Value)
	}
	return values, nil
}

// phases are the rates that follow each other, as --rate has them.
func phases(node *yaml.Node) ([]string, error) {
	wrong := fmt.Errorf("line %d: phases must be a list, each with a rate and a time: - {rate: 5k, for: 30s}", node.Line)
	if node.Kind != yaml.SequenceNode || len(node.Content) == 0 {
		return nil, wrong
	}
	var parts []string
	for _, phase := range node.Content {
		var rate, length string
		if phase.Kind != yaml.MappingNode {
			return nil, wrong
		}
		for pairs := phase.Content; len(pairs) > 1; pairs = pairs[2:] {
			switch value := pairs[1].Value; pairs[0].Value {
			case "rate":
				rate = value
			case "for":
				length = ":" + value
			default:
				return nil, wrong
			}
		}
		if rate == "" || strings.ContainsAny(rate+length[min(1, len(length)):], ",:") {
			return nil, wrong
		}
		parts = append(parts, rate+length)
	}
	return []string{strings.Join(parts, ",")}, nil
}
