package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// foreignCount is how many messages of another program are in the queue.
const foreignCount = 100

// gone stands for a queue that is not there any more.
const gone = -1

// foreignCase is a command line about a queue of foreign messages, and what is there
// afterwards: the last of the foreign ones, unchanged, and after them what it has sent.
type foreignCase struct {
	line string // QUEUE and KIND stand for the queue's
	code int
	left int // messages, or gone
	// marks says that it reads messages and gives them back: they may be marked as
	// redelivered, and an older quorum queue puts them at its end.
	marks bool
}

// foreignCases has every command that connects to a broker: TestForeignQueue says which one
// is missing. What takes messages away says so.
func foreignCases() []foreignCase {
	return []foreignCase{
		{line: "queue list", left: foreignCount},
		{line: "queue list QUEUE --json -", left: foreignCount},
		{line: "queue show QUEUE", left: foreignCount},
		{line: "queue declare QUEUE --kind KIND", left: foreignCount},
		{line: "queue declare QUEUE --kind KIND --max-length 5", code: exitFailed, left: foreignCount},
		{line: "queue bind QUEUE amq.topic --routing-key a", left: foreignCount},
		{line: "queue unbind QUEUE amq.topic --routing-key a", left: foreignCount},
		{line: "queue purge QUEUE", code: exitUsage, left: foreignCount},
		{line: "queue purge QUEUE --yes", left: 0},
		{line: "queue delete QUEUE", code: exitUsage, left: foreignCount},
		{line: "queue delete QUEUE --force", code: exitUsage, left: foreignCount},
		{line: "queue delete QUEUE --yes", code: exitFailed, left: foreignCount},
		{line: "queue delete QUEUE --yes --force", left: gone},

		{line: "stream list", left: foreignCount},
		{line: "stream show QUEUE", code: exitFailed, left: foreignCount},
		{line: "stream declare QUEUE", code: exitFailed, left: foreignCount},
		{line: "stream delete QUEUE --yes --force", code: exitFailed, left: foreignCount},

		{line: "exchange list", left: foreignCount},
		{line: "exchange show amq.topic", left: foreignCount},
		{line: "exchange declare amq.topic --type fanout", code: exitFailed, left: foreignCount},
		{line: "exchange delete QUEUE --yes --force", code: exitFailed, left: foreignCount},

		{line: "run --queue QUEUE --count 10", code: exitFailed, left: foreignCount},
		{line: "run --kind stream --queue QUEUE --count 10", code: exitFailed, left: foreignCount},
		{line: "send QUEUE --count 5", left: foreignCount + 5},
		{line: "send --stream QUEUE --count 5", code: exitFailed, left: foreignCount},
		{line: "send QUEUE --count 5 --priority 0 --ttl 1h", left: foreignCount + 5},
		{line: "send QUEUE --count 5 --queues 1", left: foreignCount + 5},
		{line: "peek QUEUE", left: foreignCount, marks: true},
		{line: "dump QUEUE orders.dump", left: foreignCount, marks: true},
		{line: "restore none.dump QUEUE", code: exitFailed, left: foreignCount},
		{line: "move QUEUE QUEUE-none", code: exitFailed, left: foreignCount},
		{line: "move QUEUE QUEUE", code: exitUsage, left: foreignCount},
		{line: "move QUEUE --to-exchange amq.fanout", code: exitFailed, left: foreignCount, marks: true}, // unroutable
		{line: "redrive QUEUE --dry-run", left: foreignCount, marks: true},
		{line: "redrive QUEUE", code: exitFailed, left: foreignCount, marks: true}, // from nowhere
		{line: "receive QUEUE --count 10", left: foreignCount - 10, marks: true},   // what was prefetched
		{line: "receive QUEUE --discard --work 1ms --consume-rate 1k --count 10", left: foreignCount - 10, marks: true},
		{line: "receive QUEUE --discard --requeue 30% --reject 30% --idle 1s", left: 0},
		{line: "receive QUEUE --queues 1 --count 10", left: foreignCount - 10, marks: true},
		{line: "receive QUEUE --idle 1s", left: 0},
		{line: "receive QUEUE --filter json.order<10 --idle 1s", left: foreignCount - 10, marks: true},
		{line: "receive QUEUE --filter json.order<10 --others discard --idle 1s", left: 0},
		{line: "receive --stream QUEUE --idle 1s", code: exitFailed, left: foreignCount},
	}
}

// withoutQueues are the commands that connect to no broker of others.
func withoutQueues() []string { return []string{"broker", "report", "completion", "man", "licenses"} }

// TestForeignQueue runs every command on a queue that another program has filled: none takes
// away what it was not asked to take, or changes what it leaves.
func TestForeignQueue(t *testing.T) {
	t.Parallel()
	checkForeignCases(t)
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum} {
			t.Run(string(kind), func(t *testing.T) {
				t.Parallel()
				f := newForeigner(t, b, kind)
				for _, c := range foreignCases() {
					f.try(t, c)
				}
			})
		}
	})
}

// checkForeignCases looks whether every command is among the cases.
func checkForeignCases(t *testing.T) {
	t.Helper()
	var missing func(cmd *cobra.Command)
	missing = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			path := strings.TrimPrefix(sub.CommandPath(), "thump ")
			known := false
			for _, name := range withoutQueues() {
				known = known || name == path
			}
			for _, c := range foreignCases() {
				known = known || strings.HasPrefix(c.line+" ", path+" ") && !sub.HasSubCommands()
			}
			switch {
			case known:
			case sub.HasSubCommands():
				missing(sub)
			default:
				t.Errorf("foreignCases has no %q: what does it leave of the messages of others?", path)
			}
		}
	}
	missing(rootCommand(newUI(os.Stdout, os.Stderr)))
}

