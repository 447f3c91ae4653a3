package load

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/brokertest"
	"github.com/thumpmq/thump/internal/ledger"
)

// riverbed is a stream on a real broker, or a super stream, and a client for it.
type riverbed struct {
	client *thump.Client
	name   string
	super  bool
}

// place is the stream as the change makes it.
func (s riverbed) place(change func(*Stream)) Place {
	stream := Stream{Name: s.name, SubEntry: 100, Fresh: true}
	change(&stream)
	if s.super {
		return SuperStream{Stream: stream}
	}
	return stream
}

func asItIs(*Stream) {}

// openStream makes a stream, or a super stream where partitions is not 0, which
// goes with the test.
func openStream(t *testing.T, b brokertest.Broker, spec thump.StreamSpec, partitions int) riverbed {
	t.Helper()
	client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL, b.StreamURL}})
	if err != nil {
		t.Fatal(err)
	}
	s := riverbed{client: client, name: brokertest.QueueName(t), super: partitions > 0}
	spec.Name = s.name
	if partitions > 0 {
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
		if err := remove(ctx, s.name); err != nil {
			t.Error(err)
		}
		if err := client.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// config is a run through the stream, which holds nothing else.
func (s riverbed) config(count uint64) RunConfig {
	return RunConfig{
		SendConfig: SendConfig{To: s.place(asItIs), Count: count, Publishers: 1, Window: 100000, Progress: new(Progress)},
		Consumers:  1,
	}
}

// publish puts bodies into the stream past the run.
func (s riverbed) publish(t *testing.T, bodies ...string) {
	t.Helper()
	pub, err := s.client.Publisher(t.Context(), thump.PublisherConfig{To: s.place(asItIs).Target()})
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
	ways := map[string]func(*RunConfig, *Stream){
		"batches":    func(*RunConfig, *Stream) {},
		"entries":    func(_ *RunConfig, s *Stream) { s.SubEntry = 1 },
		"compressed": func(_ *RunConfig, s *Stream) { s.Compression = thump.LZ4 },
		"sequential": func(cfg *RunConfig, _ *Stream) { cfg.Sequential = true },
		"sizes": func(cfg *RunConfig, _ *Stream) {
			cfg.Sizes.Shares, cfg.RunID = []Share{{Bytes: 16, Weight: 1}, {Bytes: 300, Weight: 2}}, 7
		},
		"bodies":      func(cfg *RunConfig, _ *Stream) { cfg.BodyBytes, cfg.RunID = 300, 7 },
		"one by one":  func(cfg *RunConfig, _ *Stream) { cfg.Publishers, cfg.Window = 1, 1; cfg.Count = 50 },
		"named":       func(_ *RunConfig, s *Stream) { s.PublisherName, s.ConsumerName = "p", "c" },
		"one message": func(cfg *RunConfig, _ *Stream) { cfg.Count = 1 },
	}
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		for name, change := range ways {
			t.Run(name, func(t *testing.T) {
				s := openStream(t, b, thump.StreamSpec{}, 0)
				cfg := s.config(20001)
				cfg.Publishers, cfg.Consumers = 3, 2
				cfg.To = s.place(func(stream *Stream) { change(&cfg, stream) })
				out, err := run(t.Context(), t, s.client, cfg, nil)
				if err != nil {
					t.Fatal(err)
				}
				s.checkComplete(t, cfg, out)
			})
		}
	})
}

