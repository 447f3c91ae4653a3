package streamconn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/window"
)

// metadataUpdate says that a stream is not available.
func metadataUpdate(stream string) []byte {
	b, err := streamproto.AppendMetadataUpdate(nil, &streamproto.MetadataUpdate{Code: streamproto.CodeStreamNotAvailable, Stream: stream})
	if err != nil {
		panic(err)
	}
	return b
}

// TestRandomDeath ends a publisher's connection at random: cut after a number of
// bytes in either direction, or in one of the other ways, or by ourselves. Every
// message that was accepted must have exactly one outcome, and it must be Unknown
// or what the broker has said of what it has received.
func TestRandomDeath(t *testing.T) {
	var all outcome.Totals
	for seed := range uint64(160) {
		random := rand.New(rand.NewPCG(seed, 4))
		server := fakebroker.NewFickle(rand.New(rand.NewPCG(seed, 5)))
		written, read, way := -1, -1, ""
		switch seed % 4 {
		case 0:
			written = random.IntN(3000)
		case 1:
			read = random.IntN(60_000)
		case 2:
			server.Left = random.IntN(200)
			way, server.End = fakebroker.Death(random, "events")
		}
		synctest.Test(t, func(t *testing.T) {
			defer tellSeed(t, seed)
			b := fakebroker.Pipe(t, conntest.SocketSize, fakebroker.Stream(func(s *fakebroker.StreamSession) {
				server.Session = s
				s.Login()
				s.OpenPublisher(0)
				s.BreakAfter(written, read)
				s.Serve(server.Handle)
			}))
			conn := dial(t, config(b))
			defer conntest.Drop(conn)
			cfg := PublisherConfig{Window: newWindow(1+random.IntN(400), true), SubEntry: []int{1, 3, 50, 500}[random.IntN(4)]}
			if cfg.SubEntry > 1 && random.IntN(3) == 0 {
				cfg.Compression = compress.LZ4
			}
			p := openPublisher(t, conn, cfg)
			if seed%4 == 3 {
				silently := random.IntN(2) == 0
				time.AfterFunc(time.Duration(random.IntN(2000))*time.Millisecond, func() { leave(conn, silently) })
			}
			d := &death{p: p, outcomes: map[uint64]outcome.Status{}, random: random}
			d.run(t)
			synctest.Wait() // the broker may still be at what came before the end
			d.check(t, server, way)
			all.Add(p.window.Totals())
		})
	}
	if all.Confirmed < 1000 || all.Rejected < 1000 || all.Unknown < 1000 {
		t.Errorf("the test tests little: %+v", all)
	}
}

// leave ends the connection ourselves: without a word, or by a goodbye whose
// answer is not waited for very long.
func leave(conn *Conn, silently bool) {
	if silently {
		conn.Fail(errors.New("enough"))
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // whether it is answered is up to the broker
}

// death is the client's side of TestRandomDeath.
type death struct {
	p        *Publisher
	random   *rand.Rand
	accepted uint64
	outcomes map[uint64]outcome.Status // by Ref
	twice    []uint64
	why      error
}

// run publishes until the publisher has ended, and every outcome was taken.
func (d *death) run(t *testing.T) {
	taking := make(chan struct{})
	go func() {
		defer close(taking)
		all, why := collectOutcomes(d.p.window)
		for _, o := range all {
			if d.outcomes[o.Ref] != 0 {
				d.twice = append(d.twice, o.Ref)
			}
			d.outcomes[o.Ref] = o.Status
		}
		d.why = why
	}()
	for d.p.Begin(t.Context()) == nil {
		for range 1 + d.random.IntN(60) {
			body := fmt.Sprint(d.accepted, " ", strings.Repeat("x", d.random.IntN(200)))
			ok, err := d.p.Publish(window.Tag{Ref: d.accepted}, 0, []byte(body))
			if err != nil {
				t.Error("publish:", err)
			}
			if !ok {
				break
			}
			d.accepted++
		}
		d.p.End()
		switch d.random.IntN(8) {
		case 0:
			if err := d.p.window.Wait(shortly(t)); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Error("wait for confirms:", err)
			}
		case 1:
			time.Sleep(10 * time.Millisecond)
		}
		if d.accepted > 100_000 {
			t.Fatal("the publisher does not end")
		}
	}
	if err := d.p.window.Wait(t.Context()); err != nil {
		t.Error("wait for confirms, afterwards:", err)
	}
	<-taking
	<-d.p.Done()
}

// check compares what the client tells with what the broker knows. Where the
// broker goes on reading until the client has left, nothing that it has said can
// have been lost.
func (d *death) check(t *testing.T, server *fakebroker.Fickle, way string) {
	t.Helper()
	heard := way != "" && way != "closed" && way != "reset"
	if len(d.twice) > 0 {
		t.Errorf("several outcomes for %v", d.twice)
	}
	if len(d.outcomes) != int(d.accepted) {
		t.Errorf("%d were accepted, and %d have an outcome", d.accepted, len(d.outcomes))
	}
	var want outcome.Totals
	want.Published = d.accepted
	for ref, status := range d.outcomes {
		want.Count(status, 1)
		if ref >= d.accepted {
			t.Errorf("an outcome for %d, which was not accepted", ref)
		}
		if heard && status == outcome.Unknown && (server.Confirmed[ref] || server.Refused[ref]) {
			t.Errorf("message %d is %v after %s, and the broker has said more", ref, status, way)
		}
		if status == outcome.Confirmed && !server.Confirmed[ref] || status == outcome.Rejected && !server.Refused[ref] || server.Received[ref] > 1 {
			t.Errorf("message %d is %v, and the broker has received it %d times, confirmed it: %v, refused it: %v",
				ref, status, server.Received[ref], server.Confirmed[ref], server.Refused[ref])
		}
	}
	if got := d.p.window.Totals(); got != want {
		t.Errorf("totals %+v, outcomes %+v", got, want)
	}
	if err := d.p.Err(); err == nil || !errors.Is(d.why, err) {
		t.Errorf("the publisher ended with %v, the outcomes with %v", err, d.why)
	}
}
