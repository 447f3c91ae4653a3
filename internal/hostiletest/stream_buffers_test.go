package hostiletest

import (
	"slices"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// TestSlowStreamBuffers: small chunks that keep large read buffers, of a consumer that
// takes nothing.
func TestSlowStreamBuffers(t *testing.T) {
	small := fakebroker.Deliver(fakebroker.Chunk(0, 0, "b"))
	p, q := &pouring{}, &pouring{}
	playStreams(t, []streamScenario{{
		scenario{name: "heartbeats behind each", held: streamConsumerHeld, want: ended, within: 3 * time.Second, call: p.slowStream},
		p.subscribed(320<<20, same(slices.Concat(small, repeated(streamproto.AppendHeartbeat(nil), 950<<10)))),
	}, {
		scenario{name: "bytes behind the data of each", held: streamConsumerHeld, want: "bytes follow its data", within: 3 * time.Second, call: read(thump.ConsumerConfig{})},
		q.subscribed(320<<20, same(trailing(small, 1<<20))),
	}})
}

// trailing is the frame of a chunk with n more bytes in it than its data.
func trailing(frame []byte, n int) []byte {
	frame = append(slices.Clone(frame), make([]byte, n)...)
	size := len(frame) - 4
	frame[0], frame[1], frame[2], frame[3] = byte(size>>24), byte(size>>16), byte(size>>8), byte(size)
	return frame
}