// foreigner is the other program.
type foreigner struct {
	client *thump.Client
	broker brokertest.Broker
	kind   thump.QueueKind
	home   string // THUMP_HOME
}

func newForeigner(t *testing.T, b brokertest.Broker, kind thump.QueueKind) *foreigner {
	t.Helper()
	client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(context.WithoutCancel(t.Context())) })
	dir, remove, err := home()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remove(); err != nil {
			t.Error(err)
		}
	})
	return &foreigner{client: client, broker: b, kind: kind, home: dir}
}

// message is the i-th of the foreign ones, from 0.
func (*foreigner) message(i int) thump.Message {
	return thump.Message{
		Body:       fmt.Appendf(nil, "{\"order\": %d}", i),
		Properties: &thump.Properties{ContentType: "application/json", Headers: thump.NewTable("tenant", "acme", "n", i)},
	}
}

// try fills a queue, runs the command line, and looks what is there.
func (f *foreigner) try(t *testing.T, c foreignCase) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	queue := brokertest.QueueName(t)
	f.fill(ctx, t, queue)
	defer func() { _, _ = f.client.DeleteQueue(context.WithoutCancel(ctx), queue, thump.DeleteOptions{}) }()

	code, output := f.run(ctx, t, strings.NewReplacer("QUEUE", queue, "KIND", string(f.kind)).Replace(c.line))
	if code != c.code {
		t.Errorf("%s: exit code %d, want %d\n%s", c.line, code, c.code, output)
	}
	left, marked, changed := f.left(ctx, t, queue, c)
	t.Logf("%-50s exit code %d, %d left, %d marked as redelivered", c.line, code, left, marked)
	if left != c.left || changed != "" || marked > 0 && !c.marks {
		t.Errorf("%s: %d messages are left, want %d; %d are marked as redelivered; %s\n%s", c.line, left, c.left, marked, changed, output)
	}
}

func (f *foreigner) fill(ctx context.Context, t *testing.T, queue string) {
	t.Helper()
	if _, err := f.client.DeclareQueue(ctx, thump.QueueSpec{Name: queue, Kind: f.kind}); err != nil {
		t.Fatal(err)
	}
	p, err := f.client.Publisher(ctx, thump.PublisherConfig{To: thump.Queue(queue)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range foreignCount {
		if _, err := p.Publish(ctx, f.message(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

func (f *foreigner) run(ctx context.Context, t *testing.T, line string) (code int, output string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, os.Args[0], strings.Fields(line)...)
	cmd.Args[0] = "thump" // TestMain then runs main
	cmd.Env = append(os.Environ(), "THUMP_URL="+f.broker.URL, "THUMP_STREAM_URL="+f.broker.StreamURL,
		"THUMP_MANAGEMENT_URL="+f.broker.ManagementURL, "THUMP_HOME="+f.home, "THUMP_CONFIG="+filepath.Join(f.home, "none"))
	cmd.Dir = t.TempDir()
	text, _ := cmd.CombinedOutput() // the exit code says it
	return cmd.ProcessState.ExitCode(), string(text)
}

// left waits until the queue holds that many messages, and takes them: how many there are,
// how many are marked as redelivered, and what is wrong with the foreign ones.
func (f *foreigner) left(ctx context.Context, t *testing.T, queue string, c foreignCase) (n, marked int, changed string) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) { // what a closed connection gives back takes a moment
		info, err := f.client.InspectQueue(ctx, queue)
		switch {
		case thump.IsNotFound(err):
			return gone, 0, ""
		case err != nil:
			t.Fatal(err)
		}
		if n = info.Messages; n == c.left || time.Since(begin) > patience {
			break
		}
	}
	if n == 0 {
		return 0, 0, ""
	}
	consumer, err := f.client.Consumer(ctx, thump.ConsumerConfig{From: thump.Queue(queue)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = consumer.Close(ctx) }()
	want := make(map[int]bool) // of the foreign ones
	for i := max(foreignCount-n, 0); i < foreignCount; i++ {
		want[i] = true
	}
	for taken := 0; taken < n; {
		batch, err := consumer.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range batch.Deliveries {
			d := &batch.Deliveries[i]
			if d.Redelivered {
				marked++
			}
			at := max(foreignCount-n, 0) + taken
			if i, ok := f.number(d); ok && want[i] && (i == at || c.marks) {
				delete(want, i)
			} else if at < foreignCount {
				changed = fmt.Sprintf("the one at %d is %.60q", at, d.Body)
			}
			taken++
		}
		if err := batch.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	if len(want) > 0 && changed == "" {
		changed = fmt.Sprintf("%d of the foreign ones are not there", len(want))
	}
	return n, marked, changed
}

// number says which of the foreign messages d is; ok is false if it is none, or not as it was.
func (f *foreigner) number(d *thump.Delivery) (i int, ok bool) {
	n, _ := d.Header("n").(int64)
	want := f.message(int(n))
	return int(n), bytes.Equal(d.Body, want.Body) && d.ContentType() == want.Properties.ContentType && d.Header("tenant") == "acme"
}
