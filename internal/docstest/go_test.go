package docstest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// preamble declares what snippets use without saying where it comes from: a page
// need not connect again and again.
const preamble = `	ctx    context.Context
	client *thump.Client
	pub    *thump.Publisher
	con    *thump.Consumer`

// imports are the packages that snippets may use without importing them.
var imports = map[string]string{
	"context": "context", "errors": "errors", "expvar": "expvar", "fmt": "fmt", "log": "log", "os": "os", "rand": "crypto/rand", "slices": "slices",
	"strings": "strings", "sync": "sync", "syscall": "syscall", "time": "time",
	"signal": "os/signal", "slog": "log/slog", "tls": "crypto/tls", "x509": "crypto/x509",
	"thump": "github.com/thumpmq/thump",
}

// TestGo compiles every Go snippet of the manual, and looks whether it is formatted. A
// snippet is a whole program, or declarations, or the inside of a function that
// returns an error.
func TestGo(t *testing.T) {
	var sources overlay
	for _, b := range blocks(t, "go") {
		formatted, err := format.Source([]byte(b.code))
		if err != nil {
			t.Errorf("%s:%d: %v", b.page, b.line, err)
			continue
		}
		if string(formatted) != b.code {
			t.Errorf("%s:%d: not formatted; gofmt makes of it\n%s", b.page, b.line, formatted)
		}
		sources.add(t, b)
	}
	sources.build(t, "./"+snippets+"/...")
}

// TestReadmeProgram runs the program in README.md, with the test's own broker and
// queue, until it has printed its message.
func TestReadmeProgram(t *testing.T) {
	var program []block
	for _, b := range blocks(t, "go") {
		if b.page == "README.md" {
			program = append(program, b)
		}
	}
	if len(program) != 1 {
		t.Fatalf("README.md has %d Go snippets, and not one", len(program))
	}
	brokertest.Each(t, func(t *testing.T, broker brokertest.Broker) {
		queue := brokertest.QueueName(t)
		b := program[0]
		for text, with := range map[string]string{"amqp://guest:guest@localhost:5672": broker.URL, "hello": queue} {
			if b.code = strings.ReplaceAll(b.code, `"`+text+`"`, fmt.Sprintf("%q", with)); !strings.Contains(b.code, with) {
				t.Fatalf("the program does not use %q", text)
			}
		}
		var sources overlay
		binary := filepath.Join(t.TempDir(), "program")
		folder := sources.add(t, b)
		sources.build(t, "-o", binary, "./"+folder)
		defer deleteQueue(t, broker, queue)

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, binary)
		cmd.Stderr = os.Stderr
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "Message 1\n" {
			t.Errorf("the program printed %q, %v", line, err)
		}
		cancel()
		_ = cmd.Wait() // it was killed: it waits for messages for ever
	})
}

// requests is a program around the recipe for requests and replies: 200 goroutines ask,
// one request has no place for its reply, and one asker has gone.
const requests = `
func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{os.Args[1]}})
	must(err)
	to := thump.Queue(os.Args[2])
	_, err = client.DeclareQueue(ctx, thump.QueueSpec{Name: os.Args[2], Kind: thump.Quorum})
	must(err)
	a, err := newAsker(ctx, client, os.Args[2])
	must(err)
	must(a.pub.Send(ctx,
		thump.Message{Body: []byte("no place")},
		thump.Message{Body: []byte("gone"), Properties: &thump.Properties{ReplyTo: "gone-" + rand.Text()}},
	))
	con, err := client.Consumer(ctx, thump.ConsumerConfig{From: to})
	must(err)
	pub, err := client.Publisher(ctx, thump.PublisherConfig{To: to})
	must(err)
	answering := make(chan error, 1)
	go func() {
		answering <- answer(ctx, con, pub, func(body []byte) []byte { return append([]byte("re: "), body...) })
	}()
	var asking sync.WaitGroup
	for i := range 200 {
		asking.Go(func() {
			body := fmt.Sprint("request ", i)
			got, err := a.ask(ctx, []byte(body))
			must(err)
			if string(got) != "re: "+body {
				panic(fmt.Sprintf("%q was answered with %q", body, got))
			}
		})
	}
	asking.Wait()
	must(con.Close(ctx))
	must(<-answering)
	must(a.replies.Close(ctx))
	if _, err := a.ask(ctx, nil); !errors.Is(err, thump.ErrClosed) {
		panic(fmt.Sprintf("asking after the end: %v", err))
	}
	must(pub.Close(ctx)) // its Sends have told everything
	if counts := pub.Counts(); counts.Returned != 1 {
		panic(fmt.Sprintf("of the replies, one to an asker that has gone: %+v", counts))
	}
	_, err = client.DeleteQueue(ctx, a.queue, thump.DeleteOptions{})
	must(err)
	must(client.Close(ctx))
}
`

