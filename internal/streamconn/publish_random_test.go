package streamconn

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/window"
)

// sentMessage is a message that was accepted.
type sentMessage struct {
	id   uint64
	body string
}

// randomPublisher publishes at random all that a publisher can be given, good
// and bad.
type randomPublisher struct {
	t      *testing.T
	seed   uint64
	random *rand.Rand
	p      *Publisher
	known  uint64
	sent   []sentMessage
}

// TestPublishRandom publishes messages of every kind, some of which can't be
// sent, through publishers of every kind, to a broker that reads now fast and now
// slowly. What comes must be what was accepted, under the ids it was accepted
// with, in batches that keep to their bounds.
func TestPublishRandom(t *testing.T) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 9))
		r := &randomPublisher{t: t, seed: seed, random: random, known: []uint64{0, 30, 500}[seed%3]}
		subEntry := []int{1, 2, 7, 500}[random.IntN(4)]
		window, collect := 1+random.IntN(900), random.IntN(2) == 0
		cfg := PublisherConfig{
			Reference: "me", SubEntry: subEntry,
			Filtered: subEntry == 1 && random.IntN(2) == 0,
		}
		g := fakebroker.LikelyStream()
		g.Tune.FrameMax = []uint32{4096, 20_000, 70_000}[random.IntN(3)]
		var came []fakebroker.PublishedEntry
		pairAs(t, g, func(s *fakebroker.StreamSession) {
			s.OpenPublisher(r.known)
			slow := rand.New(rand.NewPCG(seed, 10))
			s.Serve(func(r *fakebroker.StreamReceived) bool {
				if slow.IntN(20) == 0 {
					time.Sleep(time.Second)
				}
				if p, ok := r.Command.(*fakebroker.Published); ok {
					came = append(came, p.Entries...)
				}
				return answerQuery(s, r)
			})
		}, func(t *testing.T, conn *Conn) {
			defer tellSeed(t, seed)
			cfg.Window = newWindow(window, collect)
			r.t, r.p = t, openPublisher(t, conn, cfg)
			if collect {
				go func() { _, _ = collectOutcomes(r.p.window) }()
			}
			for range 25 {
				r.turn(conn)
			}
			if err := r.p.window.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			if n := r.p.window.Totals(); n.Published != uint64(len(r.sent)) || n.Confirmed != n.Published {
				t.Errorf("seed %d: %d were accepted, totals %+v", seed, len(r.sent), n)
			}
			conntest.Goodbye(t, conn)
		})
		r.t = t
		r.check(came, subEntry)
		if t.Failed() {
			t.Fatal("seed", seed)
		}
	}
}

// turn publishes some messages within one Begin and End, or does something else
// that ends a batch.
func (r *randomPublisher) turn(conn *Conn) {
	switch r.random.IntN(12) {
	case 0:
		if err := r.p.window.Wait(r.t.Context()); err != nil {
			r.t.Error(err)
		}
		return
	case 1:
		if err := query(r.t.Context(), conn, 5); err != nil {
			r.t.Error(err)
		}
		return
	}
	if err := r.p.Begin(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	defer r.p.End()
	for range r.random.IntN(200) {
		if r.random.IntN(20) == 0 && !r.p.cfg.Filtered {
			r.some()
		} else if !r.one() {
			return
		}
	}
}

// some publishes several messages together.
func (r *randomPublisher) some() {
	var bodies [][]byte
	for range r.random.IntN(400) {
		body := fmt.Sprint(len(r.sent)+len(bodies), " ", strings.Repeat("x", r.random.IntN(30)))
		if r.random.IntN(100) == 0 {
			body += strings.Repeat("y", r.random.IntN(1000))
		}
		bodies = append(bodies, []byte(body))
	}
	id := r.known
	if len(r.sent) > 0 {
		id = max(id, r.sent[len(r.sent)-1].id)
	}
	n, err := r.p.PublishBodies(bodies, nil)
	if err != nil {
		r.t.Errorf("seed %d: message %d of %d: %v", r.seed, n, len(bodies), err)
	}
	for i, body := range bodies[:n] {
		r.sent = append(r.sent, sentMessage{id + 1 + uint64(i), string(body)})
	}
}

// one publishes one message, and reports whether there was room.
func (r *randomPublisher) one() bool {
	size, id := r.random.IntN(30), uint64(0)
	switch r.random.IntN(20) {
	case 0:
		size = r.random.IntN(3000)
	case 1:
		size = r.random.IntN(30_000)
	case 2:
		size = []int{255, 256, 4000, 4096, 80_000}[r.random.IntN(5)]
	}
	last := uint64(0)
	if len(r.sent) > 0 {
		last = r.sent[len(r.sent)-1].id
	}
	want := max(last, r.known) + 1
	if r.random.IntN(6) == 0 {
		if id = last + r.random.Uint64N(6); id > 0 {
			want = id
		}
	}
	body := fmt.Sprint(len(r.sent), " ", strings.Repeat("x", size))
	ok, err := r.publish(id, body)
	switch {
	case err == nil && !ok:
		return false
	case err == nil && id != 0 && id <= last:
		r.t.Errorf("seed %d: id %d was taken after %d", r.seed, id, last)
	case err == nil:
		if id == 0 {
			id = want
		}
		r.sent = append(r.sent, sentMessage{id, body})
	case (id == 0 || id > last) && size < 3000:
		r.t.Errorf("seed %d: a message of %d bytes with id %d was refused after %d: %v", r.seed, size, id, last, err)
	}
	return true
}

func (r *randomPublisher) publish(id uint64, body string) (bool, error) {
	if r.p.cfg.Filtered || r.random.IntN(8) == 0 {
		return r.p.PublishMessage(window.Tag{}, id, amqp10.AppendData(nil, []byte(body)), "", len(body))
	}
	return r.p.Publish(window.Tag{}, id, []byte(body))
}

// check compares what came with what was accepted.
func (r *randomPublisher) check(came []fakebroker.PublishedEntry, subEntry int) {
	n := 0
	for _, e := range came {
		if len(e.Bodies) > subEntry || e.Batched != (subEntry > 1) {
			r.t.Errorf("seed %d: a batch of %d, and at most %d are allowed", r.seed, len(e.Bodies), subEntry)
		}
		size := 0
		for i, body := range e.Bodies {
			if n == len(r.sent) {
				r.t.Fatalf("seed %d: more came than the %d that were accepted: %.40q", r.seed, n, body)
			}
			if want := r.sent[n]; body != want.body || i == len(e.Bodies)-1 && e.ID != want.id {
				r.t.Fatalf("seed %d: message %d is %.40q, entry %d, want %.40q, %d", r.seed, n, body, e.ID, want.body, want.id)
			}
			if first := r.sent[n-i].id; first <= r.known && e.ID > r.known {
				r.t.Fatalf("seed %d: a batch goes from id %d to %d, and the stream knows up to %d", r.seed, first, e.ID, r.known)
			}
			size += len(body)
			n++
		}
		if len(e.Bodies) > 1 && size > batchBytesMost {
			r.t.Errorf("seed %d: a batch of %d bytes", r.seed, size)
		}
	}
	if n != len(r.sent) {
		r.t.Errorf("seed %d: %d were accepted, and %d came", r.seed, len(r.sent), n)
	}
}
