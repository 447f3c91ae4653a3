package load

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
	"github.com/thumpmq/thump/internal/ledger"
)

// riverbed is a stream on a real broker, and a client for it.
type riverbed struct {
	client *thump.Client
	place  Place
}

// openStream makes a stream, or a super stream where partitions is not 0, which
// goes with the test.
func openStream(t *testing.T, b brokertest.Broker, spec thump.StreamSpec, partitions int) riverbed {
	t.Helper()
	client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL, b.StreamURL}})
	if err != nil {
		t.Fatal(err)
	}
	s := riverbed{client, Place{Kind: Stream, Name: brokertest.QueueName(t)}}
	spec.Name = s.place.Name
	if partitions > 0 {
		s.place.Kind = SuperStream
		err = client.DeclareSuperStream(t.Context(), thump.SuperStreamSpec{StreamSpec: spec, Partitions: partitions})
	} else {
		err = client.DeclareStream(t.Context(), spec)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		remove := client.DeleteStream
		if partitions > 0 {
			remove = client.DeleteSuperStream
		}
		if err := remove(ctx, s.place.Name); err != nil {
			t.Error(err)
		}
		if err := client.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// config is a run through the stream, which holds nothing else.
func (s riverbed) config(count uint64) Config {
	return Config{
		SendConfig: SendConfig{
			To: s.place, Count: count, Publishers: 1, Window: 100000,
			Stream: thump.StreamPublishing{SubEntry: 100}, Progress: new(Progress),
		},
		Consumers: 1, Fresh: true,
	}
}

// publish puts bodies into the stream past the run.
func (s riverbed) publish(t *testing.T, bodies ...string) {
	t.Helper()
	pub, err := s.client.Publisher(t.Context(), thump.PublisherConfig{To: s.place.target()})
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range bodies {
		if _, err := pub.Publish(t.Context(), thump.Message{Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := pub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestStreamRunAccountsForEveryMessage(t *testing.T) {
	ways := map[string]func(*Config){
		"batches":     func(*Config) {},
		"entries":     func(cfg *Config) { cfg.Stream.SubEntry = 1 },
		"compressed":  func(cfg *Config) { cfg.Stream.Compression = thump.LZ4 },
		"sequential":  func(cfg *Config) { cfg.Sequential = true },
		"bodies":      func(cfg *Config) { cfg.BodyBytes, cfg.RunID = 300, 7 },
		"one by one":  func(cfg *Config) { cfg.Publishers, cfg.Window = 1, 1; cfg.Count = 50 },
		"named":       func(cfg *Config) { cfg.Stream.Name, cfg.ConsumerName = "p", "c" },
		"one message": func(cfg *Config) { cfg.Count = 1 },
	}
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for name, change := range ways {
			t.Run(name, func(t *testing.T) {
				s := openStream(t, b, thump.StreamSpec{}, 0)
				cfg := s.config(20001)
				cfg.Publishers, cfg.Consumers = 3, 2
				change(&cfg)
				out, err := Run(t.Context(), s.client, cfg, nil)
				if err != nil {
					t.Fatal(err)
				}
				s.checkComplete(t, cfg, out)
			})
		}
	})
}

// checkComplete wants everything to have come to every consumer, in order.
func (s riverbed) checkComplete(t *testing.T, cfg Config, out Outcome) {
	t.Helper()
	want := ledger.Totals{Received: cfg.Count * uint64(cfg.Consumers), Unique: cfg.Count * uint64(cfg.Consumers)}
	if out.Totals != want || out.Lost != 0 || !out.LostKnown || out.LeftKnown || out.Interrupted {
		t.Errorf("got %+v, want %+v", out, want)
	}
	if c := out.Sent.Counts; c.Published != cfg.Count || c.Confirmed != cfg.Count || c.InFlight != 0 {
		t.Errorf("sent %+v", c)
	}
	if out.Sent.Last.Before(out.Sent.First) || out.Last.Before(out.First) || out.First.Before(out.Sent.First) {
		t.Errorf("times %v %v, %v %v", out.Sent.First, out.Sent.Last, out.First, out.Last)
	}
	var bodies uint64
	format, err := formatOf(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n <= cfg.Count; n++ {
		bodies += uint64(len(format.Append(nil, n)))
	}
	if out.Sent.BodyBytes != bodies || out.Sent.WireBytes == 0 {
		t.Errorf("%d bytes of bodies on %d of the wire, want %d", out.Sent.BodyBytes, out.Sent.WireBytes, bodies)
	}
}

func formatOf(cfg Config) (ledger.Format, error) {
	_, format, err := cfg.plan()
	return format, err
}

// TestSuperStreamRun spreads messages, and wants them in order within each
// partition: to a consumer of all they come in no order between partitions.
func TestSuperStreamRun(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		if strings.HasPrefix(b.Version, "3.10.") {
			client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL, b.StreamURL}})
			if err != nil {
				t.Fatal(err)
			}
			defer shut(t, client)
			err = client.DeclareSuperStream(t.Context(), thump.SuperStreamSpec{StreamSpec: thump.StreamSpec{Name: "x"}, Partitions: 3})
			if err == nil || !strings.Contains(err.Error(), "3.13") {
				t.Errorf("got %v, want an error that names RabbitMQ 3.13", err)
			}
			return
		}
		s := openStream(t, b, thump.StreamSpec{}, 3)
		for _, sequential := range []bool{true, false} {
			cfg := s.config(30000)
			cfg.Publishers, cfg.Consumers, cfg.Sequential = 2, 2, sequential
			cfg.Fresh = sequential // the second finds the first one's messages
			out, err := Run(t.Context(), s.client, cfg, nil)
			if err != nil {
				t.Fatal(err)
			}
			s.checkComplete(t, cfg, out)
		}
		streams, err := s.client.Partitions(t.Context(), s.place.Name)
		if err != nil || len(streams) != 3 {
			t.Fatalf("partitions %v, %v", streams, err)
		}
		for _, stream := range streams {
			end, err := End(t.Context(), s.client, Place{Kind: Stream, Name: stream})
			if err != nil || end < 10000 {
				t.Errorf("partition %s goes to %d, %v: of 60000 messages a third is to be in each", stream, end, err)
			}
		}
	})
}

