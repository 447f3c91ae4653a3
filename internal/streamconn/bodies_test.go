package streamconn

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/thumpmq/thump/internal/mutate"
	"github.com/thumpmq/thump/internal/window"
)

// unsentPublisher publishes to the memory of a connection that nobody writes.
func unsentPublisher(cfg PublisherConfig, frameMax uint32, known uint64) *Publisher {
	b := NewBacklog(cfg)
	p := newPublisher(&Conn{server: Server{FrameMax: frameMax}}, b)
	p.offline, p.batch.known = true, known
	b.current.Store(p)
	return p
}

// FuzzPublishBodies compares messages that are published together with the same ones, published
// one by one: the same of them must be taken, up to the same error, and come to the same bytes,
// as they wait to be sent and as they are kept to be sent again, in the same entries.
func FuzzPublishBodies(f *testing.F) {
	text, sizes := make([]byte, 300), make([]byte, 50)
	for i := range text {
		text[i] = byte(i)
	}
	for i := range sizes {
		sizes[i] = byte(i % 20)
	}
	sizes[10], sizes[20], sizes[21], sizes[22], sizes[30] = 153, 154, 200, 255, 127
	for _, subEntry := range []uint16{0, 1, 2, 9, 499} {
		f.Add(text, sizes, subEntry, uint16(900), uint16(0), uint16(1000), uint16(15))
		f.Add(text, sizes[:30], subEntry, uint16(200), uint16(10), uint16(20), uint16(1))
		f.Add(text, sizes[:20], subEntry, uint16(5000), uint16(5), uint16(500), uint16(500))
	}
	f.Add(text, make([]byte, 700), uint16(0), uint16(60000), uint16(0), uint16(1000), uint16(600))
	f.Add(text, make([]byte, 700), uint16(299), uint16(60000), uint16(0), uint16(1000), uint16(600))
	// For what is to be sent, and what is kept, used again: to allocate takes longer than the rest.
	var room, kept [2][]byte
	var bodies [][]byte
	mutate.Fuzz(f, func(t *testing.T, text, sizes []byte, subEntry, frameMax, known, free, together uint16) {
		cfg := PublisherConfig{SubEntry: 1 + int(subEntry)%600, Keep: true}
		bodies = mutate.Bodies(bodies[:0], text, sizes[:min(len(sizes), 1000)])
		publish := func(most int) (p *Publisher, taken int, err error) {
			cfg.Window = window.New(window.Config{Messages: 1 + int(free), Bytes: windowBytesMost})
			p = unsentPublisher(cfg, 100+uint32(frameMax), uint64(known))
			p.conn.Out = room[min(most, 1)][:0]
			for taken < len(bodies) {
				if cfg.Window.Totals().InFlight() == 1+uint64(free) {
					break // Begin would wait
				}
				if err := p.Begin(t.Context()); err != nil {
					t.Fatal(err)
				}
				n, ok := 1, false
				if most == 0 {
					ok, err = p.Publish(window.Tag{}, 0, bodies[taken])
					if !ok {
						n = 0
					}
				} else {
					part := bodies[taken:min(len(bodies), taken+most)]
					n, err = p.PublishBodies(part, nil)
					ok = n == len(part)
				}
				p.End()
				if taken += n; !ok {
					break
				}
			}
			return p, taken, err
		}
		got, taken, err := publish(1 + int(together)%700)
		want, wantTaken, wantErr := publish(0)
		if taken != wantTaken || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("%d were taken, %v, want %d, %v", taken, err, wantTaken, wantErr)
		}
		compareUnsent(t, got, want, &kept)
		room = [2][]byte{want.conn.Out, got.conn.Out}
	})
}

// compareUnsent compares what two publishers have in flight, and waiting to be sent. Room is used
// for that, and again by the next one.
func compareUnsent(t *testing.T, got, want *Publisher, room *[2][]byte) {
	t.Helper()
	for _, p := range []*Publisher{got, want} {
		p.conn.Lock()
		p.conn.seal()
		p.conn.Unlock()
	}
	if !bytes.Equal(got.conn.Out, want.conn.Out) {
		t.Fatalf("to be sent: %d bytes, want %d", len(got.conn.Out), len(want.conn.Out))
	}
	if got.batch.lastID != want.batch.lastID || got.batch.bodies != want.batch.bodies {
		t.Fatalf("the last id is %d, of %d bytes, want %d, %d", got.batch.lastID, got.batch.bodies, want.batch.lastID, want.batch.bodies)
	}
	w, v := got.window.Totals(), want.window.Totals()
	if w != v || got.backlog.InFlight() != want.backlog.InFlight() || got.backlog.entries.bytes() != want.backlog.entries.bytes() {
		t.Fatalf("totals %+v, want %+v", w, v)
	}
	for i, p := range []*Publisher{got, want} {
		b := p.backlog
		room[i] = room[i][:0]
		for number := b.entries.oldest; number < b.entries.next; number++ {
			room[i] = append(room[i], b.copies.At(number)...)
		}
	}
	if !bytes.Equal(room[0], room[1]) {
		t.Fatal("something else is kept to be sent again")
	}
	for i := range want.backlog.entries.next { // one run for each entry
		w := want.backlog.entries.at(i)
		first, messages, published := got.backlog.entries.sentOrNot(w.id)
		if !published || first != w.first || messages != uint64(w.messages) {
			t.Fatalf("entry %d has %d messages from %d on, want %d from %d on", w.id, messages, first, w.messages, w.first)
		}
	}
}

// sentOrNot is said for entries that no connection has.
func (e entries) sentOrNot(id uint64) (first, messages uint64, published bool) {
	e.unsent = 0
	return e.said(id)
}
