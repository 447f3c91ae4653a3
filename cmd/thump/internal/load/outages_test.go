package load

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/brokertest"
)

// line is a network that breaks.
type line struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	down  bool
	held  chan struct{} // while nothing that the broker says arrives; closed after that
}

func (l *line) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		conn.Close()
		return nil, errors.New("the line is down")
	}
	l.conns[conn] = struct{}{}
	return &heldConn{conn, l}, nil
}

// hold keeps back what the broker says, on all connections, until release is called.
func (l *line) hold() (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := make(chan struct{})
	l.held = held
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.held = nil
		close(held)
	}
}

// heldConn is a connection of a line.
type heldConn struct {
	net.Conn
	line *line
}

func (c *heldConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.line.mu.Lock()
	held := c.line.held
	c.line.mu.Unlock()
	if held != nil {
		<-held
	}
	return n, err
}

// cut ends each of the connections that there are with a chance of one in n.
func (l *line) cut(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		if rand.IntN(n) == 0 {
			conn.Close()
			delete(l.conns, conn)
		}
	}
}

// takeDown lets nothing through any more.
func (l *line) takeDown() {
	l.mu.Lock()
	l.down = true
	l.mu.Unlock()
	l.cut(1)
}

// over returns a client over the line, for a run.
func over(t *testing.T, b brokertest.Broker, l *line, cfg *RunConfig) *thump.Client {
	t.Helper()
	l.conns = make(map[net.Conn]struct{})
	client, err := thump.Dial(t.Context(), thump.Config{
		URLs: []string{b.URL, b.StreamURL}, DialContext: l.dial, Recovery: cfg.Recovery, OnEvent: cfg.Progress.Tell,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, client) })
	return client
}

// await waits until so many messages were received.
func await(t *testing.T, p *Progress, received uint64) {
	for p.Received() < received && t.Context().Err() == nil {
		time.Sleep(time.Millisecond)
	}
}

// TestRunSurvives: the connections of a run break again and again. Everything arrives, and
// what came twice is explained.
func TestRunSurvives(t *testing.T) {
	b := brokertest.All(t)[0]
	queue := func(t *testing.T, kind thump.QueueKind) RunConfig {
		return open(t, b, thump.QueueSpec{Kind: kind}).config(40_000)
	}
	stream := func(t *testing.T, name string) RunConfig {
		s := openStream(t, b, thump.StreamSpec{}, 0)
		cfg := s.config(40_000)
		cfg.Window = 50 // it is over too soon otherwise
		cfg.To = s.place(func(s *Stream) { s.SubEntry, s.PublisherName = 1, name })
		return cfg
	}
	for name, config := range map[string]func(*testing.T) RunConfig{
		"classic":      func(t *testing.T) RunConfig { return queue(t, thump.Classic) },
		"quorum":       func(t *testing.T) RunConfig { return queue(t, thump.Quorum) },
		"stream":       func(t *testing.T) RunConfig { return stream(t, "") },
		"named stream": func(t *testing.T) RunConfig { return stream(t, "loader") },
	} {
		t.Run(name, func(t *testing.T) {
			var l line
			cfg := config(t)
			cfg.Publishers, cfg.Consumers = 2, 2
			client := over(t, b, &l, &cfg)
			readers := uint64(cfg.To.Readers(cfg.Consumers))
			ended := make(chan struct{})
			var cuts sync.WaitGroup
			cuts.Go(func() {
				await(t, cfg.Progress, 2000*readers)
				release := l.hold()
				time.Sleep(200 * time.Millisecond) // what is published now is in flight, and is sent again
				l.cut(1)
				release()
				for received := 8000 * readers; received < 38_000*readers; received += 6000 * readers {
					await(t, cfg.Progress, received)
					l.cut(2)
				}
				l.cut(1)
				<-ended
			})
			out, err := run(t.Context(), t, client, cfg, nil)
			close(ended)
			cuts.Wait()
			if err != nil || out.Verdict != result.OK || !out.lost(0) || out.Totals.Unique != 40_000*readers {
				t.Errorf("it ended with %v: %+v", err, out)
			}
			if *out.Outages == 0 || *out.Resent == 0 || result.Value(out.OutageSeconds) <= 0 {
				t.Errorf("nothing was survived: %+v", out.Run)
			}
			if name == "named stream" && *out.Duplicated != 0 {
				t.Errorf("%d messages are in the stream twice", *out.Duplicated)
			}
			t.Logf("%d outages, %d sent again, %d duplicated, of those %d sent again and %d delivered again", *out.Outages,
				*out.Resent, *out.Duplicated, *out.DuplicatedResent, *out.DuplicatedRedelivered)
		})
	}
}

