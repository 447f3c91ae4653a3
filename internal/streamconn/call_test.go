package streamconn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// query asks for the offset of a consumer, the name of which says which answer
// it wants.
func query(ctx context.Context, conn *Conn, n int) error {
	r, err := conn.Call(ctx, &streamproto.QueryOffset{Reference: fmt.Sprint(n), Stream: "events"})
	if err != nil {
		return err
	}
	if got := r.(*streamproto.QueryOffsetResponse).Offset; got != uint64(n) {
		return fmt.Errorf("got the answer %d, not %d", got, n)
	}
	return nil
}

// answerQuery answers what query asked.
func answerQuery(s *fakebroker.StreamSession, r *fakebroker.StreamReceived) bool {
	q, ok := r.Command.(*streamproto.QueryOffset)
	if !ok {
		return false
	}
	var n uint64
	if _, err := fmt.Sscan(q.Reference, &n); err != nil {
		panic(err)
	}
	return s.Offer(fakebroker.StreamResponse(r.Correlation, &streamproto.QueryOffsetResponse{Code: streamproto.CodeOK, Offset: n}))
}

// TestLateAnswer: a call is given up, its answer comes late, and the next calls
// get their own.
func TestLateAnswer(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		s.Serve(func(r *fakebroker.StreamReceived) bool {
			if _, ok := r.Command.(*streamproto.QueryOffset); ok {
				time.Sleep(10 * time.Second)
			}
			return answerQuery(s, r)
		})
	}, func(t *testing.T, conn *Conn) {
		for i := range 3 {
			begin := time.Now()
			err := query(shortly(t), conn, 100+i)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second || !strings.Contains(err.Error(), "QueryOffset: no answer") {
				t.Errorf("got %v after %v", err, time.Since(begin))
			}
		}
		for i := range 3 {
			if err := query(t.Context(), conn, i); err != nil {
				t.Error(err)
			}
		}
		if len(conn.calls) != 0 {
			t.Errorf("%d calls are remembered", len(conn.calls))
		}
		conntest.Goodbye(t, conn)
	})
}

// TestCallWithEndedContext asks, and does not wait.
func TestCallWithEndedContext(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		s.Serve(func(r *fakebroker.StreamReceived) bool { return answerQuery(s, r) })
	}, func(t *testing.T, conn *Conn) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := query(ctx, conn, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if err := query(t.Context(), conn, 2); err != nil {
			t.Error(err)
		}
		conntest.Goodbye(t, conn)
	})
}

// TestConcurrentCalls: many calls at once, answered in the order in which they
// came, and in the opposite one.
func TestConcurrentCalls(t *testing.T) {
	const n = 200
	for _, backwards := range []bool{false, true} {
		pair(t, func(s *fakebroker.StreamSession) {
			var asked []*fakebroker.StreamReceived
			for range n {
				asked = append(asked, s.Next())
			}
			for i := range asked {
				if backwards {
					i = n - 1 - i
				}
				answerQuery(s, asked[i])
			}
			s.Serve(nil)
		}, func(t *testing.T, conn *Conn) {
			errs := make(chan error)
			for i := range n {
				go func() { errs <- query(t.Context(), conn, i) }()
			}
			for range n {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
			conntest.Goodbye(t, conn)
		})
	}
}

// TestRefusals: the broker's code is in the error of the call, and the connection
// is as good as before.
func TestRefusals(t *testing.T) {
	pair(t, func(s *fakebroker.StreamSession) {
		for _, key := range []streamproto.Key{streamproto.KeyCreate, streamproto.KeyDelete} {
			r := s.Next()
			s.Answer(r.Correlation, &streamproto.Done{For: key, Code: streamproto.CodeAccessRefused})
		}
		// A refusal may come without what the response has otherwise.
		r := s.Next()
		s.SendBytes(fakebroker.StreamRaw(streamproto.KeyQueryOffset|responseBit, 1, []byte{0, 0, 0, byte(r.Correlation), 0, 19}))
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		_, err := conn.Call(t.Context(), &streamproto.Create{Stream: "events"})
		checkCode(t, err, streamproto.CodeAccessRefused)
		if want := "Create: broker answered 16, access refused"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		_, err = conn.Call(t.Context(), &streamproto.Delete{Stream: "events"})
		checkCode(t, err, streamproto.CodeAccessRefused)
		_, err = conn.Call(t.Context(), &streamproto.QueryOffset{Stream: "events"})
		checkCode(t, err, streamproto.CodeNoOffset)
		if _, err := conn.Call(t.Context(), &streamproto.Create{Stream: "events"}); err != nil {
			t.Error(err)
		}
		conntest.Goodbye(t, conn)
	})
}

// TestUnasked: an answer to a question that was not asked yet ends the
// connection; one to a question that was answered already is a late one.
func TestUnasked(t *testing.T) {
	done := func(correlation uint32, key streamproto.Key) []byte {
		return fakebroker.StreamResponse(correlation, &streamproto.Done{For: key, Code: streamproto.CodeOK})
	}
	for _, test := range []struct {
		name string
		sent func(last uint32) []byte
		want string // empty: no harm
	}{
		{"0", func(uint32) []byte { return done(0, streamproto.KeyCreate) }, "a response to Create, which was not asked"},
		{"the next", func(last uint32) []byte { return done(last+1, streamproto.KeyDelete) }, "a response to Delete, which was not asked"},
		{"the largest", func(uint32) []byte { return done(1<<32-1, streamproto.KeyClose) }, "a response to Close, which was not asked"},
		{"again", func(last uint32) []byte { return done(last, streamproto.KeyCreate) }, ""},
		{"again, of another kind", func(last uint32) []byte { return done(last, streamproto.KeyDelete) }, ""},
		{"of the login", func(uint32) []byte { return done(1, streamproto.KeyCreate) }, ""},
		{"goodbye, unasked", func(last uint32) []byte { return done(last, streamproto.KeyClose) }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			pair(t, func(s *fakebroker.StreamSession) {
				create, correlation := fakebroker.ExpectCommand[*streamproto.Create](s)
				s.Answer(correlation, &streamproto.Done{For: create.Key(), Code: streamproto.CodeOK})
				s.SendBytes(test.sent(correlation))
				if test.want != "" {
					s.Refused(streamproto.CodeUnknownFrame)
					return
				}
				s.Serve(func(r *fakebroker.StreamReceived) bool { return answerQuery(s, r) })
			}, func(t *testing.T, conn *Conn) {
				if _, err := conn.Call(t.Context(), &streamproto.Create{Stream: "events"}); err != nil {
					t.Fatal(err)
				}
				if test.want != "" {
					checkViolation(t, conntest.Ended(t, conn), test.want)
					_ = conn.Close(t.Context()) // our reason gets out
					return
				}
				synctest.Wait()
				if err := query(t.Context(), conn, 5); err != nil {
					t.Error(err)
				}
				conntest.Goodbye(t, conn)
			})
		})
	}
}

