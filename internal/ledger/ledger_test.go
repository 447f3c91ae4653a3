package ledger

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestPlanRangesCoverEveryNumberOnce(t *testing.T) {
	for _, p := range []Plan{{1, 1}, {1, 3}, {7, 3}, {9, 3}, {10, 4}, {1000, 7}, {3, 8}} {
		next := uint64(1)
		for i := range p.Publishers {
			own := p.Range(i)
			if own.First != next {
				t.Errorf("%+v: publisher %d starts at %d, want %d", p, i, own.First, next)
			}
			for n := own.First; n <= own.Last; n++ {
				if got := p.owner(n); got != i {
					t.Errorf("%+v: owner of %d is %d, want %d", p, n, got, i)
				}
			}
			next += own.Len()
		}
		if next != p.Count+1 {
			t.Errorf("%+v: ranges end at %d, want %d", p, next-1, p.Count)
		}
	}
}

func TestPlanValidate(t *testing.T) {
	for _, p := range []Plan{{0, 1}, {1, 0}, {1, -1}, {MaxCount + 1, 1}, {1, MaxPublishers + 1}} {
		if p.Validate() == nil {
			t.Errorf("%+v is accepted", p)
		}
	}
	if err := (Plan{MaxCount, MaxPublishers}).Validate(); err != nil {
		t.Error(err)
	}
}

// arrival is one delivery of a test: a negative number is one that RabbitMQ
// marked as redelivered.
func deliver(l *Ledger, c *Consumer, numbers ...int) {
	for _, n := range numbers {
		redelivered := n < 0
		c.Add(l.format.Append(nil, uint64(max(n, -n))), redelivered)
	}
	c.Commit()
}

