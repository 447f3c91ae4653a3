package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/brokertest"
)

// envLoads is how many runs TestRandomLoads makes on each broker; 4 if it is not set.
const envLoads = "THUMP_TEST_LOADS"

// TestRandomLoads: whatever flags say how a run sends and receives, every message is accounted for,
// as often as it is to come, and what the run made is gone afterwards.
func TestRandomLoads(t *testing.T) {
	t.Parallel()
	programs, seed := numberFrom(t, envLoads, 4), uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for i := range programs {
			l := newRandomLoad(rand.New(rand.NewPCG(seed, uint64(i))), fmt.Sprintf("%s-%d", brokertest.QueueName(t), i), b.Name)
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Log(strings.Join(l.args, " "))
				l.run(t, b)
			})
		}
	})
}

// randomLoad is a run with random flags, and what is to come of it.
type randomLoad struct {
	random *rand.Rand
	args   []string
	count  uint64
	copies uint64 // of each message

	name     string
	queues   int
	quorum   bool
	reorders bool
	warmUp   bool
	expires  bool
	polls    bool
}

func newRandomLoad(random *rand.Rand, name, series string) *randomLoad {
	l := &randomLoad{random: random, name: name, count: 1 + random.Uint64N(3000), copies: 1, queues: 1}
	l.add("run", "--queue", name, "--count", strconv.FormatUint(l.count, 10), "--quiet")
	stream := l.oneOf(4)
	switch {
	case stream && l.oneOf(2) && series != "3.10":
		l.add("--super-stream", name+"-s", "--partitions", l.upTo(3))
		l.args[1], l.args[2] = "--give-up", "1m" // it has a name of its own
	case stream:
		l.add("--kind", "stream")
	case l.oneOf(3):
		l.quorum = true
		l.add("--kind", "quorum")
	}
	l.sending()
	if stream {
		l.stream()
	} else {
		l.throughQueues(name)
	}
	return l
}

func (l *randomLoad) add(args ...string)         { l.args = append(l.args, args...) }
func (l *randomLoad) oneOf(n int) bool           { return l.random.IntN(n) == 0 }
func (l *randomLoad) upTo(n int) string          { return strconv.Itoa(1 + l.random.IntN(n)) }
func (l *randomLoad) choose(of ...string) string { return of[l.random.IntN(len(of))] }

// maybe adds flags one time of so many.
func (l *randomLoad) maybe(n int, args ...string) bool {
	if !l.oneOf(n) {
		return false
	}
	l.add(args...)
	return true
}

// sending adds what says how to send, to whatever place.
func (l *randomLoad) sending() {
	l.maybe(2, "--publishers", l.upTo(4))
	if l.maybe(2, "--body", l.choose("24", "100", "24b:80%,2kb:20%", "16..300")) {
		l.maybe(2, "--incompressible")
	}
	if l.maybe(3, "--rate", l.choose("5k", "10k", "2k:100ms,8k", "1k..20k:200ms,20k")) {
		l.maybe(2, "--arrivals", "poisson")
	}
	l.warmUp = l.maybe(4, "--warm-up", l.choose("20ms", "100ms"))
	l.maybe(4, "--sequential")
	l.maybe(4, "--header", "tenant=acme")
	l.maybe(4, "--window", l.upTo(500))
	l.maybe(4, "--consume-rate", l.choose("2k", "10k", "100k"))
}

func (l *randomLoad) stream() {
	l.maybe(2, "--sub-entry", l.upTo(100))
	if l.oneOf(2) {
		consumers := 1 + l.random.IntN(3)
		l.add("--consumers", strconv.Itoa(consumers))
		l.copies = uint64(consumers)
	}
}

func (l *randomLoad) throughQueues(name string) {
	if l.oneOf(2) {
		l.queues = 1 + l.random.IntN(4)
		l.add("--queues", strconv.Itoa(l.queues))
	}
	if l.oneOf(2) {
		l.throughExchange(name)
	}
	if l.oneOf(2) {
		l.add("--consumers", strconv.Itoa(l.queues+l.random.IntN(3)))
	}
	if l.oneOf(3) {
		l.add("--priority", l.choose("3", "0..4", "1:80%,9:20%"))
		l.reorders = l.args[len(l.args)-1] != "3"
	}
	l.maybe(4, "--work", l.choose("50us", "10us..200us"))
	switch l.random.IntN(7) {
	case 6:
		if l.copies == 1 {
			l.add("--ttl", l.choose("1ms", "20ms", "1h"))
			l.expires = true
		}
	case 0:
		l.add("--auto-ack")
		l.polls = l.maybe(2, "--poll")
	case 1:
		l.add("--requeue", "5%")
		l.polls = l.maybe(2, "--poll")
	case 2:
		l.add("--reject", "5%")
	default:
		l.polls = l.maybe(3, "--poll")
		if !l.polls {
			l.maybe(2, "--prefetch", l.upTo(100))
		}
	}
	if l.polls {
		l.maybe(2, "--poll-interval", l.choose("1ms", "20ms", "200ms"))
	}
	if !l.quorum {
		l.maybe(4, "--transient")
	}
}

