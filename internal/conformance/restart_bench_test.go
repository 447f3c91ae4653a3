package conformance

import (
	"context"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/broker"
	"github.com/thumpmq/thump/internal/brokertest"
)

// BenchmarkBackAfterRestart kills a broker at full load and starts it again, at once or up to
// three seconds later, so that every pause of Recovery is met. It measures how long after the
// broker takes connections a publisher confirms at nine tenths of its rate before, and how
// long it takes a program that is started just then, and tries every 10 ms, until its first
// message is confirmed: so long the broker itself needs.
//
// Each restart is an iteration: -benchtime 10x has ten.
func BenchmarkBackAfterRestart(b *testing.B) {
	for _, node := range brokertest.All(b) {
		for _, kind := range []string{"queue", "stream"} {
			b.Run("rabbitmq-"+node.Name+"/"+kind, func(b *testing.B) { benchmarkBackAfterRestart(b, node, kind) })
		}
	}
}

func benchmarkBackAfterRestart(b *testing.B, version brokertest.Broker, kind string) {
	node := version.Private(b, broker.Options{})
	listener := node.URL
	if kind == "stream" {
		listener = node.StreamURL
	}
	cfg := thump.Config{URLs: []string{node.URL, node.StreamURL}}
	client, err := thump.Dial(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	to := benchTarget(b, client, kind)
	time.Sleep(2 * time.Second) // what is younger may not survive a kill
	p, err := client.Publisher(b.Context(), thump.PublisherConfig{To: to})
	if err != nil {
		b.Fatal(err)
	}
	stop := keepPublishing(b, p)
	var took, fresh []time.Duration
	for b.Loop() {
		time.Sleep(time.Second) // at work again
		rate := confirmedWithin(p, time.Second)
		if err := node.Kill(); err != nil {
			b.Fatal(err)
		}
		away := time.Duration(rand.IntN(2)*rand.IntN(3000)) * time.Millisecond
		time.Sleep(away)
		back := make(chan [3]time.Duration)
		go func() {
			accepts := whenAccepting(listener)
			first := make(chan time.Duration)
			go func() { first <- freshConfirm(cfg, to, accepts) }()
			resumed, atSpeed := whenAtSpeed(p, rate, accepts)
			back <- [3]time.Duration{resumed, atSpeed, <-first}
		}()
		again := version.Restart(b, node, broker.Options{})
		if again.URL != node.URL || again.StreamURL != node.StreamURL {
			b.Fatal("a process has taken a port of the broker meanwhile")
		}
		node = again
		times := <-back
		took, fresh = append(took, times[1]), append(fresh, times[2])
		b.Logf("%d/s before, away for %v: first confirm after %v, at speed after %v; a fresh client's first after %v", rate, away, times[0], times[1], times[2])
	}
	stop()
	slices.Sort(took)
	slices.Sort(fresh)
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "ms-median")
	b.ReportMetric(took[len(took)-1].Seconds()*1000, "ms-most")
	b.ReportMetric(fresh[len(fresh)/2].Seconds()*1000, "ms-fresh-median")
	_ = client.Close(b.Context())
}

// whenAccepting returns when the listener of a URL has first accepted a connection.
func whenAccepting(listener string) time.Time {
	u, err := url.Parse(listener)
	if err != nil {
		panic(err)
	}
	for {
		conn, err := net.Dial("tcp", u.Host)
		if err == nil {
			now := time.Now()
			_ = conn.Close()
			return now
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// whenAtSpeed measures from an instant on how long it takes until something is confirmed
// again, and until a tenth of a second has passed with nine tenths of the rate.
func whenAtSpeed(p *thump.Publisher, rate uint64, from time.Time) (resumed, atSpeed time.Duration) {
	const step, steps = 10 * time.Millisecond, 10
	confirmed := []uint64{p.Counts().Confirmed} // at each step
	for {
		time.Sleep(step)
		now := time.Since(from)
		confirmed = append(confirmed, p.Counts().Confirmed)
		n := len(confirmed) - 1
		if resumed == 0 && confirmed[n] > confirmed[0] {
			resumed = now
		}
		if n >= steps && confirmed[n]-confirmed[n-steps] >= rate/10*9/10 || now > 20*time.Second {
			return resumed, now
		}
	}
}

// freshConfirm measures the same for one message of a new client.
func freshConfirm(cfg thump.Config, to thump.Target, from time.Time) time.Duration {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if freshSend(ctx, cfg, to) == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(from)
}

func freshSend(ctx context.Context, cfg thump.Config, to thump.Target) error {
	client, err := thump.Dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { go client.Close(context.Background()) }() //nolint:errcheck,contextcheck // it holds up nobody, and ctx may have ended
	p, err := client.Publisher(ctx, thump.PublisherConfig{To: to})
	if err != nil {
		return err
	}
	return p.Send(ctx, thump.Message{Body: benchBody})
}
