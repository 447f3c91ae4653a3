package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/broker"
	"github.com/thumpmq/thump/internal/brokertest"
)

// TestRunSurvivesKills kills a broker under a run and starts it again. Everything that was
// confirmed arrives, what came twice is explained, and the last line says what was survived.
func TestRunSurvivesKills(t *testing.T) {
	b := brokertest.All(t)[0]
	const count, kills = 300_000, 2
	for _, kind := range []string{kindClassic, kindQuorum, kindStream} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			node := b.Private(t, broker.Options{})
			file := filepath.Join(t.TempDir(), "result.json")
			args := []string{"run", "--kind", kind, "--count", fmt.Sprint(count), "--json", file, "--give-up", "5m"}
			if kind == kindStream { // slow enough to be killed meanwhile
				args = append(args, "--stream-url", node.StreamURL, "--sub-entry", "1", "--window", "50")
			}
			p := start(t, node.URL, args...)
			for i := range kills {
				p.awaitProgress("Received", (i+1)*100_000)
				if i == 0 && kind == kindQuorum {
					time.Sleep(2 * time.Second) // RabbitMQ may lose one that is younger
				}
				if err := node.Kill(); err != nil {
					t.Fatal(err)
				}
				node = b.Restart(t, node, broker.Options{})
			}
			if code := p.wait(); code != exitOK {
				t.Errorf("exit code %d\n%s", code, &p.stderr)
			}
			r := readRun(t, file)
			if r.Verdict != result.OK || *r.Confirmed != count || *r.Unique != count || *r.Lost != 0 || *r.Unexplained() != 0 {
				t.Errorf("the record is %+v", r)
			}
			if *r.Outages == 0 || r.AwayAtEnd {
				t.Errorf("it had %d outages, away at the end: %t", *r.Outages, r.AwayAtEnd)
			}
			last := p.stdout.String()
			last = last[strings.LastIndex(strings.TrimSpace(last), "\n")+1:]
			if !strings.HasPrefix(last, "ok: 300,000 sent") || !strings.Contains(last, "; survived ") {
				t.Errorf("the last line is %q", last)
			}
			for _, said := range []string{" [!] The connection was lost: ", " [!] There is a connection again, after "} {
				if !strings.Contains(p.stderr.String(), said) {
					t.Errorf("the progress does not say %q:\n%s", said, &p.stderr)
				}
			}
			t.Log(strings.TrimSpace(last))
		})
	}
}

// cutting is a way to a broker on which everything is cut once so many bytes have passed, and for
// a second after that. So the outage comes in the middle, however fast the machine is.
type cutting struct {
	mu    sync.Mutex
	left  int       // bytes until it is cut
	until time.Time // when it can be used again
	conns []net.Conn
}

// cutAfter returns a URL that leads to the broker's over a way that is cut.
func cutAfter(t *testing.T, bytes int, brokerURL string) string {
	t.Helper()
	c := &cutting{left: bytes}
	return brokertest.Relay(t, brokerURL, c.carry)
}

func (c *cutting) carry(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	c.add(from)
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		c.count(n)
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (c *cutting) add(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conn)
	if time.Now().Before(c.until) {
		c.cut()
	}
}

// cut cuts every connection. c.mu is held.
func (c *cutting) cut() {
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

func (c *cutting) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left -= n; c.left <= 0 && c.until.IsZero() {
		c.until = time.Now().Add(time.Second)
		c.cut()
	}
}

// survives checks that a command has ended well, after an outage of which it has told.
func (p *process) survives(file string) *result.Run {
	p.t.Helper()
	if code := p.wait(); code != exitOK {
		p.t.Fatalf("exit code %d\n%s", code, &p.stderr)
	}
	r := readRunOf(p.t, file)
	if r.Verdict != result.OK || *r.Outages == 0 || r.AwayAtEnd {
		p.t.Errorf("it had %d outages, away at the end: %t; the record is %+v", *r.Outages, r.AwayAtEnd, r)
	}
	for _, said := range []string{"     connection lost ", ", back after "} {
		if !strings.Contains(p.stdout.String(), said) {
			p.t.Errorf("it does not say %q:\n%s", said, &p.stdout)
		}
	}
	return r
}