// checkComplete wants everything to have come to every consumer, in order.
func (s riverbed) checkComplete(t *testing.T, cfg RunConfig, out outcome) {
	t.Helper()
	want := ledger.Totals{Received: cfg.Count * uint64(cfg.Consumers), Unique: cfg.Count * uint64(cfg.Consumers)}
	if out.Totals != want || !out.lost(0) || out.LeftInQueue != nil || out.Interrupted {
		t.Errorf("got %+v, want %+v", out, want)
	}
	if c := out.Sent.counts; c.Published != cfg.Count || c.Confirmed != cfg.Count || c.InFlight != 0 {
		t.Errorf("sent %+v", c)
	}
	if out.Sent.last.Before(out.Sent.first) || out.Last.Before(out.First) || out.First.Before(out.Sent.first) {
		t.Errorf("times %v %v, %v %v", out.Sent.first, out.Sent.last, out.First, out.Last)
	}
	var bodies uint64
	format, err := formatOf(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n <= cfg.Count; n++ {
		body, _ := format.AppendRun(nil, n, 1, nil)
		bodies += uint64(len(body))
	}
	if out.Sent.bodyBytes != bodies || out.Sent.wireBytes == 0 || result.Value(out.BytesOnWire) != out.Sent.wireBytes {
		t.Errorf("%d bytes of bodies on %d of the wire, want %d", out.Sent.bodyBytes, out.Sent.wireBytes, bodies)
	}
}

func formatOf(cfg RunConfig) (ledger.Format, error) {
	_, format, err := cfg.plan()
	return format, err
}

// TestSuperStreamRun spreads messages, and wants them in order within each
// partition: to a consumer of all they come in no order between partitions.
func TestSuperStreamRun(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
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
			cfg.To = s.place(func(s *Stream) { s.Fresh = sequential }) // the second finds the first one's messages
			out, err := run(t.Context(), t, s.client, cfg, nil)
			if err != nil {
				t.Fatal(err)
			}
			s.checkComplete(t, cfg, out)
		}
		streams, err := s.client.Partitions(t.Context(), s.name)
		if err != nil || len(streams) != 3 {
			t.Fatalf("partitions %v, %v", streams, err)
		}
		for _, stream := range streams {
			end, err := Stream{Name: stream}.End(t.Context(), s.client)
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
		t.Parallel()
		s := openStream(t, b, thump.StreamSpec{}, 0)
		for _, sequential := range []bool{false, true, false} {
			cfg := s.config(5000)
			cfg.Sequential, cfg.Consumers = sequential, 2
			cfg.To = s.place(func(s *Stream) { s.Fresh = false })
			out, err := run(t.Context(), t, s.client, cfg, nil)
			if err != nil {
				t.Fatal(err)
			}
			s.checkComplete(t, cfg, out)
		}
		if end, err := (Stream{Name: s.name}).End(t.Context(), s.client); end != 15000 || err != nil {
			t.Errorf("the stream goes to %d, %v; want 15000", end, err)
		}
	})
}

// TestStreamRunSeesForeignMessages runs through a stream that is not as fresh
// as the run believes.
func TestStreamRunSeesForeignMessages(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		s := openStream(t, b, thump.StreamSpec{}, 0)
		s.publish(t, "Message 1", "hello", "Message 1x", "Message 3001", "")
		cfg := s.config(3000)
		out, err := run(t.Context(), t, s.client, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := ledger.Totals{Received: 3005, Unique: 3000, Duplicated: 1, Corrupted: 1, Unexpected: 3}
		if out.Totals != want || result.Value(out.Lost) != 0 {
			t.Errorf("got %+v, want %+v and none lost", out.Totals, want)
		}
	})
}