// TestWrongAnswer answers a call with the response to another command.
func TestWrongAnswer(t *testing.T) {
	for _, answer := range []streamproto.Response{
		&streamproto.Done{For: streamproto.KeyCreate, Code: streamproto.CodeOK},
		&streamproto.Done{For: streamproto.KeySubscribe, Code: streamproto.CodeStreamDoesNotExist},
		&streamproto.MetadataResponse{}, &streamproto.OpenResponse{Code: streamproto.CodeOK},
	} {
		t.Run(answer.Key().String(), func(t *testing.T) {
			pair(t, func(s *fakebroker.StreamSession) {
				_, correlation := fakebroker.ExpectCommand[*streamproto.QueryOffset](s)
				s.Answer(correlation, answer)
				s.Discard()
			}, func(t *testing.T, conn *Conn) {
				want := "answered by a response to " + answer.Key().String()
				checkViolation(t, query(t.Context(), conn, 1), want)
				checkViolation(t, conntest.Ended(t, conn), want)
			})
		})
	}
}

// TestUnsentRequests: what does not fit its field, or a frame, is refused before
// anything of it leaves.
func TestUnsentRequests(t *testing.T) {
	g := fakebroker.LikelyStream()
	g.Tune.FrameMax = 4096
	pairAs(t, g, func(s *fakebroker.StreamSession) {
		if q, _ := fakebroker.ExpectCommand[*streamproto.Close](s); q.Code != streamproto.CodeOK {
			t.Errorf("closed with %d", q.Code)
		}
		s.Close()
	}, func(t *testing.T, conn *Conn) {
		for name, test := range map[string]struct {
			r    streamproto.Request
			want string
		}{
			"a long string":    {&streamproto.Create{Stream: strings.Repeat("x", 1<<15)}, "32768 bytes long"},
			"a large frame":    {&streamproto.Create{Stream: strings.Repeat("x", 4090)}, "over the limit of 4096"},
			"a strange offset": {&streamproto.Subscribe{Offset: streamproto.OffsetSpec{Type: 9}}, "unknown offset type 9"},
		} {
			if _, err := conn.Call(t.Context(), test.r); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: got %v, want %q", name, err, test.want)
			}
		}
		if err := conn.StoreOffset(&streamproto.StoreOffset{Reference: strings.Repeat("x", 1<<15)}); err == nil {
			t.Error("a long reference was taken")
		}
		if len(conn.calls) != 0 || len(conn.Out) != 0 {
			t.Errorf("%d calls are remembered, and %d bytes wait", len(conn.calls), len(conn.Out))
		}
		_ = conn.Close(t.Context()) // the script hangs up instead of answering
	})
}

// TestLargestRequest is as large as was agreed, to the byte.
func TestLargestRequest(t *testing.T) {
	g := fakebroker.LikelyStream()
	g.Tune.FrameMax = 4096
	pairAs(t, g, func(s *fakebroker.StreamSession) {
		r := s.Next()
		if r.Size != 4+4096 {
			t.Errorf("a frame of %d bytes", r.Size)
		}
		s.Answer(r.Correlation, &streamproto.Done{For: streamproto.KeyDelete, Code: streamproto.CodeOK})
		s.Serve(nil)
	}, func(t *testing.T, conn *Conn) {
		const overhead = 2 + 2 + 4 + 2 // key, version, correlation, length
		name := strings.Repeat("x", 4096-overhead)
		if _, err := conn.Call(t.Context(), &streamproto.Delete{Stream: name + "x"}); err == nil {
			t.Error("a larger one was taken")
		}
		if _, err := conn.Call(t.Context(), &streamproto.Delete{Stream: name}); err != nil {
			t.Error(err)
		}
		conntest.Goodbye(t, conn)
	})
}
