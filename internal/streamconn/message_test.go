package streamconn

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/window"
)

// publishMessage publishes an encoded message with a filter value.
func publishMessage(t *testing.T, p *Publisher, body, filter string) error {
	t.Helper()
	message, err := amqp10.AppendMessage(nil, &amqp10.Message{Subject: "s", Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer p.End()
	ok, err := p.PublishMessage(window.Tag{}, 0, message, filter, len(body))
	if !ok && err == nil {
		t.Error("no room")
	}
	return err
}

// TestPublishMessage: messages that the caller has encoded, as entries, in
// batches, and with filter values, between ones that are bodies alone.
func TestPublishMessage(t *testing.T) {
	for _, test := range []struct {
		name    string
		cfg     PublisherConfig
		version uint16
	}{
		{"entries", PublisherConfig{SubEntry: 1}, 1},
		{"batches", PublisherConfig{SubEntry: 3}, 1},
		{"compressed", PublisherConfig{SubEntry: 3, Compression: compress.LZ4}, 1},
		{"filtered", PublisherConfig{SubEntry: 1, Filtered: true}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			pair(t, func(s *fakebroker.StreamSession) {
				s.OpenPublisher(0)
				next := 0
				s.Serve(func(r *fakebroker.StreamReceived) bool {
					p, ok := r.Command.(*fakebroker.Published)
					if !ok {
						return false
					}
					if p.Version != test.version {
						t.Errorf("version %d", p.Version)
					}
					for _, e := range p.Entries {
						for _, body := range e.Bodies {
							filter := ""
							if test.cfg.Filtered && next%3 > 0 {
								filter = fmt.Sprint("f", next)
							}
							if want := fmt.Sprint("message ", next); body != want || e.Filter != filter {
								t.Errorf("got %q with filter %q, want %q with %q", body, e.Filter, want, filter)
							}
							next++
						}
					}
					return false
				})
				if next != 30 {
					t.Errorf("%d messages came", next)
				}
			}, func(t *testing.T, conn *Conn) {
				p := openPublisher(t, conn, test.cfg)
				for i := range 30 {
					body, filter := fmt.Sprint("message ", i), ""
					if test.cfg.Filtered && i%3 > 0 {
						filter = fmt.Sprint("f", i)
					}
					if !test.cfg.Filtered && i%2 == 0 {
						publish(t, p, 0, body)
					} else if err := publishMessage(t, p, body, filter); err != nil {
						t.Error(err)
					}
				}
				if err := p.window.Wait(t.Context()); err != nil || p.window.Totals() != (outcome.Totals{Published: 30, Confirmed: 30}) {
					t.Errorf("%v, %+v", err, p.window.Totals())
				}
				if bodies, _ := p.Bytes(); bodies != 10*uint64(len("message 0"))+20*uint64(len("message 10")) {
					t.Errorf("%d bytes of bodies", bodies)
				}
				conntest.Goodbye(t, conn)
			})
		})
	}
}

// TestRefusedMessages: what can't be sent is refused before any byte of it
// leaves, and the publisher is as good as before.
func TestRefusedMessages(t *testing.T) {
	body := func(n int) func(*testing.T, *Publisher) error {
		return func(t *testing.T, p *Publisher) error {
			if err := p.Begin(t.Context()); err != nil {
				t.Fatal(err)
			}
			defer p.End()
			ok, err := p.Publish(window.Tag{Ref: 9}, 0, make([]byte, n))
			if ok {
				t.Error("it was taken")
			}
			return err
		}
	}
	message := func(n, filter int) func(*testing.T, *Publisher) error {
		return func(t *testing.T, p *Publisher) error {
			return publishMessage(t, p, strings.Repeat("x", n), strings.Repeat("f", filter))
		}
	}
	for _, test := range []struct {
		name string
		cfg  PublisherConfig
		bad  func(*testing.T, *Publisher) error
		want string
	}{
		{"a body", PublisherConfig{}, body(4096), "takes 4116 bytes does not fit a frame of at most 4096"},
		{"a body that just does not fit", PublisherConfig{}, body(4096 - 28), "does not fit a frame of at most 4096"},
		{"a body in a batch", PublisherConfig{SubEntry: 10}, body(4096 - 39), "does not fit a frame of at most 4096"},
		{"a body to be compressed", PublisherConfig{SubEntry: 10, Compression: compress.Gzip}, body(4096), "does not fit a frame of at most 4096"},
		{"a message", PublisherConfig{}, message(5000, 0), "does not fit a frame of at most 4096"},
		{"a message in a batch", PublisherConfig{SubEntry: 10}, message(5000, 0), "does not fit a frame of at most 4096"},
		{"a message with its filter value", PublisherConfig{Filtered: true}, message(2050, 2040), "does not fit a frame of at most 4096"},
		{"a filter value", PublisherConfig{Filtered: true}, message(1, 40_000), "does not fit a frame of at most 4096"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := fakebroker.LikelyStream()
			g.Tune.FrameMax = 4096
			pairAs(t, g, func(s *fakebroker.StreamSession) {
				s.OpenPublisher(0)
				var got []string
				s.Serve(func(r *fakebroker.StreamReceived) bool {
					if p, ok := r.Command.(*fakebroker.Published); ok {
						for _, e := range p.Entries {
							got = append(got, e.Bodies...)
						}
					}
					return false
				})
				if got := strings.Join(got, ","); got != "before,after" {
					t.Errorf("got %.60q", got)
				}
			}, func(t *testing.T, conn *Conn) {
				p := openPublisher(t, conn, test.cfg)
				if err := publishMessage(t, p, "before", ""); err != nil {
					t.Error(err)
				}
				if err := test.bad(t, p); err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %q", err, test.want)
				}
				if err := publishMessage(t, p, "after", ""); err != nil {
					t.Error(err)
				}
				if err := p.window.Wait(t.Context()); err != nil || p.window.Totals() != (outcome.Totals{Published: 2, Confirmed: 2}) {
					t.Errorf("%v, %+v", err, p.window.Totals())
				}
				if p.LastID() != 2 {
					t.Errorf("the last id is %d", p.LastID())
				}
				conntest.Goodbye(t, conn)
			})
		})
	}
}

