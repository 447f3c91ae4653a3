package streamconn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// lyingChunk is a Deliver frame of which f has changed the bytes behind the
// subscription id.
func lyingChunk(f func(header []byte)) []byte {
	b := fakebroker.Deliver(fakebroker.Chunk(0, 1, "message 1"))
	f(b[9:])
	return b
}

// TestBrokenProtocol has a broker break the protocol once the connection works:
// subscription 0 has got a chunk, and publisher 0 has two entries in flight. Each
// time the connection must end, tell the broker the right code, say what was
// wrong, give every message its outcome, and not believe any length.
func TestBrokenProtocol(t *testing.T) {
	raw := fakebroker.StreamRaw
	const (
		confirm, refuse = streamproto.KeyPublishConfirm, streamproto.KeyPublishError
		unknown, large  = streamproto.CodeUnknownFrame, streamproto.CodeFrameTooLarge
	)
	be := func(n int64) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
	for _, test := range []struct {
		name string
		sent []byte
		code streamproto.Code
		want string
	}{
		{"a frame of 4 GiB", []byte(head(1<<32-1, streamproto.KeyCreate|responseBit)), large, "4294967295 bytes is larger than the"},
		{"a frame of 64 MiB", []byte(head(64<<20, confirm)), large, "larger than the"},
		{"a chunk of 4 GiB", []byte(head(1<<32-1, streamproto.KeyDeliver)), large, "Deliver of 4294967295 bytes is larger than the 1073741824 allowed"},
		{"a chunk of one byte too many", []byte(head(deliverMax+1, streamproto.KeyDeliver)), large, "larger"},
		{"a frame of 0 bytes", []byte{0, 0, 0, 0, 0, 0, 0, 0}, unknown, "less than 4 bytes"},
		{"a frame of 3 bytes", []byte{0, 0, 0, 3}, unknown, "less than 4 bytes"},
		{"an unknown command", raw(99, 1, nil), unknown, "unexpected frame: command 99, version 1"},
		{"an unknown response", raw(99|responseBit, 1, be(1)), unknown, "unexpected frame: command 99"},
		{"the last command", raw(0x7fff, 1, nil), unknown, "unexpected frame"},
		{"another version of a response", raw(streamproto.KeyCreate|responseBit, 2, be(1)), unknown, "version 2"},
		{"a response without a correlation", raw(streamproto.KeyCreate|responseBit, 1, []byte{0, 0}), unknown, "too short"},
		{"a response without a code", raw(streamproto.KeyCreate|responseBit, 1, be(1)), unknown, "too short"},
		{"a response with more", raw(streamproto.KeyCreate|responseBit, 1, append(be(1), 0, 1, 0)), unknown, "left over"},
		{"2^31 streams of metadata", raw(streamproto.KeyMetadata|responseBit, 1, append(be(1), be(1<<31)...)), unknown, "too short"},

		{"what only clients ask", fakebroker.StreamRequest(1, &streamproto.Create{Stream: "x"}), unknown, "the broker asks for Create"},
		{"a second login", fakebroker.StreamRequest(1, &streamproto.PeerProperties{}), unknown, "the broker asks for PeerProperties"},
		{"a publish", raw(streamproto.KeyPublish, 1, append([]byte{0}, be(0)...)), unknown, "unexpected frame: Publish"},
		{"a stored offset", raw(streamproto.KeyStoreOffset, 1, make([]byte, 12)), unknown, "unexpected frame: StoreOffset"},
		{"half a goodbye", raw(streamproto.KeyClose, 1, append(be(1), 0, 1, 0, 9)), unknown, "too short"},

		{"confirms for nobody", streamproto.AppendPublishConfirm(nil, 7, 1), unknown, "confirms for publisher 7, which was not declared"},
		{"errors for nobody", streamproto.AppendPublishError(nil, 255, 17, 1), unknown, "errors for publisher 255, which was not declared"},
		{"a confirm never due", streamproto.AppendPublishConfirm(nil, 0, 3), unknown, "confirm of publishing id 3, which is not in flight"},
		{"a confirm never due behind one that is", streamproto.AppendPublishConfirm(nil, 0, 2, 1, 9), unknown, "confirm of publishing id 9"},
		{"a confirm of 0", streamproto.AppendPublishConfirm(nil, 0, 0), unknown, "confirm of publishing id 0"},
		{"a confirm of the largest", streamproto.AppendPublishConfirm(nil, 0, 1<<64-1), unknown, "confirm of publishing id 18446744073709551615"},
		{"an error never due", streamproto.AppendPublishError(nil, 0, 17, 3), unknown, "error for publishing id 3, which is not in flight"},
		{"2^32-1 confirms", raw(confirm, 1, append([]byte{0}, be(-1)...)), unknown, "too short"},
		{"2^29 confirms", raw(confirm, 1, append([]byte{0}, be(1<<29)...)), unknown, "too short"},
		{"a confirm cut short", raw(confirm, 1, append([]byte{0}, append(be(1), make([]byte, 7)...)...)), unknown, "too short"},
		{"more confirms than it says", raw(confirm, 1, append([]byte{0}, append(be(1), make([]byte, 16)...)...)), unknown, "left over"},
		{"an error cut short", raw(refuse, 1, append([]byte{0}, append(be(1), make([]byte, 9)...)...)), unknown, "too short"},
		{"confirms without a publisher", raw(confirm, 1, nil), unknown, "too short"},
		{"confirms of version 2", raw(confirm, 2, append([]byte{0}, be(0)...)), unknown, "version 2"},
		{"confirms as a response", raw(confirm|responseBit, 1, append([]byte{0}, be(0)...)), unknown, "unexpected frame: PublishConfirm response"},

		{"a chunk for nobody", fakebroker.Deliver(fakebroker.Chunk(1, 0, "x")), unknown, "a chunk for subscription 1, which was not made"},
		{"a chunk for nobody, the last", fakebroker.Deliver(fakebroker.Chunk(255, 0, "x")), unknown, "subscription 255"},
		{"a chunk as a response", raw(streamproto.KeyDeliver|responseBit, 1, make([]byte, 60)), unknown, "unexpected frame: Deliver response"},
		{"a chunk of version 3", raw(streamproto.KeyDeliver, 3, make([]byte, 60)), unknown, "version 3"},
		{"no chunk", raw(streamproto.KeyDeliver, 1, nil), unknown, "cut short"},
		{"half a header", raw(streamproto.KeyDeliver, 1, make([]byte, 48)), unknown, "its header is cut short"},
		{"the other magic", lyingChunk(func(h []byte) { h[0] = 0x51 }), unknown, "not magic 5 and version 0"},
		{"no magic", lyingChunk(func(h []byte) { h[0] = 0 }), unknown, "not magic 5"},
		{"data of 4 GiB", lyingChunk(func(h []byte) { copy(h[36:], be(-1)) }), unknown, "its data is cut short"},
		{"data of a byte too many", lyingChunk(func(h []byte) { h[39]++ }), unknown, "its data is cut short"},

		{"half a metadata update", raw(streamproto.KeyMetadataUpdate, 1, []byte{0, 6, 0, 6, 'e'}), unknown, "too short"},
		{"a metadata update of length -2", raw(streamproto.KeyMetadataUpdate, 1, []byte{0, 6, 0xff, 0xfe}), unknown, "negative length"},
		{"a turn for nobody", fakebroker.StreamRequest(1, &streamproto.ConsumerUpdate{SubscriptionID: 5}), unknown, "an update of subscription 5, which was not made"},
		{"a turn that is neither", raw(streamproto.KeyConsumerUpdate, 1, append(be(1), 0, 2)), unknown, "neither 0 nor 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			fakebroker.CheckMemory(t, 6<<20, func() { brokenProtocol(t, test.sent, test.code, test.want) })
		})
	}
}

