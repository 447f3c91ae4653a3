package streamconn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/streamproto"
)

// fickle is a broker that settles entries in every way, at random, until it ends
// the connection in one of the ways there are.
type fickle struct {
	random   *rand.Rand
	session  *fakebroker.StreamSession
	received map[uint64]bool           // messages that came, by Ref
	spoken   map[uint64]outcome.Status // what the client can know of them
	open     []fakebroker.PublishedEntry
	left     int // entries until it ends the connection; -1: something else does
	end      func(*fickle)
}

// deaths are the ways in which a connection ends but for being cut.
func deaths() []func(*fickle) {
	return []func(*fickle){
		func(f *fickle) { f.session.Close() },
		func(f *fickle) { f.session.Reset() },
		func(f *fickle) { f.session.Discard() }, // silence
		func(f *fickle) {
			f.session.Offer([]byte("garbage! garbage!"))
			f.session.Discard()
		},
		func(f *fickle) {
			f.session.Offer(fakebroker.StreamRequest(1, &streamproto.Close{Code: streamproto.CodeInternalError, Reason: "bye"}))
			f.session.Discard()
		},
		func(f *fickle) { // the stream goes, and the connection stays
			f.session.Offer(metadataUpdate("events"))
			f.session.Serve(func(r *fakebroker.StreamReceived) bool {
				p, ok := r.Command.(*fakebroker.Published)
				return ok && f.session.Offer(streamproto.AppendPublishError(nil, p.PublisherID, streamproto.CodePublisherDoesNotExist, p.IDs()...))
			})
		},
		func(f *fickle) { // a confirm of what was never published
			f.session.Offer(streamproto.AppendPublishConfirm(nil, 0, 1<<60))
			f.session.Discard()
		},
	}
}

// metadataUpdate says that a stream is not available.
func metadataUpdate(stream string) []byte {
	b, err := streamproto.AppendMetadataUpdate(nil, &streamproto.MetadataUpdate{Code: streamproto.CodeStreamNotAvailable, Stream: stream})
	if err != nil {
		panic(err)
	}
	return b
}

// handle is for StreamSession.Serve. Bodies begin with the Ref.
func (f *fickle) handle(r *fakebroker.StreamReceived) bool {
	p, ok := r.Command.(*fakebroker.Published)
	if !ok {
		return false
	}
	for _, e := range p.Entries {
		for _, body := range e.Bodies {
			f.received[refOf(body)] = true
		}
	}
	f.open = append(f.open, p.Entries...)
	if f.left >= 0 {
		if f.left -= len(p.Entries); f.left < 0 {
			f.end(f)
			return true
		}
	}
	switch f.random.IntN(6) {
	case 0:
		f.settle(len(f.open), outcome.Confirmed)
	case 1:
		f.settle(f.random.IntN(len(f.open)+1), outcome.Rejected)
	case 2:
		f.random.Shuffle(len(f.open), func(i, j int) { f.open[i], f.open[j] = f.open[j], f.open[i] })
		f.settle(f.random.IntN(len(f.open)+1), outcome.Confirmed)
	case 3:
		f.settle(min(1, len(f.open)), outcome.Confirmed)
	}
	return true
}

func refOf(body string) uint64 {
	digits, _, _ := strings.Cut(body, " ")
	ref, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		panic(err)
	}
	return ref
}

// settle settles n of the open entries. It notes what the frame says before it
// leaves: it may get through.
func (f *fickle) settle(n int, status outcome.Status) {
	var ids []uint64
	for _, e := range f.open[:n] {
		ids = append(ids, e.ID)
		for _, body := range e.Bodies {
			f.spoken[refOf(body)] = status
		}
	}
	f.open = f.open[n:]
	frame := streamproto.AppendPublishConfirm(nil, 0, ids...)
	if status == outcome.Rejected {
		frame = streamproto.AppendPublishError(nil, 0, streamproto.CodePreconditionFailed, ids...)
	}
	f.session.Offer(frame)
}

// TestRandomDeath ends a publisher's connection at random: cut after a number of
// bytes in either direction, or in one of the other ways, or by ourselves. Every
// message that was accepted must have exactly one outcome, and it must be Unknown
// or what the broker has said of what it has received.
func TestRandomDeath(t *testing.T) {
	var all outcome.Totals
	for seed := range uint64(160) {
		random := rand.New(rand.NewPCG(seed, 4))
		server := &fickle{
			random: rand.New(rand.NewPCG(seed, 5)), received: map[uint64]bool{}, spoken: map[uint64]outcome.Status{}, left: -1,
		}
		written, read := -1, -1
		switch seed % 4 {
		case 0:
			written = random.IntN(3000)
		case 1:
			read = random.IntN(60_000)
		case 2:
			server.left, server.end = random.IntN(200), deaths()[random.IntN(len(deaths()))]
		}
		synctest.Test(t, func(t *testing.T) {
			defer tellSeed(t, seed)
			b := fakebroker.Pipe(t, socketSize, fakebroker.Stream(func(s *fakebroker.StreamSession) {
				server.session = s
				s.Login()
				s.OpenPublisher(0)
				s.BreakAfter(written, read)
				s.Serve(server.handle)
			}))
			conn := dial(t, config(b))
			defer drop(conn)
			cfg := PublisherConfig{Window: 1 + random.IntN(400), SubEntry: []int{1, 3, 50, 500}[random.IntN(4)], Collect: true}
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
			d.check(t, server)
			all.Add(p.Totals())
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
		conn.Abort(errors.New("enough"))
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
		all, why := collectOutcomes(d.p)
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
			ok, err := d.p.Publish(d.accepted, 0, []byte(body))
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
			if err := d.p.WaitConfirms(shortly(t)); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Error("wait for confirms:", err)
			}
		case 1:
			time.Sleep(10 * time.Millisecond)
		}
		if d.accepted > 100_000 {
			t.Fatal("the publisher does not end")
		}
	}
	if err := d.p.WaitConfirms(t.Context()); err != nil {
		t.Error("wait for confirms, afterwards:", err)
	}
	<-taking
	<-d.p.Done()
}

// check compares what the client tells with what the broker knows.
func (d *death) check(t *testing.T, server *fickle) {
	t.Helper()
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
		if status != outcome.Unknown && (status != server.spoken[ref] || !server.received[ref]) {
			t.Errorf("message %d is %v, and the broker, which received it: %v, has said %v", ref, status, server.received[ref], server.spoken[ref])
		}
	}
	if got := d.p.Totals(); got != want {
		t.Errorf("totals %+v, outcomes %+v", got, want)
	}
	if err := d.p.Err(); err == nil || !errors.Is(d.why, err) {
		t.Errorf("the publisher ended with %v, the outcomes with %v", err, d.why)
	}
}
