package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write licenses.txt")

// TestLicenses compares licenses.txt with the licences in the modules that the command is
// built from, on any system. To write it: go test ./cmd/thump -run TestLicenses -update
func TestLicenses(t *testing.T) {
	const file = "licenses.txt"
	want := allLicenses(t)
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s does not have the licences of what the command is built from; -update writes\n%s", file, want)
	}
}

// licenseName is what projects call the file with their licence, or with what it asks
// to be passed on.
var licenseName = regexp.MustCompile(`(?i)^(un)?licen[cs]e|^copying|^notice`)

func allLicenses(t *testing.T) string {
	var all strings.Builder
	add := func(name, file string) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s\n%s\n%s\n\n%s\n\n", ruler, name, ruler, strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n")))
	}
	const own = "github.com/thumpmq/thump"
	add(own, "../../LICENSE")
	modules := licensedModules(t)
	for _, module := range slices.Sorted(maps.Keys(modules)) {
		files := modules[module]
		if module == own || module == own+"/cmd/thump" {
			continue
		}
		if len(files) == 0 {
			t.Errorf("found no licence of %s", module)
		}
		for _, name := range slices.Sorted(maps.Keys(files)) {
			add(module+", "+name, files[name])
		}
	}
	add("Go and its standard library", filepath.Join(goOutput(t, "env", "GOROOT")[0], "LICENSE"))
	return strings.TrimSpace(all.String()) + "\n"
}

const ruler = "------------------------------------------------------------------------"

// licensedModules are the modules that packages of the command come from, each with the
// licences in those packages' folders and in the folders above them: the path of each, by
// its name in the module.
func licensedModules(t *testing.T) map[string]map[string]string {
	modules := map[string]map[string]string{}
	for _, system := range []string{"linux", "darwin", "windows", "freebsd"} {
		t.Setenv("GOOS", system)
		for _, line := range goOutput(t, "list", "-deps", "-f", "{{with .Module}}{{.Path}}\t{{.Dir}}\t{{$.Dir}}{{end}}", ".") {
			module, rest, ok := strings.Cut(line, "\t")
			if !ok {
				continue // of the standard library
			}
			root, folder, _ := strings.Cut(rest, "\t")
			if modules[module] == nil {
				modules[module] = map[string]string{}
			}
			for ; strings.HasPrefix(folder, root); folder = filepath.Dir(folder) {
				for _, file := range licensesIn(t, folder) {
					name := strings.TrimPrefix(strings.TrimPrefix(file, root), string(filepath.Separator))
					modules[module][filepath.ToSlash(name)] = file
				}
			}
		}
	}
	return modules
}

func licensesIn(t *testing.T, folder string) []string {
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, entry := range entries {
		if entry.Type().IsRegular() && licenseName.MatchString(entry.Name()) && filepath.Ext(entry.Name()) != ".go" {
			files = append(files, filepath.Join(folder, entry.Name()))
		}
	}
	return files
}

func goOutput(t *testing.T, arguments ...string) []string {
	output, err := exec.Command("go", arguments...).Output()
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(arguments, " "), err)
	}
	return strings.Split(strings.TrimSpace(string(output)), "\n")
}
