package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
	"github.com/thumpmq/thump/internal/dump"
)

// TestEndedDump: a dump and a peek that Ctrl-C ends, or a kill at a random instant, lose
// nothing, and leave no file that could be taken for a dump.
func TestEndedDump(t *testing.T) {
	t.Parallel()
	const count = 30_000
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum} {
			t.Run(string(kind), func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(seed, 0))
				client := dial(t, b)
				defer hangUp(t, client)
				queue := fmt.Sprintf("thump-ended-dump-%s-%d", kind, seed)
				if _, err := client.DeclareQueue(t.Context(), thump.QueueSpec{Name: queue, Kind: kind, DeliveryLimit: limitOf(kind)}); err != nil {
					t.Fatal(err)
				}
				defer deleteQueue(t, b, queue)
				fill(t, client, queue, count)
				file := filepath.Join(t.TempDir(), "dump")
				for i := range 6 {
					args := []string{"dump", queue, file}
					if i%3 == 2 {
						args = []string{"peek", queue, "--all"}
					}
					p := start(t, b.URL, args...)
					p.await("is given back") // it is about to read
					time.Sleep(time.Duration(random.Int64N(int64(300 * time.Millisecond))))
					interrupted := i%2 == 1
					if interrupted {
						p.interrupt()
					} else if err := p.cmd.Process.Kill(); err != nil {
						t.Fatal(err)
					}
					code := p.wait()
					if interrupted && code != exitInterrupted && code != exitOK {
						t.Errorf("interrupted, %v exits with %d\n%s", args, code, &p.stderr)
					}
					if _, err := os.Stat(file); err == nil && code != exitOK {
						checkWhole(t, file, count) // it was just done
					}
					_ = os.Remove(file)
					awaitMessages(t, client, queue, count)
				}
				p := start(t, b.URL, "dump", queue, file)
				if code := p.wait(); code != exitOK {
					t.Fatalf("exit code %d\n%s", code, &p.stderr)
				}
				checkWhole(t, file, count)
			})
		}
	})
}

// TestDumpOfAQueueInUse: a dump of a queue that a consumer empties is whole, and of what both of
// them read nothing is lost.
func TestDumpOfAQueueInUse(t *testing.T) {
	t.Parallel()
	const count = 20_000
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for _, kind := range []thump.QueueKind{thump.Classic, thump.Quorum} {
			t.Run(string(kind), func(t *testing.T) {
				t.Parallel()
				client := dial(t, b)
				defer hangUp(t, client)
				queue := brokertest.QueueName(t)
				if _, err := client.DeclareQueue(t.Context(), thump.QueueSpec{Name: queue, Kind: kind}); err != nil {
					t.Fatal(err)
				}
				defer deleteQueue(t, b, queue)
				fill(t, client, queue, count)
				taken := start(t, b.URL, "receive", queue, "--discard", "--count", strconv.Itoa(count), "--prefetch", "10")
				taken.awaitProgress("Received", 1)
				file := filepath.Join(t.TempDir(), "dump")
				p := start(t, b.URL, "dump", queue, file)
				if code := p.wait(); code != exitOK || !strings.Contains(p.stderr.String(), "The queue has consumers (1)") {
					t.Fatalf("exit code %d\n%s", code, &p.stderr)
				}
				t.Logf("%s%s", &p.stdout, &p.stderr)
				var dumped uint64
				if _, err := fmt.Sscan(p.stdout.String(), &dumped); err != nil {
					t.Fatal(err)
				}
				checkWhole(t, file, dumped)
				// It gets the rest, too: each message once, as nothing is published any more.
				if code := taken.wait(); code != exitOK {
					t.Fatalf("the consumer: exit code %d\n%s", code, &taken.stderr)
				}
				awaitMessages(t, client, queue, 0)
			})
		}
	})
}

// limitOf is a delivery limit that no test reaches.
func limitOf(kind thump.QueueKind) int {
	if kind == thump.Quorum {
		return 1000
	}
	return 0
}

func checkWhole(t *testing.T, name string, count uint64) {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if contents, err := dump.Verify(file, new(dump.Progress), nil); err != nil || contents.Messages != count {
		t.Errorf("the dump has %d messages, want %d: %v", contents.Messages, count, err)
	}
}

