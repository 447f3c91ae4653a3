// Package compare puts runs beside each other, and says which differences noise explains.
// Its functions are pure.
package compare

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// Group is runs of the same settings, which are judged together.
type Group struct {
	Name   string // "A", "B"; after "Z" numbers
	Source string // the name of the file that they come from
	Runs   []*result.Run
	// Differs says in which settings it differs from the first group: "prefetch 1".
	Differs []string
}

// Source is a file with runs.
type Source struct {
	Name string
	Runs []*result.Run
}

// Groups returns the runs of all sources in groups: those of one source with the same settings
// are a group.
func Groups(sources ...Source) []Group {
	var groups []Group
	var each []map[string]string // the settings of the groups
	for _, source := range sources {
		same := map[string]int{} // the groups of this source, by their settings
		for _, r := range source.Runs {
			all := settings(r)
			key := fmt.Sprintf("%q", all) // in the order of the names
			i, ok := same[key]
			if !ok {
				i = len(groups)
				same[key] = i
				groups, each = append(groups, Group{Name: groupName(i), Source: source.Name}), append(each, all)
			}
			groups[i].Runs = append(groups[i].Runs, r)
		}
	}
	for i := range groups {
		groups[i].Differs = differences(each[0], each[i])
	}
	return groups
}

func groupName(i int) string {
	if i < 26 {
		return string(rune('A' + i))
	}
	return fmt.Sprint(i + 1)
}

// settings are those of a run under their names in the record, and what it ran on.
func settings(r *result.Run) map[string]string {
	var all map[string]json.RawMessage
	text, err := json.Marshal(r.Settings)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		panic(err) // they are strings and numbers
	}
	// What was free on the disk is no setting.
	delete(all, "disk_bytes")
	delete(all, "disk_free_bytes")
	named := map[string]string{"command": r.Command, "broker": strings.TrimSpace(r.Broker.Product + " " + r.Broker.Version)}
	for key, value := range all {
		text := string(value)
		var unquoted string
		if json.Unmarshal(value, &unquoted) == nil {
			text = unquoted
		}
		named[strings.ReplaceAll(key, "_", " ")] = text
	}
	return named
}

// differences says what b has that a has not: "prefetch 1".
func differences(a, b map[string]string) []string {
	var texts []string
	for _, key := range slices.Sorted(maps.Keys(b)) {
		if a[key] != b[key] {
			value := b[key]
			if value == "" {
				value = "none"
			}
			texts = append(texts, key+" "+value)
		}
	}
	return texts
}
