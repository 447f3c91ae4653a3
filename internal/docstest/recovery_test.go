package docstest

import (
	"bufio"
	"context"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/broker"
	"github.com/thumpmq/thump/internal/brokertest"
)

// outbox is a program around relay and consume. New rows come until standard input ends, some
// of what is handled fails the first time, and everything is checked: each row is marked, and
// was handled. It prints a line once both are at work, one for each connection that is lost or
// back, and a last one.
const outbox = `
type table struct {
	mu      sync.Mutex
	rows    int             // that there are; their ids count from 0
	marked  int             // how many were marked, from the first on
	handled map[string]bool // by id; false where it failed
	twice   int             // deliveries of what was handled before
	closed  bool            // no new rows
}

func (t *table) unsent(ctx context.Context) ([]row, error) {
	time.Sleep(10 * time.Millisecond)
	t.mu.Lock()
	if !t.closed {
		t.rows = max(t.rows, t.marked+100)
	}
	var rows []row
	for n := t.marked; n < t.rows; n++ {
		rows = append(rows, row{ID: fmt.Sprint(n), Body: fmt.Appendf(nil, "row %d", n)})
	}
	t.mu.Unlock()
	if len(rows) == 0 {
		<-ctx.Done()
	}
	return rows, ctx.Err()
}

func (t *table) mark(rows []row) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.marked += len(rows)
	return nil
}

func (t *table) handle(id string, body []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if string(body) != "row "+id {
		panic(fmt.Sprintf("id %q came with the body %q", id, body))
	}
	done, known := t.handled[id]
	if done {
		t.twice++
		return nil
	}
	t.handled[id] = known || !strings.HasSuffix(id, "7")
	if !t.handled[id] {
		return errors.New("the first time it fails")
	}
	return nil
}

// wait waits until ready is true, with the lock held while it is called.
func (t *table) wait(ctx context.Context, ready func() bool) {
	for {
		t.mu.Lock()
		is, state := ready(), fmt.Sprintf("%d of %d rows are marked, %d have come", t.marked, t.rows, len(t.handled))
		t.mu.Unlock()
		switch {
		case is:
			return
		case ctx.Err() != nil:
			panic(state)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// all reports whether each row that is marked was handled.
func (t *table) all() bool {
	for n := range t.marked {
		if !t.handled[fmt.Sprint(n)] {
			return false
		}
	}
	return true
}

func main() {
	life, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	client, err := thump.Dial(life, thump.Config{
		URLs:    []string{os.Args[1]},
		OnEvent: func(e thump.Event) { fmt.Println(e.Kind, e.Of, e.Err) },
	})
	must(err)
	queue := os.Args[2]
	_, err = client.DeclareQueue(life, thump.QueueSpec{Name: queue, Kind: thump.Quorum})
	must(err)
	time.Sleep(2 * time.Second) // one that is younger may lose what it has confirmed

	t := &table{handled: make(map[string]bool)}
	ctx, end := context.WithCancel(life)
	ended := make(chan error, 2)
	go func() { ended <- relay(ctx, client, queue, t.unsent, t.mark) }()
	go func() { ended <- consume(ctx, client, queue, t.handle) }()
	t.wait(life, func() bool { return t.marked > 1000 && len(t.handled) > 1000 })
	fmt.Println("at work")

	_, _ = os.Stdin.Read(make([]byte, 1)) // until it ends
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.wait(life, func() bool { return t.marked == t.rows && t.all() })
	end()
	for range 2 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			panic(fmt.Sprint("it ended before it was told to: ", err))
		}
	}
	must(client.Close(life))
	fmt.Printf("ok: %d rows, %d deliveries of what was handled before\n", t.rows, t.twice)
}
`

// TestOutbox runs the two programs of docs/recovery.md, with a broker of their own that is
// killed and started again twice while they are at work.
func TestOutbox(t *testing.T) {
	binary := program(t, "docs/recovery.md", outbox, "func relay(", "func consume(")
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		node := b.Private(t, broker.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
		defer cancel()
		p := start(ctx, t, binary, node.URL, "outbox")
		p.until("at work")
		for range 2 {
			if err := node.Kill(); err != nil {
				t.Fatal(err)
			}
			p.until("disconnected publisher", "disconnected consumer")
			url := node.URL
			if node = b.Restart(t, node, broker.Options{}); node.URL != url {
				t.Fatal("a process has taken a port of the broker meanwhile")
			}
			p.until("recovered publisher", "recovered consumer")
			time.Sleep(2 * time.Second) // at work again
		}
		if err := p.input.Close(); err != nil {
			t.Error(err)
		}
		t.Log(p.until("ok: "))
		if err := p.cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// running is a program that says what it does on its standard output.
type running struct {
	t     *testing.T
	cmd   *exec.Cmd
	input io.Closer
	lines *bufio.Scanner
	errs  strings.Builder
}

// start starts a program, which ends with ctx.
func start(ctx context.Context, t *testing.T, binary string, args ...string) *running {
	t.Helper()
	p := &running{t: t, cmd: exec.CommandContext(ctx, binary, args...)}
	p.cmd.Stderr = &p.errs
	input, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.input, p.lines = input, bufio.NewScanner(output)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// until reads lines until there was one for each of those beginnings, in any order, and
// returns the last.
func (p *running) until(beginnings ...string) string {
	p.t.Helper()
	missing := make(map[string]bool)
	for _, b := range beginnings {
		missing[b] = true
	}
	var said []string
	for len(missing) > 0 {
		if !p.lines.Scan() {
			err := p.cmd.Wait()
			p.t.Fatalf("the program ended, %v, and had not said %q; it said\n%s\n%s", err, beginnings, strings.Join(said, "\n"), &p.errs)
		}
		said = append(said, p.lines.Text())
		for b := range missing {
			if strings.HasPrefix(p.lines.Text(), b) {
				delete(missing, b)
			}
		}
	}
	return said[len(said)-1]
}