func brokenProtocol(t *testing.T, sent []byte, code streamproto.Code, want string) {
	pair(t, func(s *fakebroker.StreamSession) {
		s.OpenSubscription()
		s.SendBytes(fakebroker.Deliver(fakebroker.Chunk(0, 0, "message 0")))
		s.OpenPublisher(0)
		published(s, 2)
		s.SendBytes(sent)
		s.Refused(code)
	}, func(t *testing.T, conn *Conn) {
		_, in := openSubscription(t, conn, 10)
		p := openPublisher(t, conn, PublisherConfig{Window: newWindow(10, false)})
		publish(t, p, 1, "one", "two")
		err := conntest.Ended(t, conn)
		checkViolation(t, err, want)
		checkNumbered(t, receive(t, in, 1))
		if _, got := in.Take(t.Context(), nil); !errors.Is(got, err) {
			t.Errorf("the inbox ended with %v, not %v", got, err)
		}
		if err := p.window.Wait(t.Context()); err != nil {
			t.Error("waiting for confirms:", err)
		}
		if n := p.window.Totals(); n.Published != 2 || n.Confirmed+n.Rejected+n.Unknown != 2 {
			t.Errorf("totals %+v", n)
		}
		if got := conn.Close(t.Context()); !errors.Is(got, err) { // the script waits for our reason
			t.Errorf("close ended with %v", got)
		}
	})
}

