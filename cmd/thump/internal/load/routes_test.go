package load

import (
	"strings"
	"testing"
)

func TestTopicMatches(t *testing.T) {
	for _, tt := range []struct {
		pattern, key string
		want         bool
	}{
		{"#", "a.b.c", true},
		{"#", "", true},
		{"*", "", true}, // RabbitMQ takes no word for an empty one
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

// TestRoutesGroups: of each group of queues one gets each message, or the routes are refused.
func TestRoutesGroups(t *testing.T) {
	names := []string{"q1", "q2", "q3"}
	for _, tt := range []struct {
		what     string
		kind     ExchangeKind
		keys     []string
		bindings []Binding
		copyOf   []int
		wrong    string
	}{
		{"one each", Direct, []string{"a", "b", "c"}, []Binding{{0, "a"}, {1, "b"}, {2, "c"}}, []int{0, 0, 0}, ""},
		{"all to all", Fanout, []string{""}, []Binding{{0, ""}, {1, ""}, {2, ""}}, []int{0, 1, 2}, ""},
		{"one has all", Topic, []string{"a.x", "b.y"}, []Binding{{0, "a.*"}, {1, "#"}, {2, "b.*"}}, []int{0, 1, 0}, ""},
		{"several bindings", Topic, []string{"a.x"}, []Binding{{0, "a.*"}, {0, "#"}, {1, "#"}, {2, "a.x"}}, []int{0, 1, 2}, ""},
		{"none for one", Direct, []string{"a"}, []Binding{{0, "a"}, {1, "a"}, {2, "b"}}, nil, `no message comes to the queue "q3"`},
		{"a key for none", Direct, []string{"a", "d"}, []Binding{{0, "a"}, {1, "a"}, {2, "a"}}, nil, `"d" leads to no queue`},
		{"more for some", Topic, []string{"a", "b"}, []Binding{{0, "#"}, {1, "a"}, {2, "#"}}, nil, `"b" leads to fewer queues`},
	} {
		r := Routes{Kind: tt.kind, Keys: Keys{Keys: tt.keys}, Bindings: tt.bindings}
		err := r.Check(names)
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
	ring := newKeyring(Keys{Keys: []string{"a", "b", "c"}, Shares: []float64{60, 30, 10}})
	had := map[string]int{}
	for n := range uint64(100_000) {
		had[ring.of(n)]++
	}
	for key, want := range map[string]int{"a": 60_000, "b": 30_000, "c": 10_000} {
		if got := had[key]; got < want*9/10 || got > want*11/10 {
			t.Errorf("%d messages have the key %q, want about %d", got, key, want)
		}
	}
	ring = newKeyring(Keys{Keys: []string{"a", "b"}})
	if ring.of(4)+ring.of(5)+ring.of(6) != "aba" {
		t.Error("the keys take no turns")
	}
}