// TestLongFilterValue: one that its length field can't hold is refused, and
// leaves no empty frame behind.
func TestLongFilterValue(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		s.OpenPublisher(0)
		if got := published(s, 1)[0].Filter; got != "short" {
			t.Errorf("got %.40q", got)
		}
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		p := openPublisher(t, conn, PublisherConfig{Filtered: true})
		if err := publishMessage(t, p, "x", strings.Repeat("f", 1<<15)); err == nil || !strings.Contains(err.Error(), "FilterValue is 32768 bytes long") {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		if err := publishMessage(t, p, "x", "short"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		conntest.Goodbye(t, conn)
	})
}

// TestLargestMessage is as large as a frame, to the byte.
func TestLargestMessage(t *testing.T) {
	const frame, entry, batch = 4096 - 9, 20, 8 + 11 + 4 + 8 // what is around a body of more than 255 bytes
	for _, test := range []struct {
		cfg  PublisherConfig
		size int
	}{{PublisherConfig{}, frame - entry}, {PublisherConfig{SubEntry: 7}, frame - batch}} {
		g := fakebroker.LikelyStream()
		g.Tune.FrameMax = 4096
		pairAs(t, g, func(s *fakebroker.StreamSession) {
			s.OpenPublisher(0)
			r := s.Next()
			if r.Size != 4+4096 {
				t.Errorf("a frame of %d bytes", r.Size)
			}
			s.Serve(nil)
		}, func(t *testing.T, conn *Conn) {
			p := openPublisher(t, conn, test.cfg)
			if err := p.Begin(t.Context()); err != nil {
				t.Fatal(err)
			}
			if ok, err := p.Publish(window.Tag{}, 0, make([]byte, test.size+1)); ok || err == nil {
				t.Error("a larger one was taken")
			}
			p.End()
			publish(t, p, 0, strings.Repeat("x", test.size))
			synctest.Wait()
			conntest.Goodbye(t, conn)
		})
	}
}

// TestRefusedInBetween: a message that is refused, between others within one
// Begin and End.
func TestRefusedInBetween(t *testing.T) {
	for _, subEntry := range []int{1, 500} {
		pair(t, func(s *fakebroker.StreamSession) {
			s.OpenPublisher(0)
			var got []string
			for _, e := range published(s, 4) {
				got = append(got, e.Bodies...)
			}
			if got := strings.Join(got, ""); got != "1234" {
				t.Errorf("got %q", got)
			}
			s.Serve(nil)
		}, func(t *testing.T, conn *Conn) {
			p := openPublisher(t, conn, PublisherConfig{SubEntry: subEntry})
			if err := p.Begin(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, body := range []string{"1", "2", strings.Repeat("x", 2<<20), "3", "4"} {
				if ok, err := p.Publish(window.Tag{}, 0, []byte(body)); ok != (len(body) == 1) || (err == nil) != ok {
					t.Errorf("%.10q: %v, %v", body, ok, err)
				}
			}
			p.End()
			synctest.Wait()
			conntest.Goodbye(t, conn)
		})
	}
}
