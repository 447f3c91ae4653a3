package thump_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/thumpmq/thump"

// layers is who may import whom: dependencies point down only. It is the map of
// the house; ARCHITECTURE.md draws the same.
var layers = map[string][]string{
	"internal/wire":        {},
	"internal/amqpproto":   {"internal/wire"},
	"internal/amqp10":      {"internal/wire"},
	"internal/streamproto": {"internal/amqp10", "internal/wire"},
	"internal/compress":    {},
	"internal/printable":   {},
	"internal/outcome":     {},
	"internal/secretfile":  {},
	"internal/version":     {},
	"internal/window":      {"internal/outcome"},
	"internal/transport":   {},
	"internal/amqpconn":    {"internal/amqpproto", "internal/outcome", "internal/printable", "internal/transport", "internal/window"},
	"internal/streamconn":  {"internal/compress", "internal/outcome", "internal/printable", "internal/streamproto", "internal/transport", "internal/version", "internal/window"},
	"": {
		"internal/amqp10", "internal/amqpconn", "internal/amqpproto", "internal/compress", "internal/outcome",
		"internal/printable", "internal/secretfile", "internal/streamconn", "internal/streamproto", "internal/transport", "internal/version", "internal/window",
	},

	"internal/ledger":     {},
	"internal/broker":     {},
	"internal/management": {"internal/printable"},
	"internal/record":     {"", "internal/printable"},
	"internal/dump":       {"", "internal/outcome", "internal/printable", "internal/record", "internal/version"},
	"internal/move":       {"", "internal/dump", "internal/outcome", "internal/version"},
	"cmd/thump": {
		"", "internal/broker", "internal/dump", "internal/management", "internal/move", "internal/outcome", "internal/printable",
		"internal/record", "internal/secretfile", "internal/version", "cmd/thump/internal/compare", "cmd/thump/internal/filter",
		"cmd/thump/internal/latency", "cmd/thump/internal/load", "cmd/thump/internal/metrics", "cmd/thump/internal/page", "cmd/thump/internal/places",
		"cmd/thump/internal/report", "cmd/thump/internal/result", "cmd/thump/internal/watch",
	},

	"cmd/thump/internal/filter":  {""},
	"cmd/thump/internal/latency": {"cmd/thump/internal/result"},
	"cmd/thump/internal/load":    {"", "internal/ledger", "cmd/thump/internal/latency", "cmd/thump/internal/result"},
	"cmd/thump/internal/page":    {"internal/printable", "cmd/thump/internal/compare", "cmd/thump/internal/latency", "cmd/thump/internal/report", "cmd/thump/internal/result"},
	"cmd/thump/internal/metrics": {"cmd/thump/internal/load", "cmd/thump/internal/result"},
	"cmd/thump/internal/places":  {"internal/secretfile"},
	"cmd/thump/internal/report":  {"internal/printable", "internal/version", "cmd/thump/internal/compare", "cmd/thump/internal/latency", "cmd/thump/internal/result"},
	"cmd/thump/internal/compare": {"cmd/thump/internal/result"},
	"cmd/thump/internal/result":  {"internal/printable"},
	"cmd/thump/internal/watch":   {"", "internal/management", "cmd/thump/internal/load", "cmd/thump/internal/result"},

	// Test support and measurement: nothing above imports them.
	"internal/fakebroker":             {"internal/amqp10", "internal/amqpproto", "internal/compress", "internal/streamproto"},
	"internal/brokertest":             {"internal/broker"},
	"internal/brokertest/withbrokers": {"internal/broker", "internal/brokertest"},
	"internal/conntest":               {"internal/fakebroker", "internal/outcome", "internal/transport", "internal/window"},
	"internal/mutate":                 {},
	"internal/conformance":            {},
	"internal/faulttest":              {},
	"internal/hostiletest":            {},
	"internal/docstest":               {},
	"cmd/thump/internal/browser":      {},
	"bench":                           {"", "internal/amqp10", "internal/amqpproto", "internal/broker", "internal/ledger", "internal/streamproto"},
}

// pure lists the packages that turn bytes into values and back, and do nothing
// else: no input or output, no clock, no goroutines.
var pure = []string{"internal/wire", "internal/printable", "internal/version", "internal/amqpproto", "internal/amqp10", "internal/streamproto"}

var impure = []string{"bufio", "context", "io", "net", "os", "sync", "sync/atomic", "syscall"}

func TestLayers(t *testing.T) {
	seen := make(map[string]bool)
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			if entry != nil && entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && file != "." {
				return fs.SkipDir
			}
			return err
		}
		checkImports(t, filepath.ToSlash(file), seen)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for folder := range layers {
		if !seen[folder] {
			t.Errorf("layers names %q, which has no Go files", folder)
		}
	}
}

func checkImports(t *testing.T, file string, seen map[string]bool) {
	t.Helper()
	folder := path.Dir(file)
	if folder == "." {
		folder = ""
	}
	seen[folder] = true
	allowed, known := layers[folder]
	if !known {
		t.Errorf("%s: package %q is not in layers", file, folder)
		return
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash(file), nil, parser.ImportsOnly)
	if err != nil {
		t.Error(err)
		return
	}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Error(err)
			continue
		}
		if ours, ok := strings.CutPrefix(imported, module); ok {
			if ours = strings.TrimPrefix(ours, "/"); !slices.Contains(allowed, ours) {
				t.Errorf("%s: imports %s, which its layer may not", file, imported)
			}
		} else if slices.Contains(pure, folder) && slices.Contains(impure, imported) {
			t.Errorf("%s: imports %s, and a codec is pure", file, imported)
		}
	}
}