func fill(t *testing.T, client *thump.Client, queue string, count int) {
	t.Helper()
	pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue(queue)})
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(strings.Repeat("x", 100))
	for range count {
		if _, err := pub.Publish(t.Context(), thump.Message{Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	if err := pub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// awaitMessages waits until a queue has so many messages ready again.
func awaitMessages(t *testing.T, client *thump.Client, queue string, count int) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		info, err := client.InspectQueue(t.Context(), queue)
		if err != nil {
			t.Fatal(err)
		}
		if info.Messages == count {
			return
		}
		if time.Since(begin) > patience {
			t.Fatalf("the queue has %d messages ready, want %d", info.Messages, count)
		}
	}
}

// TestKilledRestore: a restore to a stream that is killed at random instants and run again
// doubles nothing.
func TestKilledRestore(t *testing.T) {
	t.Parallel()
	const count = 100_000
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	all := brokertest.All(t)
	b := all[len(all)-1]
	client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL, b.StreamURL}})
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp(t, client)
	queue := fmt.Sprintf("thump-killed-restore-%d", seed)
	if _, err := client.DeclareQueue(t.Context(), thump.QueueSpec{Name: queue}); err != nil {
		t.Fatal(err)
	}
	defer deleteQueue(t, b, queue)
	defer deleteQueue(t, b, queue+"-stream")
	fill(t, client, queue, count)
	file := filepath.Join(t.TempDir(), "dump")
	if p := start(t, b.URL, "dump", queue, file); p.wait() != exitOK {
		t.Fatalf("%s", &p.stderr)
	}
	restore := []string{"restore", file, queue + "-stream", "--kind", "stream", "--stream-url", b.StreamURL}
	for range 5 {
		p := start(t, b.URL, restore...)
		time.Sleep(time.Duration(random.Int64N(int64(2 * time.Second))))
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		p.wait()
	}
	p := start(t, b.URL, restore...)
	if code := p.wait(); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, &p.stderr)
	}
	t.Log(p.stdout.String(), p.stderr.String())
	end, found, err := dump.StreamEnd(t.Context(), client, queue+"-stream")
	if err != nil || !found || end.Offset != count-1 {
		t.Errorf("the stream ends with offset %d, want %d: %v", end.Offset, count-1, err)
	}
}

// TestDumpResumed kills and interrupts a dump of a stream, and of a super stream, and cuts what it has
// left, as a crash may: in the end the dump is that of one that nobody has disturbed.
func TestDumpResumed(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		const count = 300_000
		t.Run("stream", func(t *testing.T) {
			stream := brokertest.QueueName(t)
			client := dialStreams(t, b)
			sendGenerated(t, b, count, "--stream", stream)
			defer func() { _ = client.DeleteStream(context.WithoutCancel(t.Context()), stream) }()
			checkResumed(t, b, count, stream)
		})
		t.Run("super-stream", func(t *testing.T) {
			super := declareSuperStream(t, dialStreams(t, b), 3)
			sendGenerated(t, b, count, "--super-stream", super.Name)
			checkResumed(t, b, count, "--super-stream", super.Name)
		})
	})
}