// TestLyingSizes: a chunk claims as much as is allowed, and sends some of it, perhaps after
// one that was large and came whole. Memory follows what was sent.
func TestLyingSizes(t *testing.T) {
	for _, test := range []struct {
		before int // bytes
		claim  uint32
		sent   int
		memory uint64
	}{
		{0, 250 << 20, 100, 3 << 20},
		{0, 250 << 20, 1 << 20, 6 << 20},
		{0, deliverMax, 10 << 20, 40 << 20},
		{3 << 20, deliverMax, 100, 16 << 20},
		{40 << 20, deliverMax, 100, 170 << 20}, // twice that on the way to 40 MiB, and the 32 MiB that are kept
	} {
		t.Run(fmt.Sprint(test.before, " ", test.claim, " ", test.sent), func(t *testing.T) {
			piece := make([]byte, 100)
			before := fakebroker.Deliver(fakebroker.Chunk(0, 0, strings.Repeat("x", test.before)))
			fakebroker.CheckMemory(t, test.memory, func() {
				pair(t, func(s *fakebroker.StreamSession) {
					s.OpenSubscription()
					s.SendBytes(before)
					s.SendBytes([]byte(head(test.claim, streamproto.KeyDeliver)))
					for sent := 0; sent < test.sent; sent += len(piece) {
						if _, err := s.Conn().Write(piece); err != nil {
							t.Error(err)
						}
					}
					s.Close()
				}, func(t *testing.T, conn *Conn) {
					_, in := openSubscription(t, conn, 10)
					arrivals, err := in.Take(t.Context(), nil)
					if err != nil || len(arrivals) != 1 {
						t.Fatal(len(arrivals), err)
					}
					arrivals[0].Release()
					if arrivals, err := in.Take(t.Context(), arrivals); err == nil {
						t.Errorf("a part of a chunk was delivered: %d bytes", len(arrivals[0].Chunk.Data))
					}
				})
			})
		})
	}
}

// TestFloods sends what a real broker sends now and then, in masses.
func TestFloods(t *testing.T) {
	update := metadataUpdate("never heard of")
	creditError := streamproto.AppendCreditError(nil, streamproto.CreditError{Code: streamproto.CodeSubscriptionIDDoesNotExist})
	for name, frame := range map[string][]byte{
		"tunes":            streamproto.AppendTuneOffer(nil, streamproto.Tune{FrameMax: 1, Heartbeat: 1}),
		"metadata updates": update,
		"credit errors":    creditError,
		"late answers":     fakebroker.StreamResponse(1, &streamproto.Done{For: streamproto.KeyCreate, Code: streamproto.CodeOK}),
		"no confirms":      streamproto.AppendPublishConfirm(nil, 0),
	} {
		t.Run("10^5 "+name, func(t *testing.T) {
			many := []byte(strings.Repeat(string(frame), 1000))
			fakebroker.CheckMemory(t, 40<<20, func() {
				pair(t, func(s *fakebroker.StreamSession) {
					s.OpenPublisher(0)
					for range 100 {
						s.SendBytes(many)
					}
					s.Serve(nil)
				}, func(t *testing.T, conn *Conn) {
					p := openPublisher(t, conn, PublisherConfig{})
					publish(t, p, 0, "x")
					if err := p.window.Wait(t.Context()); err != nil || p.window.Totals().Confirmed != 1 {
						t.Errorf("%v, %+v", err, p.window.Totals())
					}
					conntest.Goodbye(t, conn)
				})
			})
		})
	}
}

// TestChunksWithoutCredit: a broker that pays no attention to credit sends chunks
// for ever, small and empty ones, to a consumer that does not take them. What
// waits is bounded, and so is the memory.
func TestChunksWithoutCredit(t *testing.T) {
	for _, bodies := range [][]string{nil, {strings.Repeat("x", 1000)}} {
		frame := fakebroker.Deliver(fakebroker.Chunk(0, 0, bodies...))
		many := []byte(strings.Repeat(string(frame), 1000))
		fakebroker.CheckMemory(t, 400<<20, func() {
			pair(t, func(s *fakebroker.StreamSession) {
				s.OpenSubscription()
				for range 600_000_000 / len(many) {
					if !s.Offer(many) {
						return
					}
				}
				t.Errorf("%d chunks of %v were read", 600_000_000/len(many), bodies)
			}, func(t *testing.T, conn *Conn) {
				openSubscription(t, conn, 10)
				if err := conn.Close(shortly(t)); err == nil {
					t.Error("it was answered; the test tests nothing")
				}
			})
		})
	}
}

// TestCreditThatNobodyReads: a broker sends chunks whatever its credit, and does not read
// what it is given for them.
func TestCreditThatNobodyReads(t *testing.T) {
	frame := fakebroker.Deliver(fakebroker.Chunk(0, 0, "m"))
	pair(t, func(s *fakebroker.StreamSession) {
		s.OpenSubscription()
		flood(frame)(s)
	}, func(t *testing.T, conn *Conn) {
		_, in := openSubscription(t, conn, 10)
		var arrivals []Arrival
		for takes := 0; ; takes++ {
			var err error
			if arrivals, err = in.Take(t.Context(), arrivals); err != nil {
				checkViolation(t, err, "more chunks than it has credit for")
				break
			}
			for i := range arrivals {
				arrivals[i].Release()
			}
			conn.Lock()
			out := len(conn.Out)
			conn.Unlock()
			if out > 1<<20 {
				t.Fatalf("%d bytes wait to be written after %d takes", out, takes)
			}
		}
	})
}
