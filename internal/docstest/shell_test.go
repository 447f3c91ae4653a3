package docstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Nothing listens there, so a command that gets as far as connecting was right.
const (
	nowhere        = "amqp://127.0.0.1:1/"
	nowhereStreams = "rabbitmq-stream://127.0.0.1:1/"
)

// TestShell runs the manual's command lines of thump, and those in the cookbook's tables, without a broker: a wrong flag
// or argument fails before thump looks for one. Those that start a broker are asked
// for their help instead, which fails for unknown flags, and so are those that read a dump or a kept run.
func TestShell(t *testing.T) {
	thump := filepath.Join(t.TempDir(), "thump")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", thump, "./cmd/thump")
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	urlFile := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(urlFile, []byte(nowhere), 0o600); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(config, []byte("[places.staging]\nurl = \""+nowhere+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environment := append(os.Environ(), "THUMP_CONFIG="+config, "THUMP_URL="+nowhere, "THUMP_STREAM_URL=", "THUMP_HOME="+t.TempDir())
	for _, b := range append(blocks(t, "sh"), cookbookTables(t)...) {
		for i, line := range strings.Split(b.code, "\n") {
			for _, args := range thumpCommands(line) {
				offline, connects := withoutBroker(args, urlFile)
				cmd := exec.CommandContext(t.Context(), thump, offline...)
				cmd.Env, cmd.Dir = environment, t.TempDir()
				makeFiles(t, cmd.Dir, args)
				output, err := cmd.CombinedOutput()
				if right := err == nil || connects && strings.Contains(string(output), "connection refused"); !right {
					t.Errorf("%s:%d: thump %s: %v\n%s", b.page, b.line+i, strings.Join(args, " "), err, output)
				}
			}
		}
	}
}

// cookbook is the page whose tables have command lines of thump beside those of other tools.
const cookbook = "docs/cookbook.md"

var code = regexp.MustCompile("`([^`]*)`")

// cookbookTables returns the command lines of thump in those tables, a block for each row.
func cookbookTables(t *testing.T) (list []block) {
	t.Helper()
	for _, p := range manual(t) {
		if p.name != cookbook {
			continue
		}
		for i, line := range strings.Split(p.text, "\n") {
			if !strings.HasPrefix(line, "|") {
				continue
			}
			var lines []string
			for _, span := range code.FindAllStringSubmatch(strings.ReplaceAll(line, `\|`, "|"), -1) {
				if strings.Contains(span[1], "thump ") {
					lines = append(lines, span[1])
				}
			}
			if len(lines) > 0 {
				list = append(list, block{page: p.name, line: i + 1, lang: "sh", code: strings.Join(lines, "; ")})
			}
		}
	}
	if len(list) < 10 {
		t.Fatalf("%s has %d rows with command lines of thump", cookbook, len(list))
	}
	return list
}

// isFile is an argument of thump send that is the name of a file, and isScenario one of run.
var (
	isFile     = regexp.MustCompile(`^[a-z0-9-]+\.(txt|ndjson|ndjson\.zst)$`)
	isScenario = regexp.MustCompile(`^[a-z0-9-]+\.yaml$`)
)

// makeFiles makes the files that thump send is to send, and that run is to read, which are
// looked for before a broker.
func makeFiles(t *testing.T, folder string, args []string) {
	t.Helper()
	for _, arg := range args[1:] {
		var content string
		switch {
		case args[0] == "send" && isFile.MatchString(arg):
		case args[0] == "run" && isScenario.MatchString(arg):
			content = "count: 10\n"
		default:
			continue
		}
		if err := os.WriteFile(filepath.Join(folder, arg), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// withoutBroker changes a command line so that it does nothing to any broker, and
// reports whether it still tries to connect. urlFile holds the URL of nobody.
func withoutBroker(args []string, urlFile string) (offline []string, connects bool) {
	offline = slices.Clone(args)
	if args[0] == "broker" || args[0] == "completion" || args[0] == "man" || slices.Contains(args, "--private") ||
		args[0] == "restore" || args[0] == "report" || slices.Contains(args, "--verify") { // which look for their file first
		return append(offline, "--help"), false
	}
	for i, arg := range args[:len(args)-1] {
		switch {
		case arg == "--stream-url", arg == "--url" && strings.HasPrefix(args[i+1], "rabbitmq-stream"):
			offline[i+1] = nowhereStreams
		case arg == "--url":
			offline[i+1] = nowhere
		case arg == "--url-file":
			offline[i+1] = urlFile
		case arg == "--url-command":
			offline[i+1] = "echo " + nowhere
		}
	}
	return offline, true
}

var (
	comment = regexp.MustCompile(`(^|\s)#.*`)
	// A command ends a line, or with what joins it to the next.
	command = regexp.MustCompile(`(?:^|[\s(])(?:bin/)?thump((?:"[^"]*"|'[^']*'|[^|&;<>)"'])*)`)
	word    = regexp.MustCompile(`"[^"]*"|'[^']*'|[^\s"']+`)
)

// thumpCommands returns the arguments of each thump in a line.
func thumpCommands(line string) (list [][]string) {
	for _, match := range command.FindAllStringSubmatch(comment.ReplaceAllString(line, ""), -1) {
		var args []string
		for _, arg := range word.FindAllString(match[1], -1) {
			args = append(args, strings.Trim(arg, `"'`))
		}
		if len(args) > 0 {
			list = append(list, args)
		}
	}
	return list
}

var makeTarget = regexp.MustCompile(`(?m)^make (\w+)`)

// TestMakeTargets looks whether the Makefile has what the manual makes.
func TestMakeTargets(t *testing.T) {
	makefile, err := os.ReadFile(root + "/Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks(t, "sh") {
		for _, match := range makeTarget.FindAllStringSubmatch(b.code, -1) {
			if !strings.Contains("\n"+string(makefile), "\n"+match[1]+":") {
				t.Errorf("%s: make %s is not in the Makefile", b.page, match[1])
			}
		}
	}
}