// checkResumed disturbs the dump of so many messages of name, a stream, or a flag and a super stream.
func checkResumed(t *testing.T, b brokertest.Broker, count int, name ...string) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random, folder := rand.New(rand.NewPCG(seed, 0)), t.TempDir()
	want := digestOf(t, start(t, b.URL, append([]string{"dump", "--stream-url", b.StreamURL}, append(name, filepath.Join(folder, "whole.dump"))...)...), count)
	file := filepath.Join(folder, "resumed.dump.zst")
	args := append([]string{"dump"}, append(name, file, "--stream-url", b.StreamURL, "--resume")...)
	for i := range 4 {
		p := start(t, b.URL, args...)
		time.Sleep(time.Duration(random.Int64N(int64(time.Second))))
		if i%2 == 0 {
			_ = p.cmd.Process.Kill() // it may be through
		} else {
			_ = p.cmd.Process.Signal(os.Interrupt)
		}
		if p.wait() == exitOK {
			t.Log("it was through")
			if err := os.Rename(file, file+".part"); err != nil {
				t.Fatal(err)
			}
		}
		if info, err := os.Stat(file + ".part"); err == nil && info.Size() > 0 {
			if err := os.Truncate(file+".part", random.Int64N(info.Size()+1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	p := start(t, b.URL, args...)
	if got := digestOf(t, p, count); got != want {
		t.Errorf("the digest is %s, want %s", got, want)
	}
	left, err := filepath.Glob(file + ".part*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	t.Log(p.stderr.String())
}

// digestOf is the digest that a dump of so many messages says.
func digestOf(t *testing.T, p *process, count int) string {
	t.Helper()
	if code := p.wait(); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, &p.stderr)
	}
	number, sum, _ := strings.Cut(p.stdout.String(), "\n")
	if !strings.HasPrefix(number, fmt.Sprint(count, " messages")) {
		t.Errorf("it says %q", number)
	}
	return sum
}

// dialStreams is dial for streams.
func dialStreams(t *testing.T, b brokertest.Broker) *thump.Client {
	t.Helper()
	client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL, b.StreamURL}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	return client
}

func sendGenerated(t *testing.T, b brokertest.Broker, count int, to ...string) {
	t.Helper()
	p := start(t, b.URL, append([]string{"send", "--stream-url", b.StreamURL, "--generate", "--count", fmt.Sprint(count)}, to...)...)
	if p.wait() != exitOK {
		t.Fatalf("%s", &p.stderr)
	}
}

// declareSuperStream makes a super stream on a broker of any version, and deletes it after the test.
func declareSuperStream(t *testing.T, client *thump.Client, partitions int) dump.Definition {
	t.Helper()
	super := dump.Definition{Name: brokertest.QueueName(t), Kind: dump.SuperStream}
	for i := range partitions {
		key := fmt.Sprint(i)
		super.Partitions = append(super.Partitions, dump.Partition{Partition: thump.Partition{Name: super.Name + "-" + key, BindingKey: key, Known: true}})
	}
	if err := super.Declare(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { deleteSuperStream(client, &super) })
	return super
}

func deleteSuperStream(client *thump.Client, super *dump.Definition) {
	for _, partition := range super.Streams() {
		_ = client.DeleteStream(context.Background(), partition)
	}
	_ = client.DeleteExchange(context.Background(), super.Name, thump.DeleteOptions{})
}

// TestKilledSuperStream: dumps and restores of a super stream that are killed at random instants, and
// interrupted, leave no file that could be taken for a dump, and double and lose nothing: what was
// restored piece by piece has the digest of what was dumped.
func TestKilledSuperStream(t *testing.T) {
	t.Parallel()
	const count = 100_000
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		client := dialStreams(t, b)
		super := declareSuperStream(t, client, 3)
		sendGenerated(t, b, count, "--super-stream", super.Name)
		file := filepath.Join(t.TempDir(), "dump")
		disturb := func(most time.Duration, args ...string) {
			for i := range 5 {
				p := start(t, b.URL, args...)
				time.Sleep(time.Duration(random.Int64N(int64(most))))
				if i%2 == 0 {
					_ = p.cmd.Process.Kill() // it may be through
				} else {
					_ = p.cmd.Process.Signal(os.Interrupt)
				}
				code := p.wait()
				early := code == -1 && p.stderr.Len() == 0 // by the signal: it did not listen yet
				if i%2 == 1 && code != exitInterrupted && code != exitOK && !early {
					t.Errorf("interrupted, %v exits with %d\n%s", args, code, &p.stderr)
				}
			}
		}
		dumped := []string{"dump", super.Name, file, "--stream-url", b.StreamURL, "--force"}
		disturb(500*time.Millisecond, dumped...)
		if _, err := os.Stat(file); err == nil {
			checkWhole(t, file, count) // it was just done
		}
		want := digestOf(t, start(t, b.URL, dumped...), count)

		copied := super
		if err := copied.Rename(super.Name + "-copy"); err != nil {
			t.Fatal(err)
		}
		defer deleteSuperStream(client, &copied)
		restored := []string{"restore", file, copied.Name, "--stream-url", b.StreamURL}
		disturb(time.Second, restored...)
		p := start(t, b.URL, restored...)
		if code := p.wait(); code != exitOK {
			t.Fatalf("exit code %d\n%s", code, &p.stderr)
		}
		t.Log(p.stdout.String(), p.stderr.String())
		again := []string{"dump", copied.Name, file, "--stream-url", b.StreamURL, "--force"}
		if got := digestOf(t, start(t, b.URL, again...), count); got != want {
			t.Errorf("the digest is %s, want %s", got, want)
		}
	})
}
