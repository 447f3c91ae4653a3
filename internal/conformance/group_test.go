package conformance

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/thumpmq/thump"
)

// Single active consumers: of a group, one at a time receives.
func groupCases() []conformanceCase {
	return []conformanceCase{
		{"group/takes-over-on-close", offsets, testGroupClose},
		{"group/takes-over-on-a-lost-connection", offsets, testGroupLost},
		{"group/stored-by-hand", offsets, testGroupManual},
		{"group/two-groups", offsets, testTwoGroups},
		{"group/shares-partitions", partitions, testGroupPartitions},
		{"group/joins-and-leaves-while-messages-come", partitions, testGroupMoves},
	}
}

// member is one consumer of a group, which notes when it becomes active.
type member struct {
	*thump.Consumer
	mu     sync.Mutex
	active map[string]bool
	turns  int
}

// member joins a group; nil, with an error that says which, where the broker is
// too old.
func (r *rig) member(client *thump.Client, place string, o thump.StreamConsuming) *member {
	r.Helper()
	m := &member{active: make(map[string]bool)}
	o.SingleActive = true
	o.OnActive = func(stream string, active bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.active[stream] = active
		m.turns++
	}
	var err error
	m.Consumer, err = client.Consumer(r.Context(), thump.ConsumerConfig{From: r.to(place), MaxBatch: 10, Stream: o})
	if r.lacks("3.11", err) {
		return nil
	}
	r.noError(err)
	return m
}

// streams are those that the member is active for.
func (m *member) streams() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []string
	for stream, active := range m.active {
		if active {
			list = append(list, stream)
		}
	}
	slices.Sort(list)
	return list
}

// becomes waits until the member is active for these streams.
func (r *rig) becomes(m *member, want ...string) {
	r.Helper()
	for start := time.Now(); !slices.Equal(m.streams(), want); time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			r.Fatalf("the consumer is active for %v, expected %v", m.streams(), want)
		}
	}
}

func testGroupClose(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	r.chunks(stream, 1, 10, 10, 10, 10)
	first := r.member(r.client, stream, neverStore("group"))
	if first == nil {
		return
	}
	r.becomes(first, stream)
	second := r.member(r.client, stream, neverStore("group"))
	third := r.member(r.client, stream, neverStore("group"))
	r.inOrder(r.receive(first.Consumer, 20, (*thump.Batch).Ack), 1)
	r.inOrder(r.receive(first.Consumer, 10, (*thump.Batch).Release), 21) // not acked
	r.nothingComes(second.Consumer)
	r.nothingComes(third.Consumer)
	r.noError(first.Close(r.Context()))
	r.becomes(second, stream)
	got := r.receive(second.Consumer, 20, (*thump.Batch).Ack)
	r.inOrder(got, 21)
	r.offsetsFrom(got, 20)
	r.chunks(stream, 41, 5)
	r.inOrder(r.receive(second.Consumer, 5, (*thump.Batch).Ack), 41)
	r.nothingComes(third.Consumer)
	r.noError(second.Close(r.Context()))
	r.becomes(third, stream)
	r.nothingComes(third.Consumer)
	r.chunks(stream, 46, 5)
	got = r.receive(third.Consumer, 5, (*thump.Batch).Ack)
	r.inOrder(got, 46)
	r.noError(third.Close(r.Context()))
	r.stored(stream, "group", got[4].Offset) // over 49: what was stored before took offsets too
}

// testGroupLost cuts the connection of the active one: the next one begins
// behind what was stored last.
func testGroupLost(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	r.chunks(stream, 1, 10, 10, 10)
	client, cut := r.dialCut()
	o := neverStore("group")
	o.StoreEvery = 10
	first := r.member(client, stream, o)
	if first == nil {
		return
	}
	second := r.member(r.client, stream, o)
	r.becomes(first, stream)
	r.inOrder(r.receive(first.Consumer, 20, (*thump.Batch).Ack), 1)
	r.receive(first.Consumer, 10, nil)
	r.stored(stream, "group", 19)
	cut.all()
	_, err := first.Receive(r.Context())
	r.says(err, stream, "10 deliveries", "offset 19")
	r.becomes(second, stream)
	r.inOrder(r.receive(second.Consumer, 10, (*thump.Batch).Ack), 21)
	r.noError(second.Close(r.Context()))
}

// testGroupManual stores nothing but what it is told to.
func testGroupManual(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	r.chunks(stream, 1, 10, 10, 10)
	o := thump.StreamConsuming{Name: "group", ManualStore: true}
	first := r.member(r.client, stream, o)
	if first == nil {
		return
	}
	second := r.member(r.client, stream, o)
	r.receive(first.Consumer, 10, (*thump.Batch).Ack)
	r.noError(first.StoreOffset(r.Context()))
	r.receive(first.Consumer, 10, (*thump.Batch).Ack)
	r.noError(first.Close(r.Context()))
	r.inOrder(r.receive(second.Consumer, 20, (*thump.Batch).Release), 11)
	r.noError(second.Close(r.Context()))
}