// TestRequestsAndReplies runs the recipe.
func TestRequestsAndReplies(t *testing.T) {
	binary := program(t, "docs/recipes.md", requests, "func answer(", "type asker ")
	brokertest.Each(t, func(t *testing.T, broker brokertest.Broker) {
		queue := brokertest.QueueName(t)
		defer deleteQueue(t, broker, queue)
		if output, err := exec.CommandContext(t.Context(), binary, broker.URL, queue).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, output)
		}
	})
}

// program builds a program of the snippets of a page that contain one of those texts, with
// main around them, and returns its path.
func program(t *testing.T, page, main string, texts ...string) string {
	t.Helper()
	var all block
	for _, b := range blocks(t, "go") {
		wanted := func(text string) bool { return strings.Contains(b.code, text) }
		if b.page == page && slices.ContainsFunc(texts, wanted) {
			all.page, all.line = b.page, b.line
			all.code += b.code
		}
	}
	all.code += main
	text, err := source(all)
	if err != nil {
		t.Fatal(err)
	}
	var sources overlay
	binary := filepath.Join(t.TempDir(), "program")
	sources.build(t, "-o", binary, "./"+sources.addText(t, all, strings.Replace(text, "package snippet", "package main", 1)))
	return binary
}

func deleteQueue(t *testing.T, broker brokertest.Broker, queue string) {
	t.Helper()
	client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{broker.URL}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.DeleteQueue(t.Context(), queue, thump.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if err := client.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// snippets is the folder in which the go command sees the snippets, a package
// each. On disk they are elsewhere.
const snippets = "internal/docstest/snippets"

// overlay is files that the go command sees where there are none.
type overlay struct {
	Replace map[string]string // where it sees them, and where they are
}

// add adds a snippet and returns its folder, from the module's root.
func (o *overlay) add(t *testing.T, b block) string {
	t.Helper()
	text, err := source(b)
	if err != nil {
		t.Errorf("%s:%d: %v", b.page, b.line, err)
		return ""
	}
	return o.addText(t, b, text)
}

// addText is add for a file that was made of a snippet.
func (o *overlay) addText(t *testing.T, b block, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "snippet.go")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	page := strings.NewReplacer("/", "_", ".md", "").Replace(b.page)
	folder := fmt.Sprintf("%s/%s_%d", snippets, page, b.line)
	if o.Replace == nil {
		o.Replace = make(map[string]string)
	}
	o.Replace[filepath.Join(absolute(t, root), filepath.FromSlash(folder), "snippet.go")] = file
	return folder
}

// build runs go build, which sees the snippets.
func (o *overlay) build(t *testing.T, args ...string) {
	t.Helper()
	list, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(file, list, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"build", "-overlay", file}, args...)...)
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// source makes a Go file of a snippet. The compiler's errors name the page and its
// line.
func source(b block) (string, error) {
	code := fmt.Sprintf("//line %s:%d\n%s", b.page, b.line, b.code)
	if strings.HasPrefix(b.code, "package ") {
		return code, nil
	}
	if _, err := parse("package snippet\n" + b.code); err != nil { // no declarations
		code = "func snippet() error {\n" + code + "return nil\n}\n"
	}
	code = fmt.Sprintf("var (\n%s\n%s\n)\n\n%s", preamble, b.given, code)
	file, err := parse("package snippet\n" + code)
	if err != nil {
		return "", err
	}
	used := make(map[string]bool)
	for _, name := range file.Unresolved {
		if path, ok := imports[name.Name]; ok {
			used[path] = true
		}
	}
	var list strings.Builder
	for _, path := range slices.Sorted(maps.Keys(used)) {
		fmt.Fprintf(&list, "import %q\n", path)
	}
	return "package snippet\n\n" + list.String() + "\n" + code, nil
}

func parse(text string) (*ast.File, error) {
	return parser.ParseFile(token.NewFileSet(), "snippet.go", text, 0)
}
