package streamconn

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/window"
)

// batches writes entries as the publishing id and the number of messages of
// each, "7:3", and those that are no batch as "7".
func batches(entries []fakebroker.PublishedEntry) string {
	var words []string
	for _, e := range entries {
		word := fmt.Sprint(e.ID)
		if e.Batched {
			word += fmt.Sprint(":", len(e.Bodies))
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// checkPublished makes sure that the messages of entries are "message first",
// and so on.
func checkPublished(t *testing.T, entries []fakebroker.PublishedEntry, first int) {
	t.Helper()
	for _, e := range entries {
		for _, body := range e.Bodies {
			if want := fmt.Sprint("message ", first); body != want {
				t.Fatalf("got %.40q, want %q", body, want)
			}
			first++
		}
	}
}

// numbered are the bodies "message first" and so on.
func numbered(first, n int) []string {
	var bodies []string
	for i := range n {
		bodies = append(bodies, fmt.Sprint("message ", first+i))
	}
	return bodies
}

// keepWriterBusy publishes a message that is larger than the socket holds, to a
// script that begins with busyWriter.
func keepWriterBusy(t *testing.T, p *Publisher) {
	t.Helper()
	publish(t, p, 0, strings.Repeat("x", 2*conntest.SocketSize))
	synctest.Wait()
}

// busyWriter does not read for a while, and then reads the message that keeps
// the client's writer busy.
func busyWriter(s *fakebroker.StreamSession) {
	time.Sleep(time.Minute)
	if e := published(s, 1); len(e[0].Bodies[0]) != 2*conntest.SocketSize {
		panic("another message")
	}
}

// TestNothingWaits: a message that nothing is in the way of leaves at once, in a
// batch of its own.
func TestNothingWaits(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		s.OpenPublisher(0)
		begin := time.Now()
		var entries []fakebroker.PublishedEntry
		for range 3 {
			entries = append(entries, published(s, 1)...)
		}
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("they came after %v", took)
		}
		if got, want := batches(entries), "1:1 2:1 3:1"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		p := openPublisher(t, conn, PublisherConfig{SubEntry: 500})
		for range 3 {
			time.Sleep(time.Second)
			publish(t, p, 0, "x")
		}
		synctest.Wait()
		conntest.Goodbye(t, conn)
	})
}

// TestBatchesFill: while the writer is busy, messages gather in batches, and all
// of them go into one frame.
func TestBatchesFill(t *testing.T) {
	for _, test := range []struct {
		subEntry int
		want     string
	}{
		{500, "501:500 1001:500 1251:250"},
		{1000, "1001:1000 1251:250"},
		{2, ""},
		{1, ""},
	} {
		t.Run(fmt.Sprint(test.subEntry), func(t *testing.T) {
			pair(t, func(s *fakebroker.StreamSession) {
				s.OpenPublisher(0)
				busyWriter(s)
				p, _ := fakebroker.ExpectCommand[*fakebroker.Published](s)
				checkPublished(t, p.Entries, 1)
				switch got := batches(p.Entries); {
				case test.want != "" && got != test.want:
					t.Errorf("got %s, want %s", got, test.want)
				case test.subEntry == 2 && (len(p.Entries) != 625 || p.Entries[624].ID != 1251):
					t.Errorf("%d entries, the last of them %d", len(p.Entries), p.Entries[len(p.Entries)-1].ID)
				case test.subEntry == 1 && (len(p.Entries) != 1250 || p.Entries[0].Batched):
					t.Errorf("%d entries", len(p.Entries))
				}
				s.Confirm(0, append(p.IDs(), 1)...)
				s.Serve(nil)
			}, func(t *testing.T, conn *Conn) {
				p := openPublisher(t, conn, PublisherConfig{Window: newWindow(2000, false), SubEntry: test.subEntry})
				keepWriterBusy(t, p)
				for i := range 1250 {
					publish(t, p, 0, fmt.Sprint("message ", i+1))
				}
				if err := p.window.Wait(t.Context()); err != nil {
					t.Error(err)
				}
				if n := p.window.Totals(); n.Confirmed != 1251 {
					t.Errorf("totals %+v", n)
				}
				conntest.Goodbye(t, conn)
			})
		})
	}
}

