package load

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/brokertest"
)

func TestTopicMatches(t *testing.T) {
	for _, tt := range []struct {
		pattern, key string
		want         bool
	}{
		{"#", "a.b.c", true},
		{"*", "a", true},
		{"*", "a.b", false},
		{"a.*", "a.b", true},
		{"a.*", "a", false},
		{"a.#", "a", true},
		{"a.#", "a.b.c", true},
		{"a.#.c", "a.c", true},
		{"a.#.c", "a.b.b.c", true},
		{"a.#.c", "a.b.b.d", false},
		{"#.#", "a", true},
		{"*.#.*", "a", false},
		{"*.#.*", "a.b", true},
		{"a", "b", false},
	} {
		if got := Topic.leads(tt.pattern, tt.key); got != tt.want {
			t.Errorf("%q takes %q: %t, want %t", tt.pattern, tt.key, got, tt.want)
		}
	}
}

// TestTopicMatchesAsTheBroker: random patterns take the same keys here as there.
func TestTopicMatchesAsTheBroker(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	words := func(random *rand.Rand, of ...string) string {
		text := make([]string, 1+random.IntN(4))
		for i := range text {
			text[i] = of[random.IntN(len(of))]
		}
		return strings.Join(text, ".")
	}
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		random := rand.New(rand.NewPCG(seed, 0))
		q := open(t, b, thump.QueueSpec{})
		if err := q.client.DeclareExchange(t.Context(), thump.ExchangeSpec{Name: q.queue, Kind: string(Topic)}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := q.client.DeleteExchange(context.Background(), q.queue, thump.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		})
		pub, err := q.client.Publisher(t.Context(), thump.PublisherConfig{To: thump.Exchange(q.queue, "")})
		if err != nil {
			t.Fatal(err)
		}
		taken := 0
		for range 100 {
			binding := thump.Binding{Source: q.queue, Queue: q.queue, RoutingKey: words(random, "a", "b", "*", "#")}
			if strings.Count(binding.RoutingKey, "#") > 2 { // which RabbitMQ 4.3 refuses
				continue
			}
			if err := q.client.Bind(t.Context(), binding); err != nil {
				t.Fatal(err)
			}
			for range 5 {
				key := words(random, "a", "b", "")
				if key == "" { // which no message of a run has
					continue
				}
				err := pub.Send(t.Context(), thump.Message{RoutingKey: key})
				if refused, ok := errors.AsType[*thump.OutcomeError](err); err != nil && (!ok || refused.Returned != 1) {
					t.Fatal(err)
				}
				if got, want := Topic.leads(binding.RoutingKey, key), err == nil; got != want {
					t.Errorf("%q takes %q: %t, and the broker says %t", binding.RoutingKey, key, got, want)
				}
				if err == nil {
					taken++
				}
			}
			if err := q.client.Unbind(t.Context(), binding); err != nil {
				t.Fatal(err)
			}
		}
		if err := pub.Close(t.Context()); err != nil && !errors.Is(err, thump.ErrClosed) {
			if _, ok := errors.AsType[*thump.OutcomeError](err); !ok {
				t.Error(err)
			}
		}
		if taken == 0 {
			t.Error("no pattern took a key")
		}
	})
}