// testTwoGroups has two groups that don't know of one another.
func testTwoGroups(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	var members []*member
	for i := range 4 {
		m := r.member(r.client, stream, neverStore(fmt.Sprint("group ", i%2)))
		if m == nil {
			return
		}
		members = append(members, m)
	}
	r.becomes(members[0], stream)
	r.becomes(members[1], stream)
	r.chunks(stream, 1, 20)
	for i, m := range members {
		if i < 2 {
			r.inOrder(r.receive(m.Consumer, 20, (*thump.Batch).Ack), 1)
		} else {
			r.nothingComes(m.Consumer)
		}
		r.noError(m.Close(r.Context()))
	}
}

// testGroupPartitions has two consumers share the partitions of a super stream
// while messages come, one joining late and one leaving early. None is lost, and
// none is out of order but where a consumer begins again.
func testGroupPartitions(r *rig) {
	const n = 3000
	super := r.superStream(3)
	streams := []string{super + "-0", super + "-1", super + "-2"}
	first := r.member(r.client, super, neverStore("group"))
	if first == nil {
		return
	}
	r.becomes(first, streams...)
	r.send(super, keyed(n)...)
	seen := make(map[int]int)
	handle := func(m *member, want int) {
		r.Helper()
		for _, d := range r.receive(m.Consumer, want, (*thump.Batch).Ack) {
			number, err := strconv.Atoi(string(d.Body))
			r.noError(err)
			seen[number]++
		}
		r.nothingComes(m.Consumer)
	}
	handle(first, n)
	second := r.member(r.client, super, neverStore("group"))
	for start := time.Now(); len(first.streams())+len(second.streams()) != 3 || len(second.streams()) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			r.Fatalf("the consumers are active for %v and %v, expected to share 3", first.streams(), second.streams())
		}
	}
	r.nothingComes(second.Consumer)
	r.send(super, keyed(n)...)
	share := make(map[string]int)
	for stream, bodies := range r.contents(super, 2*n) {
		share[stream] = len(bodies) / 2
	}
	count := func(m *member) (messages int) {
		for _, stream := range m.streams() {
			messages += share[stream]
		}
		return messages
	}
	handle(first, count(first))
	handle(second, count(second))
	r.noError(first.Close(r.Context()))
	r.becomes(second, streams...)
	r.nothingComes(second.Consumer)
	r.send(super, keyed(n)...)
	handle(second, n)
	r.noError(second.Close(r.Context()))
	for number := 1; number <= n; number++ {
		if seen[number] != 3 {
			r.Fatalf("message %d was handled %d times, and sent 3 times", number, seen[number])
		}
	}
}

// testGroupMoves has consumers join a group and leave it while messages come:
// each message is handled, some twice.
func testGroupMoves(r *rig) {
	const n = 20_000
	super := r.superStream(3)
	first := r.member(r.client, super, thump.StreamConsuming{Name: "group"})
	if first == nil {
		return
	}
	var mu sync.Mutex
	seen := make(map[string]bool)
	var loops sync.WaitGroup
	ctx := r.Context()
	handle := func(m *member) {
		for batch, err := range m.Batches(ctx) {
			if err != nil {
				r.Error(err)
				return
			}
			mu.Lock()
			for _, d := range batch.Deliveries {
				seen[string(d.Body)] = true
			}
			mu.Unlock()
			// Stale is what the next active consumer gets again.
			if err := batch.Ack(); err != nil && !errors.Is(err, thump.ErrStale) {
				r.Error(err)
			}
		}
	}
	loops.Go(func() { handle(first) })
	p := r.publisher(thump.PublisherConfig{To: thump.SuperStream(super)})
	loops.Go(func() {
		for piece := range slices.Chunk(keyed(n), 100) {
			if _, err := p.Publish(ctx, piece...); err != nil {
				r.Error(err)
				return
			}
			time.Sleep(2 * time.Millisecond)
		}
		if err := p.Close(ctx); err != nil {
			r.Error(err)
		}
	})
	for range 3 {
		second := r.member(r.client, super, thump.StreamConsuming{Name: "group"})
		loops.Go(func() { handle(second) })
		for start := time.Now(); len(second.streams()) == 0; time.Sleep(time.Millisecond) {
			if time.Since(start) > 20*time.Second {
				r.Fatal("the second consumer is not active for any partition")
			}
		}
		r.noError(second.Close(ctx))
	}
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		mu.Lock()
		handled := len(seen)
		mu.Unlock()
		if handled == n {
			break
		}
		if time.Since(start) > patience/2 {
			r.Fatalf("%d of %d messages were handled", handled, n)
		}
	}
	r.noError(first.Close(ctx))
	loops.Wait()
}