// TestSendSurvives: whatever send has sent before and after an outage is in the queue.
func TestSendSurvives(t *testing.T) {
	t.Parallel()
	const count = 20_000
	b := brokertest.All(t)[0]
	queue, file := brokertest.QueueName(t), filepath.Join(t.TempDir(), "result.json")
	p := start(t, cutAfter(t, 400_000, b.URL), "send", queue, "--generate", "--count", fmt.Sprint(count), "--json", file)
	defer deleteQueue(t, b, queue)
	if r := p.survives(file); *r.Confirmed != count {
		t.Errorf("the record is %+v", r)
	}
	client := dial(t, b)
	defer hangUp(t, client)
	c, err := client.Consumer(t.Context(), thump.ConsumerConfig{From: thump.Queue(queue)})
	if err != nil {
		t.Fatal(err)
	}
	for seen := map[string]bool{}; len(seen) < count; {
		batch, err := c.Receive(t.Context())
		if err != nil {
			t.Fatalf("%d of %d came: %v", len(seen), count, err)
		}
		for i := range batch.Deliveries {
			seen[string(batch.Deliveries[i].Body)] = true
		}
		if err := batch.Ack(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReceiveSurvives: whatever was in the queue before an outage of receive is in the file.
func TestReceiveSurvives(t *testing.T) {
	t.Parallel()
	b := brokertest.All(t)[0]
	client, queue, drop := fillQueue(t, b)
	defer drop()
	received, file := filepath.Join(t.TempDir(), "received"), filepath.Join(t.TempDir(), "result.json")
	p := start(t, cutAfter(t, 1_000_000, b.URL), "receive", queue, "--output", received, "--idle", "5s", "--json", file)
	p.survives(file)
	text, err := os.ReadFile(received)
	if err != nil {
		t.Fatal(err)
	}
	checkReceived(t, text)
	if left := leftUnconsumed(t, client, queue); left > 0 {
		t.Errorf("%d messages are left", left)
	}
}

// TestGivesUp: a broker that does not come back ends a run at the limit, and at once where
// it is not to recover; each message is accounted for.
func TestGivesUp(t *testing.T) {
	b := brokertest.All(t)[0]
	node := b.Private(t, broker.Options{})
	var ps []*process
	files := []string{filepath.Join(t.TempDir(), "1.json"), filepath.Join(t.TempDir(), "2.json")}
	for i, args := range [][]string{{"--give-up", "2s"}, {"--no-recovery"}} {
		p := start(t, node.URL, append([]string{"run", "--queue", brokertest.QueueName(t), "--count", "100m", "--json", files[i]}, args...)...)
		p.awaitProgress("Received", lineEvery)
		ps = append(ps, p)
	}
	if err := node.Kill(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for i, p := range ps {
		if code := p.wait(); code != exitFailed {
			t.Errorf("exit code %d\n%s", code, &p.stderr)
		}
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
		r := readRunOf(t, files[i])
		if r.Verdict != result.Failed || *r.Unknown == 0 || *r.Sent != *r.Confirmed+*r.Unknown || r.AwayAtEnd != (i == 0) {
			t.Errorf("the record is %+v", r)
		}
	}
	if last := ps[0].stdout.String(); !strings.Contains(last, " unknown, ") || !strings.Contains(last, "; ended in an outage of ") {
		t.Errorf("it says\n%s", last)
	}
}

// unanswered is how long an interrupted command may take to end that gets no answer: long, since the
// machine is busy, and short beside --give-up.
const unanswered = 20 * time.Second

// TestInterruptedWithoutAnAnswer interrupts commands whose broker is gone, hangs, or blocks
// publishing: once, and they end in order, soon.
func TestInterruptedWithoutAnAnswer(t *testing.T) {
	b := brokertest.All(t)[0]
	node := b.Private(t, broker.Options{})
	works := func(p *process) { p.awaitProgress("Received", lineEvery) }
	check := func(t *testing.T, p *process) {
		t.Helper()
		p.interrupt()
		begin := time.Now()
		if code := p.wait(); code != exitInterrupted {
			t.Errorf("exit code %d, want %d\n%s", code, exitInterrupted, &p.stderr)
		}
		if took := time.Since(begin); took > unanswered {
			t.Errorf("it took %v", took)
		}
		if !strings.Contains(p.stdout.String(), "\ninterrupted: ") && !strings.Contains(p.stdout.String(), "Received a total of") {
			t.Errorf("no summary:\n%s", &p.stdout)
		}
	}
	t.Run("memory alarm", func(t *testing.T) {
		for _, confirms := range []string{"--no-confirms=false", "--no-confirms"} {
			p := start(t, node.URL, "run", "--queue", brokertest.QueueName(t), "--count", "100m", confirms)
			works(p)
			ctl(t, node, "set_vm_memory_high_watermark", "0.00001")
			p.await("The broker blocks publishing")
			check(t, p)
			ctl(t, node, "set_vm_memory_high_watermark", "0.6")
		}
	})
	t.Run("memory alarm during a restore", func(t *testing.T) {
		queue, file := brokertest.QueueName(t), filepath.Join(t.TempDir(), "alarm.dump")
		for _, args := range [][]string{{"send", queue, "--generate", "--count", "50000"}, {"dump", queue, file}} {
			if p := start(t, node.URL, args...); p.wait() != exitOK {
				t.Fatalf("%s", &p.stderr)
			}
		}
		ctl(t, node, "set_vm_memory_high_watermark", "0.00001")
		p := start(t, node.URL, "restore", file, queue+"-2")
		p.await("restored 0 of 50000")
		p.interrupt()
		begin := time.Now()
		if code := p.wait(); code != exitInterrupted {
			t.Errorf("exit code %d, want %d\n%s", code, exitInterrupted, &p.stderr)
		}
		if took := time.Since(begin); took > unanswered {
			t.Errorf("it took %v", took)
		}
		if said := p.stderr.String(); !strings.Contains(said, "0 of 50000 messages are confirmed") || !strings.Contains(said, "more may be there") {
			t.Errorf("it says\n%s", said)
		}
		ctl(t, node, "set_vm_memory_high_watermark", "0.6")
	})
	t.Run("paused", func(t *testing.T) {
		p := start(t, node.URL, "run", "--queue", brokertest.QueueName(t), "--count", "100m")
		works(p)
		if err := node.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(t, p)
		if err := node.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("killed", func(t *testing.T) {
		ps := []*process{
			start(t, node.URL, "run", "--queue", brokertest.QueueName(t), "--count", "100m"),
			start(t, node.URL, "receive", "--discard", brokertest.QueueName(t)),
		}
		works(ps[0])
		ps[1].await("Waiting for messages")
		time.Sleep(time.Second)
		if err := node.Kill(); err != nil {
			t.Fatal(err)
		}
		for _, p := range ps {
			p.await("The connection was lost")
			check(t, p)
		}
	})
}

func ctl(t *testing.T, node *broker.Node, args ...string) {
	t.Helper()
	if output, err := node.Ctl(t.Context(), args...); err != nil {
		t.Fatalf("%v: %v: %s", args, err, output)
	}
}