// TestRoutesGroups: of each group of queues one gets each message, or the routes are refused.
func TestRoutesGroups(t *testing.T) {
	names := []string{"q1", "q2", "q3", "q4"}
	for _, tt := range []struct {
		what     string
		kind     ExchangeType
		keys     []string
		bindings []Binding
		copyOf   []int
		wrong    string
	}{
		{"one each", Direct, []string{"a", "b", "c"}, []Binding{{0, "a"}, {1, "b"}, {2, "c"}}, []int{0, 0, 0}, ""},
		{"all to all", Fanout, []string{""}, []Binding{{0, ""}, {1, ""}, {2, ""}}, []int{0, 1, 2}, ""},
		{"one has all", Topic, []string{"a.x", "b.y"}, []Binding{{0, "a.*"}, {1, "#"}, {2, "b.*"}}, []int{1, 0, 1}, ""},
		{"several bindings", Topic, []string{"a.x"}, []Binding{{0, "a.*"}, {0, "#"}, {1, "#"}, {2, "a.x"}}, []int{0, 1, 2}, ""},
		{"none for one", Direct, []string{"a"}, []Binding{{0, "a"}, {1, "a"}, {2, "b"}}, nil, `no message comes to the queue "q3"`},
		{"a key for none", Direct, []string{"a", "d"}, []Binding{{0, "a"}, {1, "a"}, {2, "a"}}, nil, `"d" leads to no queue`},
		{"first those with more", Direct, []string{"1", "2", "3"}, []Binding{{0, "1"}, {1, "3"}, {2, "2"}, {2, "3"}, {3, "1"}, {3, "2"}}, []int{0, 1, 0, 1}, ""},
		{"in no groups", Direct, []string{"1", "2", "3"}, []Binding{{0, "1"}, {0, "2"}, {1, "2"}, {1, "3"}, {2, "1"}, {2, "3"}}, nil, "can't be divided into groups"},
		{"more for some", Topic, []string{"a", "b"}, []Binding{{0, "#"}, {1, "a"}, {2, "#"}}, nil, `"b" leads to fewer queues`},
	} {
		r := Routes{Kind: tt.kind, Keys: Keys{Keys: tt.keys}, Bindings: tt.bindings}
		err := r.Check(names[:max(3, 1+slices.MaxFunc(tt.bindings, func(a, b Binding) int { return a.Queue - b.Queue }).Queue)])
		if tt.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%s: %v, want %q", tt.what, err, tt.wrong)
			}
			continue
		}
		for i, want := range tt.copyOf {
			if err != nil || r.copyOf[i] != want {
				t.Errorf("%s: the groups are %v (%v), want %v", tt.what, r.copyOf, err, tt.copyOf)
				break
			}
		}
	}
}

// TestKeysByShares: of many messages each key has its share; without shares they take turns.
func TestKeysByShares(t *testing.T) {
	ring := newKeyring(Keys{Keys: []string{"a", "b", "c"}, Shares: []float64{60, 30, 10}}, 1)
	had := map[string]int{}
	for range 100_000 {
		had[ring.next()]++
	}
	for key, want := range map[string]int{"a": 60_000, "b": 30_000, "c": 10_000} {
		if got := had[key]; got < want*9/10 || got > want*11/10 {
			t.Errorf("%d messages have the key %q, want about %d", got, key, want)
		}
	}
	ring = newKeyring(Keys{Keys: []string{"a", "b", "c"}}, 4)
	if ring.next()+ring.next()+ring.next()+ring.next() != "bcab" {
		t.Error("the keys take no turns")
	}
}

// TestReturnedHasNoCopy: without confirms, what was returned is missing in each of its copies.
func TestReturnedHasNoCopy(t *testing.T) {
	const count = 10
	cfg := RunConfig{SendConfig: SendConfig{
		To: Queues{
			Queue: Queue{NoConfirms: true}, Names: []string{"a", "b"},
			Routes: &Routes{Kind: Fanout, copyOf: []int{0, 1}},
		},
		Count: count, Publishers: 1, Progress: new(Progress),
	}, Consumers: 2}
	for returned, lost := range map[uint64]uint64{count: 0, count - 1: 2} {
		r := newRunner(nil, cfg, nil)
		if err := r.sent.prepare(); err != nil {
			t.Fatal(err)
		}
		r.books = newBooks(r.sent.format, &r.cfg)
		r.books.published([]uint64{count})
		r.finished, r.sent.counts.Returned = true, returned
		var out result.Run
		if r.recordLost(t.Context(), &out, false); *out.Lost != lost {
			t.Errorf("%d of %d returned: %d copies lost, want %d", returned, count, *out.Lost, lost)
		}
	}
}
