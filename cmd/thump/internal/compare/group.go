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
	for _, source := range sources {
		own := len(groups)
		for _, r := range source.Runs {
			same := slices.IndexFunc(groups[own:], func(g Group) bool {
				return len(differences(settings(g.Runs[0]), settings(r))) == 0
			})
			if same >= 0 {
				g := &groups[own+same]
				g.Runs = append(g.Runs, r)
				continue
			}
			groups = append(groups, Group{Name: groupName(len(groups)), Source: source.Name, Runs: []*result.Run{r}})
		}
	}
	for i := range groups {
		if i > 0 {
			groups[i].Differs = differences(settings(groups[0].Runs[0]), settings(groups[i].Runs[0]))
		}
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
