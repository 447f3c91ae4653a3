package main

import (
	"context"
	"encoding/json"
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
	"github.com/thumpmq/thump/internal/move"
)

// envMoved is how many messages TestKilledMove moves; 10,000 for each kill if it is not set.
const envMoved = "THUMP_TEST_MOVED"

// TestKilledMove kills a move at random instants, and starts it again until it is through.
// Nothing is lost. With a journal each message that is at the target twice was named, and in a
// stream none is. envKills is how often.
func TestKilledMove(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Run("quorum", func(t *testing.T) { testKilledMove(t, b, "quorum", true) })
		t.Run("stream", func(t *testing.T) { testKilledMove(t, b, "stream", true) })
		t.Run("without-journal", func(t *testing.T) { testKilledMove(t, b, "quorum", false) })
	})
}

// numberFrom is a number from the environment.
func numberFrom(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func testKilledMove(t *testing.T, b brokertest.Broker, kind string, journaled bool) {
	kills, seed := numberFrom(t, envKills, 2), uint64(time.Now().UnixNano())
	messages := numberFrom(t, envMoved, 10_000*kills)
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	apart := time.Duration(messages/kills) * 100 * time.Microsecond // at most, between two kills
	ctx := t.Context()
	client, err := thump.Dial(ctx, thump.Config{URLs: []string{b.URL, b.StreamURL}})
	if err != nil {
		t.Fatal(err)
	}
	from := fmt.Sprintf("thump-killed-move-%d", seed)
	to := from + "-to"
	t.Cleanup(func() {
		for _, name := range []string{from, to} {
			_, _ = client.DeleteQueue(context.Background(), name, thump.DeleteOptions{})
		}
		_ = client.Close(context.Background())
	})
	if _, err := client.DeclareQueue(ctx, thump.QueueSpec{Name: from, Kind: thump.Classic}); err != nil {
		t.Fatal(err)
	}
	if kind == "stream" {
		err = client.DeclareStream(ctx, thump.StreamSpec{Name: to})
	} else {
		_, err = client.DeclareQueue(ctx, thump.QueueSpec{Name: to, Kind: thump.Quorum})
	}
	if err != nil {
		t.Fatal(err)
	}
	publishNumbered(t, client, from, messages)

	journal := filepath.Join(t.TempDir(), "journal")
	args := []string{"move", from, to, "--stream-url", b.StreamURL, "--url", b.URL}
	if journaled {
		args = append(args, "--journal", journal)
	}
	done := false
	for i := 0; i < kills && !done; i++ {
		p := start(t, b.URL, args...)
		p.await("Moving from")
		time.Sleep(time.Duration(random.Int64N(int64(apart))))
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		done = p.wait() == exitOK
		if done {
			t.Logf("it was through before kill %d", i+1)
		}
	}
	if !done {
		p := start(t, b.URL, args...)
		if code := p.wait(); code != exitOK {
			t.Fatalf("exit code %d\n%s", code, &p.stderr)
		}
		t.Logf("%s", &p.stdout)
	}
	times := numbersIn(t, client, to, kind, messages)
	if !journaled {
		checkNoneLost(t, times)
		return
	}
	checkDoubles(t, times, namedIn(t, journal), kind)
}

// publishNumbered publishes messages with the ids 0, 1, 2 and so on.
func publishNumbered(t *testing.T, client *thump.Client, queue string, n int) {
	t.Helper()
	pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Queue(queue)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		p := thump.Properties{MessageID: strconv.Itoa(i)}
		if _, err := pub.Publish(t.Context(), thump.Message{Body: []byte("a body"), Properties: &p}); err != nil {
			t.Fatal(err)
		}
	}
	if err := pub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// numbersIn is how often each number is in the target, of which there are at least n
// messages.
func numbersIn(t *testing.T, client *thump.Client, name, kind string, n int) []int {
	t.Helper()
	cfg := thump.ConsumerConfig{From: thump.Queue(name), AutoAck: true}
	if kind == "stream" {
		cfg = thump.ConsumerConfig{From: thump.Stream(name)}
	}
	con, err := client.Consumer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = con.Close(t.Context()) }()
	times := make([]int, n)
	for received, quiet := 0, patience; ; quiet = 2 * time.Second {
		ctx, cancel := context.WithTimeout(t.Context(), quiet)
		batch, err := con.Receive(ctx)
		cancel()
		if err != nil {
			if received < n {
				t.Errorf("%d of %d messages are at the target: %v", received, n, err)
			}
			return times
		}
		for i := range batch.Deliveries {
			number, err := strconv.Atoi(batch.Deliveries[i].MessageID())
			if err != nil || number >= n {
				t.Fatalf("a message has the id %q", batch.Deliveries[i].MessageID())
			}
			times[number]++
			received++
		}
	}
}

// namedIn are the messages that were named as perhaps twice, by their id.
func namedIn(t *testing.T, journal string) map[string]bool {
	t.Helper()
	named := make(map[string]bool)
	text, err := os.ReadFile(move.TwicePath(journal))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var double move.Double
		if err := json.Unmarshal([]byte(line), &double); err != nil {
			continue // cut short by a kill
		}
		var id string
		if _, err := fmt.Sscanf(double.Message, "message id %q", &id); err != nil {
			t.Fatalf("%q names no message", double.Message)
		}
		named[id] = true
	}
	return named
}

func checkDoubles(t *testing.T, times []int, named map[string]bool, kind string) {
	t.Helper()
	lost, doubled, unnamed := 0, 0, 0
	for number, n := range times {
		switch {
		case n == 0:
			lost++
		case n > 1:
			doubled++
			if !named[strconv.Itoa(number)] {
				unnamed++
			}
		}
	}
	t.Logf("of %d messages %d are lost, and %d doubled; %d were named", len(times), lost, doubled, len(named))
	if lost > 0 || unnamed > 0 {
		t.Errorf("%d messages are lost, and %d of the doubled were not named", lost, unnamed)
	}
	if kind == "stream" && doubled+len(named) > 0 {
		t.Errorf("the stream has %d messages twice, and %d were named", doubled, len(named))
	}
}

func checkNoneLost(t *testing.T, times []int) {
	t.Helper()
	lost, doubled := 0, 0
	for _, n := range times {
		switch {
		case n == 0:
			lost++
		case n > 1:
			doubled++
		}
	}
	t.Logf("of %d messages %d are lost, and %d doubled", len(times), lost, doubled)
	if lost > 0 {
		t.Errorf("%d messages are lost", lost)
	}
}