// TestSealed: a batch ends where something else is to follow it. Waiting for its
// outcome does not end it: the writer takes it as soon as it can.
func TestSealed(t *testing.T) {
	for _, test := range []struct {
		name    string
		between func(*testing.T, *Conn, *Publisher)
		frames  string // what comes, the first message of each batch apart
	}{
		{"nothing", func(*testing.T, *Conn, *Publisher) {}, "P 21:20"},
		{"a call", func(t *testing.T, conn *Conn, _ *Publisher) {
			go func() { _ = query(t.Context(), conn, 1) }()
		}, "P 11:10, Q, P 21:10"},
		{"a stored offset", func(t *testing.T, conn *Conn, _ *Publisher) {
			if err := conn.StoreOffset(&streamproto.StoreOffset{Reference: "me", Stream: "events", Offset: 1}); err != nil {
				t.Error(err)
			}
		}, "P 11:10, S, P 21:10"},
		{"waiting for confirms", func(t *testing.T, _ *Conn, p *Publisher) {
			go func() { _ = p.window.Wait(t.Context()) }()
		}, "P 21:20"},
		{"another publisher", func(t *testing.T, _ *Conn, other *Publisher) {
			publish(t, other, 0, "message 11", "message 12")
		}, "P 11:10, P 2:2, P 21:10"},
		{"a message that does not fit", func(t *testing.T, _ *Conn, p *Publisher) {
			if err := p.Begin(t.Context()); err != nil {
				t.Error(err)
			}
			if ok, err := p.Publish(window.Tag{}, 0, make([]byte, 2<<20)); ok || err == nil {
				t.Errorf("2 MiB were taken: %v", err)
			}
			p.End()
		}, "P 11:10, P 21:10"},
	} {
		t.Run(test.name, func(t *testing.T) {
			pair(t, func(s *fakebroker.StreamSession) {
				s.OpenPublisher(0)
				s.OpenPublisher(0)
				busyWriter(s)
				var got []string
				s.Serve(func(r *fakebroker.StreamReceived) bool {
					switch c := r.Command.(type) {
					case *fakebroker.Published:
						got = append(got, "P "+batches(c.Entries))
					case *streamproto.QueryOffset:
						got = append(got, "Q")
						return answerQuery(s, r)
					case *streamproto.StoreOffset:
						got = append(got, "S")
					}
					return false
				})
				if got := strings.Join(got, ", "); got != test.frames {
					t.Errorf("got  %s\nwant %s", got, test.frames)
				}
			}, func(t *testing.T, conn *Conn) {
				p := openPublisher(t, conn, PublisherConfig{SubEntry: 500})
				other := openPublisher(t, conn, PublisherConfig{Stream: "other", SubEntry: 500})
				keepWriterBusy(t, p)
				publish(t, p, 0, numbered(1, 10)...)
				if test.name != "another publisher" {
					other = p
				}
				test.between(t, conn, other)
				synctest.Wait()
				publish(t, p, 0, numbered(11, 10)...)
				synctest.Wait()
				time.Sleep(time.Minute)
				conntest.Goodbye(t, conn)
			})
		})
	}
}

