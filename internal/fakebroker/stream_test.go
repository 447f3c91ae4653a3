package fakebroker

import (
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/thumpmq/thump/internal/streamproto"
)

// publishFrame is a Publish frame with one batch that says it has count messages.
func publishFrame(count int, bodies ...string) []byte {
	b := streamproto.BeginPublish(nil, 1, 0)
	batch := len(b)
	b = streamproto.BeginBatch(b)
	for _, body := range bodies {
		b = streamproto.AppendBatchedData(b, []byte(body))
	}
	streamproto.EndBatch(b, batch, 9, count)
	streamproto.EndPublish(b, 0, 1)
	return b
}

// TestStreamWordsOfFailure plays a client that does something else than the
// script expects, and reads what the developer would.
func TestStreamWordsOfFailure(t *testing.T) {
	subscribe := StreamRequest(3, &streamproto.Subscribe{Stream: "events", Credit: 2})
	credit := streamproto.AppendCredit(nil, streamproto.Credit{Credit: 1})
	empty := streamproto.BeginPublish(nil, 1, 0)
	streamproto.EndPublish(empty, 0, 0)
	for _, test := range []struct {
		name   string
		script func(*StreamSession)
		sent   []byte
		want   string
	}{
		{
			"another command", func(s *StreamSession) { ExpectCommand[*streamproto.Open](s) }, subscribe,
			"connection 1, step 1: got *streamproto.Subscribe &{SubscriptionID:0 Stream:events",
		},
		{
			"nothing", func(s *StreamSession) { s.OpenSubscription() }, nil,
			"connection 1, step 1: waiting for *streamproto.Subscribe: EOF",
		},
		{"half a frame", func(s *StreamSession) { s.OpenSubscription() }, subscribe[:9], "waiting for *streamproto.Subscribe: unexpected EOF"},
		{"a large frame before the login", (*StreamSession).Login, StreamRaw(streamproto.KeyOpen, 1, make([]byte, 9000)), "larger than the 8192"},
		{"no command", func(s *StreamSession) { s.Next() }, StreamRaw(99, 1, nil), "can't be read"},
		{"a command instead of the end", (*StreamSession).ExpectHangUp, credit, "not the end"},
		{"an empty Publish", func(s *StreamSession) { s.Next() }, empty, "0 entries"},
		{"a batch with a message too few", func(s *StreamSession) { s.Next() }, publishFrame(3, "a", "b"), "says it has 3 messages, and has 2"},
		{"what no client sends", func(s *StreamSession) { s.Serve(nil) }, StreamRequest(1, &streamproto.ConsumerUpdate{}), "does not send now"},
		{
			"too much credit", func(s *StreamSession) { s.Feed(s.OpenSubscription(), false, Numbered(0, 3, 1)...) },
			slices.Concat(subscribe, streamproto.AppendCredit(nil, streamproto.Credit{Credit: 3})), "has credit for 3 chunks, and began with 2",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &recorder{TB: t}
			b := Pipe(r, 16<<10, Stream(test.script))
			conn, err := b.DialContext(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			write(t, conn, string(test.sent))
			if strings.Contains(test.want, "waiting for") {
				conn.Close()
			}
			for _, f := range r.cleanup {
				f()
			}
			if len(r.told) != 1 || !strings.Contains(r.told[0], test.want) {
				t.Errorf("got %q, want %q in it", r.told, test.want)
			}
		})
	}
}

// TestFeed gives credit one by one, and counts what comes for it.
func TestFeed(t *testing.T) {
	for _, test := range []struct {
		name   string
		halves bool
		want   []int // frames that have come after so much more credit
	}{
		{"one by one", false, []int{4, 5, 6, 7, 8}},
		{"by halves", true, []int{4, 4, 4, 7, 7}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := Pipe(t, 16<<10, Stream(func(s *StreamSession) {
				if s.Feed(s.OpenSubscription(), test.halves, Numbered(0, 20, 1)...) {
					t.Error("everything was sent")
				}
			}))
			conn, err := b.DialContext(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			write(t, conn, string(StreamRequest(1, &streamproto.Subscribe{Stream: "events", Credit: 4})))
			for i := range test.want {
				if i > 0 {
					write(t, conn, string(streamproto.AppendCredit(nil, streamproto.Credit{Credit: 1})))
				}
				// The answer comes behind the chunks that the credit before it allows.
				write(t, conn, string(StreamRequest(2, &streamproto.Delete{Stream: "x"})))
			}
			checkFeed(t, conn, test.want)
			conn.Close()
		})
	}
}

// checkFeed reads frames until it has seen an answer to a Delete for each of
// want, and compares the number of chunks before it.
func checkFeed(t *testing.T, conn net.Conn, want []int) {
	t.Helper()
	var in []byte
	for delivered, answers := 0, 0; answers < len(want); {
		f, n, err := streamproto.ParseFrame(in, streamproto.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 || n > len(in) {
			more := make([]byte, 4096)
			got, err := conn.Read(more)
			if err != nil {
				t.Fatal(err)
			}
			in = append(in, more[:got]...)
			continue
		}
		in = in[n:]
		switch f.Key {
		case streamproto.KeyDeliver:
			delivered++
		case streamproto.KeyDelete:
			if delivered != want[answers] {
				t.Errorf("%d chunks have come with %d more credit, want %d", delivered, answers, want[answers])
			}
			answers++
		default:
		}
	}
}
