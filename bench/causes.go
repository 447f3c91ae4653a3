package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/pprof/profile"
)

// cause is what processor time went to. A sample belongs to the first function, from the
// innermost outwards, that one of the causes is known by.
type cause struct {
	name     string
	prefixes []string // of the functions' full names
}

const module = "github.com/thumpmq/thump"

// causes are in the order in which they are looked at.
//
//nolint:gochecknoglobals // constant in all but syntax
var causes = []cause{
	{"system calls", []string{"internal/poll.", "syscall.", "internal/runtime/syscall"}},
	{"copying", []string{"runtime.memmove", "runtime.memclr"}},
	{"CRC", []string{"hash/crc32."}},
	{"compression", []string{module + "/internal/compress.", "github.com/klauspost/", "github.com/pierrec/"}},
	{"bytes to messages and back", []string{module + "/internal/streamproto.", module + "/internal/amqpproto.", module + "/internal/amqp10.", module + "/internal/wire."}},
	{"what is in flight", []string{module + "/internal/window."}},
	{"bodies made or checked", []string{module + "/internal/ledger."}},
	{"bench", []string{"main."}},
	{"connection", []string{module + "/internal/streamconn.", module + "/internal/amqpconn.", module + "/internal/transport."}},
	{"package thump", []string{module + "."}},
}

// causeOther is all else: mostly the scheduler and the garbage collector.
const causeOther = "Go's runtime"

// spent is the processor time of one process by cause.
type spent struct {
	Scenario string             `json:"scenario"`
	Peer     string             `json:"peer"`
	Role     string             `json:"role"`
	Samples  int                `json:"samples"` // too few mean little: one stands for 10 ms
	CPUNS    map[string]float64 `json:"cpu_ns"`  // a message, by cause
}

// profileName is the file of a peer's profile, which each round writes anew.
func profileName(peer string, s scenario, role string) string {
	return peer + "-" + s.Name + "-" + role + ".pprof"
}

// spentOnAll reads the profiles of all cells' last rounds.
func spentOnAll(folder string, r *record) ([]spent, error) {
	var all []spent
	for _, s := range r.scenarios {
		for _, c := range r.Cells {
			if c.Scenario != s.Name || c.Error != "" {
				continue
			}
			some, err := spentOn(folder, s, c)
			if err != nil {
				return nil, err
			}
			all = append(all, some...)
		}
	}
	return all, nil
}

// spentOn reads the profiles of a cell's last round. Peers of which there are none are left out.
func spentOn(folder string, s scenario, c *cell) ([]spent, error) {
	var all []spent
	for _, role := range rolesOf(s) {
		f, err := os.Open(filepath.Join(folder, profileName(c.Peer, s, role)))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		p, err := profile.Parse(f)
		_ = f.Close() // it was only read
		if err != nil {
			return nil, fmt.Errorf("the profile of %s in %s: %w", c.Peer, s.Name, err)
		}
		one := spent{Scenario: s.Name, Peer: c.Peer, Role: role}
		one.Samples, one.CPUNS = byCause(p, c.Count)
		all = append(all, one)
	}
	return all, nil
}

// byCause adds up a CPU profile of that many messages.
func byCause(p *profile.Profile, messages int) (samples int, ns map[string]float64) {
	const count, nanoseconds = 0, 1 // what a CPU profile of Go has for each sample
	ns = make(map[string]float64)
	for _, sample := range p.Sample {
		samples += int(sample.Value[count])
		ns[causeOf(sample)] += float64(sample.Value[nanoseconds]) / float64(messages)
	}
	return samples, ns
}

func causeOf(sample *profile.Sample) string {
	for _, location := range sample.Location { // the innermost first, also of inlined ones
		for _, line := range location.Line {
			if line.Function == nil {
				continue
			}
			for _, c := range causes {
				if slices.ContainsFunc(c.prefixes, func(p string) bool { return strings.HasPrefix(line.Function.Name, p) }) {
					return c.name
				}
			}
		}
	}
	return causeOther
}

// writeSpent prints the causes of a scenario, for each process the largest first.
func writeSpent(out io.Writer, s scenario, all []spent) {
	for _, one := range all {
		if one.Scenario != s.Name {
			continue
		}
		sum, names := 0.0, make([]string, 0, len(one.CPUNS))
		for name, ns := range one.CPUNS {
			sum += ns
			names = append(names, name)
		}
		slices.SortFunc(names, func(a, b string) int {
			return cmp.Or(cmp.Compare(one.CPUNS[b], one.CPUNS[a]), cmp.Compare(a, b))
		})
		parts := make([]string, len(names))
		for i, name := range names {
			parts[i] = fmt.Sprintf("%s %.1f", name, one.CPUNS[name])
		}
		_, _ = fmt.Fprintf(out, "  %s, %s: %.1f ns a message (%d samples): %s\n", one.Peer, one.Role, sum, one.Samples, strings.Join(parts, ", "))
	}
}