// TestStreamRunReceivesWhatItSendsItself runs through a stream that holds
// messages, which are the run's own by their looks.
func TestStreamRunReceivesWhatItSendsItself(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		s := openStream(t, b, thump.StreamSpec{}, 0)
		for _, sequential := range []bool{false, true, false} {
			cfg := s.config(5000)
			cfg.Fresh, cfg.Sequential, cfg.Consumers = false, sequential, 2
			out, err := Run(t.Context(), s.client, cfg, nil)
			if err != nil {
				t.Fatal(err)
			}
			s.checkComplete(t, cfg, out)
		}
		if end, err := End(t.Context(), s.client, s.place); end != 15000 || err != nil {
			t.Errorf("the stream goes to %d, %v; want 15000", end, err)
		}
	})
}

// TestStreamRunSeesForeignMessages runs through a stream that is not as fresh
// as the run believes.
func TestStreamRunSeesForeignMessages(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		s := openStream(t, b, thump.StreamSpec{}, 0)
		s.publish(t, "Message 1", "hello", "Message 1x", "Message 3001", "")
		cfg := s.config(3000)
		out, err := Run(t.Context(), s.client, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := ledger.Totals{Received: 3005, Unique: 3000, Duplicated: 1, Corrupted: 1, Unexpected: 3}
		if out.Totals != want || out.Lost != 0 {
			t.Errorf("got %+v, want %+v and none lost", out.Totals, want)
		}
	})
}

// TestStreamRunSeesWhatRetentionDrops uses a stream that confirms messages and
// drops the oldest segments, as it is documented to: loss from a real broker. How
// many it has dropped when the consumers begin is up to the broker.
func TestStreamRunSeesWhatRetentionDrops(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		s := openStream(t, b, thump.StreamSpec{MaxBytes: 40_000_000, SegmentBytes: 10_000_000}, 0)
		cfg := s.config(200_000)
		cfg.Sequential, cfg.BodyBytes, cfg.Consumers, cfg.ConsumerName = true, 1000, 2, "reader"
		out, err := Run(t.Context(), s.client, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("lost %d: %v", out.Lost, out.LostRanges)
		if !out.LostKnown || out.Lost == 0 || out.Totals.Unique == 0 || out.Totals.Unique+out.Lost != 400_000 {
			t.Errorf("got %+v, want some of 2 x 200000 lost", out)
		}
		if len(out.LostRanges) == 0 || out.LostRanges[0].First != 1 {
			t.Errorf("lost %v, want the first of them", out.LostRanges)
		}
	})
}