// throughExchange adds an exchange of some kind. Of a topic exchange, the first queue has everything
// where there are others.
func (l *randomLoad) throughExchange(name string) {
	kind := l.choose("direct", "topic", "fanout", "headers")
	l.add("--exchange", name+"-x", "--exchange-type", kind)
	queue := func(i int) string {
		if l.queues == 1 {
			return name
		}
		return fmt.Sprintf("%s-%d", name, i)
	}
	switch kind {
	case "fanout", "headers":
		l.copies = uint64(l.queues)
		l.maybe(2, "--routing-keys", "x,y")
	case "topic":
		keys := []string{"k1.eu.de", "k2", "k3.us", "k4.x.y.z"}
		l.add("--routing-keys", strings.Join(keys, ","), "--binding-key", "#="+queue(1))
		if l.queues > 1 {
			l.copies = 2
		}
		for i := range keys {
			if l.queues > 1 {
				l.add("--binding-key", fmt.Sprintf("k%d.#=%s", i+1, queue(2+i%(l.queues-1))))
			}
		}
	default:
		l.maybe(2, "--routing-keys", l.choose("a,b,c,d,e", "a:50%,b:30%,c:10%,d:10%"))
	}
}

// run runs it, and checks what came of it.
func (l *randomLoad) run(t *testing.T, b brokertest.Broker) {
	file := filepath.Join(t.TempDir(), "result.json")
	args := append([]string{}, l.args...)
	if b.StreamURL != "" {
		for _, arg := range args {
			if arg == "stream" || arg == "--super-stream" {
				args = append(args, "--stream-url", b.StreamURL)
				break
			}
		}
	}
	p := start(t, b.URL, append(args, "--json", file)...)
	if code := p.wait(); code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, &p.stdout, &p.stderr)
	}
	r := readRun(t, file)
	if r.Verdict != result.OK || *r.Sent != l.count || *r.Confirmed != l.count || *r.Lost != 0 {
		t.Errorf("the record is %+v", r)
	}
	expired := result.Value(r.Expired)
	if *r.Unique+expired != l.copies*l.count || (r.Expired != nil) != l.expires || *r.Received != *r.Unique || *r.Duplicated+*r.Corrupted+*r.Unexpected != 0 {
		t.Errorf("%d received of %d messages in %d copies: %+v", *r.Received, l.count, l.copies, r)
	}
	if (r.Reordered == nil) != l.reorders {
		t.Errorf("reordered is %v with the priorities %q", result.Value(r.Reordered), r.Settings.Priorities)
	}
	if !l.warmUp && expired == 0 && (r.ReceiveLatency == nil || r.ReceiveLatency.Count != *r.Unique || r.ConfirmLatency.Count != l.count) {
		t.Errorf("the latencies are %+v and %+v", r.ConfirmLatency, r.ReceiveLatency)
	}
	if (r.Gets != nil) != l.polls || l.polls && *r.Gets-*r.EmptyGets < *r.Received {
		t.Errorf("it asked %d times, %d in vain", result.Value(r.Gets), result.Value(r.EmptyGets))
	}
	if left := result.Value(r.LeftInQueue); left != 0 {
		t.Errorf("%d messages are left", left)
	}
	l.checkGone(t, b)
}

// checkGone: the run has deleted all that it may have made.
func (l *randomLoad) checkGone(t *testing.T, b brokertest.Broker) {
	t.Helper()
	client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := client.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	queues := []string{l.name, l.name + expiredSuffix, l.name + "-all" + expiredSuffix}
	for i := range l.queues {
		queues = append(queues, fmt.Sprintf("%s-%d", l.name, i+1))
	}
	for i := range 3 { // the partitions
		queues = append(queues, fmt.Sprintf("%s-s-%d", l.name, i))
	}
	for _, queue := range queues {
		if _, err := client.InspectQueue(t.Context(), queue); !thump.IsNotFound(err) {
			t.Errorf("the queue %s: %v, want that it is gone", queue, err)
		}
	}
	for _, exchange := range []string{l.name + "-x", l.name + "-s"} {
		if err := client.InspectExchange(t.Context(), exchange); !thump.IsNotFound(err) {
			t.Errorf("the exchange %s: %v, want that it is gone", exchange, err)
		}
	}
}