// TestSplitBatches: batches end at a size, and frames at what was agreed with the
// broker; no frame is larger, which the fake broker makes sure of.
func TestSplitBatches(t *testing.T) {
	for _, test := range []struct {
		name           string
		frameMax       uint32
		subEntry, size int
		messages       int
		want           string
	}{
		{"at the size of a batch", 1 << 20, 500, 100 << 10, 3, "P 3:2 4:1"},
		{"at a frame", 4096, 500, 1000, 9, "P 5:4, P 9:4, P 10:1"},
		{"a message in each frame", 4096, 500, 3000, 3, "P 2:1, P 3:1, P 4:1"},
		{"entries, at a frame", 4096, 1, 1000, 5, "P 2 3 4 5, P 6"},
		{"entries as large as a frame", 4096, 1, 4096 - 2 - 2 - 1 - 4 - 20, 2, "P 2, P 3"},
		{"several batches in a frame", 4096, 3, 500, 9, "P 4:3 7:3 8:1, P 10:2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := fakebroker.LikelyStream()
			g.Tune.FrameMax = max(test.frameMax, 4*conntest.SocketSize) // lets the first one through
			pairAs(t, g, func(s *fakebroker.StreamSession) {
				s.OpenPublisher(0)
				busyWriter(s)
				s.Confirm(0, 1)
				var got []string
				s.Serve(func(r *fakebroker.StreamReceived) bool {
					if c, ok := r.Command.(*fakebroker.Published); ok {
						got = append(got, "P "+batches(c.Entries))
						if r.Size > int(test.frameMax)+4 {
							t.Errorf("a frame of %d bytes", r.Size)
						}
					}
					return false
				})
				if got := strings.Join(got, ", "); got != test.want {
					t.Errorf("got  %s\nwant %s", got, test.want)
				}
			}, func(t *testing.T, conn *Conn) {
				p := openPublisher(t, conn, PublisherConfig{SubEntry: test.subEntry})
				keepWriterBusy(t, p)
				conn.server.FrameMax = test.frameMax
				for range test.messages {
					publish(t, p, 0, strings.Repeat("x", test.size))
				}
				if err := p.window.Wait(t.Context()); err != nil {
					t.Error(err)
				}
				conntest.Goodbye(t, conn)
			})
		})
	}
}

// TestKnownIDs: a named publisher that publishes again what the stream may know.
// No batch has both what it knows and what it does not, because the broker would
// drop the one or store the other twice.
func TestKnownIDs(t *testing.T) {
	for _, subEntry := range []int{500, 2, 1} {
		pair(t, func(s *fakebroker.StreamSession) {
			if declare, correlation := fakebroker.ExpectCommand[*streamproto.DeclarePublisher](s); declare.Reference == "me" {
				s.Answer(correlation, &streamproto.Done{For: declare.Key(), Code: streamproto.CodeOK})
			}
			q, correlation := fakebroker.ExpectCommand[*streamproto.QueryPublisherSequence](s)
			if q.Reference != "me" || q.Stream != "events" {
				t.Errorf("asked for %+v", q)
			}
			s.Answer(correlation, &streamproto.QueryPublisherSequenceResponse{Code: streamproto.CodeOK, Sequence: 107})
			entries := published(s, 6)
			want := map[int]string{500: "107:3 110:3", 2: "106:2 107:1 109:2 110:1", 1: "105 106 107 108 109 110"}[subEntry]
			if got := batches(entries); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			s.Serve(nil)
		}, func(t *testing.T, conn *Conn) {
			p := openPublisher(t, conn, PublisherConfig{Reference: "me", SubEntry: subEntry})
			if p.LastID() != 107 {
				t.Errorf("the last id is %d", p.LastID())
			}
			publishIDs(t, p, 105, 106, 107, 108, 109, 0)
			if p.LastID() != 110 {
				t.Errorf("the last id is %d", p.LastID())
			}
			conntest.Goodbye(t, conn)
		})
	}
}

// publishIDs publishes a message under each id, within one Begin and End.
func publishIDs(t *testing.T, p *Publisher, ids ...uint64) {
	t.Helper()
	if err := p.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer p.End()
	for _, id := range ids {
		if ok, err := p.Publish(window.Tag{Ref: id}, id, []byte("x")); !ok || err != nil {
			t.Fatalf("publishing id %d: %v, %v", id, ok, err)
		}
	}
}

// TestIDsRise: an id that is not above the last one is refused, and the publisher
// is fine. Ids may be left out.
func TestIDsRise(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		s.OpenPublisher(7)
		if got, want := batches(published(s, 5)), "8 20 21 30 31"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		p := openPublisher(t, conn, PublisherConfig{Reference: "me"})
		publishIDs(t, p, 0, 20)
		for _, id := range []uint64{20, 19, 1} {
			if err := p.Begin(t.Context()); err != nil {
				t.Fatal(err)
			}
			var rising *IDError
			if ok, err := p.Publish(window.Tag{}, id, []byte("x")); ok || !errors.As(err, &rising) || rising.ID != id || rising.Last != 20 {
				t.Errorf("id %d: %v, %v", id, ok, err)
			}
			p.End()
		}
		publishIDs(t, p, 21, 30, 0)
		synctest.Wait()
		conntest.Goodbye(t, conn)
	})
}
