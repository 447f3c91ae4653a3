package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/brokertest"
)

// process is a thump that runs beside the test.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	home           string // THUMP_HOME
	stdout, stderr bytes.Buffer
	lines          chan string // of stderr, as they come
	read           chan struct{}
}

// start runs the command line with the broker in THUMP_URL.
func start(t *testing.T, url string, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, remove, err := home()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remove(); err != nil {
			t.Error(err)
		}
	})
	p := &process{t: t, home: dir, cmd: exec.Command(exe, args...), lines: make(chan string, 10000), read: make(chan struct{})}
	p.cmd.Args[0] = "thump" // TestMain then runs main
	p.cmd.Env = append(os.Environ(), "THUMP_URL="+url, "THUMP_HOME="+dir)
	p.cmd.Stdout = &p.stdout
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	go func() {
		defer close(p.read)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			p.stderr.WriteString(s.Text() + "\n")
			select {
			case p.lines <- s.Text():
			default:
			}
		}
	}()
	return p
}

// patience bounds the wait for a line. It is long, because the brokers and the tests
// share few processors.
const patience = 2 * time.Minute

// await waits for a line of stderr that has text in it.
func (p *process) await(text string) {
	p.t.Helper()
	p.awaitLine(text, func(line string) bool { return strings.Contains(line, text) })
}

// awaitProgress waits until n messages were "Sent" or "Received", or more: where
// they come by the million, not every line is printed.
func (p *process) awaitProgress(what string, n int) {
	p.t.Helper()
	p.awaitLine(fmt.Sprint(what, " ", n, " messages"), func(line string) bool {
		var reached int
		_, err := fmt.Sscanf(line, " [x] "+what+" %d messages", &reached)
		return err == nil && reached >= n
	})
}

func (p *process) awaitLine(what string, wanted func(line string) bool) {
	p.t.Helper()
	deadline := time.After(patience)
	var last string
	for {
		select {
		case line := <-p.lines:
			if last = line; wanted(line) {
				return
			}
		case <-deadline:
			p.t.Fatalf("no %q on standard error; its last line is %q", what, last)
		}
	}
}

func (p *process) interrupt() {
	p.t.Helper()
	p.signal(os.Interrupt)
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wait returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	return p.waitFor(5 * time.Minute)
}

// waitFor is wait for what may take that long.
func (p *process) waitFor(most time.Duration) int {
	p.t.Helper()
	kill := time.AfterFunc(most, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	<-p.read
	_ = p.cmd.Wait() // the exit code says it
	return p.cmd.ProcessState.ExitCode()
}

func TestInterruptOnceSummarizes(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		queue := brokertest.QueueName(t)
		file := filepath.Join(t.TempDir(), "result.json")
		p := start(t, b.URL, "run", "--queue", queue, "--count", "100m", "--json", file)
		p.awaitProgress("Received", 100000)
		p.interrupt()
		if code := p.wait(); code != exitInterrupted {
			t.Errorf("exit code %d, want %d\n%s", code, exitInterrupted, &p.stderr)
		}
		if !strings.Contains(p.stdout.String(), "\ninterrupted: ") {
			t.Errorf("no summary:\n%s", &p.stdout)
		}
		r := readRun(t, file)
		if r.Verdict != "interrupted" || *r.Sent < 100000 || *r.Confirmed != *r.Sent || *r.Unknown != 0 ||
			*r.Lost != 0 || *r.Duplicated != 0 || *r.Unique+*r.LeftInQueue != *r.Confirmed {
			t.Errorf("the record is %+v", r)
		}
		checkQueueGone(t, b, queue)
	})
}

// readRun reads a record of one run, which knows its counts.
func readRun(t *testing.T, file string) *result.Run {
	t.Helper()
	r := readRunOf(t, file)
	for name, n := range map[string]*uint64{
		"sent": r.Sent, "confirmed": r.Confirmed, "unknown": r.Unknown, "unique": r.Unique, "lost": r.Lost, "duplicated": r.Duplicated,
	} {
		if n == nil {
			t.Fatalf("%s is not known", name)
		}
	}
	if r.LeftInQueue == nil && r.Settings.Kind == result.Classic {
		t.Fatal("left_in_queue is not known")
	}
	return r
}

// readRunOf reads a record of one run.
func readRunOf(t *testing.T, file string) *result.Run {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	record, err := result.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(record.Runs) != 1 || record.Verdict != record.Runs[0].Verdict {
		t.Fatalf("the record is %+v", record)
	}
	return record.Runs[0]
}

func TestInterruptedStreamRunSummarizes(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		stream, file := brokertest.QueueName(t), filepath.Join(t.TempDir(), "result.json")
		p := start(t, b.URL, "run", "--kind", "stream", "--queue", stream, "--count", "10g",
			"--stream-max-bytes", "500MB", "--stream-url", b.StreamURL, "--json", file)
		p.awaitProgress("Received", 300000)
		p.interrupt()
		if code := p.wait(); code != exitInterrupted {
			t.Errorf("exit code %d, want %d\n%s", code, exitInterrupted, &p.stderr)
		}
		r := readRun(t, file)
		if r.Verdict != "interrupted" || *r.Sent < 300000 || *r.Confirmed != *r.Sent || *r.Unknown != 0 ||
			*r.Lost != 0 || *r.Duplicated != 0 || *r.Unique != *r.Confirmed {
			t.Errorf("the record is %+v", r)
		}
		client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL, b.StreamURL}})
		if err != nil {
			t.Fatal(err)
		}
		defer hangUp(t, client)
		if _, err := client.InspectStream(t.Context(), stream); !thump.IsNotFound(err) {
			t.Errorf("the stream is still there: %v", err)
		}
	})
}

