package load

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// TestIdleWhileNothingPours: a broker sends chunks without a message for ever, and answers
// nothing else. The receiving ends when no message has come for the idle time, or when it
// is interrupted, and the closing when its time is over.
func TestIdleWhileNothingPours(t *testing.T) {
	empty := fakebroker.Deliver(fakebroker.Chunk(0, 0))
	tracking := fakebroker.Chunk(0, 0, "x")
	tracking.Type = streamproto.ChunkTrackingDelta
	for name, frame := range map[string][]byte{"empty chunks": empty, "tracking chunks": fakebroker.Deliver(tracking)} {
		for _, interrupted := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { idleWhilePouring(t, bytes.Repeat(frame, 500), interrupted) })
			})
		}
	}
}

func idleWhilePouring(t *testing.T, frames []byte, interrupted bool) {
	orderly := fakebroker.Stream(func(s *fakebroker.StreamSession) { s.Login(); s.Serve(nil) })
	pouring := fakebroker.Stream(func(s *fakebroker.StreamSession) {
		s.Login()
		s.OpenSubscription()
		for s.Offer(frames) {
			time.Sleep(time.Millisecond)
		}
	})
	b := fakebroker.Pipe(t, 64<<10, orderly, pouring)
	client, err := thump.Dial(t.Context(), thump.Config{URLs: []string{b.StreamURL()}, DialContext: b.DialContext})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	cfg := ReceiveConfig{From: Stream{Name: "events"}, Consumers: 1, Idle: time.Second, Progress: new(Progress)}
	if interrupted {
		cfg.Idle = 0
		time.AfterFunc(time.Second, func() { close(stop) })
	}
	begin := time.Now()
	var r result.Run
	_, err = Receive(t.Context(), client, cfg, &r, stop)
	if !errors.Is(err, context.DeadlineExceeded) { // the broker does not answer that it sends no more
		t.Errorf("it ended with %v", err)
	}
	if took := time.Since(begin); took > time.Second+cfg.Idle/10+closeTimeout+time.Second {
		t.Errorf("it took %v", took)
	}
	_ = client.Close(t.Context())
}