func TestStreamRunWhenTheConnectionsBreak(t *testing.T) {
	b := brokertest.All(t)[0]
	s := openStream(t, b, thump.StreamSpec{MaxBytes: 100_000_000, SegmentBytes: 20_000_000}, 0)
	// A run connects its consumer before its publisher, which is the last.
	for name, fromLast := range map[string]int{"consumer": 2, "publisher": 1} {
		t.Run(name, func(t *testing.T) {
			var cut cutter
			client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL, b.StreamURL}, DialContext: cut.dial})
			if err != nil {
				t.Fatal(err)
			}
			defer shut(t, client)
			cfg := s.config(1_000_000_000)
			cfg.Fresh = false
			go func() {
				for cfg.Progress.Received() < 50000 && t.Context().Err() == nil {
					time.Sleep(time.Millisecond)
				}
				cut.mu.Lock()
				defer cut.mu.Unlock()
				cut.conns[len(cut.conns)-fromLast].Close()
			}()
			out, err := Run(t.Context(), client, cfg, nil)
			if err == nil {
				t.Fatal("no error")
			}
			t.Log(err)
			c := out.Sent.Counts
			if c.Published != c.Confirmed+c.Rejected+c.Returned+c.Unknown {
				t.Errorf("%+v does not add up", c)
			}
			if out.Lost != 0 || out.Totals.Unexpected != 0 || out.Totals.Corrupted != 0 || out.Totals.Duplicated != 0 || out.Interrupted {
				t.Errorf("got %+v", out)
			}
			if name == "publisher" && !out.LostKnown {
				t.Errorf("what was confirmed was not received: %+v", out)
			}
		})
	}
}

func TestStreamRunWhenTheStreamIsDeleted(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		s := openStream(t, b, thump.StreamSpec{MaxBytes: 100_000_000, SegmentBytes: 20_000_000}, 0)
		cfg := s.config(1_000_000_000)
		var deleting sync.WaitGroup
		deleting.Go(func() {
			for cfg.Progress.Received() < 50000 && t.Context().Err() == nil {
				time.Sleep(time.Millisecond)
			}
			if err := s.client.DeleteStream(t.Context(), s.place.Name); err != nil {
				t.Error(err)
			}
		})
		out, err := Run(t.Context(), s.client, cfg, nil)
		deleting.Wait()
		if err == nil || !strings.Contains(err.Error(), s.place.Name) {
			t.Fatalf("got %v, want an error that names the stream", err)
		}
		t.Log(err)
		if c := out.Sent.Counts; c.Published != c.Confirmed+c.Rejected+c.Returned+c.Unknown {
			t.Errorf("%+v does not add up", c)
		}
	})
}

func TestStreamRunStops(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		for _, sequential := range []bool{false, true} {
			s := openStream(t, b, thump.StreamSpec{}, 0)
			cfg := s.config(1_000_000_000)
			cfg.Sequential, cfg.Consumers = sequential, 2
			stop := make(chan struct{})
			go func() {
				for cfg.Progress.Confirmed() < 50000 && t.Context().Err() == nil {
					time.Sleep(time.Millisecond)
				}
				close(stop)
			}()
			out, err := Run(t.Context(), s.client, cfg, stop)
			if err != nil {
				t.Fatal(err)
			}
			c := out.Sent.Counts
			if !out.Interrupted || c.Confirmed != c.Published || c.Published < 50000 || out.Lost != 0 {
				t.Errorf("sequential %t: got %+v", sequential, out)
			}
			if !sequential && (!out.LostKnown || out.Totals.Unique != 2*c.Confirmed) {
				t.Errorf("what was confirmed was not received: %+v", out)
			}
			if sequential && (out.LostKnown || out.Totals.Received != 0) {
				t.Errorf("it went on with receiving: %+v", out)
			}
		}
	})
}

func TestRunThroughNoStream(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		s := openStream(t, b, thump.StreamSpec{}, 0)
		cfg := s.config(1000)
		cfg.To.Name += "-which-is-not-there"
		for _, fresh := range []bool{false, true} {
			cfg.Fresh = fresh
			out, err := Run(t.Context(), s.client, cfg, nil)
			if !thump.IsNotFound(err) || out.Sent.Counts.Published != 0 {
				t.Errorf("got %+v, %v; want that it is not there", out, err)
			}
		}
	})
}