// TestInterruptEndsAllKinds interrupts the first of three runs: the others do
// not begin.
func TestInterruptEndsAllKinds(t *testing.T) {
	b := brokertest.All(t)[0]
	queue := brokertest.QueueName(t)
	p := start(t, b.URL, "run", "--kind", "all", "--queue", queue, "--count", "100m", "--stream-url", b.StreamURL)
	p.awaitProgress("Received", 100000)
	p.interrupt()
	if code := p.wait(); code != exitInterrupted {
		t.Errorf("exit code %d, want %d\n%s", code, exitInterrupted, &p.stderr)
	}
	if output := p.stdout.String(); !strings.Contains(output, "\nclassic queue: interrupted: ") || strings.Contains(output, "\nquorum queue: ") {
		t.Errorf("it printed\n%s", output)
	}
	checkQueueGone(t, b, queue+"-classic")
}

// TestInterruptedBeforeItIsKnownWhatTheNameIs: that no queue has the name is then no answer. The
// streams' address does not answer.
func TestInterruptedBeforeItIsKnownWhatTheNameIs(t *testing.T) {
	t.Parallel()
	b := brokertest.All(t)[0]
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for _, command := range [][]string{{"peek", "nothing"}, {"dump", "nothing", filepath.Join(t.TempDir(), "dump")}} {
		p := start(t, b.URL, append(command, "--stream-url", "rabbitmq-stream://"+silent.Addr().String())...)
		asked, err := silent.Accept()
		if err != nil {
			t.Fatal(err)
		}
		p.interrupt()
		if code := p.wait(); code != exitInterrupted {
			t.Errorf("interrupted, %v exits with %d\n%s", command, code, &p.stderr)
		}
		_ = asked.Close()
	}
}

func TestInterruptTwiceEndsAtOnce(t *testing.T) {
	b := brokertest.All(t)[0]
	queue := brokertest.QueueName(t)
	p := start(t, b.URL, "run", "--queue", queue, "--count", "100m", "--sequential")
	p.awaitProgress("Sent", 100000)
	p.interrupt()
	p.await("Ctrl-C again")
	p.interrupt()
	begin := time.Now()
	if code := p.wait(); code != exitInterrupted {
		t.Errorf("exit code %d, want %d\n%s", code, exitInterrupted, &p.stderr)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	deleteQueue(t, b, queue)
}

func TestInterruptedReceiveTellsItsTotal(t *testing.T) {
	b := brokertest.All(t)[0]
	queue := brokertest.QueueName(t)
	if code := start(t, b.URL, "send", queue, "--count", "200000").wait(); code != exitOK {
		t.Fatalf("send: exit code %d", code)
	}
	p := start(t, b.URL, "receive", queue, "--discard")
	p.awaitProgress("Received", 200000)
	p.interrupt()
	if code := p.wait(); code != exitInterrupted {
		t.Errorf("exit code %d, want %d", code, exitInterrupted)
	}
	if !strings.Contains(p.stdout.String(), " [x] Received a total of 200000 messages in ") {
		t.Errorf("no total:\n%s", &p.stdout)
	}
	client := dial(t, b)
	defer hangUp(t, client)
	if n, err := client.DeleteQueue(t.Context(), queue, thump.DeleteOptions{}); n != 0 || err != nil {
		t.Errorf("%d messages were left, %v", n, err)
	}
}

func checkQueueGone(t *testing.T, b brokertest.Broker, queue string) {
	t.Helper()
	client := dial(t, b)
	defer hangUp(t, client)
	if _, err := client.InspectQueue(t.Context(), queue); !thump.IsNotFound(err) {
		t.Errorf("the queue is still there: %v", err)
	}
}

// TestInterruptStopsThePrivateBroker interrupts a run at three moments; each
// time the broker that it has started is gone, with its folder.
func TestInterruptStopsThePrivateBroker(t *testing.T) {
	t.Parallel()
	works := func(p *process) { p.awaitProgress("Received", 100000) }
	tests := []struct {
		name  string
		until func(*process)
		times int
	}{
		{"while it starts", func(p *process) { p.await("Starting RabbitMQ") }, 1},
		{"once", works, 1},
		{"twice", works, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, "", "run", "--private", "--count", "100m")
			tt.until(p)
			p.interrupt()
			p.await("Ctrl-C again")
			if tt.times > 1 {
				p.interrupt()
			}
			if code := p.wait(); code != exitInterrupted {
				t.Errorf("exit code %d, want %d\n%s", code, exitInterrupted, &p.stderr)
			}
			entries, err := os.ReadDir(p.home)
			if err != nil || len(entries) > 0 {
				t.Errorf("left behind: %v, %v", entries, err)
			}
		})
	}
}