func TestLedgerClasses(t *testing.T) {
	tests := []struct {
		name        string
		plan        Plan
		published   []uint64 // by publisher
		unconfirmed []uint64
		deliveries  [][]int // by consumer
		bodies      []string
		want        Totals
		missing     []Range
	}{
		{
			name: "all", plan: Plan{5, 1}, published: []uint64{5},
			deliveries: [][]int{{1, 2, 3, 4, 5}},
			want:       Totals{Received: 5, Unique: 5},
		},
		{
			name: "lost", plan: Plan{9, 1}, published: []uint64{9},
			deliveries: [][]int{{2, 3, 6, 8}},
			want:       Totals{Received: 4, Unique: 4},
			missing:    []Range{{1, 1}, {4, 5}, {7, 7}, {9, 9}},
		},
		{
			name: "duplicated", plan: Plan{3, 1}, published: []uint64{3},
			deliveries: [][]int{{1, 2, 2, 3, -1}},
			want:       Totals{Received: 5, Unique: 3, Duplicated: 2, Redelivered: 1},
		},
		{
			name: "duplicated across consumers", plan: Plan{3, 1}, published: []uint64{3},
			deliveries: [][]int{{1, 2}, {2, 3}},
			want:       Totals{Received: 4, Unique: 3, Duplicated: 1},
		},
		{
			name: "a redelivery that another consumer records before the delivery", plan: Plan{2, 1}, published: []uint64{2},
			deliveries: [][]int{{-2}, {1, 2, 2}},
			want:       Totals{Received: 4, Unique: 2, Duplicated: 2, Redelivered: 1},
		},
		{
			name: "reordered", plan: Plan{5, 1}, published: []uint64{5},
			deliveries: [][]int{{1, 5, 2, 3, 4}},
			want:       Totals{Received: 5, Unique: 5, Reordered: 3, FarthestReorder: 3},
		},
		{
			name: "order is judged for each consumer by itself", plan: Plan{4, 1}, published: []uint64{4},
			deliveries: [][]int{{3, 4}, {1, 2}},
			want:       Totals{Received: 4, Unique: 4},
		},
		{
			name: "order is judged for each publisher by itself", plan: Plan{4, 2}, published: []uint64{2, 2},
			deliveries: [][]int{{3, 1, 4, 2}},
			want:       Totals{Received: 4, Unique: 4},
		},
		{
			name: "a redelivery is not out of order", plan: Plan{4, 1}, published: []uint64{4},
			deliveries: [][]int{{3, 4, -1, -2}},
			want:       Totals{Received: 4, Unique: 4},
		},
		{
			name: "a redelivery does not make its successors late", plan: Plan{4, 1}, published: []uint64{4},
			deliveries: [][]int{{-4, 1, 2, 3}},
			want:       Totals{Received: 4, Unique: 4},
		},
		{
			name: "unconfirmed is not lost", plan: Plan{4, 1}, published: []uint64{4},
			unconfirmed: []uint64{2, 3, 0, 99}, deliveries: [][]int{{1, 3}},
			want:    Totals{Received: 2, Unique: 2},
			missing: []Range{{4, 4}},
		},
		{
			name: "never published is not lost", plan: Plan{4, 2}, published: []uint64{1, 2},
			deliveries: [][]int{{1, 3}},
			want:       Totals{Received: 2, Unique: 2},
			missing:    []Range{{4, 4}},
		},
		{
			name: "came and never published", plan: Plan{4, 1}, published: []uint64{2},
			deliveries: [][]int{{1, 2, 3}},
			want:       Totals{Received: 3, Unique: 2, Unexpected: 1},
		},
		{
			name: "bodies that are not ours", plan: Plan{12, 1}, published: []uint64{12},
			unconfirmed: []uint64{2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
			bodies: []string{
				"Message 1", "Message 13", "Message 18446744073709551615", "hello", "",
				"Message 01", "Message 1 ", "Message", "Message -1", "Message 99999999999999999999",
			},
			want: Totals{Received: 10, Unique: 1, Unexpected: 4, Corrupted: 5},
		},
		{
			name: "missing on both sides of a publisher's end", plan: Plan{6, 2}, published: []uint64{3, 3},
			deliveries: [][]int{{1, 2, 5, 6}},
			want:       Totals{Received: 4, Unique: 4},
			missing:    []Range{{3, 4}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := New(Tutorial(tt.plan))
			for _, numbers := range tt.deliveries {
				deliver(l, l.Consumer(), numbers...)
			}
			c := l.Consumer()
			for _, body := range tt.bodies {
				c.Add([]byte(body), false)
			}
			c.Commit()
			l.Unconfirmed(tt.unconfirmed)
			for i, n := range tt.published {
				l.Published(i, n)
			}
			if got := l.Totals(); got != tt.want {
				t.Errorf("totals\n got %+v\nwant %+v", got, tt.want)
			}
			if got := l.MissingRanges(10); !slices.Equal(got, tt.missing) {
				t.Errorf("missing %v, want %v", got, tt.missing)
			}
			var n uint64
			for _, r := range tt.missing {
				n += r.Len()
			}
			if got := l.Missing(); got != n {
				t.Errorf("%d missing, want %d", got, n)
			}
		})
	}
}

func TestMissingRangesStopsAtLimit(t *testing.T) {
	l := New(Tutorial(Plan{100, 1}))
	for n := 2; n <= 100; n += 2 {
		deliver(l, l.Consumer(), n)
	}
	l.Published(0, 100)
	if got, want := l.MissingRanges(3), []Range{{1, 1}, {3, 3}, {5, 5}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestLedgerAgainstMap compares the ledger with the obvious one, over runs that
// cross page borders.
func TestLedgerAgainstMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	const count = 5 * pageLen / 2
	for _, publishers := range []int{1, 3} {
		l := New(Tutorial(Plan{count, publishers}))
		c := l.Consumer()
		order := random.Perm(count)
		seen := make(map[uint64]bool)
		unconfirmed := make(map[uint64]bool)
		for i := range count / 100 {
			unconfirmed[uint64(i*100+1)] = true
			l.Unconfirmed([]uint64{uint64(i*100 + 1)})
		}
		for i, o := range order[:count-count/7] {
			n := uint64(o + 1)
			seen[n] = true
			deliver(l, c, int(n))
			if i%1000 == 0 {
				deliver(l, c, int(n))
			}
		}
		for i := range publishers {
			l.Published(i, l.format.plan.Range(i).Len())
		}
		var missing uint64
		for n := uint64(1); n <= count; n++ {
			if !seen[n] && !unconfirmed[n] {
				missing++
			}
		}
		if got := l.Missing(); got != missing {
			t.Errorf("%d publishers: %d missing, want %d", publishers, got, missing)
		}
		var inRanges uint64
		for _, r := range l.MissingRanges(count) {
			inRanges += r.Len()
			for n := r.First; n <= r.Last; n++ {
				if seen[n] || unconfirmed[n] {
					t.Fatalf("%d publishers: %d is called missing", publishers, n)
				}
			}
		}
		if inRanges != missing {
			t.Errorf("%d publishers: %d in the ranges, want %d", publishers, inRanges, missing)
		}
		want := uint64(len(seen))
		if got := l.Totals(); got.Unique != want || got.Duplicated != got.Received-want {
			t.Errorf("%d publishers: %+v, want %d unique", publishers, got, want)
		}
	}
}

func TestSetKeepsOnePageInOrder(t *testing.T) {
	var s set
	for i := range uint64(20 * pageLen) {
		if added, _ := s.add(i); !added {
			t.Fatalf("%d was there already", i)
		}
		if len(s.pages) > 1 {
			t.Fatalf("%d pages after %d", len(s.pages), i)
		}
	}
	if s.floor != 20 || len(s.pages) != 0 {
		t.Errorf("floor %d and %d pages, want 20 and 0", s.floor, len(s.pages))
	}
	for _, i := range []uint64{0, pageLen, 20*pageLen - 1} {
		if added, _ := s.add(i); added || !s.has(i) {
			t.Errorf("%d is not there", i)
		}
	}
	if s.has(20 * pageLen) {
		t.Error("the next number is there")
	}
}

func TestSetFullPageWaitsForFloor(t *testing.T) {
	var s set
	for i := range uint64(pageLen) {
		s.add(pageLen + i)
	}
	if s.floor != 0 || !s.has(pageLen) || s.has(0) {
		t.Errorf("floor %d, second page there %t", s.floor, s.has(pageLen))
	}
	if got := s.from(pageLen + 10); got != pageLen-10 {
		t.Errorf("%d from the tenth of the second page, want %d", got, pageLen-10)
	}
	for i := range uint64(pageLen) {
		s.add(i)
	}
	if s.floor != 2 || len(s.pages) != 0 {
		t.Errorf("floor %d and %d pages, want 2 and 0", s.floor, len(s.pages))
	}
	if got := s.from(10); got != 2*pageLen-10 {
		t.Errorf("%d from 10, want %d", got, 2*pageLen-10)
	}
}

func TestTally(t *testing.T) {
	tally := NewTally()
	a, b := tally.Consumer(), tally.Consumer()
	for _, body := range []string{"Message 1", "Message 2", "hello", "Message 5"} {
		a.Add([]byte(body))
	}
	for _, body := range []string{"Message 2", "Message 05", ""} {
		b.Add([]byte(body))
	}
	a.Commit()
	b.Commit()
	want := TallyCounts{Received: 7, Numbered: 4, Repeated: 1, Highest: 5}
	if got := tally.Counts(); got != want || got.Missing() != 2 {
		t.Errorf("got %+v with %d missing, want %+v with 2", got, got.Missing(), want)
	}
}

func TestTallyBoundsScatteredNumbers(t *testing.T) {
	tally := NewTally()
	c := tally.Consumer()
	format := Tutorial(Plan{Count: 1, Publishers: 1})
	for i := range uint64(tallyPages + 1) {
		c.Add(format.Append(nil, i*pageLen+1))
	}
	c.Commit()
	if got := tally.Counts(); !got.Partial || tally.seen.len != 0 {
		t.Errorf("got %+v with %d numbers kept, want partial and none", got, tally.seen.len)
	}
}