// TestRunWhenTheBrokerStaysAway: the run ends at the limit, or when it is stopped, and what
// nobody knows is told as unknown.
func TestRunWhenTheBrokerStaysAway(t *testing.T) {
	b := brokertest.All(t)[0]
	q := open(t, b, thump.QueueSpec{})
	for _, stops := range []bool{false, true} {
		recovery := thump.Recovery{GiveUp: time.Second}
		if stops {
			recovery.GiveUp = 0
		}
		var l line
		cfg := q.config(10_000_000)
		cfg.Recovery = recovery
		client := over(t, b, &l, &cfg)
		stop := make(chan struct{})
		down := make(chan time.Time, 1)
		go func() {
			await(t, cfg.Progress, 5000)
			l.takeDown()
			down <- time.Now()
			if stops {
				time.Sleep(500 * time.Millisecond)
				close(stop)
			}
		}()
		out, err := run(t.Context(), t, client, cfg, stop)
		if took := time.Since(<-down); took > 8*time.Second {
			t.Errorf("stopped %t: it took %v", stops, took)
		}
		c := out.Sent.counts
		if c.Unknown == 0 || c.Published != c.Confirmed+c.Rejected+c.Returned+c.Unknown || result.Value(out.Lost) != 0 {
			t.Errorf("stopped %t: %+v does not add up", stops, c)
		}
		want := result.Failed
		if stops {
			want = result.Interrupted
		}
		if out.Verdict != want || *out.Outages != 1 || !out.AwayAtEnd {
			t.Errorf("stopped %t: got %+v, %v", stops, out.Run, err)
		}
		if _, err := q.client.PurgeQueue(t.Context(), q.queue); err != nil {
			t.Error(err)
		}
	}
}

// TestOutages: an outage lasts until all have a connection again, and many are one record.
func TestOutages(t *testing.T) {
	var p Progress
	losses := 0
	p.onLost(func() { losses++ })
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	tell := func(after time.Duration, kind thump.EventKind, of string) {
		at = at.Add(after)
		p.Tell(thump.Event{Kind: kind, At: at, Of: of, Err: errors.New("reset")})
	}
	p.confirmed.Store(10)
	tell(0, thump.Disconnected, "publisher to x")
	tell(time.Second, thump.Disconnected, "consumer of x")
	tell(time.Second, thump.Recovered, "publisher to x")
	if since, why := p.Away(); why == nil || at.Sub(since) != 2*time.Second {
		t.Errorf("away since %v, %v", since, why)
	}
	tell(time.Second, thump.Recovered, "consumer of x")
	if p.away() {
		t.Error("it is still away")
	}
	p.confirmed.Store(20)
	for range 1000 {
		tell(time.Second, thump.Disconnected, "publisher to x")
		tell(time.Second, thump.Recovered, "publisher to x")
	}
	p.Tell(thump.Event{Kind: thump.Disconnected, At: at, Of: "consumer of x", Err: &thump.BrokerError{Code: 404}})
	tell(0, thump.GaveUp, "consumer of x")
	var r result.Run
	p.recordOutages(&r)
	if *r.Outages != 1001 || *r.FirstOutageAt != 10 || *r.OutageSeconds != 1003 || *r.LongestOutageSeconds != 3 || r.AwayAtEnd || losses != 2 {
		t.Errorf("got %+v, %d losses", r, losses)
	}
}

// TestCancelledIsNoOutage: a consumer whose queue was deleted has lost no connection. If it was
// declared again, the consumer was without one all the same, until it came back.
func TestCancelledIsNoOutage(t *testing.T) {
	cancelled := &thump.BrokerError{Text: "its queue was deleted"}
	gone := &thump.BrokerError{Code: 404}
	refused := &thump.BrokerError{Code: 403}
	for name, test := range map[string]struct {
		why, end error // end: why it gave up; nil if it came back
		count    uint64
		away     bool
	}{
		"the queue is gone":                  {cancelled, gone, 0, false},
		"the queue was declared again":       {cancelled, nil, 1, false},
		"not allowed any more":               {cancelled, refused, 1, true},
		"lost, and the queue is gone then":   {errors.New("reset"), gone, 1, true},
		"lost, and there again some time on": {errors.New("reset"), nil, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			var p Progress
			p.Tell(thump.Event{Kind: thump.Disconnected, At: time.Now(), Of: "consumer of x", Err: test.why})
			if test.end == nil {
				p.Tell(thump.Event{Kind: thump.Recovered, At: time.Now(), Of: "consumer of x"})
			} else {
				p.Tell(thump.Event{Kind: thump.GaveUp, At: time.Now(), Of: "consumer of x", Err: test.end})
			}
			var r result.Run
			p.recordOutages(&r)
			if *r.Outages != test.count || r.AwayAtEnd != test.away || p.away() != test.away {
				t.Errorf("%d outages, away at the end: %v", *r.Outages, r.AwayAtEnd)
			}
		})
	}
}