// TestTerminated: the signals with which systems end a process end every command within
// 8 s, in order, with the exit code that a shell gives them.
func TestTerminated(t *testing.T) {
	// Under nohup the commands would ignore SIGHUP, as this process does then. What is notified of
	// is not inherited.
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	defer signal.Stop(hangUps)
	b := brokertest.All(t)[0]
	works := func(p *process) { p.awaitProgress("Received", 50000) }
	starts := func(p *process) { p.await("Starting RabbitMQ") }
	waits := func(p *process) { p.await("Waiting for messages") }
	tests := []struct {
		name    string
		private bool
		args    []string
		until   func(*process)
		signal  syscall.Signal
		summary bool
	}{
		{"run", false, []string{"run", "--count", "100m"}, works, syscall.SIGTERM, true},
		{"run without confirms", false, []string{"run", "--count", "100m", "--no-confirms"}, works, syscall.SIGTERM, true},
		{"run without confirms, private", true, []string{"run", "--private", "--count", "100m", "--no-confirms"}, works, syscall.SIGHUP, true},
		{"run that starts its broker", true, []string{"run", "--private"}, starts, syscall.SIGTERM, false},
		{"receive", false, []string{"receive", "--discard"}, waits, syscall.SIGHUP, true},
		{"broker start", true, []string{"broker", "start"}, starts, syscall.SIGTERM, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			queue, url := brokertest.QueueName(t), b.URL
			args := tt.args
			switch {
			case tt.private:
				url = ""
			case args[0] == "receive":
				args = append(args, queue)
			default:
				args = append(args, "--queue", queue)
			}
			p := start(t, url, args...)
			tt.until(p)
			p.signal(tt.signal)
			begin := time.Now()
			code := p.wait()
			if took := time.Since(begin); took > endTimeout+time.Second {
				t.Errorf("it took %v", took)
			}
			if want := exitSignal + int(tt.signal); code != want {
				t.Errorf("exit code %d, want %d\n%s", code, want, &p.stderr)
			}
			if got := p.stdout.Len() > 0; got != tt.summary {
				t.Errorf("it printed %q", &p.stdout)
			}
			if !tt.private && args[0] == "run" {
				checkQueueGone(t, b, queue)
			}
			left := leftIn(t, p.home)
			if args[0] == "broker" {
				left = strings.TrimPrefix(left, "broker\n") // its folder is to stay
			}
			if left != "" {
				t.Errorf("it left\n%s", left)
			}
			if args[0] == "receive" {
				deleteQueue(t, b, queue)
			}
		})
	}
}

// TestTerminatedWhileNobodyReads: a command that waits for somebody to read what it writes
// ends all the same.
func TestTerminatedWhileNobodyReads(t *testing.T) {
	b := brokertest.All(t)[0]
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	if err := write.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := write.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the pipe is not full: %v", err)
	}
	queue := brokertest.QueueName(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "receive", "--discard", queue)
	cmd.Args[0], cmd.Env, cmd.Stderr = "thump", append(os.Environ(), "THUMP_URL="+b.URL), write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	time.Sleep(time.Second) // until it waits
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	kill := time.AfterFunc(3*endTimeout, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	_ = cmd.Wait() // the exit code says it
	if took := time.Since(begin); took > endTimeout+time.Second {
		t.Errorf("it took %v", took)
	}
	if code := cmd.ProcessState.ExitCode(); code != exitSignal+int(syscall.SIGTERM) {
		t.Errorf("exit code %d", code)
	}
	deleteQueue(t, b, queue)
}

// TestInterruptedWhileNobodyReads: peek and dump into a pipe that nobody reads any more end
// with Ctrl-C, and give everything back.
func TestInterruptedWhileNobodyReads(t *testing.T) {
	t.Parallel()
	b := brokertest.All(t)[0]
	for _, command := range []string{"peek --all --json", "dump -"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			client, queue, drop := fillQueue(t, b)
			defer drop()
			path, environment := thumpCommand(t, b)
			words := strings.Fields(command)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, path, append([]string{words[0], queue}, words[1:]...)...)
			cmd.Env = environment
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// It has begun to write, and a pipe does not hold all that it has.
			if _, err := io.ReadFull(stdout, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			err = cmd.Wait() // the pipe is closed after that
			if ctx.Err() != nil || !strings.Contains(stderr.String(), "thump: interrupted") {
				t.Errorf("%v\n%s", err, &stderr)
			}
			awaitLeft(t, client, queue, receivedCount)
		})
	}
}

func deleteQueue(t *testing.T, b brokertest.Broker, queue string) {
	t.Helper()
	client := dial(t, b)
	defer hangUp(t, client)
	if _, err := client.DeleteQueue(t.Context(), queue, thump.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

func dial(t *testing.T, b brokertest.Broker) *thump.Client {
	t.Helper()
	client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL}})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func hangUp(t *testing.T, client *thump.Client) {
	t.Helper()
	if err := client.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
