package load

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/brokertest"
	"github.com/thumpmq/thump/internal/ledger"
)

// received is what came of a Receive.
type received struct {
	Tallies []ledger.TallyCounts
	total   uint64
}

// receive is a thump receive of the stream.
func (s riverbed) receive(t *testing.T, cfg ReceiveConfig, stream Stream) received {
	t.Helper()
	stream.Name = s.name
	cfg.From, cfg.Progress = stream, new(Progress)
	cfg.Consumers = max(1, cfg.Consumers)
	var r result.Run
	got, err := Receive(t.Context(), s.client, cfg, &r, nil)
	if err != nil || r.Verdict != result.OK {
		t.Fatalf("%v; the verdict is %s", err, r.Verdict)
	}
	return received{got, *r.Received}
}

func TestReceiveFromStream(t *testing.T) {
	const idle = 2 * time.Second
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		s := openStream(t, b, thump.StreamSpec{}, 0)
		if err := Send(t.Context(), s.client, s.config(5000).SendConfig, new(result.Run), nil); err != nil {
			t.Fatal(err)
		}
		all := ledger.TallyCounts{Received: 5000, Numbered: 5000, Highest: 5000}
		if got := s.receive(t, ReceiveConfig{Idle: idle}, Stream{}); got.Tallies[0] != all {
			t.Errorf("got %+v", got.Tallies)
		}
		got := s.receive(t, ReceiveConfig{Idle: 10 * time.Second, Consumers: 3, Count: 1234}, Stream{})
		if len(got.Tallies) != 3 || got.total != 3*1234 {
			t.Errorf("got %+v, want 1234 for each of three", got.Tallies)
		}
		for _, tally := range got.Tallies {
			if tally != (ledger.TallyCounts{Received: 1234, Numbered: 1234, Highest: 1234}) {
				t.Errorf("got %+v, want the first 1234", tally)
			}
		}
		got = s.receive(t, ReceiveConfig{Idle: idle}, Stream{Start: thump.FromOffset(4990)})
		if tally := got.Tallies[0]; tally.Received != 10 || tally.Highest != 5000 {
			t.Errorf("from offset 4990: %+v", tally)
		}
		if strings.HasPrefix(b.Version, "3.10.") {
			return // it can't tell where a stream ends
		}
		got = s.receive(t, ReceiveConfig{}, Stream{Until: time.Now()})
		if got.Tallies[0] != all {
			t.Errorf("until now: %+v", got.Tallies)
		}
		got = s.receive(t, ReceiveConfig{Idle: idle}, Stream{Start: thump.FromLast(7)})
		if tally := got.Tallies[0]; tally.Received != 7 || tally.Highest != 5000 {
			t.Errorf("the last 7: %+v", tally)
		}
	})
}

// TestReceiveGoesOnUnderItsName receives a stream in parts, of two consumers.
func TestReceiveGoesOnUnderItsName(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		s := openStream(t, b, thump.StreamSpec{}, 0)
		if err := Send(t.Context(), s.client, s.config(5000).SendConfig, new(result.Run), nil); err != nil {
			t.Fatal(err)
		}
		cfg := ReceiveConfig{Consumers: 2, Count: 1700, Idle: 10 * time.Second}
		for part := range uint64(2) {
			for i, tally := range s.receive(t, cfg, Stream{ConsumerName: "reader"}).Tallies {
				if tally.Received != 1700 || tally.Highest != (part+1)*1700 {
					t.Errorf("part %d, consumer %d: %+v", part, i, tally)
				}
			}
		}
		cfg.Count, cfg.Idle = 0, 300*time.Millisecond
		for i, tally := range s.receive(t, cfg, Stream{ConsumerName: "reader"}).Tallies {
			if tally.Received != 1600 || tally.Highest != 5000 {
				t.Errorf("the rest, consumer %d: %+v", i, tally)
			}
		}
		for i := range 2 {
			name := fmt.Sprintf("reader-%d", i+1)
			if offset, found, err := s.client.QueryOffset(t.Context(), s.name, name); offset != 4999 || !found || err != nil {
				t.Errorf("under %s is stored %d, %t, %v; want 4999", name, offset, found, err)
			}
		}
	})
}

func TestEnd(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		s := openStream(t, b, thump.StreamSpec{}, 0)
		for _, want := range []uint64{0, 3, 6} {
			if end, err := (Stream{Name: s.name}).End(t.Context(), s.client); end != want || err != nil {
				t.Errorf("the end is %d, %v; want %d", end, err, want)
			}
			s.publish(t, "a", "b", "c")
		}
		if _, err := (Stream{Name: s.name + "-not"}).End(t.Context(), s.client); !thump.IsNotFound(err) {
			t.Errorf("got %v, want that it is not there", err)
		}
	})
}