// TestStreamRunSeesWhatRetentionDrops uses a stream that confirms messages and
// drops the oldest segments, as it is documented to: loss from a real broker. How
// many it has dropped when the consumers begin is up to the broker.
func TestStreamRunSeesWhatRetentionDrops(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		s := openStream(t, b, thump.StreamSpec{MaxBytes: 40_000_000, SegmentBytes: 10_000_000}, 0)
		cfg := s.config(200_000)
		cfg.Sequential, cfg.BodyBytes, cfg.Consumers = true, 1000, 2
		cfg.To = s.place(func(s *Stream) { s.ConsumerName = "reader" })
		out, err := run(t.Context(), t, s.client, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		lost := result.Value(out.Lost)
		t.Logf("lost %d: %v", lost, out.LostMessages)
		if lost == 0 || out.Totals.Unique == 0 || out.Totals.Unique+lost != 400_000 {
			t.Errorf("got %+v, want some of 2 x 200000 lost", out)
		}
		if len(out.LostMessages) == 0 || !strings.HasPrefix(out.LostMessages[0], "1-") {
			t.Errorf("lost %v, want the first of them", out.LostMessages)
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
			client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.URL, b.StreamURL}, DialContext: cut.dial, Recovery: thump.Recovery{Off: true}})
			if err != nil {
				t.Fatal(err)
			}
			defer shut(t, client)
			cfg := s.config(1_000_000_000)
			cfg.To = s.place(func(s *Stream) { s.Fresh = false })
			cfg.Recovery.Off = true
			go func() {
				for cfg.Progress.Received() < 50000 && t.Context().Err() == nil {
					time.Sleep(time.Millisecond)
				}
				cut.mu.Lock()
				defer cut.mu.Unlock()
				cut.conns[len(cut.conns)-fromLast].Close()
			}()
			out, err := run(t.Context(), t, client, cfg, nil)
			if err == nil {
				t.Fatal("no error")
			}
			t.Log(err)
			c := out.Sent.counts
			if c.Published != c.Confirmed+c.Rejected+c.Returned+c.Unknown {
				t.Errorf("%+v does not add up", c)
			}
			if result.Value(out.Lost) != 0 || out.Totals.Unexpected != 0 || out.Totals.Corrupted != 0 || out.Totals.Duplicated != 0 || out.Interrupted {
				t.Errorf("got %+v", out)
			}
			if name == "publisher" && out.Lost == nil {
				t.Errorf("what was confirmed was not received: %+v", out)
			}
		})
	}
}

func TestStreamRunWhenTheStreamIsDeleted(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		s := openStream(t, b, thump.StreamSpec{MaxBytes: 100_000_000, SegmentBytes: 20_000_000}, 0)
		cfg := s.config(1_000_000_000)
		var deleting sync.WaitGroup
		deleting.Go(func() {
			for cfg.Progress.Received() < 50000 && t.Context().Err() == nil {
				time.Sleep(time.Millisecond)
			}
			if err := s.client.DeleteStream(t.Context(), s.name); err != nil {
				t.Error(err)
			}
		})
		out, err := run(t.Context(), t, s.client, cfg, nil)
		deleting.Wait()
		if err == nil || !strings.Contains(err.Error(), s.name) {
			t.Fatalf("got %v, want an error that names the stream", err)
		}
		t.Log(err)
		if c := out.Sent.counts; c.Published != c.Confirmed+c.Rejected+c.Returned+c.Unknown {
			t.Errorf("%+v does not add up", c)
		}
	})
}

func TestStreamRunStops(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
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
			out, err := run(t.Context(), t, s.client, cfg, stop)
			if err != nil {
				t.Fatal(err)
			}
			c := out.Sent.counts
			if !out.Interrupted || c.Confirmed != c.Published || c.Published < 50000 || result.Value(out.Lost) != 0 {
				t.Errorf("sequential %t: got %+v", sequential, out)
			}
			if !sequential && (out.Lost == nil || out.Totals.Unique != 2*c.Confirmed) {
				t.Errorf("what was confirmed was not received: %+v", out)
			}
			if sequential && (out.Lost != nil || out.Totals.Received != 0) {
				t.Errorf("it went on with receiving: %+v", out)
			}
		}
	})
}

func TestRunThroughNoStream(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		s := openStream(t, b, thump.StreamSpec{}, 0)
		cfg := s.config(1000)
		for _, fresh := range []bool{false, true} {
			cfg.To = Stream{Name: s.name + "-which-is-not-there", SubEntry: 100, Fresh: fresh}
			out, err := run(t.Context(), t, s.client, cfg, nil)
			if !thump.IsNotFound(err) || out.Sent.counts.Published != 0 {
				t.Errorf("got %+v, %v; want that it is not there", out, err)
			}
		}
	})
}
